import numpy as np
import pytest
from scipy.spatial.distance import pdist
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench_nulls.projections import RandomProjection


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_is_linear_and_keeps_squared_distances_on_average(shape):
    given = images(shape, 12)
    codes = [fitted(RandomProjection, given, seed=seed, dimensions=16).encode(given) for seed in range(60)]
    assert codes[0].shape == (12, 16)
    null = fitted(RandomProjection, given, dimensions=16)
    np.testing.assert_allclose(null.encode(given[:1] / 2 + given[1:2] / 2)[0], codes[0][:2].mean(0), atol=1e-4)
    kept = np.mean([pdist(code, "sqeuclidean") for code in codes], 0) / pdist(given.flatten(1), "sqeuclidean")
    np.testing.assert_allclose(kept, 1, atol=0.25)  # a chi-squared variable of 16 * 60 degrees over their number
