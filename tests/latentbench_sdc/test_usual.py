"""What is usual against NumPy and SciPy."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EmpiricalCovariance

from latentbench_sdc.usual import GRID, Usual, UsualPatches, UsualPatchesWithImage


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


def _pairs(count: int, shape: tuple[int, int, int], seed: int) -> torch.Tensor:
    """(count, 2 C, H, W) of a shape (C, H, W): small residuals, and images, of which some places vary more."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 1, shape[2])
    residuals, images = 0.1 * torch.randn(2, count, *shape, generator=generator) * spread
    return torch.cat([residuals.roll(1, 3) + 0.02, 5 * images + 0.5], 1)


@pytest.mark.parametrize("shape", [(1, 8, 12), (1, 7, 7), (3, 6, 7)], ids=str)
def test_with_the_image_it_is_the_mean_of_two_distances_under_scikit_learns_covariances(shape):
    training, test = _pairs(60, shape, seed=0), _pairs(2, shape, seed=1)
    usual = UsualPatchesWithImage.of(training.split(25))
    found = []
    for half in range(2):
        seen, given = (GRID.patches(x.chunk(2, 1)[half]).double().numpy() for x in (training, test))
        fits = [EmpiricalCovariance().fit(seen[:, place]) for place in range(seen.shape[1])]
        added = np.mean([np.diag(fit.covariance_) for fit in fits]) * np.eye(seen.shape[2])
        inverses = [np.linalg.inv(fit.covariance_ + added) for fit in fits]
        of_training, of_test = (
            np.array(
                [
                    [mahalanobis(x[place], fits[place].location_, inverses[place]) for place in range(len(fits))]
                    for x in patches
                ]
            )
            for patches in (seen, given)
        )
        found.append(of_test / np.sqrt(np.mean(of_training**2)))
    pixels = GRID.to_pixels(torch.from_numpy(np.mean(found, 0)), *shape[1:])
    torch.testing.assert_close(usual.distances(test).double(), pixels, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("scale", [(0.1, 1), (1, 10)])
def test_neither_the_unit_of_residuals_nor_that_of_images_counts(scale):
    training, test = _pairs(40, (1, 9, 12), seed=0), _pairs(3, (1, 9, 12), seed=1)
    units = torch.tensor(scale)[:, None, None]
    found = UsualPatchesWithImage.of([training * units]).distances(test * units)
    torch.testing.assert_close(found, UsualPatchesWithImage.of([training]).distances(test), rtol=1e-3, atol=1e-3)


def test_with_the_image_distances_stay_finite_where_all_training_images_are_alike():
    usual = UsualPatchesWithImage.of([torch.full((4, 2, 8, 8), 0.5)])
    assert torch.equal(usual.distances(torch.full((1, 2, 8, 8), 0.5)), torch.zeros(1, 8, 8))
    assert torch.isfinite(usual.distances(torch.rand(1, 2, 8, 8))).all()


def test_with_the_image_it_tells_what_residuals_or_images_alone_are_blind_to():
    """A dark stain that was kept as it is, and an image that is usual, but that was not restored."""
    training, test = _pairs(200, (1, 16, 20), seed=0), _pairs(40, (1, 16, 20), seed=1)
    residuals, images = test.chunk(2, 1)
    stained, unrestored = test.clone(), test.clone()
    stained[:, 1, 4:10, 4:10] -= 2
    unrestored[:, 0, 4:10, 4:10] += 0.4
    alone = UsualPatches.of([training[:, :1]]), UsualPatches.of([training[:, 1:]])
    assert torch.equal(alone[0].distances(stained[:, :1]), alone[0].distances(residuals))
    assert torch.equal(alone[1].distances(unrestored[:, 1:]), alone[1].distances(images))
    usual = UsualPatchesWithImage.of([training])
    highest = usual.distances(test).amax()
    for defective in (stained, unrestored):
        assert usual.distances(defective)[:, 5:9, 5:9].mean() > highest
