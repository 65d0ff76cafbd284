"""The training loop against plain loops, closed forms, and uninterrupted runs; faults are really injected."""

import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, mse_loss, softplus

from latentbench import Batch, DataInfo, LatentbenchError, Model, Options, Role, Split, StoredSplit, Targets, Trainer
from latentbench.files import StorageError
from latentbench.records.record import Training
from latentbench.running.training import TrainingLoop

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=4, width=4, train_size=50, attributes={"label": 3})

M = TypeVar("M", bound=Model)


def stored(size: int, role: Role = Role.TRAIN, seed: int = 0) -> StoredSplit:
    draw = np.random.default_rng(seed)
    images = torch.from_numpy(draw.integers(0, 256, (size, 1, 4, 4), dtype=np.uint8))
    return StoredSplit(role, images, Targets(attributes={"label": draw.integers(0, 3, size)}))


class Composed(Split):
    """Every batch is drawn afresh from the trainer's generator."""

    def __init__(self, size: int, role: Role = Role.TRAIN) -> None:
        self.size, self.role = size, role

    def __len__(self) -> int:
        return self.size

    @property
    def content_hash(self) -> str:
        return f"composed {self.size} {self.role}"

    def to(self, device: torch.device) -> "Composed":
        return self

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        label = torch.randint(3, (len(index),), generator=generator)
        return Batch(torch.rand(len(index), 1, 4, 4, generator=generator), {"label": label})


class Classifier(Model):
    """One optimizer, a named second loss, batch statistics."""

    class Config(Model.Config):
        """The defaults of the tests."""

        epochs: int = 3
        batch_size: int = 8

    def build(self, info: DataInfo) -> None:
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 0.01)

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.net(batch.images)
        loss = cross_entropy(logits, batch.attributes["label"])
        return {"loss": loss, "size": logits.square().mean()}


def linear(model: Classifier, index: int) -> nn.Linear:
    layer = model.net[index]
    assert isinstance(layer, nn.Linear)
    return layer


class Dropout(Classifier):
    """Draws from PyTorch's global generator, in training and in validation."""

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        noisy = dropout(batch.images + 0.1 * torch.randn_like(batch.images), 0.3)
        return super().training_step(Batch(noisy, batch.attributes))


class Adversarial(Model):
    """Two optimizers that alternate, the second update on a graph that the first has used."""

    class Config(Model.Config):
        """The defaults of the tests."""

        epochs: int = 3
        batch_size: int = 8

    def build(self, info: DataInfo) -> None:
        self.generator = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 16))
        self.critic = nn.Sequential(nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 1))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            "critic": torch.optim.Adam(self.critic.parameters(), 0.01),
            "generator": torch.optim.SGD(self.generator.parameters(), 0.05, momentum=0.9),
        }

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Any]]:
        fake = self.generator(torch.randn(len(batch.images), 4))
        yield "critic", softplus(self.critic(fake)).mean() + softplus(-self.critic(batch.images.flatten(1))).mean()
        loss = softplus(-self.critic(fake)).mean()
        yield "generator", {"loss": loss, "spread": fake.std()}


def make(kind: type[M], seed: int = 0, **options: Any) -> M:
    torch.manual_seed(seed)
    return kind(kind.configure("test", options), INFO)


def train(model: Model, split: Split, validation: Split | None = None, **options: Any) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, **{"seed": 0, **options})
    model.fit(split, validation, trainer)
    return trainer


