"""One Gaussian for each place of an image, as of PaDiM (Defard et al. 2021, sections III.A to III.C)."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["distances", "moments", "whitening"]


def moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean (places, D) and covariance (places, D, D) of vectors at each place, float64.

    Args:
        batches: one or more of (B, places, D), any of which may have another B.
    """
    count = 0
    total = squares = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        x = batch.transpose(0, 1).double()
        # in float64, since a covariance is the small difference of two of these
        count, total = count + x.shape[1], total.to(x.device) + x.sum(1)
        squares = squares.to(x.device) + x.transpose(1, 2) @ x
    mean = total / count
    return mean, squares / count - mean[:, :, None] * mean[:, None, :]


def whitening(covariance: Tensor) -> Tensor:
    """W of the same shape (..., D, D) with W C W' = 1: the inverse of the Cholesky factor."""
    identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    inverse: Tensor = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), identity, upper=False)
    return inverse


def distances(x: Tensor, mean: Tensor, whitening: Tensor) -> Tensor:
    """Squared Mahalanobis distances (B, places) of x (B, places, D) to means (places, D)."""
    centred = x.sub(mean).transpose(0, 1)
    return (centred @ whitening.transpose(1, 2)).square().sum(2).T
