"""Distributions on the hypersphere S^(m-1) around a mean direction mu: their common base.

Von Mises-Fisher (``von_mises_fisher``) and Power Spherical (``power_spherical``) have the density exp(kappa T(mu'z)),
up to a factor, with respect to the uniform distribution. It depends on w = mu'z alone, so a draw is
z = w mu + sqrt(1 - w^2) v, with v uniform among the unit vectors orthogonal to mu (Ulrich 1984).

Here w = tanh y, and so sqrt(1 - w^2) = 1 / cosh y (y is called the rapidity of w, where w is a velocity).
While z nears mu and w rounds to 1, y keeps all its digits. Three facts make it the natural variable:

- Its density is q(y) = exp(kappa T(y)) / cosh^(m-1) y, up to a factor, and has one mode, y_0.
- Wood's (1994) proposal w = (x_0 + t) / (1 + x_0 t), t from the uniform distribution, is y = y_0 + artanh t, where
  x_0 = tanh y_0 is the mode of the proposals' acceptance.
- The probability to accept depends on x_0 t alone, so it is a smooth function of t at every kappa, however large. Its
  mean over the proposals gives the normalizing constant, by one quadrature rule for each m.

The integrals over y are taken in float64, on the device of kappa. Their derivatives in kappa are such integrals, too,
and are computed as such: in those of the closed forms that autograd would give, all digits cancel where kappa is large.

Sources: Davidson et al. 2018, "Hyperspherical Variational Auto-Encoders"; De Cao & Aziz 2020, "The Power Spherical
distribution"; Figurnov, Mohamed & Mnih 2018, "Implicit Reparameterization Gradients"; Ulrich 1984, "Computer generation
of distributions on the m-sphere"; Wood 1994, "Simulation of the von Mises Fisher distribution".
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import lgamma, log, pi, sqrt

import numpy as np
import torch
from torch import Tensor

__all__ = ["Integrals", "Spherical", "first", "log_area", "log_gamma", "stereographic", "uniform"]


def log_area(m: int) -> float:
    """Log of the area of S^(m-1), 2 pi^(m/2) / Gamma(m/2): the entropy of its uniform distribution, in nats.

    >>> round(log_area(3), 4)  # log 4 pi
    2.531
    """
    return log(2) + m / 2 * log(pi) - lgamma(m / 2)


def uniform(count: int, m: int, device: torch.device | str) -> Tensor:
    """(count, m): draws from the uniform distribution on S^(m-1), with PyTorch's global generator.

    >>> uniform(5, 3, "cpu").norm(dim=1).allclose(torch.ones(5))
    True
    """
    x = torch.randn(count, m, device=device)
    length = x.norm(dim=1, keepdim=True)
    pole = torch.eye(1, m, device=device)
    return torch.where(length > 0, x / length, pole)  # all zeros come once in 10^7 draws of few dimensions


def stereographic(u: Tensor) -> Tensor:
    """R^n -> S^n without the north pole, (..., n) -> (..., n + 1): (2u, |u|^2 - 1) / (|u|^2 + 1).

    With the pole as the image of infinity, S^n is the one-point compactification of R^n (Alexandroff).

    >>> stereographic(torch.tensor([[0.0, 0.0], [1.0, 0.0]])).tolist()  # the south pole, and a point of the equator
    [[0.0, 0.0, -1.0], [1.0, 0.0, 0.0]]
    """
    scale = 2 / (u.square().sum(-1, keepdim=True) + 1)
    return torch.cat([scale * u, 1 - scale], dim=-1)


@dataclass(frozen=True)
class Integrals:
    """Moments of T that an exponential family needs, each (B,) float64 and without gradients."""

    log_partition: Tensor
    """log E exp(kappa T) under the uniform distribution."""
    mean: Tensor
    """E T, the derivative of ``log_partition`` in kappa."""
    variance: Tensor
    """Var T, the derivative of ``mean`` in kappa."""


class Spherical(ABC):
    """B distributions on S^(m-1), m >= 2, with density exp(kappa T(mu'z)), up to a factor; T rises to T(1) = 0.

    Everything is differentiable once, in mu and in kappa.

    Args:
        mean_direction: mu, (B, m), of length 1.
        concentration: kappa, (B,), > 0 and finite. Only ``validate`` looks, since a look waits for the device.

    Raises:
        ValueError: the shapes do not match, or m < 2.
    """

    def __init__(self, mean_direction: Tensor, concentration: Tensor) -> None:
        if mean_direction.ndim != 2 or concentration.shape != mean_direction.shape[:1]:
            raise ValueError(
                "mean_direction must be (B, m) and concentration (B,), "
                f"not {tuple(mean_direction.shape)} and {tuple(concentration.shape)}"
            )
        self.mean_direction = mean_direction
        self.concentration = concentration
        self.m = _dimensions(mean_direction.shape[1])
        self._kappa = concentration.detach().double()[:, None]

    def validate(self) -> None:
        """Check the values of the parameters, which waits for the device.

        Raises:
            ValueError: a concentration is not positive and finite, or a mean direction is not of length 1.
        """
        kappa = self.concentration.detach()
        for wrong in kappa[~((kappa > 0) & kappa.isfinite())].tolist():
            raise ValueError(f"concentrations must be positive and finite, not {wrong:g}")
        length = self.mean_direction.detach().norm(dim=1)
        for wrong in length[~((length - 1).abs() < 1e-3)].tolist():
            raise ValueError(f"mean directions must be of length 1, not {wrong:g}")

    @property
    def mean(self) -> Tensor:
        """(B, m): the code, mu. It is the direction of E z, whose length is below 1."""
        return self.mean_direction

    def kl(self) -> Tensor:
        """(B,) in nats, >= 0: KL to the uniform distribution, E log (density ratio) = kappa E T - log E_0 exp(kappa T).

        Its derivative in kappa is kappa Var T. In closed form the von Mises-Fisher distribution has, for example,
        kappa coth kappa - 1 + log kappa - log sinh kappa on S^2, terms that cancel but for a few digits of float32.
        """
        of_t = self._integrals
        kappa = self._kappa[:, 0]
        kl = (kappa * of_t.mean - of_t.log_partition).clamp_min(0)  # 0, less rounding errors, where kappa is
        return self._differentiable(kl, kappa * of_t.variance).to(self.concentration.dtype)

    def entropy(self) -> Tensor:
        """(B,) in nats, at most ``log_area(m)``."""
        return log_area(self.m) - self.kl()

    def log_prob(self, z: Tensor) -> Tensor:
        """Log density with respect to the area, (n, B, m) on the sphere -> (n, B), in nats.

        T is taken from the distance of z to mu, not from mu'z, which rounds to 1 where the density is large.
        """
        of_t = self._integrals
        near = (z - self.mean_direction).square().sum(-1)
        far = (z + self.mean_direction).square().sum(-1)
        log_partition = self._differentiable(of_t.log_partition, of_t.mean).to(self.concentration.dtype)
        return self.concentration * self._statistic_at(near, far) - log_partition - log_area(self.m)

    @classmethod
    def noise(cls, count: int, m: int, device: torch.device | str) -> Tensor:
        """(count, E): the random numbers of ``count`` draws, from PyTorch's global generator. E depends on m only.

        First comes a tangent direction v (m - 1), then what y needs.
        """
        v = uniform(count, _dimensions(m) - 1, device)
        return torch.cat([v, cls._rapidity_noise(count, m, device)], dim=1)

    def draw(self, noise: Tensor) -> Tensor:
        """(n, B, m) on the sphere, reparameterized: a function of the noise, mu and kappa, for each item on its own.

        It is computed in float64, so that a float32 draw does not even feel in which batch it is, by the last bits of
        vectorized functions. With given noise it jumps where the first coordinate of mu changes sign; its distribution
        does not.

        Args:
            noise: (n, 1, E), the same for all items, or (n, B, E).
        """
        v, rest = noise.double().tensor_split([self.m - 1], dim=-1)
        y = self._rapidity(rest)[..., None]
        return self._towards_mean(y.tanh(), v / y.cosh()).to(self.mean_direction.dtype)

    def rsample(self) -> Tensor:
        """(B, m): one reparameterized draw for each item, each with noise of its own."""
        count, m = self.mean_direction.shape
        return self.draw(self.noise(count, m, self.mean_direction.device)[None])[0]

    def _towards_mean(self, w: Tensor, tangent: Tensor) -> Tensor:
        """Turn (n, B, 1) along the first axis e_1 and (n, B, m - 1) orthogonal to it so that e_1 comes to mu.

        By the reflection that swaps e_1 and mu; where they are close, by the one that swaps -e_1 and mu. Then the
        normal u of the mirror is never short, and gradients stay finite.
        """
        mu = self.mean_direction.double()
        sign = torch.where(mu[:, :1] < 0, -1.0, 1.0)
        u = torch.cat([mu[:, :1] + sign, mu[:, 1:]], dim=1)
        x = torch.cat([-sign * w, tangent], dim=-1)
        return x - 2 * (u * x).sum(-1, keepdim=True) / u.square().sum(-1, keepdim=True) * u

    def _implicit(self, y: Tensor) -> Tensor:
        """The draws y, (n, B), with their derivative in kappa (Figurnov et al. 2018).

        It is -(dF/dkappa) / q(y) = int_y^inf (T - E T) q / q(y), where F is the distribution function; the integral
        over the other side is the same but for the sign. It is taken over the side where q falls, by the
        double-exponential rule, in units of the length over which q falls.
        """
        if not (torch.is_grad_enabled() and self.concentration.requires_grad):
            return y
        with torch.no_grad():
            at = y[..., None]
            rate = self._kappa * self._statistic_slope(at) - (self.m - 1) * at.tanh()
            step = torch.where(at < self._mode, -1.0, 1.0) / (rate.abs() + sqrt(self.m - 1))
            nodes, weights = _half_line(at.device)
            beyond = at + step * nodes
            ratio = (self._log_density(beyond) - self._log_density(at)).exp()
            excess = self._statistic(beyond) - self._integrals.mean[:, None]
            slope = (step * weights * excess * ratio).sum(-1)
        return self._differentiable(y, slope)

    def _log_density(self, y: Tensor) -> Tensor:
        """Log q(y) up to a constant; (..., B, any) float64."""
        return self._kappa * self._statistic(y) - (self.m - 1) * torch.logaddexp(y, -y)

    def _differentiable(self, value: Tensor, slope: Tensor) -> Tensor:
        """The value, (..., B), with this derivative in kappa."""
        kappa = self.concentration
        return value + slope * (kappa - kappa.detach())

    @cached_property
    def _integrals(self) -> Integrals:
        with torch.no_grad():
            return self._integrate()

    @property
    @abstractmethod
    def _mode(self) -> Tensor:
        """(B, 1) float64: y_0, where q is largest."""

    @abstractmethod
    def _statistic(self, y: Tensor) -> Tensor:
        """T as a function of y."""

    @abstractmethod
    def _statistic_slope(self, y: Tensor) -> Tensor:
        """The derivative of T in y."""

    @abstractmethod
    def _statistic_at(self, near: Tensor, far: Tensor) -> Tensor:
        """T from the squared distances of z to mu and to -mu."""

    @abstractmethod
    def _integrate(self) -> Integrals:
        """The integrals of T."""

    @staticmethod
    @abstractmethod
    def _rapidity_noise(count: int, m: int, device: torch.device | str) -> Tensor:
        """(count, any): the random numbers of ``_rapidity``."""

    @abstractmethod
    def _rapidity(self, noise: Tensor) -> Tensor:
        """(n, B): draws of y, differentiable in kappa; noise and draws are float64."""


def _dimensions(m: int) -> int:
    """Check that m is at least 2 and return it."""
    if m < 2:
        raise ValueError(f"m must be at least 2, the circle in the plane, not {m}")
    return m


def log_gamma(shape: float, size: tuple[int, ...], device: torch.device | str) -> Tensor:
    """Logs of gamma variables."""
    ones = torch.ones(size, device=device)
    return torch.distributions.Gamma(shape * ones, ones, validate_args=False).sample().log()


def first(proposals: Tensor, accepted: Tensor) -> Tensor:
    """The first accepted proposal along the last dimension; the first proposal if none is accepted.

    >>> first(torch.tensor([5.0, 6.0, 7.0]), torch.tensor([False, True, True])).item()
    6.0
    """
    chosen = accepted.to(torch.uint8).argmax(-1, keepdim=True)  # of equal ones, argmax finds the first
    return proposals.expand(accepted.shape).gather(-1, chosen)[..., 0]


@lru_cache
def _half_line(device: torch.device) -> tuple[Tensor, Tensor]:
    """Nodes x > 0 and weights, each (64,), of the double-exponential rule: x = exp(u - exp(-u)) in even steps of u."""
    u, step = np.linspace(-3.4, 5, 64, retstep=True)
    x = np.exp(u - np.exp(-u))
    return torch.from_numpy(x).to(device), torch.from_numpy(step * x * (1 + np.exp(-u))).to(device)