def bits(model: Model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def outcome(trainer: TrainingLoop) -> Training:
    assert trainer.training is not None
    return trainer.training


@pytest.mark.parametrize("split", [stored(50), Composed(50)], ids=["stored", "composed"])
def test_one_optimizer_gives_the_weights_and_losses_of_a_plain_loop(split: Split) -> None:
    model = make(Classifier)
    training = outcome(train(model, split))

    plain = make(Classifier)
    generator = TrainingLoop(device=CPU, seed=0).generator
    optimizer = torch.optim.Adam(plain.parameters(), 0.01)
    losses = []
    for _ in range(3):
        order = torch.randperm(50, generator=generator)
        total = {"loss": 0.0, "size": 0.0}
        for start in range(0, 50, 8):  # the last batch has two images
            batch = split.batch(order[start : start + 8], generator)
            step = plain.training_step(batch)
            optimizer.zero_grad()
            step["loss"].backward()
            optimizer.step()
            for name in total:
                total[name] += step[name].item() * len(batch.images)
        losses.append({name: value / 50 for name, value in total.items()})

    assert bits(model) == bits(plain)
    assert training == Training(steps=21, epochs=3, stopped="epochs", losses=losses)


def test_two_optimizers_give_the_weights_of_a_plain_alternation() -> None:
    split = stored(48)
    model = make(Adversarial)
    training = outcome(train(model, split))

    plain = make(Adversarial)
    batches = TrainingLoop(device=CPU, seed=0).generator
    critic_optimizer, generator_optimizer = plain.optimizers().values()
    for _ in range(3):
        order = torch.randperm(48, generator=batches)
        for index in order.view(6, 8):
            real = split.batch(index, batches).images.flatten(1)
            fake = plain.generator(torch.randn(8, 4))
            loss = softplus(plain.critic(fake.detach())).mean() + softplus(-plain.critic(real)).mean()
            critic_optimizer.zero_grad()
            loss.backward()
            critic_optimizer.step()
            generator_optimizer.zero_grad()
            softplus(-plain.critic(fake)).mean().backward()
            generator_optimizer.step()

    assert bits(model) == bits(plain)
    assert set(training.losses[0]) == {"critic/loss", "generator/loss", "generator/spread"}


class Regression(Model):
    """Linear regression of the label on the pixels."""

    def build(self, info: DataInfo) -> None:
        self.linear = nn.Linear(16, 1, dtype=torch.float64)

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.95)

    def training_step(self, batch: Batch) -> Tensor:
        return mse_loss(self.linear(batch.images.flatten(1).double())[:, 0], batch.attributes["label"].double())


def test_linear_regression_reaches_least_squares() -> None:
    split = stored(100)
    model = make(Regression, epochs=1000, batch_size=100)
    train(model, split)
    pixels = split.images.flatten(1).numpy() / 255
    design = np.hstack([pixels, np.ones((100, 1))])
    solution = np.linalg.lstsq(design, split.targets.attributes["label"].astype(float), rcond=None)[0]
    fitted = np.append(model.linear.weight.detach().numpy(), model.linear.bias.detach().numpy())
    np.testing.assert_allclose(fitted, solution, atol=1e-5)


class Partly(Classifier):
    """Its optimizer has the last layer only; the first has parameters that nobody owns, one of them frozen."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.net[4].bias.requires_grad_(False)

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.net[4].parameters(), 0.01)


def test_parameters_without_an_optimizer_and_frozen_ones_stay_and_get_no_gradient() -> None:
    model, before = make(Partly), make(Partly)
    train(model, stored(50))
    assert torch.equal(linear(model, 1).weight, linear(before, 1).weight)
    assert linear(model, 1).weight.grad is None
    assert torch.equal(linear(model, 4).bias, linear(before, 4).bias)
    assert not torch.equal(linear(model, 4).weight, linear(before, 4).weight)


class Remembers(Classifier):
    """Counts, at every step, the tensors of earlier steps that are still there."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.seen: list[weakref.ref[Tensor]] = []
        self.left: list[int] = []

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        self.left.append(sum(tensor() is not None for tensor in self.seen))
        logits = self.net(batch.images)
        hidden = logits.square()
        self.seen += map(weakref.ref, (batch.images, logits, hidden))
        return {"loss": hidden.mean(), "reported": (hidden * hidden.exp()).mean()}


def test_nothing_of_a_step_is_kept_when_the_next_begins() -> None:
    model = make(Remembers)
    train(model, stored(50))
    assert model.left == [0] * 21


class Half(Adversarial):
    """Notes what its layers compute in."""

    def training_step(self, batch: Batch) -> Iterator[tuple[str, Any]]:
        self.seen = self.critic(batch.images.flatten(1)).dtype
        return super().training_step(batch)


