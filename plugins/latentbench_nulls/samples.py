"""Nulls for samples: the training images themselves, and a Gaussian for each of their pixels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from latentbench import DataInfo, Split
from latentbench_nulls.null import MOST_IMAGES, Null, as_bytes, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["PixelGaussian", "TrainingImages"]

#: Tiles of the picture of samples.
_SHOWN = 16


class TrainingImages(Null):
    """Samples are training images, drawn with replacement: what remains is the noise of finite sets."""

    name = "null-training-images"

    images: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffer of the training images, (N, C, H, W) in 256 gray levels."""
        self.register_buffer(
            "images", torch.zeros(min(info.train_size, MOST_IMAGES), *info.image_shape, dtype=torch.uint8)
        )

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Keep the training images, or 10,000 of them, each rounded to 8 bits."""
        self.images.copy_(torch.cat([as_bytes(batch.images) for batch in draw(train, trainer)]))

    def sample(self, count: int) -> Tensor:
        """(count, C, H, W): training images."""
        return self.images[torch.randint(len(self.images), (count,), device=self.images.device)] / 255

    def pictures(self, images: Tensor) -> Mapping[str, Tensor]:
        """In place of the harness's picture of samples, which takes them to show no images of the dataset."""
        return {"samples": self.sample(_SHOWN)}


class PixelGaussian(Null):
    """Samples are noise: each pixel and channel is a Gaussian of its own, fitted to the training images."""

    name = "null-pixel-gaussian"

    mean: Tensor
    std: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffers of mean and standard deviation, (C, H, W)."""
        self.register_buffer("mean", torch.zeros(info.image_shape))
        self.register_buffer("std", torch.zeros(info.image_shape))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit to the training images, or to 10,000 of them."""
        n, total, squares = 0, torch.zeros_like(self.mean).double(), torch.zeros_like(self.mean).double()
        for batch in draw(train, trainer):
            x = batch.images.double()
            n, total, squares = n + len(x), total + x.sum(0), squares + x.square().sum(0)
        self.mean.copy_(total / n)
        self.std.copy_((squares / n - (total / n).square()).clamp_min(0).sqrt())

    def sample(self, count: int) -> Tensor:
        """(count, C, H, W), clamped to [0, 1]."""
        noise = torch.randn(count, *self.mean.shape, device=self.mean.device)
        return (self.mean + self.std * noise).clamp(0, 1)
