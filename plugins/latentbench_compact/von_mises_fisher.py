"""The von Mises-Fisher distribution, the posterior of the hyperspherical VAE (Davidson et al., UAI 2018).

Sources: Ulrich 1984, "Computer generation of distributions on the m-sphere"; Wood 1994, "Simulation of the von Mises
Fisher distribution". The notation is that of ``latentbench_compact.spherical``.
"""

from functools import lru_cache
from math import log

import numpy as np
import torch
from scipy.special import roots_jacobi
from torch import Tensor

from latentbench_compact.spherical import Integrals, Spherical, first, log_gamma

__all__ = ["VonMisesFisher"]

#: Proposals for a draw. One is accepted with probability 0.66 or more: all of them fail once in 10^14 draws.
PROPOSALS = 32


class VonMisesFisher(Spherical):
    """von Mises-Fisher: density C_m(kappa) exp(kappa mu'z), so T = w - 1 (Davidson et al. 2018).

    For m = 3 a draw inverts the distribution function. Otherwise it is the first accepted of 32 proposals (Ulrich 1984,
    Wood 1994): always as many, so that it always ends, and an item's draw does not depend on its batch. Its gradient in
    kappa is the implicit one; that along an accepted proposal would be biased.

    Relative errors, before rounding to the dtype of kappa, for m from 2 to 128 and kappa from 1e-3 to 1e8: 2e-12 of KL
    (1e-14 nats where KL is below 1e-3), 1e-12 of log C_m, 3e-10 (m = 2) or 5e-13 (m > 2) of their derivatives, and
    5e-6 (m = 2) or 1e-7 (m > 3) of the derivatives of single draws, half of which have 15 digits.

    >>> q = VonMisesFisher(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([5.0]))
    >>> round(q.kl().item(), 4)  # 5 coth 5 - 1 + log 5 - log sinh 5
    1.3031
    """

    @property
    def _mode(self) -> Tensor:
        return torch.asinh(2 * self._kappa / (self.m - 1)) / 2

    def _statistic(self, y: Tensor) -> Tensor:
        return -2 * torch.sigmoid(-2 * y)

    def _statistic_slope(self, y: Tensor) -> Tensor:
        return 1 / y.cosh().square()

    def _statistic_at(self, near: Tensor, far: Tensor) -> Tensor:
        return -near / 2

    def _log_acceptance(self, x_0_t: Tensor) -> Tensor:
        """Log probability to accept the proposal, at most 0: kappa w + (m - 1) log(1 - x_0 w) - c in Wood's symbols."""
        return (self.m - 1) * (x_0_t / (1 + x_0_t) - x_0_t.log1p())

    def _integrate(self) -> Integrals:
        t, log_weights = _uniform_axis(self.m, self._kappa.device)
        y_0 = self._mode
        log_weights = log_weights + self._log_acceptance(y_0.tanh() * t)
        # exp(kappa T) of the uniform distribution, over its share in the proposals, where both are largest
        log_peak = self._kappa * self._statistic(y_0) - (self.m - 1) * (torch.logaddexp(y_0, -y_0) - log(2))
        of_t = self._statistic(y_0 + t.atanh())
        weights = log_weights.softmax(1)
        mean = (weights * of_t).sum(1, keepdim=True)
        variance = (weights * (of_t - mean).square()).sum(1)
        return Integrals(log_peak[:, 0] + log_weights.logsumexp(1), mean[:, 0], variance)

    @staticmethod
    def _rapidity_noise(count: int, m: int, device: torch.device | str) -> Tensor:
        """One uniform number (m = 3), or for each proposal artanh t, then for each a uniform number to accept it by."""
        if m == 3:
            return torch.rand(count, 1, device=device)
        # (1 + t) / 2 of the uniform distribution is Beta((m - 1) / 2, (m - 1) / 2): a share of one of two gammas
        a, b = log_gamma((m - 1) / 2, (2, count, PROPOSALS), device)
        return torch.cat([(a - b) / 2, torch.rand(count, PROPOSALS, device=device)], dim=1)

    def _rapidity(self, noise: Tensor) -> Tensor:
        if self.m == 3:
            return self._inverse(noise[..., 0])
        artanh_t, threshold = noise.chunk(2, dim=-1)
        accepted = threshold.log() <= self._log_acceptance(self._mode.tanh() * artanh_t.tanh())
        return self._implicit(self._mode[:, 0] + first(artanh_t, accepted))

    def _inverse(self, noise: Tensor) -> Tensor:
        """For m = 3: 1 - w has an exponential distribution, cut off at 2."""
        kappa = self.concentration.double()
        beside = -(noise * torch.expm1(-2 * kappa)).log1p() / kappa
        beside = beside.clamp(torch.finfo(torch.float32).tiny, 2 - torch.finfo(torch.float32).eps)
        return (2 / beside - 1).log() / 2


@lru_cache
def _uniform_axis(m: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes and log weights, each (64,), of Gauss quadrature over w under the uniform distribution on S^(m-1)."""
    t, weights = roots_jacobi(64, (m - 3) / 2, (m - 3) / 2)
    return torch.from_numpy(t).to(device), torch.from_numpy(np.log(weights / weights.sum())).to(device)
