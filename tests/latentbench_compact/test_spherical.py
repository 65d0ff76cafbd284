"""Both distributions, against integrals over w = mu'z that SciPy takes, and the maps to the sphere."""

from collections.abc import Callable
from math import pi
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import cumulative_simpson, quad
from scipy.stats import kstest
from torch import Tensor
from torch.nn.functional import normalize

from latentbench_compact.power_spherical import PowerSpherical
from latentbench_compact.spherical import Spherical, log_area, stereographic, uniform
from latentbench_compact.von_mises_fisher import VonMisesFisher

KINDS = [VonMisesFisher, PowerSpherical]
#: Grid over y = artanh w, wide enough for densities that fall as slowly as exp(-y).
Y = np.linspace(-17, 17, 20_001)
#: Log densities of z, as functions of y, up to a constant.
DENSITIES: dict[type[Spherical], Callable[[Any, float], Any]] = {
    VonMisesFisher: lambda y, kappa: kappa * np.tanh(y),
    PowerSpherical: lambda y, kappa: -kappa * np.logaddexp(0, -2 * y),  # log((1 + tanh y) / 2)
}

both = pytest.mark.parametrize("kind", KINDS)
dimensions = pytest.mark.parametrize("m", [2, 3, 4, 10])


def density(kind: type[Spherical], m: int, kappa: float) -> np.ndarray:
    """Normalized density of y on the grid."""
    log_q = DENSITIES[kind](Y, kappa) - (m - 1) * np.log(np.cosh(Y))
    q = np.exp(log_q - log_q.max())
    return q / np.trapezoid(q, Y)


def expectation(kind: type[Spherical], m: int, kappa: float, f: Callable[[np.ndarray], np.ndarray]) -> float:
    return float(np.trapezoid(f(np.tanh(Y)) * density(kind, m, kappa), Y))


def points(count: int, m: int) -> Tensor:
    """On the sphere, to the last bits of float64."""
    return normalize(torch.randn(count, m, dtype=torch.float64), dim=1)


