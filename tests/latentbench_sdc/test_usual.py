"""What is usual against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis

from latentbench_sdc.usual import GRID, Usual, UsualPatches


@pytest.mark.parametrize("sizes", [(7,), (1, 4, 2)])
def test_what_is_usual_is_numpys_mean_and_variance_however_images_are_batched(sizes):
    residuals = np.random.default_rng(0).normal(0.3, 0.01, (7, 3, 5, 6)).astype(np.float32)
    usual = Usual.of(torch.from_numpy(residuals).split(sizes))
    np.testing.assert_allclose(usual.mean, residuals.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_allclose(usual.variance, residuals.var(0, dtype=np.float64), rtol=1e-4)


def test_a_standardized_residual_is_a_squared_distance_in_variances_of_its_place():
    usual = Usual(mean=torch.tensor([[[0.1, -0.1]]]), variance=torch.tensor([[[0.04, 0.16]]]))
    found = usual.standardized(torch.tensor([[[[0.4, 0.3]]], [[[0.1, -0.1]]]]))
    torch.testing.assert_close(found, torch.tensor([[[[0.09 / 0.05, 0.16 / 0.17]]], [[[0.0, 0.0]]]]))


def test_where_all_training_images_are_restored_alike_standardized_residuals_stay_finite():
    usual = Usual.of([torch.full((4, 1, 2, 2), 0.5)])
    assert torch.equal(usual.standardized(torch.full((1, 1, 2, 2), 0.5)), torch.zeros(1, 1, 2, 2))
    assert torch.isfinite(usual.standardized(torch.rand(1, 1, 2, 2))).all()


@pytest.mark.parametrize("shape", [(1, 8, 12), (3, 6, 7)], ids=str)
def test_a_patch_has_scipys_distance_under_numpys_covariance(shape):
    training = torch.randn(60, *shape, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 1, shape[2])
    test = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1))
    usual = UsualPatches.of(training.split(25))
    seen, given = (GRID.patches(x).double().numpy() for x in (training, test))
    covariances = np.stack([np.cov(seen[:, place].T, bias=True) for place in range(seen.shape[1])])
    added = 3 * np.mean([np.trace(one) / len(one) for one in covariances]) * np.eye(seen.shape[2])
    expected = np.empty(given.shape[:2])
    for place, covariance in enumerate(covariances):
        inverse = np.linalg.inv(covariance + added)
        expected[:, place] = [mahalanobis(x, seen[:, place].mean(0), inverse) ** 2 for x in given[:, place]]
    pixels = GRID.to_pixels(torch.from_numpy(expected), *shape[1:])
    torch.testing.assert_close(usual.distances(test).double(), pixels, rtol=1e-3, atol=1e-3)


def test_where_all_training_images_are_restored_alike_distances_of_patches_stay_finite():
    usual = UsualPatches.of([torch.full((4, 1, 8, 8), 0.5)])
    assert torch.equal(usual.distances(torch.full((1, 1, 8, 8), 0.5)), torch.zeros(1, 8, 8))
    assert torch.isfinite(usual.distances(torch.rand(1, 1, 8, 8))).all()


def test_a_patch_tells_what_no_pixel_of_it_does():
    """Stripes that run the other way have pixels as usual as any, and patches that are not."""
    phase = torch.rand(200, 1, 1, 1, generator=torch.Generator().manual_seed(0)) * 6.28
    along = torch.sin(torch.arange(16) * 1.5 + phase).expand(-1, 1, 16, -1)
    across = along[:20].transpose(2, 3)
    pixels, patches = Usual.of([along]), UsualPatches.of([along])
    ratio = pixels.standardized(across).mean() / pixels.standardized(along).mean()
    assert 0.8 < float(ratio) < 1.25
    assert patches.distances(across).mean() > 1.5 * patches.distances(along).mean()
