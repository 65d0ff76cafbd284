"""Von Mises-Fisher against SciPy's, Bessel functions and the closed forms on S^2 and S^3."""

from math import log, pi

import numpy as np
import pytest
import torch
from scipy.special import ive
from scipy.stats import vonmises_fisher
from torch import Tensor
from torch.nn.functional import normalize

from latentbench_compact.von_mises_fisher import VonMisesFisher

KAPPA = torch.tensor([1e-3, 0.02, 0.5, 1, 5, 30, 50, 400, 1e4, 1e6, 1e8], dtype=torch.float64)
DIMENSIONS = [2, 3, 4, 5, 6, 10, 33, 64]

dimensions = pytest.mark.parametrize("m", DIMENSIONS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def points(count: int, m: int) -> Tensor:
    """On the sphere, to the last bits of float64."""
    return normalize(torch.randn(count, m, dtype=torch.float64), dim=1)


def of(m: int, kappa: Tensor = KAPPA) -> VonMisesFisher:
    return VonMisesFisher(points(len(kappa), m).to(kappa.dtype), kappa)


def kl_on_s2(kappa: Tensor) -> Tensor:
    """KL = kappa coth kappa - 1 + log kappa - log sinh kappa."""
    log_sinh = kappa + (-(-2 * kappa).exp()).log1p() - log(2)
    return kappa / kappa.tanh() - 1 + kappa.log() - log_sinh


def kl_on_s3(kappa: Tensor) -> Tensor:
    """KL = kappa A + log C_4 + log(2 pi^2), where A = I_0 / I_1 - 2 / kappa."""
    length = torch.special.i0e(kappa) / torch.special.i1e(kappa) - 2 / kappa
    log_c = kappa.log() - 2 * log(2 * pi) - (kappa + torch.special.i1e(kappa).log())
    return kappa * length + log_c + log(2 * pi**2)


@pytest.mark.parametrize(("m", "closed_form"), [(3, kl_on_s2), (4, kl_on_s3)])
def test_kl_is_the_closed_form(m: int, closed_form) -> None:
    torch.testing.assert_close(of(m).kl(), closed_form(KAPPA), rtol=1e-12, atol=1e-7)  # its terms are kappa large
    torch.testing.assert_close(of(m).kl()[:8], closed_form(KAPPA)[:8], rtol=1e-12, atol=2e-13)


@dimensions
def test_density_and_entropy_are_scipys(m: int) -> None:
    distribution, z = of(m), points(6, m)
    log_prob, entropy = distribution.log_prob(z[:, None]), distribution.entropy()
    for b in range(8):  # SciPy loses digits beyond
        theirs = vonmises_fisher(distribution.mean[b].numpy(), KAPPA[b].item())  # type: ignore[arg-type]  # stubs: int
        assert entropy[b].item() == pytest.approx(theirs.entropy(), rel=1e-10, abs=1e-10)
        np.testing.assert_allclose(log_prob[:, b], theirs.logpdf(z.numpy()), rtol=1e-9, atol=1e-10)


@dimensions
def test_mean_length_and_its_derivative_are_those_of_bessel_functions(m: int) -> None:
    """A = I_{m/2} / I_{m/2 - 1}; the derivative of KL is kappa A' = kappa (1 - A^2 - (m - 1) A / kappa)."""
    kappa = KAPPA[:8].clone().requires_grad_()
    (slope,) = torch.autograd.grad(of(m, kappa).kl().sum(), kappa)
    at = kappa.detach()
    length = torch.from_numpy(ive(m / 2, at.numpy()) / ive(m / 2 - 1, at.numpy()))
    torch.testing.assert_close(slope, at * (1 - length**2) - (m - 1) * length, rtol=1e-8, atol=1e-12)


@dimensions
def test_float32_is_right_from_the_uniform_to_the_nearly_certain(m: int) -> None:
    """The limits: KL = kappa^2 / (2 m) near 0, and that of a normal distribution of m - 1 dimensions far from it."""
    kappa = torch.tensor([1e-3, 1e6, 1e8], requires_grad=True)
    kl = of(m, kappa).kl()
    (slope,) = torch.autograd.grad(kl.sum(), kappa)
    assert kl.dtype == slope.dtype == torch.float32
    at = kappa.detach().double()
    normal = (
        (m - 1) / 2 * (at.log() - log(2 * pi) - 1) + log(2) + m / 2 * log(pi) - torch.tensor(m / 2).double().lgamma()
    )
    torch.testing.assert_close(kl.double(), torch.cat([at[:1] ** 2 / (2 * m), normal[1:]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(slope.double(), torch.cat([at[:1] / m, (m - 1) / 2 / at[1:]]), rtol=1e-4, atol=0)
    doubled = of(m).kl()
    torch.testing.assert_close(of(m, KAPPA.float()).kl().double(), doubled, rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("m", [2, 3, 4, 8])
def test_draws_have_scipys_moments(m: int) -> None:
    distribution = of(m, torch.tensor([0.2, 2.0, 20.0, 200.0]))
    z = distribution.draw(VonMisesFisher.noise(8000, m, "cpu")[:, None])
    for b, kappa in enumerate(distribution.concentration.tolist()):
        theirs = vonmises_fisher(distribution.mean[b].double().numpy(), kappa).rvs(8000, random_state=1)
        np.testing.assert_allclose(z[:, b].mean(0), theirs.mean(0), atol=0.06)
        np.testing.assert_allclose(np.cov(z[:, b].T.numpy()), np.cov(theirs.T), atol=0.03)


@pytest.mark.parametrize("m", [2, 3, 4, 10])
def test_the_mean_gradient_is_the_derivative_of_the_mean_length(m: int) -> None:
    """The derivative of E[mu'z] = A(kappa) is A'(kappa), where kappa A' is that of KL."""
    kappa = torch.tensor([0.5, 5.0, 50.0], dtype=torch.float64, requires_grad=True)
    distribution = of(m, kappa)
    w = (distribution.draw(VonMisesFisher.noise(20_000, m, "cpu")[:, None]) * distribution.mean).sum(2)
    (found,) = torch.autograd.grad(w.mean(0).sum(), kappa)
    (slope,) = torch.autograd.grad(distribution.kl().sum(), kappa)
    torch.testing.assert_close(found, slope / kappa.detach(), rtol=0.03, atol=0)


@pytest.mark.parametrize("m", [2, 4, 5, 16, 64])
def test_two_proposals_of_three_are_accepted(m: int) -> None:
    """Where the threshold of the first proposal is made unreachable, the draws that change are those it had made."""
    distribution = of(m, KAPPA.float())
    noise = VonMisesFisher.noise(4000, m, "cpu")[:, None]
    without_first = noise.clone()
    without_first[..., m - 1 + 32] = 2
    changed = (distribution.draw(noise) != distribution.draw(without_first)).any(2).double().mean(0)
    assert changed.min() > 0.63
    assert changed[0] > 0.99  # near the uniform distribution


@pytest.mark.parametrize("m", [2, 4, 10])
def test_a_draw_ends_even_if_no_proposal_is_accepted(m: int) -> None:
    noise = VonMisesFisher.noise(5, m, "cpu")[:, None]
    noise[..., -32:] = 2
    z = of(m, KAPPA.float()).draw(noise)
    torch.testing.assert_close(z.norm(dim=2), torch.ones(5, len(KAPPA)))
