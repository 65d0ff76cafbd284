"""What the method claims, in the linear case: what denoising and contraction learn is the orthogonal projection.

V is a subspace of R^n of dimension k, P the orthogonal projection onto it, and S the covariance of the normal data,
whose range is V. Autoencoders are linear maps, f(x) = A x, so that every optimum is known. The statements and their
proofs are elementary, and ours: the authors' theorems are about nonlinear maps.
"""

from typing import Any

import numpy as np
import pytest
import torch

from latentbench import Batch, DataInfo
from latentbench_sdc.model import SDC

N, K, SAMPLES = 30, 4, 200
#: Of identities between numbers of size one in float64, whose matrices have up to SAMPLES * 2 N rows.
EXACT = 1e-10


@pytest.fixture
def basis() -> np.ndarray:
    """(N, K): an orthonormal basis U of V."""
    return np.linalg.qr(np.random.default_rng(0).normal(size=(N, K)))[0]


@pytest.fixture
def projection(basis: np.ndarray) -> np.ndarray:
    return basis @ basis.T


@pytest.fixture
def normal(basis: np.ndarray) -> np.ndarray:
    """(SAMPLES, N): normal data, of unequal variances along V."""
    coordinates = np.random.default_rng(1).normal(size=(SAMPLES, K)) * np.linspace(0.5, 2, K)
    return coordinates @ basis.T


def denoising_optimum(x: np.ndarray, variance: float) -> np.ndarray:
    """The A that minimizes the mean of ||A (x + e) - x||^2, in closed form: S (S + s^2 I)^-1."""
    covariance = x.T @ x / len(x)
    return covariance @ np.linalg.inv(covariance + variance * np.eye(N))


def white_noise(variance: float) -> np.ndarray:
    """(2 N, N): a noise whose mean is 0 and whose covariance is exactly s^2 I: +-s sqrt(N) along each axis."""
    return np.concatenate([np.eye(N), -np.eye(N)]) * np.sqrt(variance * N)


@pytest.mark.parametrize("variance", [1.0, 1e-2])
def test_denoising_learns_the_closed_form(normal, variance):
    """Against least squares over every pair of a sample and a noise."""
    noisy = (normal[:, None] + white_noise(variance)).reshape(-1, N)
    clean = np.repeat(normal, 2 * N, axis=0)
    fitted = np.linalg.lstsq(noisy, clean, rcond=None)[0].T
    np.testing.assert_allclose(denoising_optimum(normal, variance), fitted, atol=EXACT)


def test_denoising_tends_to_the_orthogonal_projection_as_the_noise_vanishes(normal, projection):
    """In the first order the distance is s^2 ||S^+||, S^+ being the pseudoinverse; the next order is s^4 ||S^+||^2."""
    pseudoinverse = np.linalg.pinv(normal.T @ normal / SAMPLES)
    for variance in (1e-2, 1e-4, 1e-6):
        distance = np.linalg.norm(denoising_optimum(normal, variance) - projection)
        first_order = variance * np.linalg.norm(pseudoinverse)
        assert distance == pytest.approx(first_order, rel=variance * float(np.linalg.norm(pseudoinverse, 2)) + 1e-4)


@pytest.mark.parametrize("weight", [1.0, 1e-2])
def test_a_contractive_autoencoder_learns_what_a_denoising_one_does(normal, weight):
    """||A||_F^2 is the penalty on the Jacobian: with the weight s^2 the optimum is that of the noise s^2 I.

    The penalty is a least-squares problem, too: rows sqrt(weight) e_i that are to become 0.
    """
    inputs = np.concatenate([normal / np.sqrt(SAMPLES), np.sqrt(weight) * np.eye(N)])
    outputs = np.concatenate([normal / np.sqrt(SAMPLES), np.zeros((N, N))])
    contractive = np.linalg.lstsq(inputs, outputs, rcond=None)[0].T
    np.testing.assert_allclose(contractive, denoising_optimum(normal, weight), atol=EXACT)


@pytest.mark.parametrize("seed", range(5))
def test_of_the_maps_that_keep_what_is_normal_the_projection_has_the_least_norm(projection, seed):
    """||A||^2 = ||P||^2 + ||A (I - P)||^2 for every A that is the identity on V."""
    rest = np.eye(N) - projection
    a = projection + np.random.default_rng(seed).normal(size=(N, N)) @ rest
    norm = np.linalg.norm(a) ** 2
    assert norm == pytest.approx(np.linalg.norm(projection) ** 2 + np.linalg.norm(a @ rest) ** 2, rel=EXACT)
    assert norm > np.linalg.norm(projection) ** 2 == pytest.approx(K)