def test_bfloat16_computes_in_bfloat16_with_the_updated_weights_and_keeps_float32_weights() -> None:
    split = stored(48)
    model = make(Half, precision="bfloat16")
    train(model, split, stored(10, Role.VALIDATION))
    assert model.seen == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}

    plain = make(Half)
    batches = TrainingLoop(device=CPU, seed=0).generator
    critic_optimizer, generator_optimizer = plain.optimizers().values()
    for _ in range(3):
        order = torch.randperm(48, generator=batches)
        for index in order.view(6, 8):
            real = split.batch(index, batches).images.flatten(1)
            with torch.autocast("cpu", torch.bfloat16):
                fake = plain.generator(torch.randn(8, 4))
                loss = softplus(plain.critic(fake)).mean() + softplus(-plain.critic(real)).mean()
            critic_optimizer.zero_grad()
            loss.backward(inputs=list(plain.critic.parameters()))
            critic_optimizer.step()
            with torch.autocast("cpu", torch.bfloat16):  # a new one: no cast of the critic as it was
                loss = softplus(-plain.critic(fake)).mean()
            generator_optimizer.zero_grad()
            loss.backward()
            generator_optimizer.step()
    assert bits(model) == bits(plain)


class Counter(Model):
    """Notes which images each step sees; image number n has the value n everywhere."""

    def build(self, info: DataInfo) -> None:
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps: list[list[int]] = []

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1.0)

    def training_step(self, batch: Batch) -> Tensor:
        self.steps.append((batch.images[:, 0, 0, 0] * 255).round().int().tolist())
        return -self.weight


def numbered(size: int) -> StoredSplit:
    return StoredSplit(Role.TRAIN, torch.arange(size, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 4, 4))


@given(size=st.integers(1, 40), batch_size=st.integers(1, 45), epochs=st.integers(1, 4), data=st.data())
def test_an_epoch_passes_every_image_once_but_for_a_last_batch_of_one(
    size: int, batch_size: int, epochs: int, data: st.DataObject
) -> None:
    alone = size > 1 and batch_size > 1 and size % batch_size == 1
    per_epoch = size // batch_size if alone else math.ceil(size / batch_size)
    max_steps = data.draw(st.none() | st.integers(1, per_epoch * epochs + 2))
    model = make(Counter, epochs=epochs, batch_size=batch_size)
    trainer = train(model, numbered(size), max_steps=max_steps)
    training = outcome(trainer)

    steps = min(per_epoch * epochs, max_steps or math.inf)
    assert training.steps == len(model.steps) == steps
    assert training.epochs == len(training.losses) == math.ceil(steps / per_epoch)
    assert training.stopped == ("epochs" if steps == per_epoch * epochs else "max_steps")
    assert trainer.images == sum(map(len, model.steps))
    for start in range(0, len(model.steps), per_epoch):
        epoch = model.steps[start : start + per_epoch]
        seen = list(chain.from_iterable(epoch))
        assert len(set(seen)) == len(seen)
        if len(epoch) == per_epoch:
            assert len(seen) == size - alone
            assert all(len(batch) == batch_size for batch in epoch[:-1])


def test_batches_depend_on_the_seed_and_not_on_what_the_model_draws() -> None:
    def steps(seed: int, draws: int) -> list[list[int]]:
        model = make(Counter, seed=draws, epochs=2, batch_size=5)
        torch.randn(draws)
        train(model, numbered(20), seed=seed)
        return model.steps

    assert steps(seed=0, draws=1) == steps(seed=0, draws=7)
    assert steps(seed=0, draws=1) != steps(seed=1, draws=1)
    assert steps(seed=0, draws=1)[:4] != steps(seed=0, draws=1)[4:], "the order is new in every epoch"


def test_batches_are_independent_of_a_global_generator_with_the_same_seed() -> None:
    torch.manual_seed(5)
    assert not torch.equal(torch.rand(4), torch.rand(4, generator=TrainingLoop(device=CPU, seed=5).generator))


@pytest.mark.parametrize("kind", [Classifier, Dropout, Adversarial])
@pytest.mark.parametrize("validation", [stored(20, Role.VALIDATION), Composed(20, Role.VALIDATION)])
def test_validation_does_not_disturb_training(kind: type[Model], validation: Split) -> None:
    with_it = make(kind)
    first = outcome(train(with_it, Composed(50), validation))
    without = make(kind)
    second = outcome(train(without, Composed(50)))
    assert bits(with_it) == bits(without)
    assert [{k: v for k, v in losses.items() if k != "validation"} for losses in first.losses] == second.losses
    assert all("validation" in losses for losses in first.losses)


