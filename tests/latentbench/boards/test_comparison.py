"""Comparisons of all pairs against SciPy, what a verdict depends on and what not, and cases that ranks got wrong."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.images import Images
from latentbench.boards.moderation import fit_prior
from latentbench.boards.rank_sets import RankInterval
from latentbench.boards.significance import Summary

SETTINGS = settings(max_examples=100)
# Multiples of 1/1000, as scores are: with ties, and far from the limits of floating point.
values = st.integers(-2000, 2000).map(lambda number: number / 1000)
samples = st.lists(values, min_size=2, max_size=6)
tables = st.lists(samples, min_size=2, max_size=7)


def of(*rows: Any, images: Images | None = None, seeds: bool = True) -> Comparison:
    return compare([Summary.of(row) for row in rows], images, seeds=seeds)


def ranks(*rows: Any) -> list[str | None]:
    return [str(one) if one else None for one in of(*rows).ranks(higher_is_better=True)]


def same(first: Any, second: Any) -> bool:
    return np.allclose(first, second, rtol=1e-6, atol=1e-9, equal_nan=True)


# The test of a pair


@SETTINGS
@given(tables)
def test_a_p_value_is_that_of_t_with_the_moderated_variances_of_its_two_rows(rows):
    comparison = of(*rows)
    varying = [row for row in rows if len({*row}) > 1]
    prior = fit_prior(np.array([np.var(row, ddof=1) for row in varying]), np.array([len(row) - 1.0 for row in varying]))
    for i, j in combinations(range(len(rows)), 2):
        variance, freedoms = 0.0, []
        for row in (rows[i], rows[j]):
            if row in varying:
                moderated, freedom = prior.moderate(float(np.var(row, ddof=1)), len(row) - 1)
                variance += moderated / len(row)
                freedoms.append(freedom)
        if variance:
            t = (np.mean(rows[i]) - np.mean(rows[j])) / np.sqrt(variance)
            expected = 2 * stats.t.sf(abs(t), min(freedoms))
            assert comparison.p[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        else:
            assert np.isnan(comparison.p[i, j])
            assert not comparison.separated[i, j]


@SETTINGS
@given(samples, samples)
def test_two_rows_that_do_not_differ_in_spread_have_student_s_test_on_pooled_variance(first, second):
    second = second[: len(first)]
    first = first[: len(second)]
    assume(len({*first}) > 1 and len({*second}) > 1 and of(first, second).prior.freedom == np.inf)
    assert of(first, second).p[0, 1] == pytest.approx(stats.ttest_ind(first, second).pvalue, rel=1e-6, abs=1e-9)


def test_rows_of_very_different_spread_are_little_moderated():
    rows = [[0.0, 1000.0, 2000.0], [0.0, 0.001, 0.002], [5.0, 6.0, 7.0]]
    comparison = of(*rows)
    assert comparison.prior.freedom < 0.5
    assert comparison.variances[2] == pytest.approx(1, rel=0.5)


# What a verdict depends on


@SETTINGS
@given(tables, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    straight, shuffled = of(*rows), of(*(rows[place] for place in order))
    assert same(shuffled.adjusted, straight.adjusted[np.ix_(order, order)])
    assume(not np.isclose(straight.adjusted, 0.05, rtol=1e-6).any())
    assert shuffled.ranks(True) == [straight.ranks(True)[place] for place in order]


@SETTINGS
@given(tables, st.sampled_from([-7.0, -1.0, 0.01, 12.5]))
def test_units_and_direction_do_not_matter(rows, unit):
    straight, scaled = of(*rows), of(*([value * unit for value in row] for row in rows))
    assert same(scaled.adjusted, straight.adjusted)
    assume(not np.isclose(straight.adjusted, 0.05, rtol=1e-6).any())
    assert scaled.ranks(unit > 0) == straight.ranks(True)


@SETTINGS
@given(tables, values, st.integers(0, 7))
def test_a_row_with_one_seed_changes_nothing_for_others(rows, value, place):
    place = min(place, len(rows))
    without, comparison = of(*rows), of(*rows[:place], [value], *rows[place:])
    others = [one for one in range(len(rows) + 1) if one != place]
    assert np.array_equal(comparison.adjusted[np.ix_(others, others)], without.adjusted, equal_nan=True)
    assert comparison.ranks(True)[place] is None
    assert [one for one in comparison.ranks(True) if one] == without.ranks(True)


@SETTINGS
@given(tables, samples)
def test_a_third_row_acts_through_the_pool_and_the_number_of_pairs_alone(rows, third):
    without, comparison = of(*rows), of(*rows, third)
    k = len(rows)
    if len({*third}) == 1:  # it is not in the pool
        assert np.array_equal(comparison.p[:k, :k], without.p, equal_nan=True)
    far = [value + 1e4 for value in third]  # where it stands does not matter, only how it varies
    assert same(of(*rows, far).p[:k, :k], comparison.p[:k, :k])
    pairs = k * (k + 1) // 2
    assert (np.nan_to_num(comparison.adjusted) <= np.minimum(pairs * np.nan_to_num(comparison.p), 1) + 1e-12).all()
    assert (np.nan_to_num(comparison.adjusted) >= np.nan_to_num(comparison.p) - 1e-12).all()


@SETTINGS
@given(tables, st.floats(0.001, 5))
def test_the_further_ahead_the_best_row_is_the_better_is_its_rank_and_nobody_s_is(rows, lead):
    rows.sort(key=lambda row: -float(np.mean(row)))
    ahead = [[value + lead for value in rows[0]], *rows[1:]]
    before, after = of(*rows), of(*ahead)
    assume(not np.isclose(before.adjusted, 0.05, rtol=1e-6).any())
    first, then = before.ranks(True), after.ranks(True)
    assert (np.nan_to_num(after.p[0], nan=1) <= np.nan_to_num(before.p[0], nan=1) + 1e-9).all()
    assert then[0] is not None
    assert first[0] is not None
    assert then[0].first == 1
    assert then[0].last <= first[0].last


# Deterministic rows


def test_rounding_is_no_difference():
    assert 0.3 != 0.1 + 0.2
    assert ranks([0.3] * 3, [0.1 + 0.2] * 3, [0.5, 0.51, 0.52]) == ["2-3", "2-3", "1"]
    shaky = of([0.3, 0.1 + 0.2, 0.3], [0.5, 0.51, 0.52], [0.7, 0.72, 0.71])
    assert shaky.variances[0] == 0
    assert shaky.prior.pooled == 4


def test_without_any_variance_nothing_is_known_and_nothing_separated():
    assert ranks([0.3] * 3, [0.4] * 3) == ["1-2", "1-2"]
    assert np.isnan(of([0.3] * 3, [0.4] * 3).p).all()


def test_deterministic_rows_carry_the_images_uncertainty_alone():
    rng = np.random.default_rng(0)
    replicates = rng.normal(0, 0.01, (200, 3)) + rng.normal(0, 0.1, (200, 1))  # paired: most of it is common
    rows = [[0.50], [0.52], [0.60]]
    images = Images.of([np.repeat(replicates[:, [row]], 3, axis=1) for row in range(3)])
    comparison = of(*(row * 3 for row in rows), images=images)
    for i, j in combinations(range(3), 2):
        error = np.std(replicates[:, i] - replicates[:, j], ddof=1)
        expected = 2 * stats.t.sf(abs(rows[i][0] - rows[j][0]) / error, 199)
        assert comparison.p[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert comparison.ranks(True) == [RankInterval(2, 3), RankInterval(2, 3), RankInterval(1, 1)]


# Seeds and images together


def test_both_sources_make_one_variance_and_what_is_in_both_counts_once():
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 1, (3, 4))
    common, replicates = rng.normal(0, 1, (2000, 1)), rng.normal(0, 1, (3, 2000, 4))
    images = Images.of([common + one for one in replicates])
    alone, both = of(*rows), of(*rows, images=images)
    shared = np.diag(images.covariance) - images.noise
    for i, j in combinations(range(3), 2):
        part = max(shared[i] + shared[j] - 2 * images.covariance[i, j], 0)
        seeds = (alone.variances[i] + alone.variances[j]) / 4
        assert both.variance[i, j] == pytest.approx(seeds + part)
        freedom = (seeds + part) ** 2 / (seeds**2 / min(alone.freedoms[[i, j]]) + part**2 / 1999)
        assert both.freedom[i, j] == pytest.approx(freedom)
        # Here seeds share nothing but the common part, which cancels: the images add next to nothing.
        assert part < 0.05  # of 0.5


@SETTINGS
@given(tables, st.integers(0, 10**6), st.floats(1e-3, 10))
def test_images_never_separate_what_seeds_do_not(rows, seed, scale):
    rng = np.random.default_rng(seed)
    images = Images.of([scale * rng.normal(size=(50, len(row))) + rng.normal(size=(50, 1)) for row in rows])
    alone, both = of(*rows), of(*rows, images=images)
    known = np.isfinite(alone.p)
    assert (both.p[known] >= alone.p[known]).all()


def test_a_pair_without_replicates_is_compared_over_seeds_alone():
    rng = np.random.default_rng(2)
    rows, replicates = rng.normal(0, 1, (3, 3)), rng.normal(0, 1, (2, 200, 1)).repeat(3, axis=2)
    alone, some = of(*rows), of(*rows, images=Images.of([*replicates, None]))
    assert some.p[0, 1] > alone.p[0, 1]
    assert np.array_equal(some.p[2], alone.p[2], equal_nan=True)


def test_a_board_of_one_seed_ranks_by_its_images():
    replicates = np.random.default_rng(3).normal(0, 0.01, (200, 3))
    images = Images.of([*(replicates[:, [row]] for row in range(3)), None])
    comparison = of([0.5], [0.51], [0.7], [0.1], images=images, seeds=False)
    assert comparison.ranks(True) == [(2, 3), (2, 3), (1, 1), None]
    error = np.std(replicates[:, 0] - replicates[:, 2], ddof=1)
    assert comparison.p[0, 2] == pytest.approx(2 * stats.t.sf(0.2 / error, 199), abs=1e-9)
    assert of([0.5], [0.51], seeds=False).ranks(True) == [None, None]
    # A row with more seeds is the mean of the models that are there: the spread over seeds is not asked for.
    more = Images.of([replicates[:, [0]].repeat(2, axis=1), replicates[:, [1]], replicates[:, [2]], None])
    assert same(of([0.4, 0.6], [0.51], [0.7], [0.1], images=more, seeds=False).p, comparison.p)


def test_the_least_of_tables():
    assert of().ranks(True) == []
    assert ranks([0.5]) == [None]
    assert ranks([0.5, 0.6]) == ["1"]


# Cases of committed tables: mean, standard deviation and n as they were


def table(*rows: tuple[float, float | None, int]) -> list[Summary]:
    return [Summary(n, mean, std, mean - (std or 0), mean + (std or 0)) for mean, std, n in rows]


CELEBA = table(  # celeba-subset, c = 0.8, accuracy on the uncorrelated test
    (0.8380709426627794, 0.008672652696113439, 3),  # shift-cmi
    (0.8375850340136054, 0.027262625647502065, 3),
    (0.8239795918367347, None, 1),
    (0.8170553935860059, None, 1),
    (0.814868804664723, None, 1),
    (0.8147473275024295, 0.016930709262349783, 3),
    (0.8137755102040816, 0.00036443148688042326, 3),  # shift-base
    (0.8064868804664723, 0.0038567803368288744, 3),
    (0.7999271137026239, 0.06281872889768182, 3),
    (0.797740524781341, 0.000964195084207182, 3),
    (0.7922740524781342, None, 1),
    (0.7824344023323615, None, 1),
    (0.7764820213799806, 0.0005566782914183667, 3),  # pca
    (0.7701652089407192, 0.039095080276370466, 3),
    (0.7623906705539358, None, 1),
    (0.7558309037900874, 0.03614491673793702, 3),
    (0.7387026239067056, 0.000964195084207182, 3),
    (0.7271622934888241, 0.0033664738728257917, 3),
    (0.7253401360544217, 0.004585662314911762, 3),
)


def welch(a: Summary, b: Summary) -> float:
    assert a.std is not None
    assert b.std is not None
    found = stats.ttest_ind_from_stats(a.mean, a.std, a.n, b.mean, b.std, b.n, equal_var=False)
    return float(found.pvalue)


def test_rows_of_celeba_that_no_test_separates_share_ranks():
    cmi, base, pca = (CELEBA[place] for place in (1, 6, 12))  # had the ranks 1, 6 and 13
    assert welch(cmi, base) == pytest.approx(0.27, abs=0.005)
    assert welch(cmi, pca) == pytest.approx(0.06, abs=0.005)
    comparison = compare(CELEBA)
    intervals = comparison.ranks(higher_is_better=True)
    assert " ".join(str(one or "?") for one in intervals) == (
        "1-10 1-13 ? ? ? 1-13 1-9 1-10 1-13 1-9 ? ? 3-10 1-13 ? 1-13 6-13 6-13 6-13"
    )
    assert not comparison.separated[1, [6, 12]].any()
    assert comparison.separated[6, 12]  # base and pca vary little, and are 0.037 apart


def test_rows_of_mnist_shift_that_are_far_apart_keep_ranks_of_their_own():
    rows = table(
        (0.817, 0.0006726812023536734, 3),
        (0.7795166666666666, 0.006641598703123615, 3),
        (0.7565333333333333, 0.0039929103838344995, 3),
        (0.7551, 0.006011863271898351, 3),
        (0.7523500000000001, 0.0033808283008753414, 3),
        (0.7446499999999999, 0.004782258880487335, 3),
        (0.7254999999999999, 0.0011789826122551523, 3),
    )
    assert [str(one) for one in compare(rows).ranks(True)] == ["1", "2", "3-6", "3-6", "3-6", "3-6", "7"]
