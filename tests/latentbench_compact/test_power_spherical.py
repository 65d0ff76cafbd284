"""Power Spherical against Beta variables, and beside von Mises-Fisher where the two meet."""

from math import log

import numpy as np
import pytest
import torch
from scipy.stats import beta as beta_distribution
from torch.nn.functional import normalize

from latentbench_compact.power_spherical import PowerSpherical
from latentbench_compact.spherical import log_area, uniform
from latentbench_compact.von_mises_fisher import VonMisesFisher

KAPPA = torch.tensor([1e-3, 0.3, 2, 40, 1e4], dtype=torch.float64)
dimensions = pytest.mark.parametrize("m", [2, 3, 4, 10, 64])


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def of(m: int, kappa: torch.Tensor = KAPPA) -> PowerSpherical:
    return PowerSpherical(normalize(torch.randn(len(kappa), m, dtype=kappa.dtype), dim=1), kappa)


@dimensions
def test_kl_is_that_of_two_beta_distributions(m: int) -> None:
    """Those of (1 + w) / 2, Beta(beta + kappa, beta) and, for the uniform distribution, Beta(beta, beta)."""
    beta = (m - 1) / 2
    for kl, kappa in zip(of(m).kl()[:4].tolist(), KAPPA[:4].tolist(), strict=True):
        q, p = beta_distribution(beta + kappa, beta), beta_distribution(beta, beta)
        x = (1 + np.tanh(np.linspace(-16, 16, 20_001))) / 2
        log_ratio = q.logpdf(x) - p.logpdf(x)
        expected = np.trapezoid(q.pdf(x) * log_ratio * x * (1 - x), dx=2 * 32 / 20_000)
        assert kl == pytest.approx(expected, rel=1e-5, abs=1e-7)


def test_on_the_sphere_it_has_elementary_forms() -> None:
    """For m = 3, p(w) = (1 + kappa) / 2 ((1 + w) / 2)^kappa, so KL = log(1 + kappa) - kappa / (1 + kappa)."""
    distribution, z = of(3), normalize(torch.randn(5, 1, 3, dtype=torch.float64), dim=2)
    torch.testing.assert_close(distribution.kl(), KAPPA.log1p() - KAPPA / (1 + KAPPA), rtol=1e-9, atol=1e-13)
    w = (z * distribution.mean).sum(2)
    expected = KAPPA * ((1 + w) / 2).log() + KAPPA.log1p() - log_area(3)
    torch.testing.assert_close(distribution.log_prob(z), expected)


@dimensions
def test_far_from_the_uniform_it_is_von_mises_fisher_at_half_kappa(m: int) -> None:
    kappa = torch.tensor([1e7, 1e8], requires_grad=True)
    mu = uniform(2, m, "cpu")
    values = [PowerSpherical(mu, kappa).kl(), VonMisesFisher(mu, kappa / 2).kl()]
    torch.testing.assert_close(*values, rtol=1e-5, atol=0)
    torch.testing.assert_close(*(torch.autograd.grad(kl.sum(), kappa)[0] for kl in values), rtol=1e-4, atol=0)


@dimensions
def test_a_draw_ends_even_if_no_proposal_is_accepted(m: int) -> None:
    noise = PowerSpherical.noise(5, m, "cpu")[:, None]
    noise[..., m - 1 : m + 7], noise[..., m + 7 : m + 15] = -9, 2
    torch.testing.assert_close(of(m, KAPPA.float()).draw(noise).norm(dim=2), torch.ones(5, len(KAPPA)))


def test_a_point_opposite_to_the_mean_has_density_zero() -> None:
    distribution = PowerSpherical(torch.eye(1, 3), torch.ones(1))
    assert distribution.log_prob(-torch.eye(1, 3)[None]).item() == -np.inf
    assert distribution.log_prob(torch.eye(1, 3)[None]).item() == pytest.approx(log(2) - log_area(3))