class Still(Dropout):
    """Learns nothing."""

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([linear(self, 4).weight], 0.0)


def test_validation_draws_the_same_random_numbers_every_epoch() -> None:
    model = make(Still)
    model.net[2] = nn.Identity()  # no running statistics either
    losses = outcome(train(model, stored(50), Composed(20, Role.VALIDATION))).losses
    assert losses[0]["loss"] != losses[1]["loss"], "training does vary"
    assert losses[0]["validation"] == losses[1]["validation"] == losses[2]["validation"]


def test_the_validation_loss_is_the_mean_over_the_images_in_eval_mode() -> None:
    validation = stored(20, Role.VALIDATION, seed=1)  # batches of 8, 8 and 4
    model = make(Classifier)
    training = outcome(train(model, stored(50), validation))
    model.eval()
    everything = validation.batch(torch.arange(20), torch.Generator())
    assert training.losses[-1]["validation"] == pytest.approx(model.training_step(everything)["loss"].item(), rel=1e-6)


class Curve(Counter):
    """Its weight counts the epochs, and its validation loss is the value of a given curve at that epoch."""

    curve: list[float]

    def validation_step(self, batch: Batch) -> Tensor:
        return torch.tensor(self.curve[int(self.weight) - 1])


def stop(curve: list[float], patience: int) -> tuple[int, int]:
    """(Epochs made, epoch kept), by the definition."""
    for epoch in range(1, len(curve) + 1):
        best = min(range(1, epoch + 1), key=lambda e: curve[e - 1])  # the first of equals
        if epoch - best >= patience:
            break
    return epoch, best


@given(curve=st.lists(st.integers(-3, 3), min_size=1, max_size=12), patience=st.integers(1, 5))
def test_early_stopping_keeps_the_best_epoch(curve: list[int], patience: int) -> None:
    epochs, best = stop([float(value) for value in curve], patience)
    model = make(Curve, epochs=len(curve), batch_size=50, patience=patience)
    model.curve = [float(value) for value in curve]
    training = outcome(train(model, stored(50), stored(4, Role.VALIDATION)))
    assert training.epochs == epochs
    assert training.best_epoch == best == int(model.weight)
    assert training.stopped == ("epochs" if epochs == len(curve) else "patience")
    assert [losses["validation"] for losses in training.losses] == model.curve[:epochs]


def test_without_patience_the_last_weights_are_kept() -> None:
    model = make(Curve, epochs=4, batch_size=50)
    model.curve = [1.0, 0.0, 2.0, 3.0]
    training = outcome(train(model, stored(50), stored(4, Role.VALIDATION)))
    assert (int(model.weight), training.best_epoch, training.stopped) == (4, None, "epochs")


def test_the_best_weights_are_kept_when_the_steps_run_out() -> None:
    model = make(Curve, epochs=4, batch_size=50, patience=3)
    model.curve = [1.0, 0.0, 2.0, 3.0]
    training = outcome(train(model, stored(50), stored(4, Role.VALIDATION), max_steps=3))
    assert (int(model.weight), training.best_epoch, training.stopped) == (2, 2, "max_steps")


def test_notices_tell_the_steps_and_mean_losses_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("latentbench.running.fitting._LOOK_SECONDS", 0.0)
    notices: list[tuple[int, int, dict[str, float]]] = []
    training = outcome(
        train(
            make(Classifier),
            stored(50),
            stored(10, Role.VALIDATION),
            max_steps=10,
            notify=lambda *notice: notices.append(notice),
        )
    )
    # A notice after each step, and one at the end of each epoch (7 steps; the second is cut short) with what is new.
    assert [step for step, _, _ in notices] == [1, 2, 3, 4, 5, 6, 7, 7, 8, 9, 10, 10]
    assert {total for _, total, _ in notices} == {10}
    assert notices[7][2] == {"validation": training.losses[0]["validation"]}
    sizes = [8, 8, 8, 8, 8, 8, 2]
    mean = sum(size * losses["loss"] for size, (_, _, losses) in zip(sizes, notices[:7], strict=True)) / 50
    assert mean == pytest.approx(training.losses[0]["loss"], rel=1e-12)


