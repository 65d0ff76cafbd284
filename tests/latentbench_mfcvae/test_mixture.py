"""The theory: densities against SciPy, the optimal q(c | x) against VaDE's average, an optimizer and Monte Carlo."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from torch import Tensor

from latentbench_mfcvae.mixture import (
    LEAST_SCALE,
    Covariance,
    Mixture,
    Posterior,
    average_posterior,
    categorical_elbo,
    optimal_posterior,
)

COVARIANCES: list[Covariance] = ["diagonal", "full"]


def make(covariance: Covariance, seed: int = 0, clusters: int = 6, dims: int = 3, spread: float = 1.0) -> Mixture:
    """A mixture with random parameters in float64, its components overlapping unless ``spread`` is large."""
    generator = torch.Generator().manual_seed(seed)
    mixture = Mixture(clusters, dims, covariance, learn_weights=True).double()
    with torch.no_grad():
        mixture.mu.copy_(spread * torch.randn(clusters, dims, generator=generator))
        mixture.rho.copy_(0.7 + 0.3 * torch.rand(clusters, dims, generator=generator))
        mixture.logits.copy_(torch.randn(clusters, generator=generator))
        if covariance == "full":
            mixture.below.copy_(0.5 * torch.randn(clusters, dims, dims, generator=generator))
    return mixture


def q_of_z(seed: int = 0, images: int = 4, dims: int = 3) -> Posterior:
    generator = torch.Generator().manual_seed(seed + 1000)
    return Posterior(
        torch.randn(images, dims, generator=generator, dtype=torch.float64),
        torch.randn(images, dims, generator=generator, dtype=torch.float64) - 1,
    )


def scipy_components(mixture: Mixture) -> list[Any]:
    scale = mixture.scale.detach()
    factors = scale if scale.ndim == 3 else torch.diag_embed(scale)
    covariances = (factors @ factors.mT).numpy()
    return [multivariate_normal(m, s) for m, s in zip(mixture.mu.detach().numpy(), covariances, strict=True)]


def log_p_at(mixture: Mixture, q: Posterior, draws: int, seed: int = 0) -> Tensor:
    """(L, B, K): log p(z | c) at draws of z."""
    generator = torch.Generator().manual_seed(seed)
    z, _ = q.at(torch.randn(draws, *q.mean.shape, generator=generator, dtype=torch.float64))
    return mixture.log_prob(z).detach()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_densities_are_those_of_scipy(covariance: Covariance) -> None:
    mixture = make(covariance)
    z = torch.randn(5, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = np.stack([component.logpdf(z.numpy()) for component in scipy_components(mixture)], axis=-1)
    weights = mixture.logits.softmax(0).detach().numpy()

    np.testing.assert_allclose(mixture.log_prob(z).detach().numpy(), expected, rtol=1e-10)
    np.testing.assert_allclose(mixture.log_marginal(z).detach().exp(), np.exp(expected) @ weights, rtol=1e-10)


def test_what_is_on_and_above_the_diagonal_of_the_parameter_of_l_changes_nothing() -> None:
    mixture, other = make("full"), make("full")
    with torch.no_grad():
        other.below.add_(torch.ones(3, 3).triu())
    assert torch.equal(mixture.scale, other.scale)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_expected_log_density_in_closed_form_is_that_of_monte_carlo(covariance: Covariance) -> None:
    mixture, q = make(covariance), q_of_z()
    draws = log_p_at(mixture, q, 100_000)
    error = draws.std(0) / len(draws) ** 0.5
    assert ((mixture.expected_log_prob(q) - draws.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_an_optimizer_over_the_simplex_finds_the_optimal_posterior(covariance: Covariance) -> None:
    mixture, q = make(covariance), q_of_z(images=1)
    log_pi = mixture.log_weights.detach()
    log_p_z = mixture.expected_log_prob(q).detach()[None]

    def negative_elbo(logits: np.ndarray) -> float:
        return -float(categorical_elbo(torch.from_numpy(logits).softmax(0)[None], log_pi, log_p_z))

    found = minimize(negative_elbo, np.zeros(6), method="BFGS", options={"gtol": 1e-7})
    best = optimal_posterior(log_pi, log_p_z)
    np.testing.assert_allclose(torch.from_numpy(found.x).softmax(0), best[0], atol=1e-5)
    assert -found.fun == pytest.approx(float(categorical_elbo(best, log_pi, log_p_z)), abs=1e-9)
    assert -found.fun == pytest.approx(float((log_pi + log_p_z[0]).logsumexp(1)), abs=1e-9)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    covariance=st.sampled_from(COVARIANCES),
    draws=st.integers(1, 20),
    spread=st.floats(0.01, 5),
)
def test_no_posterior_is_better_than_the_optimal_one_and_vades_average_equals_it_with_one_draw(
    seed: int, covariance: Covariance, draws: int, spread: float
) -> None:
    mixture = make(covariance, seed, spread=spread)
    log_pi, log_p_z = mixture.log_weights.detach(), log_p_at(mixture, q_of_z(seed), draws, seed)
    best, vade = optimal_posterior(log_pi, log_p_z), average_posterior(log_pi, log_p_z)
    other = torch.rand(best.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    other = other / other.sum(1, keepdim=True)

    elbo = categorical_elbo(best, log_pi, log_p_z)
    assert (elbo >= categorical_elbo(vade, log_pi, log_p_z) - 1e-9).all()
    assert (elbo >= categorical_elbo(other, log_pi, log_p_z) - 1e-9).all()
    if draws == 1:
        torch.testing.assert_close(best, vade)


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_the_optimal_posterior_is_strictly_better_than_vades_average_where_components_overlap(
    covariance: Covariance,
) -> None:
    mixture = make(covariance)
    log_pi, log_p_z = mixture.log_weights.detach(), log_p_at(mixture, q_of_z(), 10_000)
    best, vade = optimal_posterior(log_pi, log_p_z), average_posterior(log_pi, log_p_z)
    assert (categorical_elbo(best, log_pi, log_p_z) > categorical_elbo(vade, log_pi, log_p_z) + 0.01).all()


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_samples_have_the_moments_of_their_component(covariance: Covariance) -> None:
    mixture = make(covariance)
    torch.manual_seed(0)
    z = mixture.sample(torch.full((200_000,), 2), temperature=0.5).detach().numpy()
    component = scipy_components(mixture)[2]
    np.testing.assert_allclose(z.mean(0), component.mean, atol=0.02)
    np.testing.assert_allclose(np.cov(z.T), component.cov / 4, atol=0.02)


@pytest.mark.parametrize("covariance", COVARIANCES)
@pytest.mark.parametrize("direction", [1.0, -1.0])
def test_no_gradient_however_large_costs_a_covariance_its_positive_definiteness(
    covariance: Covariance, direction: float
) -> None:
    """In float32, gradients of 1e6 that press all variances down, or up, while the rest of L wanders.

    A lower triangular L with a positive diagonal makes L L^T positive definite.
    """
    torch.manual_seed(0)
    mixture = Mixture(4, 5, covariance, learn_weights=True)
    optimizer = torch.optim.Adam(mixture.parameters(), lr=0.01)
    for _ in range(1000):
        for parameter in mixture.parameters():
            parameter.grad = 1e6 * torch.randn_like(parameter)
        mixture.rho.grad = torch.full_like(mixture.rho, 1e6 * direction)
        optimizer.step()
    assert (direction * mixture.rho < -8).all()

    scale = mixture.scale.detach()
    factors = torch.diag_embed(scale) if covariance == "diagonal" else scale
    assert torch.equal(factors, factors.tril())
    assert factors.diagonal(dim1=1, dim2=2).min() >= 0.999 * LEAST_SCALE
    z = torch.randn(10, 5)
    expected = torch.distributions.MultivariateNormal(mixture.mu.double(), scale_tril=factors.double())
    torch.testing.assert_close(
        mixture.log_prob(z).double(), expected.log_prob(z.double()[:, None]), rtol=1e-3, atol=1e-3
    )
    loss = -mixture.log_marginal(z).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in mixture.parameters())


def test_the_bound_of_the_log_variance_is_smooth_and_leaves_usual_values_as_they_are() -> None:
    outputs = torch.tensor([[0.0, -3.0], [0.0, -1e4], [0.0, 5.0], [0.0, 1e6]])
    q = Posterior.of(outputs)
    assert q.log_var[:2, 0].tolist() == [-3.0, -1e4]
    assert q.log_var[2, 0] == pytest.approx(5.0, abs=1e-6)
    z, log_q = q.at(torch.ones(1, 4, 1))
    assert z.isfinite().all()
    assert log_q.isfinite().all()
