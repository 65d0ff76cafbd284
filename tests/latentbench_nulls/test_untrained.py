import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from tests.latentbench_nulls.given import SHAPES, fitted, images, slow_layers

from latentbench_nulls import untrained
from latentbench_nulls.untrained import UntrainedFeatures, UntrainedNetwork


def _features(null: UntrainedFeatures, image: np.ndarray) -> np.ndarray:
    return np.concatenate([maps.mean((1, 2)) for maps in slow_layers(null.network, image)])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_codes_have_the_mahalanobis_distances_of_the_features_of_a_slow_network(shape, monkeypatch):
    monkeypatch.setattr(untrained, "_NOISE", 0.01)
    monkeypatch.setattr(untrained, "_AT_ONCE", 4)
    train, test = images(shape, 20), images(shape, 3, seed=1)
    null = fitted(UntrainedFeatures, train)
    seen, given = (np.array([_features(null, image) for image in x.double().numpy()]) for x in (train, test))
    covariance = np.cov(seen.T, bias=True)
    inverse = np.linalg.inv(covariance + 0.01 * np.trace(covariance) / 112 * np.eye(112))
    expected = [mahalanobis(x, seen.mean(0), inverse) for x in given]
    np.testing.assert_allclose(null.encode(test).norm(dim=1), expected, rtol=1e-3)
    between = [mahalanobis(x, y, inverse) for x in given for y in given]
    codes = null.encode(test)
    np.testing.assert_allclose(torch.cdist(codes, codes).flatten(), between, rtol=1e-3, atol=1e-2)


def test_codes_of_training_images_are_decorrelated():
    train = images((1, 8, 8), 3000)
    codes = fitted(UntrainedFeatures, train).encode(train).double().numpy()
    np.testing.assert_allclose(codes.mean(0), np.zeros(112), atol=1e-2)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(112), atol=0.05)


@pytest.mark.parametrize("number", [1, 5])
def test_where_all_training_images_are_equal_codes_are_features_in_units_of_rounding_errors(number):
    train, test = images((1, 8, 8), 1).expand(number, -1, -1, -1), images((1, 8, 8), 3, seed=1)
    null = fitted(UntrainedFeatures, train)
    seen, *given = (_features(null, image) for image in (train[0].double().numpy(), *test.double().numpy()))
    np.testing.assert_allclose(
        null.encode(test), (np.array(given) - seen) / np.finfo(np.float32).eps, rtol=1e-3, atol=10
    )
    assert null.encode(train).abs().max() < 10


def test_weights_are_scaled_to_keep_the_size_of_activations_and_are_never_trained():
    torch.manual_seed(0)
    weights = list(UntrainedNetwork(3).parameters())
    assert [weight.shape for weight in weights] == [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3)]
    for weight in weights:
        assert weight.var() == pytest.approx(2 / (1.04 * weight[0].numel()), rel=0.15)
        assert not weight.requires_grad


def test_the_slope_of_the_leaky_relu_enters_the_scale_of_the_weights():
    """By 4 %. Of 231,840 weights, in units of their standard deviation, the variance is 1 within 0.3 %."""
    torch.manual_seed(0)
    weights = [weight for _ in range(10) for weight in UntrainedNetwork(1).parameters()]
    scaled = [weight.flatten() * (1.04 * weight[0].numel() / 2) ** 0.5 for weight in weights]
    assert torch.cat(scaled).var() == pytest.approx(1, abs=0.015)


def test_the_seed_draws_the_network():
    train = images((1, 8, 8), 2)
    first, again, other = (fitted(UntrainedFeatures, train, seed=seed).encode(train) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