def test_there_is_a_notice_after_every_epoch() -> None:
    notices: list[tuple[int, int, dict[str, float]]] = []
    training = outcome(train(make(Adversarial), stored(48), notify=lambda *notice: notices.append(notice)))
    ends = [(step, total) for step, total, _ in notices if step % 6 == 0]
    assert ends == [(6, 18), (12, 18), (18, 18)]
    assert set(notices[-1][2]) == set(training.losses[-1])


SCENARIOS: dict[str, Any] = {
    "one optimizer": (Classifier, stored(50), None, {}),
    "composed, dropout, validation": (Dropout, Composed(20), Composed(10, Role.VALIDATION), {}),
    "two optimizers": (Adversarial, Composed(20), None, {}),
    "early stopping": (Dropout, Composed(20), Composed(10, Role.VALIDATION), {"epochs": 8, "patience": 2}),
    "max steps": (Dropout, stored(20), stored(10, Role.VALIDATION), {"epochs": 8, "max_steps": 10, "patience": 1}),
}


def scenario(name: str, seed: int = 0) -> tuple[Model, Split, Split | None, dict[str, Any]]:
    kind, split, validation, options = SCENARIOS[name]
    options = dict(options)
    limits = {"max_steps": options.pop("max_steps", None)}
    return make(kind, seed, **options), split, validation, limits


class Interrupted(BaseException):
    """Like KeyboardInterrupt: not an Exception."""


def interrupt(model: Model, call: int) -> None:
    """Let the model's n-th training step from now fail half-way: numbers drawn, buffers and some weights updated."""
    original, calls = model.training_step, 0

    def training_step(batch: Batch) -> Any:
        nonlocal calls
        calls += 1
        step = original(batch)
        if calls < call:
            return step
        if isinstance(step, Iterator):
            return after_the_first(step)
        raise Interrupted

    def after_the_first(step: Iterator[Any]) -> Iterator[Any]:
        yield next(step)
        raise Interrupted

    model.training_step = training_step  # type: ignore[method-assign]


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_fit_interrupted_at_any_step_resumes_to_the_same_bits(name: str, tmp_path: Path) -> None:
    model, split, validation, limits = scenario(name)
    whole = outcome(train(model, split, validation, **limits))
    for call in range(1, whole.steps + 1):
        options = {**limits, "checkpoint": tmp_path / f"{call}.pt", "checkpoint_seconds": 0.0}
        broken, *_ = scenario(name)
        interrupt(broken, call)
        with pytest.raises(Interrupted):
            train(broken, split, validation, **options)
        resumed, *_ = scenario(name, seed=999)  # other weights and other global random numbers until it resumes
        if call == 1:
            resumed, *_ = scenario(name)  # nothing to resume from
        trainer = train(resumed, split, validation, **options)
        assert bits(resumed) == bits(model)
        assert outcome(trainer) == whole
        assert trainer.resumed == (call > 1)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_checkpoint_of_a_fit_leads_to_its_end(name: str, tmp_path: Path) -> None:
    model, split, validation, limits = scenario(name)
    path = tmp_path / "checkpoint.pt"
    copies: list[Path] = []

    def keep_copy(step: int, total: int, losses: dict[str, float]) -> None:
        if path.exists():  # the checkpoint of the step before
            copies.append(tmp_path / f"copy-{len(copies)}.pt")
            shutil.copy(path, copies[-1])

    whole = train(model, split, validation, checkpoint=path, checkpoint_seconds=0.0, notify=keep_copy, **limits)
    assert len(copies) >= outcome(whole).steps
    for copy in [*copies, path]:
        resumed, *_ = scenario(name, seed=999)
        trainer = train(resumed, split, validation, checkpoint=copy, checkpoint_seconds=1e9, **limits)
        assert bits(resumed) == bits(model)
        assert outcome(trainer) == outcome(whole)
        assert trainer.images == whole.images
        assert trainer.resumed == 1


