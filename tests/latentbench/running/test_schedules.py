"""Progress, schedulers, start and the hook after an update, against plain loops and uninterrupted runs."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import astuple
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softplus
from torch.optim import Optimizer, lr_scheduler

from latentbench import (
    Batch,
    DataInfo,
    LatentbenchError,
    Model,
    Role,
    Split,
    StoredSplit,
    Targets,
    Trainer,
    TrainingProgress,
)
from latentbench.records.record import Training
from latentbench.running.training import TrainingLoop

CPU = torch.device("cpu")
M = TypeVar("M", bound=Model)
INFO = DataInfo(channels=1, height=4, width=4, train_size=50, attributes={"label": 3})


def stored(size: int, role: Role = Role.TRAIN) -> StoredSplit:
    draw = np.random.default_rng(size)
    images = torch.from_numpy(draw.integers(0, 256, (size, 1, 4, 4), dtype=np.uint8))
    return StoredSplit(role, images, Targets(attributes={"label": draw.integers(0, 3, size)}))


TRAIN, VALIDATION = stored(50), stored(20, Role.VALIDATION)


class Classifier(Model):
    """One optimizer."""

    class Config(Model.Config):
        epochs: int = 3
        batch_size: int = 8

    def build(self, info: DataInfo) -> None:
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))

    def optimizers(self) -> Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)

    def training_step(self, batch: Batch) -> Tensor:
        return cross_entropy(self.net(batch.images), batch.attributes["label"])


class Adversarial(Model):
    """Two optimizers; the critic's is stepped in every second step only."""

    class Config(Model.Config):
        epochs: int = 3
        batch_size: int = 8

    def build(self, info: DataInfo) -> None:
        self.generator, self.critic = nn.Linear(4, 16), nn.Linear(16, 1)

    def optimizers(self) -> dict[str, Optimizer]:
        return {
            "generator": torch.optim.SGD(self.generator.parameters(), 0.05, momentum=0.9),
            "critic": torch.optim.Adam(self.critic.parameters(), 0.01),
        }

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Tensor]]:
        fake = self.generator(torch.randn(len(batch.images), 4))
        yield "generator", softplus(-self.critic(fake)).mean()
        if self.progress.step % 2 == 0:
            real = self.critic(batch.images.flatten(1))
            yield "critic", softplus(self.critic(fake.detach())).mean() + softplus(-real).mean()


def make(kind: type[M], seed: int = 0, **options: Any) -> M:
    torch.manual_seed(seed)
    return kind(kind.configure("test", options), INFO)


def train(model: Model, validation: Split | None = None, **options: Any) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, **{"seed": 0, **options})
    model.fit(TRAIN, validation, trainer)
    return trainer


