"""A facet's prior p(z) = sum_c pi_c N(z; mu_c, Sigma_c), its posterior q(z | x), and posteriors over the clusters c.

The part of the ELBO that depends on q(c | x) is sum_c q(c | x) (log pi_c + E_q(z | x)[log p(z | c)] - log q(c | x)).
For a fixed q(z | x) it is greatest for ``optimal_posterior``, where it is the logsumexp of log pi_c + E[log p(z | c)].
VaDE (Jiang et al., IJCAI 2017, eq. 16) takes ``average_posterior`` instead, which is never better, and equal with one
draw.
"""

from dataclasses import dataclass
from math import expm1, log, pi
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["Covariance", "Mixture", "Posterior", "average_posterior", "categorical_elbo", "optimal_posterior"]

Covariance = Literal["diagonal", "full"]

#: Sharpness of the softplus through which variances, or the diagonal of L, are positive; that of the authors' code.
BETA = 10.0
#: Standard deviations of a component, and the diagonal of L, stay above this, so that nothing is divided by 0. Ours.
LEAST_SCALE = 1e-3
#: Standard deviation of every component at the beginning, in every direction.
FIRST_SCALE = 0.1
#: log s^2 of q(z | x) stays below this, so that s is finite for images unlike those of training. Ours.
WIDEST = 20.0


