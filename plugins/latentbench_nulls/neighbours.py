"""Nulls that compare an image, or its patches, with the nearest of the training images."""

import logging
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from latentbench import DataInfo, Options, Split
from latentbench_nulls.null import GRID, MOST_IMAGES, Null, NullMap, as_bytes, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["NearestImage", "NearestPatch", "fingerprint", "nearest"]

log = logging.getLogger("latentbench")

#: Points and references that are compared at a time, so that the table of distances fits into a processor's cache.
_POINTS, _REFERENCES = 1024, 1024


class NearestImage(Null):
    """Euclidean distance to the nearest training image."""

    name = "null-nearest-image"

    references: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffer of the training images, (N, C H W) in 256 gray levels."""
        number = min(info.train_size, MOST_IMAGES)
        self.register_buffer("references", torch.zeros(number, info.image_numel, dtype=torch.uint8))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Keep the training images, or 10,000 of them, each rounded to 8 bits."""
        self.references.copy_(torch.cat([as_bytes(batch.images).flatten(1) for batch in draw(train, trainer)]))

    def score(self, images: Tensor) -> Tensor:
        """(B,): the distance, all pixels and channels being in [0, 1]."""
        x = images.flatten(1)
        return (x - self.references[nearest(x, self.references)] / 255).square().sum(1).sqrt()


class NearestPatch(NullMap):
    """Squared Euclidean distance of each 8x8 patch to the nearest of some patches of training images, at any place.

    It is PatchCore (Roth et al. 2022, section 3) with raw pixels in place of a network's features and a random subset
    in place of a coreset.
    """

    name = "null-nearest-patch"

    class Config(Options):
        patches: int = Field(10_000, ge=1, description="about how many patches of training images are kept")

    config: Config
    references: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffer of the patches, (N, 64 C): as many of each image, of as many images as there are patches."""
        down, across = GRID.shape(info.height, info.width)
        self.images = min(info.train_size, self.config.patches)
        self.of_each = min(-(-self.config.patches // self.images), down * across)
        self.register_buffer("references", torch.zeros(self.images * self.of_each, info.channels * GRID.side**2))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Keep random patches of each image; there is a warning where more were asked for than there are."""
        asked, default = self.config.patches, self.Config.model_fields["patches"].default
        if asked != default and asked > len(self.references):
            what = "model '%s': patches=%d is more than the %d patches of the training images: all are kept"
            log.warning(what, self.name, asked, len(self.references))
        kept = []
        for batch in draw(train, trainer, self.images):
            found = GRID.patches(batch.images)
            keys = torch.rand(found.shape[:2], generator=trainer.generator, device=trainer.device)
            chosen = keys.argsort(1)[:, : self.of_each, None]
            kept.append(found.gather(1, chosen.expand(-1, -1, found.shape[2])).flatten(0, 1))
        self.references.copy_(torch.cat(kept))

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the squared distance, interpolated between the centres of patches."""
        found = GRID.patches(images)
        distances = torch.cat([_distance(part, self.references) for part in torch.split(found.flatten(0, 1), _POINTS)])
        return GRID.to_pixels(distances.view(found.shape[:2]), self.info.height, self.info.width)


def nearest(points: Tensor, references: Tensor) -> Tensor:
    """Which reference is nearest to each point: (B,) int64, for points (B, D) in [0, 1] and references (N, D) uint8."""
    least, index = [], []
    for start, block in zip(range(0, len(references), _REFERENCES), torch.split(references, _REFERENCES), strict=True):
        y = block.to(points.dtype) / 255
        found = torch.addmm(y.square().sum(1), points, y.T, alpha=-2).min(1)
        least.append(found.values)
        index.append(found.indices + start)
    best = torch.stack(least).argmin(0)
    return torch.stack(index).gather(0, best[None])[0]


def fingerprint(images: Tensor) -> Tensor:
    """(N,) int64 for images (N, D) uint8: their sum with fixed random weights, modulo 2**64; equal for equal images."""
    weights = torch.randint(2**62, (images.shape[1],), generator=torch.Generator().manual_seed(0)).to(images.device)
    return torch.cat([(part * weights).sum(1) for part in torch.split(images, _REFERENCES)])


def _distance(points: Tensor, references: Tensor) -> Tensor:
    """Squared distance to the nearest reference: (B,), for points (B, D) and references (N, D)."""
    blocks = (
        torch.addmm(y.square().sum(1), points, y.T, alpha=-2).amin(1) for y in torch.split(references, _REFERENCES)
    )
    return (points.square().sum(1) + torch.stack(list(blocks)).amin(0)).clamp_min(0)