def test_a_fit_that_is_resumed_twice_counts_and_sums_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "latentbench.running.training.time", SimpleNamespace(monotonic=count().__next__)
    )  # a second each
    seconds = []
    for resumed in range(3):
        model = make(Classifier)
        interrupt(model, 4)
        trainer = TrainingLoop(device=CPU, seed=0, checkpoint=tmp_path / "checkpoint.pt", checkpoint_seconds=0.0)
        with pytest.raises(Interrupted):
            trainer.fit(model, stored(800), None)
        assert trainer.resumed == resumed
        seconds.append(trainer.earlier_seconds)
    assert seconds[1] > 0
    assert seconds == [0, seconds[1], 2 * seconds[1]], "each made three steps of the first epoch"


def test_a_finished_fit_is_not_made_again(tmp_path: Path) -> None:
    options: dict[str, Any] = {"checkpoint": tmp_path / "checkpoint.pt"}
    model = make(Dropout, epochs=8, patience=2)
    first = train(model, Composed(20), Composed(10, Role.VALIDATION), **options)
    again = make(Dropout, seed=999, epochs=8, patience=2)
    interrupt(again, 1)
    second = train(again, Composed(20), Composed(10, Role.VALIDATION), **options)
    assert bits(again) == bits(model)
    assert outcome(second) == outcome(first)
    assert (second.resumed, second.images) == (1, first.images)


@pytest.mark.parametrize("damage", ["empty", "truncated", "text", "other network", "other optimizer"])
def test_a_checkpoint_that_cannot_be_resumed_from_is_warned_of_and_training_starts_afresh(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "checkpoint.pt"
    if damage.startswith("other"):
        other = make(Classifier)
        if damage == "other network":
            other.net[4] = nn.Linear(8, 4)
        else:
            other.optimizers = lambda: torch.optim.SGD(other.parameters(), 0.1)  # type: ignore[method-assign]
        train(other, stored(50), checkpoint=path)
    else:
        train(make(Classifier), stored(50), checkpoint=path)
        content = path.read_bytes()
        path.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"hello"}[damage])
    fresh, model = make(Classifier), None
    whole = train(fresh, stored(50))
    model = make(Classifier)
    with caplog.at_level(logging.WARNING, "latentbench"):
        trainer = train(model, stored(50), checkpoint=path)
    assert bits(model) == bits(fresh)
    assert outcome(trainer) == outcome(whole)
    assert trainer.resumed == 0
    assert [str(path) in record.message for record in caplog.records] == [True]
    assert "training starts afresh" in caplog.text


def test_a_checkpoint_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint\.pt"):
        train(make(Classifier), stored(50), checkpoint=tmp_path / "work" / "checkpoint.pt")


