import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.spatial.distance import mahalanobis
from scipy.stats import beta, kstest
from tests.latentbench_nulls.given import SHAPES, fitted, images, slow_layers

from latentbench import LatentbenchError
from latentbench_nulls import gaussians
from latentbench_nulls.gaussians import PatchGaussian, UntrainedPatchGaussian
from latentbench_nulls.null import GRID


@pytest.mark.parametrize("null_class", [PatchGaussian, UntrainedPatchGaussian])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_distances_are_scipys_under_the_shrunk_covariance_of_numpy(null_class, shape, monkeypatch):
    monkeypatch.setattr(gaussians, "_AT_ONCE", 7)
    train, test = images(shape, 40), images(shape, 3, seed=1)
    null = fitted(null_class, train, dimensions=12, shrinkage=0.2)
    directions = null.directions.double().numpy()
    assert directions.shape[1] == 12
    np.testing.assert_allclose(directions.T @ directions, np.eye(12), atol=1e-5)
    seen, given = (null.features(x).double().numpy() @ directions for x in (train, test))
    distances = np.empty(given.shape[:2])
    for cell in range(given.shape[1]):
        covariance = np.cov(seen[:, cell].T, bias=True)
        shrunk = 0.8 * covariance + (0.2 * np.trace(covariance) / 12 + 1e-4) * np.eye(12)
        inverse = np.linalg.inv(shrunk)
        distances[:, cell] = [mahalanobis(x, seen[:, cell].mean(0), inverse) for x in given[:, cell]]
    expected = GRID.to_pixels(torch.from_numpy(distances), null.info.height, null.info.width)
    torch.testing.assert_close(null.localize(test).double(), expected, rtol=2e-3, atol=1e-3)
    torch.testing.assert_close(null.score(test), null.localize(test).amax((1, 2)))


@pytest.mark.parametrize("shape", [*SHAPES, (1, 16, 24)], ids=str)
def test_untrained_features_of_a_cell_are_those_of_a_slow_network_at_its_centre(shape):
    """SciPy's convolutions, and its bilinear interpolation of each map at the share of its sides where that is."""
    null = fitted(UntrainedPatchGaussian, images(shape, 5), dimensions=4)
    down, across = -(-shape[1] // 4), -(-shape[2] // 4)
    test = images(shape, 2, seed=1)
    expected = np.empty((2, down, across, 112))
    for number, image in enumerate(test.double().numpy()):
        channels = [channel for maps in slow_layers(null.network, image) for channel in maps]
        for row in range(down):
            for column in range(across):
                for place, channel in enumerate(channels):
                    height, width = channel.shape
                    # pixel i of a map has its centre at i + 1 / 2; beyond the outermost centres it is constant
                    y, x = (row + 0.5) / down * height - 0.5, (column + 0.5) / across * width - 0.5
                    expected[number, row, column, place] = map_coordinates(
                        channel, [[y], [x]], order=1, mode="nearest"
                    )[0]
    np.testing.assert_allclose(null.features(test), expected.reshape(2, -1, 112), rtol=1e-4, atol=1e-5)


def test_a_position_that_looks_the_same_in_all_training_images_has_finite_distances():
    flat = torch.full((5, 1, 13, 17), 0.4)
    null = fitted(PatchGaussian, flat)
    assert null.directions.shape == (64, 48)
    changed = flat.clone()
    changed[:, :, 6, 8] = 0.6
    assert null.localize(flat).max() < 1e-3
    found = null.localize(changed)[0]
    assert found.isfinite().all()
    assert found[6, 8] > 1
    assert found[0, 16] < 1e-3


@pytest.mark.parametrize(
    ("null_class", "shape", "most"),
    [(PatchGaussian, (1, 8, 8), 64), (PatchGaussian, (3, 8, 8), 192), (UntrainedPatchGaussian, (1, 8, 8), 112)],
)
def test_there_are_no_more_dimensions_than_features(null_class, shape, most):
    train = images(shape, 5)
    assert fitted(null_class, train, dimensions=most).directions.shape == (most, most)
    with pytest.raises(
        LatentbenchError, match=f"dimensions={most + 1} is more than .* set dimensions to {most} at most"
    ):
        fitted(null_class, train, dimensions=most + 1)


def test_of_one_dimension_nothing_is_shrunk_and_the_option_is_refused():
    train = images((1, 8, 8), 40)
    null = fitted(PatchGaussian, train, dimensions=1)
    seen = null.features(train).double() @ null.directions.double()
    np.testing.assert_allclose(null.whitening[:, 0, 0], 1 / (seen[..., 0].numpy().var(0) + 1e-4) ** 0.5, rtol=1e-4)
    assert PatchGaussian.configure("none", {"dimensions": 1}).model_dump() == {"dimensions": 1}
    with pytest.raises(LatentbenchError, match="'shrinkage' has no effect: in one dimension a covariance is"):
        PatchGaussian.configure("none", {"dimensions": 1, "shrinkage": 0.2})


def test_directions_are_uniform():
    """What a coordinate keeps of its square has then a beta distribution, and is 0 or 1 if coordinates are picked."""
    train = images((1, 8, 8), 2)
    nulls = [fitted(PatchGaussian, train, seed=seed, dimensions=12) for seed in range(5)]
    kept = np.concatenate([null.directions.double().square().sum(1).numpy() for null in nulls])
    assert kstest(kept, beta(12 / 2, (64 - 12) / 2).cdf).pvalue > 0.01
