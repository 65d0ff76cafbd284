"""Single digits, as datasets take them from their sources: grey images and their classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["Digits"]


@dataclass(frozen=True)
class Digits:
    """Images of one digit each; in Fashion-MNIST, of one article each, whose classes are numbered 0 to 9."""

    images: Tensor
    """(N, H, W) uint8, 0 is the background."""
    labels: Tensor
    """(N,) int64, the class of each image, from 0 to 9."""

    def of(self, classes: Sequence[int]) -> "Digits":
        """The digits of these classes, in their present order."""
        chosen = torch.isin(self.labels, torch.tensor(classes))
        return Digits(self.images[chosen], self.labels[chosen])

    def resized(self, size: int) -> "Digits":
        """The same digits at (size, size), by bilinear interpolation with half-pixel centres, rounded to uint8.

        For enlarging: without an antialiasing filter, shrinking by much would skip pixels.
        """
        if self.images.shape[1:] == (size, size):
            return self
        enlarged = interpolate(self.images[:, None].to(torch.float32), (size, size), mode="bilinear")
        return Digits(enlarged[:, 0].round_().to(torch.uint8), self.labels)
