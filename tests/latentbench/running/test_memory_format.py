"""The option memory_format: what is channels-last when, and that nothing but rounding changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from latentbench import Batch, DataInfo, Model, Role, Split, StoredSplit
from latentbench.evaluation.inference import infer
from latentbench.running.training import TrainingLoop

CPU = torch.device("cpu")
INFO = DataInfo(channels=3, height=8, width=8, train_size=20)


def stored(size: int, role: Role) -> StoredSplit:
    images = np.random.default_rng(size).integers(0, 256, (size, 3, 8, 8), dtype=np.uint8)
    return StoredSplit(role, torch.from_numpy(images))


TRAIN, VALIDATION = stored(20, Role.TRAIN), stored(10, Role.VALIDATION)


def is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


class Convolutional(Model):
    """Two convolutions with batch statistics; notes how the images of each step are stored."""

    class Config(Model.Config):
        epochs: int = 2
        batch_size: int = 5

    def build(self, info: DataInfo) -> None:
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.ConvTranspose2d(6, 3, 3, padding=1),
        )
        self.seen: list[tuple[bool, bool, bool]] = []

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)

    def training_step(self, batch: Batch) -> Tensor:
        return self.score(batch.images).mean()

    def score(self, images: Tensor) -> Tensor:
        weights = [is_channels_last(weight) for weight in self.parameters() if weight.ndim == 4]
        self.seen.append((self.training, is_channels_last(images), all(weights)))
        return (self.net(images) - images).square().mean((1, 2, 3))

    def sample(self, count: int) -> Tensor:
        return torch.zeros(count, *self.info.image_shape)


def make(seed: int = 0, **options: Any) -> Convolutional:
    torch.manual_seed(seed)
    return Convolutional(Convolutional.configure("test", options), INFO)


def train(model: Model, validation: Split | None = VALIDATION, **options: Any) -> TrainingLoop:
    trainer = TrainingLoop(device=CPU, seed=0, **options)
    model.fit(TRAIN, validation, trainer)
    return trainer


def scores(model: Model) -> Tensor:
    batches = [VALIDATION.batch(torch.arange(10), torch.Generator()).images]
    return torch.from_numpy(infer(model, "score", batches, INFO, seed=0, device=CPU, where="")[""])


def test_images_and_weights_are_channels_last_in_training_validation_and_evaluation() -> None:
    model, plain = make(memory_format="channels_last"), make()
    for each in (model, plain):
        train(each)
        scores(each)
        infer(each, "sample", [torch.empty(2, 0)], INFO, seed=0, device=CPU, where="")
    assert set(model.seen) == {(True, True, True), (False, True, True)}
    assert set(plain.seen) == {(True, False, False), (False, False, False)}


def test_weights_and_scores_are_equal_up_to_rounding() -> None:
    model, plain = make(memory_format="channels_last"), make()
    losses = [train(each).training.losses for each in (model, plain)]  # type: ignore[union-attr]
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name].contiguous(), weight, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(scores(model), scores(plain), rtol=1e-3, atol=1e-5)
    assert losses[0][-1] == pytest.approx(losses[1][-1], rel=1e-3)


def test_a_model_that_is_built_and_loaded_is_evaluated_as_the_one_that_was_trained() -> None:
    model = make(memory_format="channels_last")
    train(model)
    loaded = make(seed=1, memory_format="channels_last")
    loaded.load_state_dict({name: tensor.contiguous() for name, tensor in model.state_dict().items()})
    assert torch.equal(scores(loaded), scores(model))


def test_a_channels_last_fit_resumes_to_the_same_bits(tmp_path: Path) -> None:
    class CutOffError(Exception):
        pass

    def notify(made: int, total: int, losses: dict[str, float]) -> None:
        if made >= 6:
            raise CutOffError

    options: dict[str, Any] = {"memory_format": "channels_last", "patience": 1}
    model = make(**options)
    train(model)
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(CutOffError):
        train(make(**options), checkpoint=path, checkpoint_seconds=0.0, notify=notify)
    resumed = make(seed=9, **options)
    assert train(resumed, checkpoint=path).resumed == 1
    assert all(torch.equal(weight, resumed.state_dict()[name]) for name, weight in model.state_dict().items())
