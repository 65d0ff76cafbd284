"""The subspaces of a code as an anomaly detector, by the Mahalanobis distance in each. This is our extension."""

import torch
from torch import Tensor, nn

__all__ = ["SubspaceGaussians"]

#: Added to each variance, relative to their mean, so that a direction that the encoder does not use does not decide.
RIDGE = 1e-6


class SubspaceGaussians(nn.Module):
    """A normal distribution of z_k for each value of attribute k; the values of one attribute share a covariance.

    Class means with a shared covariance are the detector of Lee et al. (2018, eq. 2). Fitting one to each subspace, for
    its own attribute, is ours. Attributes are judged one by one, so a combination of values that never occurred in
    training is no anomaly if each of the values did: the correlation between attributes does not enter.

    Args:
        subspaces: K.
        dims: d of each subspace.
        values: V, the largest cardinality.
    """

    means: Tensor
    whitening: Tensor
    known: Tensor

    def __init__(self, subspaces: int, dims: int, values: int) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(subspaces, values, dims))
        self.register_buffer("whitening", torch.eye(dims).repeat(subspaces, 1, 1))  # L^-1, covariance L L^T
        self.register_buffer("known", torch.ones(subspaces, values, dtype=torch.bool))  # values that had an item

    def fit(self, z: Tensor, s: Tensor) -> None:
        """Fit on codes z (N, K, d) and their labels s (K, N), negative where one is missing. Maximum likelihood."""
        for k, labels in enumerate(s):
            labelled = labels >= 0
            z_k, groups = z[labelled, k].double(), labels[labelled]
            counts = torch.bincount(groups, minlength=self.means.shape[1])
            means = z_k.new_zeros(self.means[k].shape).index_add_(0, groups, z_k) / counts.clamp_min(1)[:, None]
            residual = z_k - means[groups]
            covariance = residual.T @ residual / len(z_k)
            variance = covariance.diagonal().mean().clamp_min(1e-12)
            identity = torch.eye(len(covariance), dtype=z_k.dtype, device=z_k.device)
            factor = torch.linalg.cholesky(covariance + RIDGE * variance * identity)
            self.means[k] = means
            self.whitening[k] = torch.linalg.solve_triangular(factor, identity, upper=False)
            self.known[k] = counts > 0

    def forward(self, z: Tensor) -> Tensor:
        """(B,): the squared distance to the nearest mean, summed over the subspaces of z (B, K, d)."""
        offsets = z[:, :, None] - self.means
        distances = torch.einsum("kij,bkvj->bkvi", self.whitening, offsets).square().sum(3)
        return distances.masked_fill(~self.known, torch.inf).amin(2).sum(1)
