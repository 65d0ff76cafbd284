"""Which weights are kept, and when training stops, against the definition on made-up validation curves."""

import logging
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from latentbench import Batch, DataInfo, LatentbenchError, Model, Role, Split, StoredSplit, Trainer
from latentbench.records.record import Training
from latentbench.running.training import TrainingLoop

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=2, width=2, train_size=4)


def stored(size: int, role: Role) -> StoredSplit:
    images = np.random.default_rng(size).integers(0, 256, (size, 1, 2, 2), dtype=np.uint8)
    return StoredSplit(role, torch.from_numpy(images))


class Curve(Model):
    """Its weight counts the epochs; its validation loss in an epoch is what a given curve says."""

    class Config(Model.Config):
        batch_size: int = 4

    curve: list[float]

    def build(self, info: DataInfo) -> None:
        self.weight = nn.Parameter(torch.zeros(()))

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 1.0)

    def training_step(self, batch: Batch) -> Tensor:
        return -self.weight

    def validate(self, split: Split, trainer: Trainer) -> float | None:
        return self.curve[self.progress.epoch]


def train(model: Model, **options: Any) -> Training:
    trainer = TrainingLoop(device=CPU, seed=0, **options)
    model.fit(stored(4, Role.TRAIN), stored(4, Role.VALIDATION), trainer)
    assert trainer.training is not None
    return trainer.training


def make(kind: type[Model] = Curve, **options: Any) -> Any:
    return kind(kind.configure("test", options), INFO)


def stop(curve: list[float], patience: int, after: int) -> tuple[int, int]:
    """(Epochs made, epoch kept), by the definition; 0: none is selected."""
    best = 0
    for epoch in range(1, len(curve) + 1):
        if epoch > after:
            best = min(range(after + 1, epoch + 1), key=lambda e: curve[e - 1])  # the first of equals
            if epoch - best >= patience:
                break
    return epoch, best


@given(
    curve=st.lists(st.integers(-3, 3), min_size=1, max_size=12), patience=st.integers(1, 5), after=st.integers(0, 13)
)
def test_selection_and_patience_begin_after_the_given_epochs(curve: list[int], patience: int, after: int) -> None:
    epochs, best = stop([float(value) for value in curve], patience, after)
    model = make(epochs=len(curve), patience=patience, select_after=after)
    model.curve = curve
    training = train(model)
    assert training.epochs == epochs
    assert training.best_epoch == (best or None)
    assert int(model.weight) == (best or epochs)
    assert training.stopped == ("epochs" if epochs == len(curve) else "patience")
    assert [losses["validation"] for losses in training.losses] == curve[:epochs]


def test_a_rising_loss_weight_no_longer_keeps_the_first_epoch() -> None:
    curve = [float(min(epoch, 6)) - 0.1 * epoch for epoch in range(12)]  # warm-up for 6 epochs, then slowly better
    without, with_it = make(epochs=12, patience=6), make(epochs=12, patience=6, select_after=6)
    without.curve = with_it.curve = curve
    assert train(without).best_epoch == 1
    assert train(with_it).best_epoch == 12


def test_the_user_is_told_when_training_ends_before_selection_begins(caplog: pytest.LogCaptureFixture) -> None:
    model = make(epochs=9, patience=2, select_after=5)
    model.curve = [1.0] * 9
    with caplog.at_level(logging.WARNING, "latentbench"):
        assert train(model, max_steps=3).best_epoch is None
    expected = "model 'curve' was trained for 3 epochs, and selects after 5: the last weights are kept"
    assert [record.getMessage() for record in caplog.records] == [expected]


def test_select_after_without_patience_is_refused() -> None:
    with pytest.raises(LatentbenchError, match="select_after needs patience: without it nothing is selected"):
        make(select_after=3)


def test_new_options_stay_out_of_the_key_at_their_defaults() -> None:
    options = Curve.Config().model_dump()
    assert {"select_after", "clip_gradients", "memory_format"}.isdisjoint(options)
    changed = Curve.Config(patience=1, select_after=1, clip_gradients=1.0, memory_format="channels_last").model_dump()
    assert {"select_after", "clip_gradients", "memory_format"} <= changed.keys()


class Without(Curve):
    """Has no validation loss."""

    def validate(self, split: Split, trainer: Trainer) -> float | None:
        return None


def test_without_a_validation_loss_nothing_is_recorded_or_selected() -> None:
    model = make(Without, epochs=3)
    training = train(model)
    assert [set(losses) for losses in training.losses] == [{"loss"}] * 3
    assert (training.best_epoch, training.stopped, int(model.weight)) == (None, "epochs", 3)


def test_patience_without_a_validation_loss_is_refused() -> None:
    with pytest.raises(LatentbenchError) as error:
        train(make(Without, patience=2))
    assert str(error.value) == (
        "model 'without': it has 'patience', but its validate() gives no loss to select by: leave 'patience' unset"
    )


@pytest.mark.parametrize(("given_", "shown"), [(torch.zeros(()), "a tensor of shape ()"), ("low", "str")])
def test_a_validation_loss_that_is_no_number_is_named(given_: Any, shown: str) -> None:
    model = make(epochs=2)
    model.curve = [given_, given_]
    with pytest.raises(LatentbenchError, match=rf"validate\(\) gave {shown.replace('()', r'..')}: give a float, or"):
        train(model)


class Noisy(Curve):
    """Its own validation: draws from both generators, and computes what is no mean of batches."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.seen: list[float] = []

    def training_step(self, batch: Batch) -> Tensor:
        self.seen.append(batch.images.sum().item() + torch.rand(()).item())
        return -self.weight

    def validate(self, split: Split, trainer: Trainer) -> float | None:
        assert not self.training
        assert not torch.is_grad_enabled()
        index = torch.randint(len(split), (3,), generator=trainer.generator)
        return split.batch(index, trainer.generator).images.median().item() + torch.rand(()).item()


def test_a_validation_of_its_own_sees_the_same_numbers_each_time_and_does_not_disturb_training() -> None:
    model, undisturbed = make(Noisy, epochs=5), make(Noisy, epochs=5)
    undisturbed.validate = lambda split, trainer: None
    torch.manual_seed(0)
    losses = [entry["validation"] for entry in train(model).losses]
    torch.manual_seed(0)
    train(undisturbed)
    assert all(a == b for a, b in pairwise(losses))
    assert model.seen == undisturbed.seen
