"""The Power Spherical distribution (De Cao & Aziz 2020): heavier tails than von Mises-Fisher, and simpler integrals.

The notation is that of ``latentbench_compact.spherical``.
"""

from math import lgamma

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from latentbench_compact.spherical import Integrals, Spherical, first, log_gamma

__all__ = ["PowerSpherical"]

#: Proposals for a draw, accepted with probability 0.97 or more: all of them fail once in 10^12 draws.
GAMMA_PROPOSALS = 8


class PowerSpherical(Spherical):
    """Power Spherical: density proportional to (1 + mu'z)^kappa, so T = log((1 + w) / 2) (De Cao & Aziz 2020).

    (1 + w) / 2 is Beta(alpha, beta) with alpha = (m - 1) / 2 + kappa and beta = (m - 1) / 2, hence all integrals are
    gamma functions. Here it is drawn as the share of one of two gammas, the first by Marsaglia & Tsang (2000) from 8
    proposals, so that a draw is a function of its noise. At the same kappa it is wider than the von Mises-Fisher
    distribution: near mu it is the one of kappa / 2.

    Up to kappa = 1e8, KL is right to 3e-15 kappa + 1e-13 nats, and its derivative to 1e-9, or 2e-8 at the end. Beyond,
    both stay finite, but the gamma functions lose their digits.

    >>> q = PowerSpherical(torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([5.0]))
    >>> round(q.entropy().item(), 4)  # log of 4 pi / 6, plus 5 / 6: (1 + w) / 2 is Beta(6, 1)
    1.5726
    """

    @property
    def _beta(self) -> float:
        return (self.m - 1) / 2

    @property
    def _mode(self) -> Tensor:
        return (2 * self._kappa / (self.m - 1)).log1p() / 2

    def _statistic(self, y: Tensor) -> Tensor:
        return logsigmoid(2 * y)

    def _statistic_slope(self, y: Tensor) -> Tensor:
        return 2 * torch.sigmoid(-2 * y)

    def _statistic_at(self, near: Tensor, far: Tensor) -> Tensor:
        return -(near / far).log1p()

    def _integrate(self) -> Integrals:
        beta = torch.full_like(self._kappa[:, 0], self._beta)
        alpha = self._kappa[:, 0] + beta
        return Integrals(
            alpha.lgamma() - (alpha + beta).lgamma() + lgamma(2 * self._beta) - lgamma(self._beta),
            alpha.digamma() - (alpha + beta).digamma(),
            torch.polygamma(1, alpha) - torch.polygamma(1, alpha + beta),
        )

    @staticmethod
    def _rapidity_noise(count: int, m: int, device: torch.device | str) -> Tensor:
        """A normal number for each proposal, a uniform number for each, one more, and the log of the second gamma."""
        normal = torch.randn(count, GAMMA_PROPOSALS, device=device)
        above_0 = 1 - torch.rand(count, GAMMA_PROPOSALS + 1, device=device)
        return torch.cat([normal, above_0, log_gamma((m - 1) / 2, (count, 1), device)], dim=1)

    def _rapidity(self, noise: Tensor) -> Tensor:
        normal, threshold = noise[..., :-2].chunk(2, dim=-1)
        power, log_b = noise[..., -2:].unbind(-1)
        alpha = self._kappa + self._beta
        # A gamma of shape alpha + 1, then one of shape alpha: d V U^(1 / alpha)
        d = alpha + 1 - 1 / 3
        v = (1 + normal / (9 * d).sqrt()).pow(3).clamp_min(1e-300)  # V < 0 is not accepted, nor is that
        accepted = threshold.log() <= normal.square() / 2 + d * (1 - v + v.log())
        log_a = d[:, 0].log() + first(v, accepted).log() + power.log() / alpha[:, 0]
        return self._implicit((log_a - log_b) / 2)
