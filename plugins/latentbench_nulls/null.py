"""What all nulls share: they have no training loop, and see a bounded number of training images."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentbench import Batch, DataInfo, Model, Options, Split
from latentbench_patches import Grid

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["GRID", "MOST_IMAGES", "Null", "NullMap", "as_bytes", "draw"]

#: Where patches lie: they are 8x8, on cells of 4x4.
GRID = Grid(side=8, cell=4)
#: Training images that a null is fitted to, at most.
MOST_IMAGES = 10_000
#: Images that are drawn at a time.
_AT_ONCE = 256


class Null(Model):
    """A row without a trained network. By default there is nothing to fit, and there are no options."""

    null = True

    class Config(Options):
        """No options."""

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Nothing is fitted."""


class NullMap(Null):
    """A null that makes an anomaly map, the largest value of which is its score."""

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Images with attributes have no masks that a map could be held against, and maps of them take long."""
        return "it locates defects, and images with attributes have none" if info.attributes else None

    @abstractmethod
    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W) for images (B, C, H, W)."""

    def score(self, images: Tensor) -> Tensor:
        """(B,): the largest of the map."""
        return self.localize(images).amax((1, 2))


def draw(train: Split, trainer: "Trainer", most: int = MOST_IMAGES) -> Iterator[Batch]:
    """All images of the training split once, or ``most`` of them, in random order and in batches.

    Order and choice come from ``trainer.generator``, and so do the images of a split that composes them.
    """
    order = torch.randperm(len(train), generator=trainer.generator, device=trainer.device)
    for index in torch.split(order[:most], _AT_ONCE):
        yield train.batch(index, trainer.generator)


def as_bytes(images: Tensor) -> Tensor:
    """Images in [0, 1], rounded to 256 gray levels: uint8 of the same shape."""
    return images.mul(255).round().to(torch.uint8)
