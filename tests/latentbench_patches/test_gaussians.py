"""Against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from latentbench_patches import distances, moments, whitening

PLACES, D = 5, 3


def _codes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(PLACES, D, D, generator=generator)
    return torch.einsum("pij,bpj->bpi", mixing, torch.randn(count, PLACES, D, generator=generator)) + 100


@pytest.mark.parametrize("sizes", [(40,), (1, 30, 9)])
def test_moments_are_numpys_however_vectors_are_batched(sizes):
    codes = _codes(40)
    mean, covariance = moments(codes.split(sizes))
    for place in range(PLACES):
        x = codes[:, place].double().numpy()
        np.testing.assert_allclose(mean[place], x.mean(0), rtol=1e-12)
        np.testing.assert_allclose(covariance[place], np.cov(x.T, bias=True), rtol=1e-8, atol=1e-10)


def test_whitened_vectors_have_the_identity_for_a_covariance():
    mean, covariance = moments([_codes(40)])
    white = (_codes(40).double() - mean).transpose(0, 1) @ whitening(covariance).transpose(1, 2)
    found = white.transpose(1, 2) @ white / 40
    torch.testing.assert_close(found, torch.eye(D, dtype=torch.float64).expand(PLACES, -1, -1))


def test_distances_are_the_squares_of_scipys():
    mean, covariance = moments([_codes(40)])
    x = _codes(4, seed=1).double()
    found = distances(x, mean, whitening(covariance))
    for place in range(PLACES):
        inverse = np.linalg.inv(covariance[place].numpy())
        expected = [mahalanobis(one, mean[place], inverse) ** 2 for one in x[:, place].numpy()]
        np.testing.assert_allclose(found[:, place], expected)
