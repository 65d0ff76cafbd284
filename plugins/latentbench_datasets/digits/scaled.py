"""Stored images of which each is multiplied by a factor when it is given out."""

from typing import Self

import torch
from torch import Tensor

from latentbench import Batch, Split, StoredSplit, content_hash

__all__ = ["ScaledSplit"]


class ScaledSplit(Split):
    """The images of another split, each multiplied by a factor. They are stored once, in the other split.

    A factor above 1 takes an image out of [0, 1].

    Args:
        stored: the images, with targets and conditions that stay as they are.
        scale: (N,) float32 >= 0, the factor of each image.
    """

    def __init__(self, stored: StoredSplit, scale: Tensor) -> None:
        self.role = stored.role
        self.targets = stored.targets
        self.conditions = stored.conditions
        self.image_range = (0.0, max(1.0, float(scale.max())))
        self._stored = stored
        self._scale = scale

    def __len__(self) -> int:
        return len(self._stored)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of the stored split and the factors."""
        return content_hash("scaled", self._stored.content_hash, self._scale.cpu().numpy())

    def to(self, device: torch.device) -> Self:
        """The same split with its images and factors on ``device``."""
        return type(self)(self._stored.to(device), self._scale.to(device))

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The images at ``index``, as float32 in ``image_range``."""
        batch = self._stored.batch(index, generator)
        return Batch(batch.images.mul_(self._scale[index, None, None, None]), batch.attributes)
