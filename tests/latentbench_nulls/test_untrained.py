import numpy as np
import pytest
import torch
from scipy.signal import correlate2d
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench_nulls.untrained import UntrainedFeatures, UntrainedNetwork


def _layer(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolution by SciPy, leaky ReLU, and means of 2x2 blocks, those at the border of fewer pixels."""
    x = np.stack(
        [sum(correlate2d(m, k, mode="same") for m, k in zip(maps, kernels, strict=True)) for kernels in weight]
    )
    x = np.where(x > 0, x, 0.2 * x)
    height, width = x.shape[1:]
    rows = [[x[:, y : y + 2, z : z + 2].mean((1, 2)) for z in range(0, width, 2)] for y in range(0, height, 2)]
    return np.array(rows).transpose(2, 0, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_features_are_those_of_a_slow_network(shape):
    null = fitted(UntrainedFeatures, images(shape, 2))
    (image,) = images(shape, 1, seed=1)
    means, maps = [], image.double().numpy()
    for layer in null.network.layers:
        maps = _layer(maps, layer.weight.double().numpy())
        means.append(maps.mean((1, 2)))
    np.testing.assert_allclose(null.encode(image[None])[0], np.concatenate(means), rtol=1e-3, atol=1e-5)


def test_weights_are_scaled_to_keep_the_size_of_activations_and_are_never_trained():
    torch.manual_seed(0)
    weights = list(UntrainedNetwork(3).parameters())
    assert [weight.shape for weight in weights] == [(16, 3, 3, 3), (32, 16, 3, 3), (64, 32, 3, 3)]
    for weight in weights:
        assert weight.var() == pytest.approx(2 / (1.04 * weight[0].numel()), rel=0.15)
        assert not weight.requires_grad


def test_the_seed_draws_the_network():
    train = images((1, 8, 8), 2)
    first, again, other = (fitted(UntrainedFeatures, train, seed=seed).encode(train) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
