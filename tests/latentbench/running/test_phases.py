"""Several phases of training in one run: against two separate fits, and against themselves uninterrupted."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer, lr_scheduler

from latentbench import Batch, DataInfo, LatentbenchError, Model, Role, Split, StoredSplit, Trainer
from latentbench.records.record import Training, TrainingPhase
from latentbench.running.training import TrainingLoop

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=4, width=4, train_size=40)


def stored(size: int, role: Role) -> StoredSplit:
    images = np.random.default_rng(size).integers(0, 256, (size, 1, 4, 4), dtype=np.uint8)
    return StoredSplit(role, torch.from_numpy(images))


TRAIN, VALIDATION = stored(40, Role.TRAIN), stored(10, Role.VALIDATION)


class Inverted(Model):
    """A decoder of random codes, then an encoder fitted to invert it, on images that the decoder made in between."""

    class Config(Model.Config):
        epochs: int = 3
        batch_size: int = 8
        encoder_epochs: int = 2

    config: Config
    shift: Tensor

    def build(self, info: DataInfo) -> None:
        self.decoder, self.encoder = nn.Linear(3, 16), nn.Linear(16, 3)
        self.register_buffer("shift", torch.zeros(3))
        self.steps: list[tuple[str, int, int]] = []

    def optimizers(self) -> Optimizer | dict[str, Optimizer]:
        if self.progress.phase == "encoder":
            return torch.optim.Adam(self.encoder.parameters(), 0.01)
        return {"decoder": torch.optim.SGD(self.decoder.parameters(), 0.1, momentum=0.9)}

    def schedulers(self, optimizers: Any) -> lr_scheduler.LRScheduler | dict[str, lr_scheduler.LRScheduler]:
        if self.progress.phase == "encoder":
            return lr_scheduler.OneCycleLR(optimizers, 0.1, self.progress.total_steps)
        return {}

    def start(self, train: Split, trainer: Trainer) -> None:
        if self.progress.phase == "encoder":
            self.shift.normal_()

    def training_step(self, batch: Batch) -> Any:
        if self.training:
            self.steps.append((self.progress.phase, self.progress.step, self.progress.total_steps))
        codes = torch.randn(len(batch.images), 3)
        if self.progress.phase == "encoder":
            return mse_loss(self.encoder(batch.images.flatten(1)), self.shift.expand(len(batch.images), -1))
        loss = mse_loss(self.decoder(codes), batch.images.flatten(1))
        return iter([("decoder", {"loss": loss, "size": codes.square().mean()})])

    def fit(self, train: Split, validation: Split | None, trainer: Trainer) -> None:
        trainer.fit(self, train, validation, budget_share=0.7)
        made = self.decoder(torch.randn(24, 3)).view(-1, 1, 4, 4).sigmoid()
        images = StoredSplit(Role.TRAIN, (made * 255).to(torch.uint8))
        trainer.fit(self, images, None, phase="encoder", epochs=self.config.encoder_epochs, patience=None)


def make(seed: int = 0, kind: type[Inverted] = Inverted, **options: Any) -> Inverted:
    torch.manual_seed(seed)
    return kind(kind.configure("test", options), INFO)


def train(model: Model, **options: Any) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, seed=0, **options)
    model.fit(TRAIN, VALIDATION, trainer)
    return trainer


def outcome(trainer: TrainingLoop) -> Training:
    assert trainer.training is not None
    return trainer.training


def bits(model: Model) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in model.state_dict().items()}


def test_totals_are_those_of_all_phases() -> None:
    notices: list[tuple[int, int]] = []
    model = make()
    trainer = train(model, notify=lambda step, total, losses: notices.append((step, total)))
    training = outcome(trainer)
    assert (training.steps, training.epochs, training.stopped, training.best_epoch) == (21, 5, "epochs", None)
    assert training.phases == [
        TrainingPhase(phase="main", steps=15, epochs=3, stopped="epochs"),
        TrainingPhase(phase="encoder", steps=6, epochs=2, stopped="epochs"),
    ]
    assert [set(losses) for losses in training.losses] == [
        *[{"decoder/loss", "decoder/size", "validation"}] * 3,
        *[{"loss"}] * 2,
    ]
    assert trainer.images == 3 * 40 + 2 * 24
    assert notices == [(5, 15), (10, 15), (15, 15), (18, 21), (21, 21)]
    assert model.steps == [*(("main", step, 15) for step in range(15)), *(("encoder", step, 6) for step in range(6))]


def test_one_phase_leaves_no_list_of_phases_in_the_record() -> None:
    class Once(Inverted):
        def fit(self, train: Split, validation: Split | None, trainer: Trainer) -> None:
            trainer.fit(self, train, validation)

    assert "phases" not in outcome(train(make(kind=Once))).model_dump(mode="json")
    assert "phases" in outcome(train(make())).model_dump(mode="json")


class CutOffError(Exception):
    """Ends a run."""


def test_a_run_that_is_cut_off_in_any_phase_resumes_there_to_the_same_bits(tmp_path: Path) -> None:
    model = make(patience=1)
    whole = train(model)
    steps = outcome(whole).steps
    path = tmp_path / "checkpoint.pt"
    for step in range(1, steps + 1):

        def notify(made: int, total: int, losses: dict[str, float], step: int = step) -> None:
            if made >= step:
                raise CutOffError

        broken = make(seed=999 if path.exists() else 0, patience=1)
        with pytest.raises(CutOffError):
            train(broken, checkpoint=path, checkpoint_seconds=0.0, notify=notify)
        assert len(broken.steps) <= 2, "nothing is made again but the step that was not saved"
    last = make(seed=999, patience=1)
    trainer = train(last, checkpoint=path)
    assert bits(last) == bits(model)
    assert outcome(trainer) == outcome(whole)
    assert (trainer.images, trainer.resumed) == (whole.images, steps), "all but the first found a checkpoint"


class Changed(Inverted):
    """The code of its first phase is another."""

    def optimizers(self) -> Optimizer | dict[str, Optimizer]:
        if self.progress.phase == "encoder":
            return super().optimizers()
        return {"decoder": torch.optim.Adam(self.decoder.parameters(), 0.1)}


def test_a_later_phase_is_not_resumed_on_an_earlier_one_that_began_afresh(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(make(), checkpoint=path)
    whole = make(kind=Changed)
    train(whole)
    again = make(kind=Changed)
    trainer = train(again, checkpoint=path)
    assert bits(again) == bits(whole)
    assert trainer.resumed == 0
    assert train(make(kind=Changed), checkpoint=path).resumed == 1, "its own checkpoints have taken their place"


def test_seconds_before_a_resume_are_those_of_all_phases(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    train(make(), checkpoint=path)
    first = torch.load(path, weights_only=True)["state"]["seconds"]
    second = torch.load(tmp_path / "checkpoint-2.pt", weights_only=True)["state"]["seconds"]
    assert 0 < first < second
    trainer = train(make(), checkpoint=path)
    assert trainer.earlier_seconds == second


@pytest.mark.parametrize("max_steps", [2, 5, 10, 20, 100])
def test_phases_share_a_budget(max_steps: int) -> None:
    training = outcome(train(make(), max_steps=max_steps))
    first = min(15, int(0.7 * max_steps))
    assert [phase.steps for phase in training.phases] == [first, min(6, max_steps - first)]
    assert training.steps <= max_steps


class Greedy(Inverted):
    """Its first phase takes all that a budget allows."""

    def fit(self, train: Split, validation: Split | None, trainer: Trainer) -> None:
        trainer.fit(self, train, validation)
        trainer.fit(self, train, validation, phase="encoder")


def test_a_phase_for_which_no_step_is_left_is_refused() -> None:
    with pytest.raises(LatentbenchError) as error:
        train(make(kind=Greedy), max_steps=15)
    assert str(error.value) == (
        "model 'greedy': the budget of 15 steps has none left for the phase 'encoder': "
        "divide it with trainer.fit(..., budget_share=...)"
    )
    assert outcome(train(make(kind=Greedy), max_steps=16)).phases[1].steps == 1


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "same phase": ({"phase": "main"}, r"it calls trainer\.fit\(\) twice for the phase 'main': name the second one"),
    "unknown option": (
        {"phase": "encoder", "epoch": 3},
        "model 'inverted', phase 'encoder' has no option 'epoch': did you mean 'epochs'?",
    ),
    "bad value": ({"phase": "encoder", "epochs": 0}, "model 'inverted', phase 'encoder': 'epochs': Input should be"),
    "share": ({"phase": "encoder", "budget_share": 1.5}, r"budget_share of phase 'encoder' is 1.5: give one in \(0, 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_phase_that_cannot_be_is_named(mistake: str) -> None:
    options, message = MISTAKES[mistake]
    model = make()
    trainer = TrainingLoop(device=CPU, seed=0)
    trainer.fit(model, TRAIN, None)
    with pytest.raises(LatentbenchError, match=message):
        trainer.fit(model, TRAIN, None, **options)


def test_all_phases_are_of_one_model() -> None:
    trainer = TrainingLoop(device=CPU, seed=0)
    trainer.fit(make(), TRAIN, None)
    with pytest.raises(LatentbenchError, match=r"it calls trainer\.fit\(\) for two different models"):
        trainer.fit(make(), TRAIN, None, phase="encoder")


def test_an_error_in_a_later_phase_names_it() -> None:
    class Nan(Inverted):
        def training_step(self, batch: Batch) -> Any:
            loss = super().training_step(batch)
            return loss * torch.nan if self.progress.phase == "encoder" else loss

    with pytest.raises(LatentbenchError, match=r"loss 'loss' is nan in phase 'encoder', epoch 1, step 1 \(no"):
        train(make(kind=Nan))