@pytest.mark.parametrize("seed", range(5))
def test_of_the_idempotent_maps_the_orthogonal_projection_conserves_an_image_best(basis, projection, seed):
    """||x - Q x||^2 = ||x - P x||^2 + ||P x - Q x||^2 for every idempotent Q with the range V."""
    rng = np.random.default_rng(seed)
    oblique = basis @ (basis.T + rng.normal(size=(K, N)) @ (np.eye(N) - projection))
    np.testing.assert_allclose(oblique @ oblique, oblique, atol=EXACT)
    x = rng.normal(size=N)
    residual = np.linalg.norm(x - projection @ x) ** 2
    between = np.linalg.norm(projection @ x - oblique @ x) ** 2
    assert np.linalg.norm(x - oblique @ x) ** 2 == pytest.approx(residual + between, rel=EXACT)
    assert between > 0


@pytest.mark.parametrize("share", [0.3, 0.1, 0.03])
def test_restoring_a_hole_is_not_the_orthogonal_projection_unless_the_hole_is_small(share):
    """Another normal image is seen in a hole. What the projection is off is P (x^ - x), about sqrt(share) of x^ - x.

    An entry of x^ - x = M v has v in V, and P M v = share v but for the place of the hole, while
    |M v| = sqrt(share) |v|: so the ratio is sqrt(share) up to the sampling of the hole's pixels, a relative
    1 / sqrt(share n). Where the hole is known, filling it in from the rest restores x exactly. That is a projection
    onto V as well, and an oblique one.
    """
    n, k = 3000, 6
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.normal(size=(n, k)))[0]
    hole = np.zeros(n, bool)
    hole[rng.choice(n, round(share * n), replace=False)] = True
    x, other = u @ rng.normal(size=k), u @ rng.normal(size=k)
    corrupted = np.where(hole, other, x)

    project = u @ (u.T @ corrupted)
    assert np.linalg.norm(project - x) == pytest.approx(np.linalg.norm(u @ (u.T @ (corrupted - x))), rel=EXACT)
    ratio = np.linalg.norm(project - x) / np.linalg.norm(corrupted - x)
    assert ratio == pytest.approx(np.sqrt(share), rel=3 / np.sqrt(share * n))

    fill_in = u @ np.linalg.pinv(u[~hole])
    np.testing.assert_allclose(fill_in @ corrupted[~hole], x, atol=EXACT)
    anything = rng.normal(size=n)
    once = fill_in @ anything[~hole]
    np.testing.assert_allclose(fill_in @ once[~hole], once, atol=EXACT)  # idempotent
    # Its residual is not normal to V. In k directions white noise has there the variance of a least-squares fit,
    # about share / (1 - share), and a norm below a quarter of its expectation once in 1,000 times.
    assert np.linalg.norm(u.T @ (anything - once)) > np.sqrt(k * share / (1 - share)) / 4


def test_noise_that_the_target_keeps_pulls_the_jacobian_towards_the_identity(normal):
    """The mean of ||A (x + e) - (x + e)||^2 is that of ||A x - x||^2, plus s^2 ||A - I||_F^2: exact for linear maps."""
    variance = 0.04
    a = np.random.default_rng(2).normal(size=(N, N)) / N
    noisy = (normal[:, None] + white_noise(variance)).reshape(-1, N)
    with_noise = np.square(noisy @ a.T - noisy).sum(1).mean()
    without = np.square(normal @ a.T - normal).sum(1).mean()
    assert with_noise == pytest.approx(without + variance * np.linalg.norm(a - np.eye(N)) ** 2, rel=EXACT)


def test_the_option_added_noise_has_that_loss():
    """For the map f(x) = c x the loss of a training step is (1 - c)^2 times the mean square of x + e."""
    c, sd = 0.5, 0.3
    config = SDC.Config.parse({"corruption": "none", "added_noise": sd}, "sdc")
    model: Any = SDC(config, DataInfo(channels=1, height=32, width=32, train_size=400))
    model.network = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.constant_(model.network.weight, c)
    torch.manual_seed(0)
    images = torch.rand(400, 1, 32, 32)
    found = float(model.training_step(Batch(images))["loss"].detach())
    expected = (1 - c) ** 2 * (float(images.square().mean()) + sd**2)
    count = images.numel()
    standard_error = (1 - c) ** 2 * np.sqrt(2 * sd**4 + 4 * sd**2 / 3) / np.sqrt(count)  # of the mean of e^2 + 2 x e
    assert found == pytest.approx(expected, abs=5 * standard_error)