@dataclass(frozen=True)
class Posterior:
    """q(z | x) = N(m, diag(s^2)) of one facet, for B images."""

    mean: Tensor
    """m, (B, D)."""
    log_var: Tensor
    """log s^2, (B, D)."""

    @classmethod
    def of(cls, outputs: Tensor) -> "Posterior":
        """From what a head gives, (B, 2 D): m, and log s^2, which is bounded smoothly and below 0 left as it is."""
        mean, log_var = outputs.float().chunk(2, dim=1)
        return cls(mean, WIDEST - softplus(WIDEST - log_var))

    def at(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Give z = m + s eps, and log q(z | x).

        Args:
            eps: (L, B, D) or (L, 1, D), standard normal for draws of z, or 0 for its mean.

        Returns:
            z (L, B, D), and the log density (L, B) in nats.
        """
        z = self.mean + (self.log_var / 2).exp() * eps
        return z, -(self.log_var + eps.square() + log(2 * pi)).sum(-1) / 2


class Mixture(nn.Module):
    """K Gaussian components c in D dimensions.

    Variances, or the diagonal of L where Sigma = L L^T, go through a softplus and have a lower bound. No value of the
    parameters makes a covariance that is not positive definite.

    Args:
        clusters: K, at least 1.
        dims: D, at least 1.
        covariance: of a component: diagonal, or full.
        learn_weights: whether pi is learned; otherwise it stays uniform.
    """

    logits: Tensor
    occupancy: Tensor
    """(K,): the share of images whose most probable component it is, among those last observed."""
    entropy: Tensor
    """(): the mean entropy of q(c | x) of these, in nats."""

    def __init__(self, clusters: int, dims: int, covariance: Covariance, *, learn_weights: bool) -> None:
        super().__init__()
        self.covariance = covariance
        self.mu = nn.Parameter(torch.randn(clusters, dims))
        value = FIRST_SCALE - LEAST_SCALE if covariance == "full" else FIRST_SCALE**2 - LEAST_SCALE**2
        self.rho = nn.Parameter(torch.full((clusters, dims), log(expm1(BETA * value)) / BETA))
        if covariance == "full":
            self.below = nn.Parameter(torch.zeros(clusters, dims, dims))  # what is on and above the diagonal is unused
        logits = torch.zeros(clusters)
        if learn_weights:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self.register_buffer("occupancy", torch.zeros(clusters))
        self.register_buffer("entropy", torch.zeros(()))

    @property
    def log_weights(self) -> Tensor:
        """(K,): log pi."""
        return self.logits.log_softmax(0)

    @property
    def scale(self) -> Tensor:
        """(K, D) standard deviations, or (K, D, D) lower triangular L: a component is mu_c + scale_c eps."""
        positive = softplus(self.rho, beta=BETA)
        if self.covariance == "diagonal":
            return (positive + LEAST_SCALE**2).sqrt()
        return self.below.tril(-1) + torch.diag_embed(positive + LEAST_SCALE)

    def log_prob(self, z: Tensor) -> Tensor:
        """Give log p(z | c) of every component: (..., D) -> (..., K) in nats."""
        scale, constant = self.scale, self.mu.shape[1] * log(2 * pi) / 2
        if self.covariance == "diagonal":
            distances: Tensor = ((z.unsqueeze(-2) - self.mu) / scale).square().sum(-1)
            return -distances / 2 - scale.log().sum(1) - constant
        difference = z.reshape(-1, z.shape[-1]).T - self.mu.unsqueeze(-1)  # (K, D, M)
        distances = torch.linalg.solve_triangular(scale, difference, upper=False).square().sum(1).T
        log_determinant = scale.diagonal(dim1=1, dim2=2).log().sum(1)
        return (-distances / 2 - log_determinant - constant).reshape(*z.shape[:-1], -1)

    def expected_log_prob(self, q: Posterior) -> Tensor:
        """E[log p(z | c)] over q(z | x), in closed form: (B, K) in nats.

        It is log N(m; mu_c, Sigma_c) - tr(Sigma_c^-1 diag(s^2)) / 2.
        """
        scale = self.scale
        if self.covariance == "diagonal":
            precision = scale.square().reciprocal()
        else:
            identity = torch.eye(scale.shape[-1], device=scale.device)
            precision = torch.linalg.solve_triangular(scale, identity, upper=False).square().sum(1)
        return self.log_prob(q.mean) - q.log_var.exp() @ precision.T / 2

    @torch.no_grad()
    def observe(self, q: Posterior) -> None:
        """Note to which components images belong, by the optimal q(c | x)."""
        found = optimal_posterior(self.log_weights, self.expected_log_prob(q)[None])
        self.occupancy.copy_(torch.bincount(found.argmax(1), minlength=len(self.mu)) / len(found))
        self.entropy.copy_(torch.special.entr(found).sum(1).mean())

    def log_marginal(self, z: Tensor) -> Tensor:
        """Give log p(z): (..., D) -> (...) in nats."""
        return (self.log_weights + self.log_prob(z)).logsumexp(-1)

    def sample(self, c: Tensor, temperature: float = 1.0) -> Tensor:
        """(N, D): z ~ p(z | c), for given clusters c (N,) int64; standard deviations are scaled by the temperature."""
        scale, eps = self.scale[c], temperature * torch.randn_like(self.mu[c])
        return self.mu[c] + (scale * eps if self.covariance == "diagonal" else (scale @ eps.unsqueeze(-1)).squeeze(-1))


def optimal_posterior(log_weights: Tensor, log_p_z: Tensor) -> Tensor:
    """The q(c | x) that is best for a q(z | x): softmax of log pi_c + E[log p(z | c)].

    Args:
        log_weights: (K,), log pi.
        log_p_z: (L, B, K), log p(z | c) at L draws of z, whose mean stands for the expectation; or one layer, exact.

    Returns:
        (B, K) probabilities.
    """
    return torch.softmax(log_weights + log_p_z.mean(0), 1)


def average_posterior(log_weights: Tensor, log_p_z: Tensor) -> Tensor:
    """VaDE's q(c | x), E[p(c | z)]. Arguments and result are those of ``optimal_posterior``."""
    return torch.softmax(log_weights + log_p_z, 2).mean(0)


def categorical_elbo(q: Tensor, log_weights: Tensor, log_p_z: Tensor) -> Tensor:
    """(B,): the part of the ELBO that depends on q(c | x), (B, K), in nats. Other arguments as above.

    >>> log_weights = torch.tensor([0.5, 0.5]).log()
    >>> log_p_z = torch.tensor([[[0.0, -3.0]], [[-2.0, 0.0]]])  # two draws, one image, two clusters
    >>> best = categorical_elbo(optimal_posterior(log_weights, log_p_z), log_weights, log_p_z)
    >>> vade = categorical_elbo(average_posterior(log_weights, log_p_z), log_weights, log_p_z)
    >>> bool(best > vade)
    True
    """
    elbo: Tensor = (q * (log_weights + log_p_z.mean(0)) + torch.special.entr(q)).sum(1)
    return elbo
