"""Tables and mutual information against NumPy's histogram, scikit-learn, SciPy and slow loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from sklearn.metrics import mutual_info_score

from latentbench_metrics.information import contingency, entropy, histogram_bins, mutual_information

items = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2), st.integers(1, 3)), min_size=1)


@given(case=items)
def test_a_table_holds_the_weight_of_each_pair_of_values(case):
    one, other, column, weights = (np.array(values) for values in zip(*case, strict=True))
    tables = contingency(np.column_stack([one, other]), column, weights.astype(float))
    for variable, rows in enumerate((one, other)):
        for (r, c), weight in np.ndenumerate(tables[variable]):
            pairs = zip(rows, column, weights, strict=True)
            assert weight == sum(w for row, value, w in pairs if row == r and value == c)


def test_mutual_information_equals_scikit_learns():
    rng = np.random.default_rng(0)
    column = rng.integers(0, 5, 500)
    rows = np.column_stack([column, (column + rng.integers(0, 3, 500)) % 5, rng.integers(0, 5, 500)])
    expected = [mutual_info_score(values, column) for values in rows.T]
    assert mutual_information(contingency(rows, column, np.ones(500))) == pytest.approx(expected, abs=1e-12)


@given(case=items)
def test_mutual_information_is_between_zero_and_the_lesser_entropy_and_a_weight_is_so_many_copies(case):
    one, other, _, weights = (np.array(values) for values in zip(*case, strict=True))
    table = contingency(one[:, None], other, weights.astype(float))[0]
    information = mutual_information(table)
    assert 0 <= information <= min(entropy(table.sum(0)), entropy(table.sum(1))) + 1e-12
    expected = mutual_info_score(np.repeat(one, weights), np.repeat(other, weights))
    assert information == pytest.approx(expected, abs=1e-12)


@given(counts=st.lists(st.integers(0, 9), min_size=1).filter(any))
def test_entropy_equals_scipys(counts):
    assert entropy(np.array(counts, float)) == pytest.approx(scipy_entropy(counts), abs=1e-12)


@pytest.mark.parametrize("bins", [2, 7, 20])
def test_bins_are_those_that_numpy_counts(bins):
    codes = np.random.default_rng(0).normal(size=(300, 4)) * [1, 1e-3, 1e6, 1] + [0, 5, 0, -1e3]
    found = histogram_bins(codes, bins)
    for numbers, code in zip(found.T, codes.T, strict=True):
        assert np.array_equal(np.bincount(numbers, minlength=bins), np.histogram(code, bins)[0])
        assert np.all(np.diff(numbers[np.argsort(code)]) >= 0)


def test_a_constant_column_is_in_one_bin_and_neighbouring_single_precision_numbers_are_not():
    close = np.float32(1e6) + np.array([0, 1], np.float32) * np.spacing(np.float32(1e6))
    codes = np.column_stack([np.full(4, 0.1), np.tile(close, 2)])
    constant, apart = histogram_bins(codes, 20).T
    assert len(set(constant)) == 1
    assert apart.tolist() == [0, 19, 0, 19]
