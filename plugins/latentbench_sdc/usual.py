"""What is usual among the residuals of training images: at each pixel by itself, or in each small patch.

Of patches, what is usual among the images themselves can be had as well.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from latentbench_patches import Grid, distances, moments, whitening

__all__ = ["GRID", "Usual", "UsualPatches", "UsualPatchesWithImage"]

#: Where patches lie.
GRID = Grid(side=4, cell=2)
#: Share of the mean variance that is added to each: where training images are all restored alike, as backgrounds are,
#: a small residual means little.
_FLOOR = 0.1
#: The same of patches. Training images know their own residuals better than other normal images do, and a covariance
#: has more numbers to know.
_FLOOR_OF_PATCHES = 3.0
#: The same where residual and image are measured together, of each by itself.
_FLOOR_WITH_IMAGE = 1.0


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
        return cls(mean.float(), whitening(_floored(covariance, _FLOOR_OF_PATCHES)).float())

    def distances(self, residuals: Tensor) -> Tensor:
        """(B, H, W) for residuals (B, C, H, W): squared Mahalanobis distances, interpolated between patches."""
        height, width = residuals.shape[2:]
        return GRID.to_pixels(distances(GRID.patches(residuals), self.mean, self.whitening), height, width)


@dataclass(frozen=True)
class UsualPatchesWithImage:
    """Two Gaussians for each patch, of the residuals of training images and of the images themselves.

    Either is scaled, so that training images are in the root mean square over all patches at distance 1.
    """

    mean: Tensor
    """(2, patches, D): of residuals, and of images."""
    whitening: Tensor
    """(2, patches, D, D): inverses of the Cholesky factors of the covariances, scaled."""

    @classmethod
    def of(cls, pairs: Iterable[Tensor]) -> Self:
        """Of one or more batches (B, 2 C, H, W) together, residuals and then images along the channels.

        To each variance the mean variance of its kind is added, that of residuals or that of images.
        """
        mean, covariance = moments(_patches_of_both(batch) for batch in pairs)
        scaled = [_scaled(one, _FLOOR_WITH_IMAGE) for one in covariance.chunk(2)]
        return cls(torch.stack(mean.chunk(2)).float(), torch.stack(scaled).float())

    def distances(self, pairs: Tensor) -> Tensor:
        """(B, H, W) for pairs (B, 2 C, H, W): the mean of both Mahalanobis distances, interpolated between patches."""
        height, width = pairs.shape[2:]
        squares = distances(_patches_of_both(pairs), self.mean.flatten(0, 1), self.whitening.flatten(0, 1))
        return GRID.to_pixels(torch.stack(squares.sqrt().chunk(2, 1)).mean(0), height, width)


def _patches_of_both(pairs: Tensor) -> Tensor:
    """(B, 2 C, H, W) -> (B, 2 patches, D): the patches of the first half of the channels, then those of the second."""
    return torch.cat([GRID.patches(half) for half in pairs.chunk(2, 1)], 1)


def _floored(covariance: Tensor, share: float) -> Tensor:
    """Covariances (patches, D, D) with a share of their mean variance added to each variance."""
    floored = covariance.clone()
    variance = floored.diagonal(dim1=1, dim2=2)
    variance += (share * variance.mean()).clamp(min=torch.finfo(torch.float32).eps)
    return floored


def _scaled(covariance: Tensor, share: float) -> Tensor:
    """(patches, D, D): whitening by the floored covariances, under which the mean squared distance of training is 1."""
    white = whitening(_floored(covariance, share))
    # the mean of |W (x - m)|^2 is the trace of W C W'
    square = (white @ covariance * white).sum((1, 2)).mean()
    return white / square.sqrt().clamp(min=torch.finfo(torch.float32).eps)