def bits(model: Model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def outcome(trainer: TrainingLoop) -> Training:
    assert trainer.training is not None
    return trainer.training


class CutOffError(Exception):
    """Ends a fit."""


def cut_off(model: Model, path: Path, step: int, **options: Any) -> None:
    """Fit until ``step`` steps are made and the checkpoint holds one less, or what ``start`` has left."""

    def notify(made: int, total: int, losses: dict[str, float]) -> None:
        if made >= step:
            raise CutOffError

    with pytest.raises(CutOffError):
        train(model, checkpoint=path, checkpoint_seconds=0.0, notify=notify, **options)


def resumes_to_the_same_bits(kind: type[Model], folder: Path, validation: Split | None = None, **options: Any) -> None:
    """Cut a fit off at every step, each time resuming what the last one has left, and compare with a whole one."""
    model = make(kind, **options)
    whole = outcome(train(model, validation))
    path, resumed = folder / "checkpoint.pt", 0
    for step in range(1, whole.steps + 1):
        resumed += path.exists()
        cut_off(make(kind, seed=999 if path.exists() else 0, **options), path, step, validation=validation)
    last = make(kind, seed=999, **options)
    trainer = train(last, validation, checkpoint=path)
    assert trainer.resumed == resumed + 1
    assert bits(last) == bits(model)
    assert outcome(trainer) == whole


class Watches(Classifier):
    """Notes every call of the loop with the progress that it sees there."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.calls: list[tuple[Any, ...]] = []

    def note(self, what: str) -> None:
        self.calls.append((what, *astuple(self.progress)))

    def optimizers(self) -> Optimizer:
        self.note("optimizers")
        return super().optimizers()

    def schedulers(self, optimizers: Optimizer) -> lr_scheduler.LRScheduler:
        self.note("schedulers")
        return lr_scheduler.StepLR(optimizers, 5)

    def start(self, train: Split, trainer: Trainer) -> None:
        self.note("start")

    def training_step(self, batch: Batch) -> Tensor:
        self.note("step")
        return super().training_step(batch)

    def after_update(self, optimizer: str) -> None:
        self.note("update")

    def validation_step(self, batch: Batch) -> Tensor:
        self.note("validation")
        return super().training_step(batch)


@pytest.mark.parametrize("max_steps", [None, 17])
def test_every_method_sees_where_training_stands(max_steps: int | None) -> None:
    model = make(Watches)
    assert astuple(model.progress) == (0, 0, 1, 1, "main")
    train(model, VALIDATION, max_steps=max_steps)
    total = max_steps or 21  # 7 steps in each of 3 epochs
    expected: list[tuple[Any, ...]] = [(what, 0, 0, total, 7, "main") for what in ("optimizers", "schedulers", "start")]
    for step in range(total):
        expected += [(what, step, step // 7, total, 7, "main") for what in ("step", "update")]
        if step % 7 == 6 or step == total - 1:
            expected += [("validation", step, step // 7, total, 7, "main")] * 3  # batches of 8, 8 and 4
    assert model.calls == expected


def test_progress_is_the_same_after_a_resume_and_start_is_not_repeated(tmp_path: Path) -> None:
    whole = make(Watches)
    train(whole, VALIDATION)
    for step in range(1, 22):
        cut_off(make(Watches), tmp_path / f"{step}.pt", step, validation=VALIDATION)
        resumed = make(Watches)
        train(resumed, VALIDATION, checkpoint=tmp_path / f"{step}.pt")
        calls = resumed.calls[2:]  # after optimizers and schedulers, which see no step yet
        assert calls == whole.calls[-len(calls) :]
        assert resumed.calls[:2] == whole.calls[:2]
        made = [call for call in calls if call[0] == "step"]
        assert len(made) == 22 - step


SCHEDULERS: dict[str, Callable[[Optimizer, int, int], lr_scheduler.LRScheduler]] = {
    "step": lambda o, total, epoch: lr_scheduler.StepLR(o, epoch, 0.5),
    "milestones": lambda o, total, epoch: lr_scheduler.MultiStepLR(o, [3, 9], 0.5),
    "lambda": lambda o, total, epoch: lr_scheduler.LambdaLR(o, lambda step: 0.9 ** (step // epoch)),
    "one cycle": lambda o, total, epoch: lr_scheduler.OneCycleLR(o, 0.1, total),
    "cosine": lambda o, total, epoch: lr_scheduler.CosineAnnealingLR(o, total),
    "warm restarts": lambda o, total, epoch: lr_scheduler.CosineAnnealingWarmRestarts(o, 4, 2),
    "cyclic": lambda o, total, epoch: lr_scheduler.CyclicLR(o, 0.001, 0.1, 3, cycle_momentum=False),
    "warm-up, then cosine": lambda o, total, epoch: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 5), lr_scheduler.CosineAnnealingLR(o, total - 5)], [5]
    ),
    "two together": lambda o, total, epoch: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.ConstantLR(o, 0.1, 4)], o
    ),
}


class WithSchedule(Classifier):
    """Keeps its optimizer, to be looked at."""

    optimizer: Optimizer


def scheduled(name: str) -> type[WithSchedule]:
    class Scheduled(WithSchedule):
        def schedulers(self, optimizers: Optimizer) -> lr_scheduler.LRScheduler:
            self.optimizer = optimizers
            return SCHEDULERS[name](optimizers, self.progress.total_steps, self.progress.steps_per_epoch)

    return Scheduled


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_gives_the_weights_of_a_plain_loop_that_steps_it_after_every_step(name: str) -> None:
    model = make(scheduled(name))
    train(model)
    plain = make(Classifier)
    generator = TrainingLoop(device=CPU, seed=0).generator
    optimizer = plain.optimizers()
    scheduler = SCHEDULERS[name](optimizer, 21, 7)
    for _ in range(3):
        for index in torch.split(torch.randperm(50, generator=generator), 8):
            loss = plain.training_step(TRAIN.batch(index, generator))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    assert bits(model) == bits(plain)
    unscheduled = make(Classifier)
    train(unscheduled)
    assert bits(model) != bits(unscheduled), "it has an effect"
    assert model.optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_fit_with_a_scheduler_that_is_cut_off_anywhere_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    resumes_to_the_same_bits(scheduled(name), tmp_path, VALIDATION)


class Named(Adversarial):
    """A schedule for each of its optimizers."""

    def schedulers(self, optimizers: dict[str, Optimizer]) -> dict[str, lr_scheduler.LRScheduler]:
        self.seen = optimizers
        return {
            "critic": lr_scheduler.ExponentialLR(optimizers["critic"], 0.9),
            "generator": lr_scheduler.LinearLR(optimizers["generator"], 1.0, 0.0, self.progress.total_steps),
        }


def test_schedulers_by_name_all_count_steps_also_where_an_optimizer_has_none(tmp_path: Path) -> None:
    model = make(Named)
    train(model)
    assert model.seen["critic"].param_groups[0]["lr"] == pytest.approx(0.01 * 0.9**21)
    assert model.seen["generator"].param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
    resumes_to_the_same_bits(Named, tmp_path)


def other(model: Model) -> Optimizer:
    return torch.optim.SGD(model.parameters(), 0.1)


MISTAKES: dict[str, tuple[type[Model], Callable[[Any, Any], Any], str]] = {
    "unknown name": (
        Adversarial,
        lambda model, given: {"critics": lr_scheduler.StepLR(given["critic"], 1)},
        "schedulers() gave a scheduler of an unknown optimizer 'critics': did you mean 'critic'? "
        "known: critic, generator",
    ),
    "one for several": (
        Adversarial,
        lambda model, given: lr_scheduler.StepLR(given["critic"], 1),
        "schedulers() gave one scheduler, but the optimizers have names: give a mapping by optimizer, of generator, "
        "critic",
    ),
    "a name for the only one": (
        Classifier,
        lambda model, given: {"adam": lr_scheduler.StepLR(given, 1)},
        "schedulers() gave a scheduler of an unknown optimizer 'adam': there is one optimizer, without a name: give "
        "just its scheduler",
    ),
    "swapped": (
        Adversarial,
        lambda model, given: {"critic": lr_scheduler.StepLR(given["generator"], 1)},
        "the scheduler 'critic' is of another optimizer: make it with the one that schedulers() is given",
    ),
    "of a second optimizer": (
        Classifier,
        lambda model, given: lr_scheduler.StepLR(other(model), 1),
        "the scheduler is of another optimizer: make it with the one that schedulers() is given",
    ),
    "needs a loss": (
        Classifier,
        lambda model, given: lr_scheduler.ReduceLROnPlateau(given),
        "schedulers() gave ReduceLROnPlateau: give a scheduler of torch.optim.lr_scheduler that steps without a loss",
    ),
    "no scheduler": (
        Classifier,
        lambda model, given: given,
        "schedulers() gave Adam: give a scheduler of torch.optim.lr_scheduler that steps without a loss",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_scheduler_that_does_not_fit_is_named_with_its_mend(mistake: str) -> None:
    kind, schedulers, expected = MISTAKES[mistake]
    model = make(kind)
    model.schedulers = lambda given: schedulers(model, given)  # type: ignore[method-assign,assignment]
    with pytest.raises(LatentbenchError) as error:
        train(model)
    assert str(error.value) == f"model '{kind.name}': {expected}"


class Starts(Classifier):
    """Its first layer is made of images, chosen by both generators."""

    def start(self, train: Split, trainer: Trainer) -> None:
        assert not self.training
        assert not torch.is_grad_enabled()
        index = torch.randint(len(train), (8,), generator=trainer.generator)
        layer = self.net[1]
        assert isinstance(layer, nn.Linear)
        layer.weight.copy_(train.batch(index, trainer.generator).images.flatten(1))
        layer.weight.add_(torch.randn_like(layer.weight))


def test_start_is_made_before_the_first_step_and_again_only_if_nothing_was_saved(tmp_path: Path) -> None:
    model = make(Starts)
    train(model)
    plain = make(Starts)
    trainer = TrainingLoop(device=CPU, seed=0)
    plain.eval()
    with torch.no_grad():
        plain.start(TRAIN, trainer)
    plain.train()
    plain.start = lambda train, trainer: None  # type: ignore[method-assign]
    plain.fit(TRAIN, None, trainer)
    assert bits(model) == bits(plain)
    resumes_to_the_same_bits(Starts, tmp_path)


def test_a_checkpoint_is_written_right_after_a_start(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    model = make(Starts)
    model.training_step = lambda batch: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(ZeroDivisionError):
        train(model, checkpoint=path)  # a minute between two checkpoints
    assert torch.load(path, weights_only=True)["state"]["step"] == 0
    assert not (tmp_path / "other.pt").exists()
    without = make(Classifier)
    without.training_step = model.training_step  # type: ignore[method-assign]
    with pytest.raises(ZeroDivisionError):
        train(without, checkpoint=tmp_path / "other.pt")
    assert not (tmp_path / "other.pt").exists()


def test_a_start_that_leaves_no_number_is_named() -> None:
    class Nan(Classifier):
        def start(self, train: Split, trainer: Trainer) -> None:
            next(self.parameters()).fill_(torch.nan)

    with pytest.raises(LatentbenchError, match=r"parameter 'net.1.weight' is not finite in the initialization \(no"):
        train(make(Nan))


class Clipped(Adversarial):
    """A Wasserstein critic, its weights clipped (Arjovsky et al., 2017)."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.updates: list[str] = []

    def after_update(self, optimizer: str) -> None:
        assert not torch.is_grad_enabled()
        self.updates.append(optimizer)
        if optimizer == "critic":
            for weight in self.critic.parameters():
                weight.clamp_(-0.01, 0.01)


def test_the_hook_comes_after_each_update_with_the_optimizers_name() -> None:
    model = make(Clipped)
    train(model, max_steps=5)
    assert model.updates == ["generator", "critic", "generator"] * 2 + ["generator", "critic"]
    assert max(weight.abs().max().item() for weight in model.critic.parameters()) <= 0.01
    assert max(weight.abs().max().item() for weight in model.generator.parameters()) > 0.01


class Averaged(Classifier):
    """Scores with the exponential moving average of its weights, the example of CONTRIBUTING.md."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.average = deepcopy(self.net).requires_grad_(False)

    def optimizers(self) -> Optimizer:
        return torch.optim.Adam(self.net.parameters(), 0.01)

    def after_update(self, optimizer: str) -> None:
        for average, weight in zip(self.average.parameters(), self.net.parameters(), strict=True):
            average.lerp_(weight, 1 - 0.9)

    def validation_step(self, batch: Batch) -> Tensor:
        return cross_entropy(self.average(batch.images), batch.attributes["label"])


def test_averaged_weights_are_the_closed_form_and_are_validated_saved_and_resumed(tmp_path: Path) -> None:
    model = make(Averaged)
    weights = [next(model.net.parameters()).detach().clone()]
    original = model.after_update

    def after_update(optimizer: str) -> None:
        weights.append(next(model.net.parameters()).detach().clone())
        original(optimizer)

    model.after_update = after_update  # type: ignore[method-assign]
    training = outcome(train(model, VALIDATION))
    expected = 0.9**21 * weights[0] + sum(0.1 * 0.9 ** (21 - n) * weight for n, weight in enumerate(weights) if n)
    torch.testing.assert_close(next(model.average.parameters()).detach(), expected)
    batch = VALIDATION.batch(torch.arange(20), torch.Generator())
    assert training.losses[-1]["validation"] == pytest.approx(model.validation_step(batch).item(), rel=1e-6)
    assert {name.split(".")[0] for name in model.state_dict()} == {"net", "average"}
    resumes_to_the_same_bits(Averaged, tmp_path, VALIDATION, epochs=2, patience=1)


@pytest.mark.parametrize("limit", [1e-3, 1e9])
def test_gradients_are_clipped_to_a_norm_over_the_parameters_of_each_optimizer(limit: float) -> None:
    model = make(Adversarial, clip_gradients=limit, epochs=1)
    train(model)
    plain = make(Adversarial)
    generator = TrainingLoop(device=CPU, seed=0).generator
    optimizers = plain.optimizers()
    for step, index in enumerate(torch.split(torch.randperm(50, generator=generator), 8)):
        batch = TRAIN.batch(index, generator)
        plain.progress = TrainingProgress(step)
        for name, loss in plain.training_step(batch):
            parameters = list(plain.get_submodule(name).parameters())
            gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
            norm = sum(gradient.square().sum().item() for gradient in gradients) ** 0.5
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient * min(1.0, limit / norm)
            optimizers[name].step()
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, plain.state_dict()[name], rtol=1e-4, atol=1e-7)
