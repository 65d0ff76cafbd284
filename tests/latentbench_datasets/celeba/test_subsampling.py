"""The largest set of a correlation: against the published counts, an exhaustive search, and its defining properties."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench_datasets.celeba.subsampling import cell_sizes, shuffled, subsample

SETTINGS = settings(max_examples=100)
PLENTY = 10**6
#: Two decimals, as people write correlations; all but -1 and 1.
CORRELATIONS = st.integers(-99, 99).map(lambda percent: percent / 100)


@pytest.mark.parametrize(
    ("available", "correlation", "same", "different"),
    [
        ([[PLENTY, PLENTY], [PLENTY, 27259]], 0.8, 27259, 3028),  # training
        ([[PLENTY, PLENTY], [PLENTY, 3445]], 0.8, 3445, 382),  # validation
        ([[PLENTY, 4617], [PLENTY, 3094]], 0.0, 3094, 3094),  # uncorrelated test
        ([[PLENTY, PLENTY], [4617, 3094]], -0.8, 513, 4617),  # anticorrelated test
    ],
)
def test_the_published_counts_follow_from_the_cell_that_binds(available, correlation, same, different):
    """Funke et al. (2022), Fig. 14; the sizes of the other cells are not printed, and do not matter."""
    sizes = cell_sizes(np.array(available), correlation)
    assert sizes.tolist() == [[same, different], [different, same]]


def test_the_arithmetic_is_not_that_of_floats():
    assert int(4617 * (1 - 0.8) / (1 + 0.8)) == 512, "what floats give"
    assert cell_sizes(np.full((2, 2), 4617), -0.8)[0, 0] == 513


@pytest.mark.parametrize(
    ("correlation", "sizes"),
    [(1, [[5, 0], [0, 5]]), (-1, [[0, 7], [7, 0]]), (0, [[5, 5], [5, 5]]), (0.5, [[6, 2], [2, 6]])],
)
def test_cells_are_counted_by_hand(correlation, sizes):
    available = np.array([[6, 7], [9, 6]]) if correlation == 0.5 else np.array([[5, 7], [9, 6]])
    assert cell_sizes(available, correlation).tolist() == sizes


@SETTINGS
@given(st.lists(st.integers(0, 400), min_size=4, max_size=4), CORRELATIONS)
def test_sizes_are_the_largest_of_the_correlation_with_even_marginals(counts, correlation):
    available = np.array(counts).reshape(2, 2)
    c = Fraction(str(correlation))
    # The largest real t for which t (1 + c) and t (1 - c) images are there, by trying every cell as the one that binds.
    scales = [Fraction(counts[k]) / (1 + c if k in (0, 3) else 1 - c) for k in range(4)]
    expected = [min(scales) * (1 + c) // 1, min(scales) * (1 - c) // 1]
    if 0 in expected:
        with pytest.raises(ValueError, match="leaves a cell empty"):
            cell_sizes(available, correlation)
        return
    sizes = cell_sizes(available, correlation)
    assert [sizes[0, 0], sizes[0, 1]] == expected
    assert (sizes <= available).all()
    assert sizes[0, 0] == sizes[1, 1]
    assert sizes[0, 1] == sizes[1, 0]
    assert (sizes == available).any(), "some cell is used whole"
    achieved = (sizes[0, 0] - sizes[0, 1]) / (sizes[0, 0] + sizes[0, 1])
    assert abs(achieved - correlation) < 4 / sizes.sum()


@pytest.mark.parametrize("empty", range(4))
def test_an_empty_cell_allows_no_correlation_but_one_that_does_without_it(empty):
    available = np.full(4, 9)
    available[empty] = 0
    for correlation in (-0.5, 0, 0.5):
        with pytest.raises(ValueError, match="leaves a cell empty"):
            cell_sizes(available.reshape(2, 2), correlation)
    without = -1 if empty in (0, 3) else 1
    assert cell_sizes(available.reshape(2, 2), without).sum() == 18


def test_too_few_for_a_rare_cell_are_refused_and_not_rounded_to_another_correlation():
    assert cell_sizes(np.full((2, 2), 19), 0.9).tolist() == [[19, 1], [1, 19]]
    with pytest.raises(ValueError, match=r"a correlation of 0\.9 leaves a cell empty"):
        cell_sizes(np.full((2, 2), 18), 0.9)


@SETTINGS
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=200), CORRELATIONS, st.integers(0, 5))
def test_a_subsample_takes_the_first_of_each_cell_in_the_order(cells, correlation, seed):
    cells = np.array([*cells, *np.repeat(np.arange(4), 200)])
    order = shuffled(len(cells), seed)
    used = subsample(cells, correlation, order)
    available = np.array([np.sum(cells == cell) for cell in range(4)])
    sizes = cell_sizes(available.reshape(2, 2), correlation).ravel()
    left = list(sizes)
    for place in order:  # a slow loop
        expected = cells[place] >= 0 and left[cells[place]] > 0
        assert used[place] == expected
        left[cells[place]] -= expected


def test_sets_of_one_order_are_nested_cell_by_cell():
    cells = np.repeat(np.arange(4), [50, 80, 70, 60])
    order = shuffled(len(cells), 0)
    for one, other in [(0.8, 0), (0, -0.8), (0.6, -0.6)]:
        first, second = subsample(cells, one, order), subsample(cells, other, order)
        for cell in range(4):
            sizes = [int(np.sum(used & (cells == cell))) for used in (first, second)]
            assert np.sum(first & second & (cells == cell)) == min(sizes)


def test_every_image_of_a_cell_is_as_likely_to_be_used():
    cells = np.repeat(np.arange(4), [20, 10, 10, 10])
    counts = np.sum([subsample(cells, 0, shuffled(50, seed)) for seed in range(2000)], axis=0)
    assert (counts[20:] == 2000).all()
    assert abs(counts[:20] / 2000 - 0.5).max() < 4 * 0.5 / np.sqrt(2000)


def test_an_order_is_a_permutation_and_the_same_everywhere():
    """Other numbers need other versions of the datasets that draw by them."""
    assert sorted(shuffled(1000, 3, 1)) == list(range(1000))
    assert shuffled(10, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert shuffled(10, 0).tolist() != shuffled(10, 0, 1).tolist() != shuffled(10, 1, 0).tolist()
