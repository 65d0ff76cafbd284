"""Intervals, tests and ranks against SciPy, and against what happens when seeds are really drawn."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.significance import Summary, rank, seeds_to_separate, separates, welch

# SciPy warns where one of two samples does not vary.
pytestmark = pytest.mark.filterwarnings("ignore:Precision loss occurred:RuntimeWarning")

SETTINGS = settings(deadline=None, max_examples=100)
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


@SETTINGS
@given(samples, samples)
def test_welch_s_test_is_scipy_s(first, second):
    assume(len({*first}) > 1 or len({*second}) > 1)
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert welch(Summary.of(first), Summary.of(second)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_without_any_spread_means_are_equal_or_they_differ():
    same, other = Summary.of([0.5, 0.5]), Summary.of([0.6, 0.6, 0.6])
    assert welch(same, same) == 1
    assert welch(same, other) == 0
    assert not separates(same, same)
    assert separates(same, other)


def test_a_single_value_is_separated_by_its_value_untested():
    one, three = Summary.of([0.5]), Summary.of([0.4, 0.5, 0.6])
    assert welch(one, three) is None
    assert not separates(one, three)
    assert separates(Summary.of([0.501]), three)


def test_the_level_of_the_test_is_five_per_cent():
    rng = np.random.default_rng(1)
    drawn = [Summary.of(sample) for sample in rng.normal(0, 1, (8000, 5)).tolist()]
    separated = sum(separates(a, b) for a, b in zip(drawn[::2], drawn[1::2], strict=True))
    assert separated / 4000 == pytest.approx(0.05, abs=0.014)


# Ranks


def ranks_of(*samples: list[float]) -> list[int]:
    return rank([Summary.of(sample) for sample in samples])


def test_a_group_shares_the_rank_of_its_first_and_the_next_rank_is_its_place():
    clear = [[0.90, 0.91], [0.80, 0.81], [0.70, 0.71]]
    assert ranks_of(*clear) == [1, 2, 3]
    assert ranks_of([0.9, 0.91, 0.92], [0.89, 0.91, 0.92], [0.5, 0.51, 0.52], [0.5, 0.51, 0.51]) == [1, 1, 3, 3]
    assert rank([]) == []


def test_a_row_is_held_against_the_first_of_its_group_and_not_against_its_neighbour():
    first, middle, last = [1.00, 1.02, 1.04], [0.97, 0.99, 1.01], [0.94, 0.96, 0.98]
    assert stats.ttest_ind(first, middle, equal_var=False).pvalue > 0.05
    assert stats.ttest_ind(middle, last, equal_var=False).pvalue > 0.05
    assert stats.ttest_ind(first, last, equal_var=False).pvalue < 0.05
    assert ranks_of(first, middle, last) == [1, 1, 3]


def test_single_seeds_rank_by_value_and_equal_ones_tie():
    assert ranks_of([0.9], [0.8], [0.8], [0.7]) == [1, 2, 2, 4]


@SETTINGS
@given(st.lists(samples, min_size=1, max_size=6))
def test_ranks_follow_scipy_s_test_against_each_group_s_first(many):
    many.sort(key=lambda sample: -Summary.of(sample).mean)
    ranks = ranks_of(*many)
    for place, (mine, sample) in enumerate(zip(ranks, many, strict=True), start=1):
        group = many[ranks[place - 2] - 1] if place > 1 else sample  # the first of the group above
        if len({*sample}) == len({*group}) == 1:
            differs = sample[0] != group[0]
        else:
            p = stats.ttest_ind(group, sample, equal_var=False).pvalue
            assume(abs(p - 0.05) > 1e-9)
            differs = p < 0.05
        assert mine == (place if differs or place == 1 else ranks[place - 2])


# Seeds to separate


@SETTINGS
@given(samples, samples)
def test_so_many_seeds_separate_and_one_less_does_not(first, second):
    a, b = Summary.of(first), Summary.of(second)
    std_a, std_b = known(a.std), known(b.std)
    assume(std_a > 0 or std_b > 0)
    assume(not separates(a, b))
    seeds = seeds_to_separate(a, b)

    def p_value(n: int) -> float:
        return float(stats.ttest_ind_from_stats(a.mean, std_a, n, b.mean, std_b, n, equal_var=False).pvalue)

    if seeds is None:
        assert p_value(1000) >= 0.05
    else:
        assert seeds > max(a.n, b.n)
        assert p_value(seeds) < 0.05
        assert seeds == max(a.n, b.n) + 1 or p_value(seeds - 1) >= 0.05


def test_about_half_of_such_experiments_separate_the_two():
    a, b = Summary.of([0.80, 0.82, 0.84]), Summary.of([0.785, 0.805, 0.825])
    seeds = seeds_to_separate(a, b)
    assert seeds == 15
    rng = np.random.default_rng(2)
    first = rng.normal(a.mean, known(a.std), (4000, seeds))
    second = rng.normal(b.mean, known(b.std), (4000, seeds))
    separated = stats.ttest_ind(first, second, axis=1, equal_var=False).pvalue < 0.05
    assert separated.mean() == pytest.approx(0.5, abs=0.05)


def test_equal_means_are_never_separated():
    assert seeds_to_separate(Summary.of([0.4, 0.6]), Summary.of([0.3, 0.7])) is None