#: Trains in child processes that are killed at random instants; argv: this file, the checkpoint.
KILLER = """
import os, random, signal, sys, time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

spec = spec_from_file_location("test_training_in_killer", sys.argv[1])
tests = sys.modules[spec.name] = module_from_spec(spec)
spec.loader.exec_module(tests)
step = tests.Dropout.training_step
tests.Dropout.training_step = lambda self, batch: time.sleep(0.004) or step(self, batch)
tests.train(*tests.long_fit(), max_steps=1)  # what PyTorch loads on first use, the children have
draw, checkpoint = random.Random(0), Path(sys.argv[2])
for number in range(12):
    before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
    child = os.fork()
    if child == 0:
        tests.train(*tests.long_fit(), checkpoint=checkpoint, checkpoint_seconds=0.01)
        os._exit(0)
    time.sleep(draw.uniform(0, 0.15))
    patience = time.monotonic() + 60  # every third gets on, however busy the machine is
    while number % 3 == 0 and time.monotonic() < patience:
        if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
            break
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def long_fit(seed: int = 0) -> tuple[Model, Split, Split]:
    return make(Dropout, seed, epochs=30, patience=25), Composed(100), Composed(10, Role.VALIDATION)


@pytest.mark.slow
def test_a_fit_killed_at_random_instants_resumes_to_the_same_bits(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    killer = [sys.executable, "-c", KILLER, __file__, str(path)]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}  # no threads that a fork would lose
    done = subprocess.run(killer, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(-signal.SIGKILL)] * 12, "each was in the middle"

    model, *splits = long_fit()
    whole = outcome(train(model, *splits))
    resumed, *splits = long_fit(seed=999)
    trainer = train(resumed, *splits, checkpoint=path)
    assert trainer.resumed > 1
    assert bits(resumed) == bits(model)
    assert outcome(trainer) == whole


class Breaks(Classifier):
    """One of its losses is not finite from a given step on; a buffer counts the steps, so a resumed fit breaks too."""

    at, value, where = 18, math.nan, "loss"
    count: Tensor

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def training_step(self, batch: Batch) -> dict[str, Tensor]:
        losses = super().training_step(batch)
        self.count += 1
        bad = self.count >= self.at
        return {**losses, self.where: torch.where(bad, self.value, losses[self.where])}


@pytest.mark.parametrize(("value", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
@pytest.mark.parametrize("where", ["loss", "size"])
def test_a_loss_that_is_not_finite_is_named_with_epoch_and_first_step(value: float, shown: str, where: str) -> None:
    model = make(Breaks)
    model.value, model.where = value, where
    expected = f"model 'breaks': loss '{where}' is {shown} in epoch 3, step 18 (no checkpoint yet): lower the learning"
    with pytest.raises(LatentbenchError) as error:
        train(model, stored(50))  # 7 steps an epoch, and no look before the end of the third
    assert str(error.value).startswith(expected)


def test_a_bad_state_is_never_checkpointed_and_the_last_good_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(LatentbenchError, match=r"epoch 3, step 18 \(last good checkpoint: epoch 3, step 17\)"):
        train(make(Breaks), stored(50), checkpoint=path, checkpoint_seconds=0.0)
    content = torch.load(path, weights_only=True)
    assert content["state"]["step"] == 17
    assert all(weight.isfinite().all() for weight in content["model"].values())
    with pytest.raises(LatentbenchError, match=r"epoch 3, step 18 \(last good checkpoint: epoch 3, step 17\)"):
        train(make(Breaks), stored(50), checkpoint=path)


class Slope(Counter):
    """A finite loss whose gradient is infinite: the square root at 0."""

    def training_step(self, batch: Batch) -> Tensor:
        return self.weight.sqrt()


@pytest.mark.parametrize("checkpointed", [True, False])
def test_a_parameter_that_is_not_finite_is_found_behind_a_finite_loss(checkpointed: bool, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    options: dict[str, Any] = {"checkpoint": path, "checkpoint_seconds": 0.0} if checkpointed else {}
    with pytest.raises(LatentbenchError, match=r"parameter 'weight' is not finite in epoch 1, step 1 \(no"):
        train(make(Slope, epochs=1, batch_size=50), stored(50), **options)
    assert not path.exists()


def test_a_validation_loss_that_is_not_finite_is_named() -> None:
    model = make(Curve, epochs=4, batch_size=50)
    model.curve = [1.0, math.nan]
    with pytest.raises(LatentbenchError, match="validation loss is nan in epoch 2, step 2"):
        train(model, stored(50), stored(4, Role.VALIDATION))


def adversarial(step: Any) -> Model:
    """An ``Adversarial`` whose training_step yields what ``step(model)`` gives."""
    model = make(Adversarial)
    model.training_step = lambda batch: iter([step(model)])  # type: ignore[method-assign]
    return model


def classifier(**methods: Any) -> Model:
    model = make(Classifier)
    for name, method in methods.items():
        setattr(model, name, method)
    return model


def scalar(model: Model) -> Tensor:
    return next(iter(model.parameters())).sum()


MISTAKES: dict[str, tuple[Any, str]] = {
    "unknown optimizer": (
        lambda: adversarial(lambda model: ("critics", scalar(model))),
        "model 'adversarial': training_step yielded an unknown optimizer 'critics': did you mean 'critic'? "
        "known: critic, generator",
    ),
    "no pair": (
        lambda: adversarial(scalar),
        "model 'adversarial': training_step yielded a tensor of shape (): yield (optimizer's name, losses)",
    ),
    "plain losses with named optimizers": (
        lambda: classifier(optimizers=lambda: {"all": torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)}),
        "model 'classifier': training_step gave dict: with named optimizers, yield (name, losses)",
    ),
    "yields with one optimizer": (
        lambda: classifier(training_step=lambda batch: iter([("all", torch.ones(()))])),
        "model 'classifier': training_step yields, but there is one optimizer: give optimizers() as a mapping",
    ),
    "list of optimizers": (
        lambda: classifier(optimizers=lambda: [torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)]),
        "model 'classifier': optimizers() gave list: give an optimizer, or a mapping of them by name",
    ),
    "no optimizers": (
        lambda: classifier(optimizers=dict),
        "model 'classifier': optimizers() gave dict: give an optimizer, or a mapping of them by name",
    ),
    "no loss": (
        lambda: classifier(training_step=lambda batch: {"kl": torch.ones(()), "nll": torch.ones(())}),
        "model 'classifier': no 'loss' among its losses (kl, nll): call the minimized one 'loss'",
    ),
    "a loss per image": (
        lambda: classifier(training_step=lambda batch: batch.images.mean((1, 2, 3))),
        "model 'classifier': its loss 'loss' is a tensor of shape (8,): give a tensor of shape (), such as a mean",
    ),
    "a number that is no tensor": (
        lambda: classifier(training_step=lambda batch: {"loss": torch.ones((), requires_grad=True), "beta": 4.0}),
        "model 'classifier': its loss 'beta' is float: give a tensor of shape (), such as a mean",
    ),
    "nothing": (
        lambda: classifier(training_step=lambda batch: None),
        "model 'classifier': its loss 'loss' is NoneType: give a tensor of shape (), such as a mean",
    ),
    "no gradient": (
        lambda: classifier(training_step=lambda batch: batch.images.mean()),
        "model 'classifier': its loss has no gradient: compute it from parameters, without detach() or no_grad()",
    ),
    "validation loss per image": (
        lambda: classifier(validation_step=lambda batch: batch.images.mean((1, 2, 3))),
        "model 'classifier': validation_step gave a tensor of shape (8,): give a tensor of shape (), a mean",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_plugins_mistake_is_named_with_its_mend(mistake: str) -> None:
    build, expected = MISTAKES[mistake]
    model = build()
    with pytest.raises(LatentbenchError) as error:
        train(model, stored(50), stored(20, Role.VALIDATION))
    assert str(error.value) == expected


def test_patience_needs_a_validation_split() -> None:
    with pytest.raises(LatentbenchError, match="it has 'patience', but the dataset has no validation split"):
        train(make(Classifier, patience=2), stored(50))


def test_nothing_is_selected_on_a_test_split() -> None:
    with pytest.raises(LatentbenchError, match="its fit selects on a test split"):
        train(make(Classifier), stored(50), stored(20, Role.TEST))


@pytest.mark.parametrize("role", [Role.TRAIN, Role.VALIDATION])
def test_a_split_without_images_is_named(role: Role) -> None:
    with pytest.raises(LatentbenchError, match=f"the {role} split has no images"):
        train(make(Classifier), stored(50 * (role is Role.VALIDATION)), stored(0, Role.VALIDATION))


@pytest.mark.parametrize("role", [Role.TRAIN, Role.VALIDATION])
def test_only_a_test_split_may_leave_the_range_of_images(role: Role) -> None:
    bright = stored(50, role)
    bright.image_range = (0.0, 3.0)
    splits = (bright, None) if role is Role.TRAIN else (stored(50), bright)
    with pytest.raises(LatentbenchError, match=rf"the {role} split declares images in \[0, 3\]: a test split alone"):
        train(make(Classifier), *splits)


def test_a_trainer_fits_once() -> None:
    model = make(Classifier)
    trainer = train(model, stored(50))
    with pytest.raises(LatentbenchError, match=r"it calls trainer\.fit\(\) twice"):
        trainer.fit(model, stored(50), None)


class Own(Model):
    """Brings its own fit, and options that are not the loop's."""

    class Config(Options):
        """Nothing of the loop."""

    def fit(self, train: Split, validation: Split | None, trainer: Trainer) -> None:
        self.batch = train.batch(torch.arange(len(train)), trainer.generator)


def test_a_model_with_its_own_fit_leaves_no_training() -> None:
    model = make(Own)
    trainer = train(model, stored(50))
    assert (trainer.training, trainer.resumed, trainer.images) == (None, 0, 0)
    assert len(model.batch.images) == 50


def test_a_model_without_training_options_cannot_use_the_loop() -> None:
    with pytest.raises(LatentbenchError, match="its Config has no training options"):
        TrainingLoop(device=CPU, seed=0).fit(make(Own), stored(50), None)
