"""What is usual among the residuals of training images: at each pixel by itself, or in each small patch."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from latentbench_patches import Grid, distances, moments, whitening

__all__ = ["GRID", "Usual", "UsualPatches"]

#: Where patches lie.
GRID = Grid(side=4, cell=2)
#: Share of the mean variance that is added to each: where training images are all restored alike, as backgrounds are,
#: a small residual means little.
_FLOOR = 0.1
#: The same of patches. Training images know their own residuals better than other normal images do, and a covariance
#: has more numbers to know.
_FLOOR_OF_PATCHES = 3.0


@dataclass(frozen=True)
class Usual:
    """Mean and variance of the residuals of training images in each channel and at each place."""

    mean: Tensor
    """(C, H, W)."""
    variance: Tensor
    """(C, H, W)."""

    @classmethod
    def of(cls, residuals: Iterable[Tensor]) -> Self:
        """Of one or more batches (B, C, H, W) together."""
        count, total, squares = 0, torch.tensor(0.0), torch.tensor(0.0)
        for batch in residuals:
            count += len(batch)
            # in float64, since a variance is the small difference of two of these
            total = total.to(batch.device) + batch.double().sum(0)
            squares = squares.to(batch.device) + batch.double().square().sum(0)
        mean = total / count
        return cls(mean.float(), (squares / count - mean.square()).clamp(min=0).float())

    def standardized(self, residuals: Tensor) -> Tensor:
        """(..., C, H, W): squared distances to the mean, over variances to which a tenth of their mean is added."""
        variance = self.variance + _FLOOR * self.variance.mean()
        return (residuals - self.mean).square() / variance.clamp(min=torch.finfo(variance.dtype).eps)


@dataclass(frozen=True)
class UsualPatches:
    """A Gaussian of the residuals of training images for each patch: PaDiM (Defard et al. 2021), of residuals."""

    mean: Tensor
    """(patches, D)."""
    whitening: Tensor
    """(patches, D, D): the inverse of the Cholesky factor of the covariance."""

    @classmethod
    def of(cls, residuals: Iterable[Tensor]) -> Self:
        """Of one or more batches (B, C, H, W) together; to each variance three times their mean is added."""
        mean, covariance = moments(GRID.patches(batch) for batch in residuals)
        variance = covariance.diagonal(dim1=1, dim2=2)
        variance += (_FLOOR_OF_PATCHES * variance.mean()).clamp(min=torch.finfo(torch.float32).eps)
        return cls(mean.float(), whitening(covariance).float())

    def distances(self, residuals: Tensor) -> Tensor:
        """(B, H, W) for residuals (B, C, H, W): squared Mahalanobis distances, interpolated between patches."""
        height, width = residuals.shape[2:]
        return GRID.to_pixels(distances(GRID.patches(residuals), self.mean, self.whitening), height, width)
