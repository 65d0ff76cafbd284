"""Nulls for anomaly maps that look at single pixels and their surroundings."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo, Split
from latentbench_nulls.null import NullMap, as_bytes, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["LocalContrast", "MedianImage"]

#: Side of the square around a pixel whose contrast is measured.
_WINDOW = 9


class LocalContrast(NullMap):
    """Standard deviation of the pixels in a 9x9 square around each pixel; borders are repeated outwards."""

    name = "null-local-contrast"
    deterministic = True

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W) float64: the root of the variance, summed over channels."""
        x = F.pad(images.double(), 4 * (_WINDOW // 2,), mode="replicate")
        variance = F.avg_pool2d(x.square(), _WINDOW, 1) - F.avg_pool2d(x, _WINDOW, 1).square()
        return variance.sum(1).clamp_min(0).sqrt()


class MedianImage(NullMap):
    """Squared distance to the median of the training images, pixel by pixel and channel by channel.

    Of an even number of values, the lower of the two in the middle is the median.
    """

    name = "null-median-image"

    median: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffer of the median, (C, H, W)."""
        self.register_buffer("median", torch.zeros(info.image_shape))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Take the median of the training images, or of 10,000 of them, each rounded to 8 bits."""
        images = torch.cat([as_bytes(batch.images) for batch in draw(train, trainer)])
        self.median.copy_(images.flatten(1).T.contiguous().median(1).values.view(self.median.shape) / 255)

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the squared difference, summed over channels."""
        return (images - self.median).square().sum(1)

    def score(self, images: Tensor) -> Tensor:
        """(B,): the sum of the map."""
        return self.localize(images).sum((1, 2))
