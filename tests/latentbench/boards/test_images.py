"""What the test images add to rows, from replicates: against the whole covariance matrix of seeds and rows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench.boards.images import Images


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_what_seeds_share_is_the_mean_covariance_of_two_different_ones(seed, n):
    rows = [rng.normal(size=(20, n)) @ rng.normal(size=(n, n)) for rng in np.random.default_rng(seed).spawn(2)]
    images = Images.of(rows)
    whole = np.cov(np.hstack(rows).T)
    for row in range(2):
        block = whole[row * n : (row + 1) * n, row * n : (row + 1) * n]
        assert images.covariance[row, row] == pytest.approx(block.mean())
        shared = sum(block[i, j] for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
        assert images.covariance[row, row] - images.noise[row] == pytest.approx(shared, abs=1e-9)
    assert images.covariance[0, 1] == pytest.approx(whole[:n, n:].mean())
    assert images.freedom == 19


def test_rows_without_replicates_are_unknown_and_leave_the_others_as_they_are():
    rng = np.random.default_rng(3)
    first, last = rng.normal(size=(10, 3)), rng.normal(size=(10, 1))
    images, without = Images.of([first, None, last]), Images.of([first, last])
    assert np.array_equal(images.covariance[np.ix_([0, 2], [0, 2])], without.covariance)
    assert np.isnan(images.covariance[1]).all()
    assert np.isnan(images.noise[1])
    assert images.noise[2] == 0
    assert Images.of([None]).freedom == 0


def test_replicates_of_another_number_are_not_paired():
    with pytest.raises(ValueError, match="not paired"):
        Images.of([np.zeros((10, 1)), np.zeros((11, 1))])
