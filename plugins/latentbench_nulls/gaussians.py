"""Nulls for anomaly maps with one Gaussian for each position: of raw patches, and of untrained features."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo, LatentbenchError, Options, Split
from latentbench_nulls.null import GRID, NullMap, draw
from latentbench_nulls.untrained import UntrainedNetwork
from latentbench_patches import distances, moments, whitening

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["PatchGaussian", "UntrainedPatchGaussian"]

#: Images that are looked at at a time.
_AT_ONCE = 32
#: Variance that is added in each dimension, because a position may look the same in all training images.
_NOISE = 1e-4


class _PositionGaussian(NullMap):
    """PaDiM (Defard et al. 2021, sections III.A to III.C), whatever the features are.

    Features of a position are projected onto ``dimensions`` random orthonormal directions, where PaDiM picks as many at
    random. One Gaussian is fitted to each position; the covariance is shrunk towards a multiple of the identity.
    """

    class Config(Options):
        dimensions: int = Field(48, ge=1, description="d: numbers that are kept of each position's features")
        shrinkage: float = Field(0.1, ge=0, le=1, description="weight of the multiple of the identity")

        def unused(self) -> Mapping[str, str]:
            """The shrinkage of a single variance."""
            own = {"shrinkage": "in one dimension a covariance is a multiple of the identity"}
            return {**super().unused(), **(own if self.dimensions == 1 else {})}

    config: Config
    directions: Tensor
    mean: Tensor
    whitening: Tensor

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(B, cells, D) for images (B, C, H, W)."""

    def build(self, info: DataInfo) -> None:
        """Draw the directions, (D, d), and make the buffers of the fit.

        Raises:
            LatentbenchError: d is more than D.
        """
        down, across = GRID.shape(info.height, info.width)
        features = self.features(torch.zeros(1, *info.image_shape)).shape[2]
        d = self.config.dimensions
        if d > features:
            what = f"model '{self.name}': dimensions={d} is more than the {features} features of a position"
            raise LatentbenchError(what, f"set dimensions to {features} at most")
        self.register_buffer("directions", nn.init.orthogonal_(torch.empty(features, d)))
        self.register_buffer("mean", torch.zeros(down * across, d))
        self.register_buffer("whitening", torch.zeros(down * across, d, d))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit mean and covariance of each position to the training images, or to 10,000 of them."""
        codes = (self._codes(part) for batch in draw(train, trainer) for part in torch.split(batch.images, _AT_ONCE))
        mean, covariance = moments(codes)
        identity = torch.eye(mean.shape[1], dtype=torch.float64, device=mean.device)
        variance = covariance.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        alpha = self.config.shrinkage
        shrunk = (1 - alpha) * covariance + (alpha * variance + _NOISE) * identity
        self.mean.copy_(mean)
        self.whitening.copy_(whitening(shrunk))

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the Mahalanobis distance (eq. 2), interpolated between the centres of cells."""
        codes = (self._codes(part) for part in torch.split(images, _AT_ONCE))
        found = [distances(each, self.mean, self.whitening).sqrt() for each in codes]
        return GRID.to_pixels(torch.cat(found), self.info.height, self.info.width)

    def _codes(self, images: Tensor) -> Tensor:
        return self.features(images) @ self.directions


class PatchGaussian(_PositionGaussian):
    """A Gaussian for each position over the raw 8x8 patch there: PaDiM without a network."""

    name = "null-patch-gaussian"

    def features(self, images: Tensor) -> Tensor:
        """(B, cells, 64 C): pixels of the patch centred on each 4x4 cell."""
        return GRID.patches(images)


class UntrainedPatchGaussian(_PositionGaussian):
    """A Gaussian for each position over the features of an untrained network there: PaDiM without training."""

    name = "null-untrained-patch-gaussian"

    def build(self, info: DataInfo) -> None:
        """Draw the network's weights, then the directions."""
        self.network = UntrainedNetwork(info.channels)
        super().build(info)

    def features(self, images: Tensor) -> Tensor:
        """(B, cells, 112): all layers at each 4x4 cell, interpolated bilinearly."""
        size = GRID.shape(self.info.height, self.info.width)
        maps = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in self.network(images)]
        return torch.cat(maps, 1).flatten(2).transpose(1, 2)
