"""Means and their intervals against SciPy, and against what happens when seeds are really drawn."""

import statistics
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.significance import Summary

SETTINGS = settings(max_examples=100)
# Multiples of 1/1000, as scores are: with ties, and far from the limits of floating point.
values = st.integers(-2000, 2000).map(lambda number: number / 1000)
samples = st.lists(values, min_size=2, max_size=8)


def known(value: float | None) -> float:
    """A spread that two values or more have."""
    assert value is not None
    return value


@SETTINGS
@given(samples)
def test_the_interval_is_student_s_of_the_mean(sample):
    summary = Summary.of(sample)
    assert (summary.n, summary.least, summary.greatest) == (len(sample), min(sample), max(sample))
    assert summary.mean == pytest.approx(np.mean(sample), abs=1e-12)
    assert summary.std == pytest.approx(np.std(sample, ddof=1), abs=1e-12)
    if summary.std:
        low, high = stats.t.interval(0.95, len(sample) - 1, loc=np.mean(sample), scale=stats.sem(sample))
        assert summary.mean - known(summary.half_width) == pytest.approx(low, rel=1e-9, abs=1e-9)
        assert summary.mean + known(summary.half_width) == pytest.approx(high, rel=1e-9, abs=1e-9)
    else:
        assert summary.half_width == 0


@SETTINGS
@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=8))
def test_mean_and_spread_are_those_of_the_standard_library_to_the_last_bit(sample):
    summary = Summary.of(sample)
    assert summary.mean == statistics.mean(sample)
    assert summary.std == (statistics.stdev(sample) if len(sample) > 1 else None)


def test_the_interval_holds_the_mean_in_95_of_100_samples():
    rng = np.random.default_rng(0)
    drawn = [Summary.of(sample) for sample in rng.normal(3.0, 2.0, (4000, 3)).tolist()]
    covered = sum(abs(summary.mean - 3.0) <= known(summary.half_width) for summary in drawn)
    assert covered / 4000 == pytest.approx(0.95, abs=0.014)  # four standard errors


def test_a_single_value_has_no_spread_and_no_interval():
    summary = Summary.of([0.25])
    assert (summary.mean, summary.std, summary.half_width) == (0.25, None, None)


def test_a_summary_does_not_depend_on_the_order_of_the_values():
    sample = [0.1, 1e9 + 0.3, -1e9, 0.7]  # their floating-point sum does
    assert len({sum(order) for order in permutations(sample)}) > 1
    assert len({Summary.of(order) for order in permutations(sample)}) == 1


@pytest.mark.parametrize("n", range(2, 60))
def test_equal_values_have_exactly_their_mean_and_no_spread(n):
    summary = Summary.of([0.1] * n)
    assert (summary.mean, summary.std, summary.half_width) == (0.1, 0.0, 0.0)