def directions(count: int, m: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Mean directions, among them those along the first axis."""
    mu = points(count, m)
    mu[:2] = torch.tensor([[1.0], [-1.0]]) * torch.eye(1, m)
    return mu.to(dtype)


def of(kind: type[Spherical], m: int, *kappa: float, dtype: torch.dtype = torch.float64) -> Spherical:
    return kind(directions(2 + len(kappa), m, dtype)[2:], torch.tensor(kappa, dtype=dtype))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@both
@dimensions
@pytest.mark.parametrize("kappa", [0.3, 4.0, 60.0])
def test_kl_and_density_are_those_of_integration(kind: type[Spherical], m: int, kappa: float) -> None:
    distribution = of(kind, m, kappa)
    log_f = DENSITIES[kind]
    under_uniform = np.trapezoid(np.exp(log_f(Y, kappa)) / np.cosh(Y) ** (m - 1), Y)
    log_partition = np.log(under_uniform / np.trapezoid(1 / np.cosh(Y) ** (m - 1), Y))
    kl = np.trapezoid(log_f(Y, kappa) * density(kind, m, kappa), Y) - log_partition
    assert distribution.kl().item() == pytest.approx(kl, rel=1e-6)
    assert distribution.entropy().item() == pytest.approx(log_area(m) - kl, rel=1e-6, abs=1e-6)
    z = points(50, m)[:, None]
    y = (z * distribution.mean).sum(2).atanh().numpy()
    expected = log_f(y, kappa) - log_partition - log_area(m)
    np.testing.assert_allclose(distribution.log_prob(z), expected, rtol=1e-6, atol=1e-6)


@both
@dimensions
@pytest.mark.parametrize("kappa", [0.3, 4.0, 60.0])
def test_draws_have_the_density(kind: type[Spherical], m: int, kappa: float) -> None:
    """The distribution function of w, and no preferred direction around mu."""
    distribution = of(kind, m, kappa)
    z = distribution.draw(kind.noise(4000, m, "cpu")[:, None])[:, 0]
    mu = distribution.mean[0]
    w = z @ mu
    cdf = cumulative_simpson(density(kind, m, kappa), x=Y, initial=0)
    assert kstest(w.clamp(-1, 1).numpy(), lambda w: np.interp(np.arctanh(w), Y, cdf)).pvalue > 0.001
    v = normalize(z - w[:, None] * mu, dim=1)
    across = (torch.eye(m, dtype=torch.float64) - torch.outer(mu, mu)) / (m - 1)
    assert v.mean(0).abs().max() < 4 / 4000**0.5
    torch.testing.assert_close(v.T @ v / len(v), across, rtol=0, atol=4 / 4000**0.5)


@both
@dimensions
@pytest.mark.parametrize("kappa", [0.3, 4.0, 60.0, 1e4])
def test_a_draw_moves_with_kappa_as_its_quantile_does(kind: type[Spherical], m: int, kappa: float) -> None:
    """dw/dkappa at a fixed value of the distribution function is -(dF/dkappa) / p(w), here for each of many draws."""
    concentration = torch.full((1,), kappa, dtype=torch.float64, requires_grad=True)
    mu = torch.eye(1, m, dtype=torch.float64)
    distribution = kind(mu, concentration)
    step = 1e-4 * kappa

    def log_q(y: float, kappa: float) -> float:
        return float(DENSITIES[kind](y, kappa)) - (m - 1) * float(np.log(np.cosh(y)))

    def log_odds(y: float, kappa: float) -> float:
        peak = log_q(y, kappa)
        edges = [y + side * np.geomspace(0.02, 40, 6) / (1 + (m - 1) ** 0.5) for side in (-1, 1)]
        below, above = (
            sum(abs(quad(lambda x: np.exp(log_q(x, kappa) - peak), a, b, epsrel=1e-11, epsabs=0)[0])
                for a, b in zip([y, *ends[:-1]], ends, strict=True))
            for ends in edges
        )  # fmt: skip
        return float(np.log(below) - np.log(above))

    for noise in kind.noise(8, m, "cpu").double():
        z = distribution.draw(noise[None, None])[0, 0]
        (slope,) = torch.autograd.grad(z[0], concentration)
        at = float((z[0] / z[1:].norm()).detach().asinh())  # sinh y = w / sqrt(1 - w^2)
        by_kappa = (log_odds(at, kappa + step) - log_odds(at, kappa - step)) / (2 * step)
        by_y = (log_odds(at + 1e-4, kappa) - log_odds(at - 1e-4, kappa)) / 2e-4
        expected = -by_kappa / by_y / np.cosh(at) ** 2
        assert slope.item() == pytest.approx(expected, rel=1e-4)


@both
@pytest.mark.parametrize("m", [2, 3, 5])
def test_gradients_of_an_expectation_are_those_of_its_closed_form(kind: type[Spherical], m: int) -> None:
    """For f(z) = (a'z)^2 + a'z, in kappa and in what the mean direction is normalized from."""
    kappa, count = torch.tensor([3.0], dtype=torch.float64, requires_grad=True), 20_000
    a = torch.linspace(-1, 2, m, dtype=torch.float64)
    for h in (torch.linspace(2, -1, m).double(), -torch.eye(m)[0].double()):
        h.requires_grad_()
        mu = normalize(h[None], dim=1)

        def moments(kappa: float) -> tuple[float, float]:
            return expectation(kind, m, kappa, lambda w: w), expectation(kind, m, kappa, np.square)

        def closed_form(first: float, second: float, mu: Tensor = mu) -> Tensor:
            along = mu[0] @ a
            return second * along**2 + (1 - second) / (m - 1) * (a @ a - along**2) + first * along

        (by_h,) = torch.autograd.grad(closed_form(*moments(3.0)), h, retain_graph=True)
        by_kappa = (closed_form(*moments(3.001)) - closed_form(*moments(2.999))) / 0.002
        z = kind(mu.expand(count, m), kappa.expand(count)).rsample()
        f = (z @ a) ** 2 + z @ a
        found = torch.autograd.grad(f.mean(), [h, kappa])
        torch.testing.assert_close(f.mean(), closed_form(*moments(3.0)), rtol=0, atol=0.1)
        torch.testing.assert_close(found[0], by_h, rtol=0, atol=0.1)
        torch.testing.assert_close(found[1][0], by_kappa, rtol=0, atol=0.02)


@both
@dimensions
def test_derivatives_are_those_of_finite_differences(kind: type[Spherical], m: int) -> None:
    mu = directions(4, m)
    kappa = torch.tensor([0.02, 1.0, 30.0, 700.0], dtype=torch.float64, requires_grad=True)
    z = points(5, m)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(lambda kappa: kind(mu, kappa).kl(), kappa)
    assert torch.autograd.gradcheck(lambda kappa: kind(mu, kappa).entropy(), kappa)
    assert torch.autograd.gradcheck(lambda z, kappa: kind(mu, kappa).log_prob(z), (z, kappa), atol=1e-4)
    h = mu.clone().requires_grad_()
    noise = kind.noise(3, m, "cpu").double()[:, None]
    assert torch.autograd.gradcheck(lambda h: kind(normalize(h, dim=1), kappa.detach()).draw(noise), h)


@given(
    kind=st.sampled_from(KINDS),
    mean=arrays(np.float32, st.integers(2, 12), elements=st.floats(-1, 1, width=32)).filter(
        lambda h: np.abs(h).max() > 0.01
    ),
    log_kappa=st.floats(-7, 18.5),
    seed=st.integers(0, 1000),
)
def test_draws_lie_on_the_sphere_with_finite_gradients(
    kind: type[Spherical], mean: np.ndarray, log_kappa: float, seed: int
) -> None:
    torch.manual_seed(seed)
    mu = normalize(torch.from_numpy(mean)[None], dim=1).requires_grad_()
    kappa = torch.tensor([np.exp(log_kappa)], dtype=torch.float32, requires_grad=True)
    z = kind(mu, kappa).draw(kind.noise(20, len(mean), "cpu")[:, None])
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.norm(dim=2), torch.ones(20, 1), rtol=0, atol=1e-6)
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(z.sum(), [mu, kappa]))


@given(kind=st.sampled_from(KINDS), m=st.integers(2, 64), logs=st.tuples(st.floats(-12, 13), st.floats(0, 5)))
def test_kl_is_not_negative_and_rises_with_kappa(kind: type[Spherical], m: int, logs: tuple[float, float]) -> None:
    distribution = of(kind, m, np.exp(logs[0]), np.exp(sum(logs)))
    less, more = distribution.kl()
    rounding = 1e-13 + 1e-14 * distribution.concentration[1]
    assert 0 <= less <= more + rounding


@both
@dimensions
def test_kl_vanishes_with_kappa(kind: type[Spherical], m: int) -> None:
    distribution = of(kind, m, 1e-5, 1e-9, 1e-30)
    torch.testing.assert_close(distribution.kl(), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(distribution.entropy(), torch.full((3,), log_area(m)).double(), rtol=0, atol=1e-6)


@both
@dimensions
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_depends_on_no_other_item_of_the_batch(kind: type[Spherical], m: int, dtype: torch.dtype) -> None:
    mu, kappa = directions(37, m, dtype), torch.logspace(-3, 8, 37, dtype=dtype)
    shared, own = (kind.noise(11 * items, m, "cpu").view(11, items, -1) for items in (1, 37))
    for noise in (shared, own):
        together = kind(mu, kappa).draw(noise)
        assert together.shape == (11, 37, m)
        for b in range(37):
            alone = kind(mu[b : b + 1], kappa[b : b + 1]).draw(noise if noise is shared else noise[:, b : b + 1])
            exactly = 0 if dtype == torch.float32 else 1e-13
            torch.testing.assert_close(together[:, b], alone[:, 0], rtol=0, atol=exactly)


@both
@dimensions
def test_everything_random_is_in_the_noise(kind: type[Spherical], m: int) -> None:
    distribution = of(kind, m, 0.5, 8.0, 100.0)
    torch.manual_seed(4)
    noise = kind.noise(3, m, "cpu")
    state = torch.get_rng_state()
    z = distribution.draw(noise[None])
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(4)
    assert torch.equal(distribution.rsample(), z[0])


@both
@pytest.mark.parametrize("m", [2, 3, 4, 64])
def test_a_very_confident_encoder_has_finite_losses_and_gradients(kind: type[Spherical], m: int) -> None:
    kappa = torch.tensor([1e-3, 1.0, 1e4, 1e8, 1e20, 3e38], requires_grad=True)
    distribution = kind(directions(6, m, torch.float32), kappa)
    z = distribution.rsample()
    for values in (distribution.kl(), distribution.entropy(), distribution.log_prob(z[None])[0, :4], z):
        assert values.isfinite().all()
        (gradient,) = torch.autograd.grad(values.sum(), kappa, retain_graph=True)
        assert gradient.isfinite().all()


@both
def test_no_distribution_without_a_sphere(kind: type[Spherical]) -> None:
    with pytest.raises(ValueError, match="m must be at least 2, the circle in the plane, not 1"):
        kind(torch.ones(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match="not 1"):
        kind.noise(3, 1, "cpu")
    with pytest.raises(ValueError, match=r"\(B, m\) and concentration \(B,\), not \(3, 2\) and \(3, 1\)"):
        kind(torch.eye(3, 2), torch.ones(3, 1))


@both
def test_values_are_looked_at_on_request(kind: type[Spherical]) -> None:
    mu = torch.eye(2)
    kind(mu, torch.ones(2)).validate()
    for wrong in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"concentrations must be positive and finite, not {wrong:g}"):
            kind(mu, torch.tensor([1.0, wrong])).validate()
    with pytest.raises(ValueError, match="mean directions must be of length 1, not 2"):
        kind(2 * mu, torch.ones(2)).validate()


@pytest.mark.parametrize(("m", "area"), [(2, 2 * pi), (3, 4 * pi), (4, 2 * pi**2), (20, 0.51614)])
def test_area(m: int, area: float) -> None:
    assert np.exp(log_area(m)) == pytest.approx(area, rel=1e-5)


@pytest.mark.parametrize("m", [1, 2, 5])
def test_uniform_draws_prefer_no_direction(m: int) -> None:
    z = uniform(10_000, m, "cpu")
    torch.testing.assert_close(z.norm(dim=1), torch.ones(10_000))
    assert z.mean(0).abs().max() < 0.05
    torch.testing.assert_close(z.T @ z / len(z), torch.eye(m) / m, rtol=0, atol=0.02)


def test_a_draw_of_zeros_has_a_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn", lambda *size, device: torch.zeros(size, device=device))
    assert torch.equal(uniform(2, 3, "cpu"), torch.eye(1, 3).expand(2, 3))


@given(arrays(np.float64, st.integers(1, 6), elements=st.floats(-1e3, 1e3)))
def test_the_stereographic_map_has_its_inverse_on_the_sphere(u: np.ndarray) -> None:
    z = stereographic(torch.from_numpy(u))
    assert z.norm().item() == pytest.approx(1)
    back = z[:-1] / (1 - z[-1])
    torch.testing.assert_close(back, torch.from_numpy(u), rtol=1e-7, atol=1e-12)


def test_the_stereographic_map_sends_the_origin_to_one_pole_and_the_far_to_the_other() -> None:
    u = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1e10, -1e10], [1e25, 1e30]], requires_grad=True)
    z = stereographic(u)
    torch.testing.assert_close(z, torch.tensor([[0.0, 0, -1], [1, 0, 0], [0, 0, 1], [0, 0, 1]]), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(z.sum(), u)
    assert gradient.isfinite().all()


@pytest.mark.cuda
@both
@pytest.mark.parametrize("m", [2, 3, 4, 10])
def test_on_a_gpu_nothing_waits_for_the_device_and_the_same_noise_gives_the_same_draws(
    kind: type[Spherical], m: int
) -> None:
    device = torch.device("cuda")
    mu, kappa = directions(50, m, torch.float32), torch.logspace(-3, 8, 50)
    noise = kind.noise(7, m, "cpu")[:, None]
    here = kind(mu, kappa)
    mu_there, kappa_there = mu.to(device).requires_grad_(), kappa.to(device).requires_grad_()
    noise_there = noise.to(device)

    def everything() -> tuple[Tensor, Tensor]:
        there = kind(mu_there, kappa_there)
        z, kl = there.draw(noise_there), there.kl()
        loss = z.sum() + kl.sum() + there.log_prob(z).sum() + there.entropy().sum() + there.rsample().sum()
        torch.autograd.grad(loss, [mu_there, kappa_there])
        return z, kl

    everything()  # the nodes of the quadratures come to the device, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        z, kl = everything()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(kl.cpu(), here.kl())
    torch.testing.assert_close(z.cpu(), here.draw(noise), rtol=1e-4, atol=1e-4)
