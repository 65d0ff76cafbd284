"""The tests behind verdicts: against SciPy, against intervals, against the boards' own test; and their error rates."""

from math import inf

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.comparison import compare
from latentbench.boards.images import Images
from latentbench.boards.rank_sets import holm
from latentbench.boards.seeds_needed import seeds_to_tell
from latentbench.boards.significance import Summary
from latentbench.claims import estimates
from latentbench.claims.estimates import equivalence, gap, of_pair, of_row, order, published_error
from latentbench.claims.schema import Spread

VALUES = [0.81, 0.79, 0.83, 0.80]


def test_equivalence_is_two_one_sample_t_tests() -> None:
    tested = equivalence(of_row(Summary.of(VALUES), 0.82, None, None), 0.03)
    below = stats.ttest_1samp(VALUES, 0.85, alternative="less").pvalue
    above = stats.ttest_1samp(VALUES, 0.79, alternative="greater").pvalue
    assert tested.holds == pytest.approx(max(below, above), rel=1e-9)
    assert tested.fails == pytest.approx(min(1, 2 * min(1 - below, 1 - above)), rel=1e-9)


@given(
    st.lists(st.floats(0, 1), min_size=3, max_size=8).filter(lambda values: max(values) - min(values) > 1e-3),
    st.floats(0.01, 0.5),
)
def test_equivalence_holds_at_5_percent_just_where_the_90_percent_interval_lies_within(values, margin) -> None:
    summary = Summary.of(values)
    low, high = stats.t.interval(0.9, len(values) - 1, summary.mean, stats.sem(values))
    tested = equivalence(of_row(summary, 0.5, None, None), margin)
    inside = 0.5 - margin < low and high < 0.5 + margin
    if min(abs(low - 0.5 + margin), abs(high - 0.5 - margin)) > 1e-9:
        assert (tested.holds < 0.05) == inside


@pytest.mark.parametrize("factor", [1, 10])
def test_a_published_value_with_its_spread_is_a_second_sample_in_welch_s_test(factor) -> None:
    """It is known by its mean, its standard deviation and its size alone. It never makes a verdict surer."""
    published = [0.75 + factor * x for x in (-0.01, 0.01, 0.0, 0.005, -0.005)]
    error = published_error(Spread(value=float(np.std(published, ddof=1)), kind="std"), len(published))
    tested = gap(of_row(Summary.of(VALUES), float(np.mean(published)), None, error), 0.0)
    welch = stats.ttest_ind(VALUES, published, equal_var=False, alternative="greater").pvalue
    alone = stats.ttest_1samp(VALUES, float(np.mean(published)), alternative="greater").pvalue
    assert (welch > alone) == (factor == 10)
    assert tested.holds == pytest.approx(max(welch, alone), rel=1e-9)


@pytest.mark.parametrize(
    ("spread", "seeds", "expected"),
    [
        (Spread(value=3.0, kind="std"), 9, (1.0, 8.0)),
        (Spread(value=3.0, kind="population-std"), 10, (1.0, 9.0)),
        (Spread(value=3.0, kind="standard-error"), 10, (3.0, 9.0)),
        (Spread(value=3.0, kind="standard-error"), None, (3.0, inf)),
        (Spread(value=stats.t.ppf(0.975, 4), kind="confidence-interval", level=0.95), 5, (1.0, 4.0)),
        (Spread(value=stats.norm.ppf(0.9995), kind="confidence-interval", level=0.999), None, (1.0, inf)),
        (Spread(value=3.0, kind="std"), None, None),
        (Spread(value=3.0, kind="std"), 1, None),
        (Spread(value=3.0, kind="not-stated"), 5, None),
        (Spread(value=3.0, kind="range"), 5, None),
        (None, 5, None),
    ],
)
def test_the_standard_error_of_a_published_mean_follows_from_its_spread(spread, seeds, expected) -> None:
    assert published_error(spread, seeds) == (expected and pytest.approx(expected))


def test_test_images_add_to_the_variance_and_never_make_a_verdict_surer() -> None:
    rng = np.random.default_rng(0)
    replicates = 0.81 + rng.normal(0, 0.02, (200, 1)) + np.zeros((200, 4))  # the seeds share the images' part
    images = Images.of([replicates])
    alone, both = (equivalence(of_row(Summary.of(VALUES), 0.82, one, None), 0.05) for one in (None, images))
    variance = np.var(VALUES, ddof=1) / 4 + np.var(replicates[:, 0], ddof=1)
    assert both.estimate.uncertainty.variance == pytest.approx(variance, rel=1e-9)
    assert alone.holds < both.holds


def test_a_row_without_spread_over_seeds_is_compared_as_a_number() -> None:
    same = Summary.of([0.8, 0.8, 0.8])
    assert equivalence(of_row(same, 0.82, None, None), 0.05).holds == 0
    assert equivalence(of_row(same, 0.9, None, None), 0.05).fails == 0
    error = (0.01, 4.0)
    assert gap(of_row(same, 0.78, None, error), 0.0).holds == pytest.approx(stats.t.sf(2, 4))


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=5), min_size=2, max_size=6), st.booleans())
@settings(max_examples=50)
def test_a_gap_above_nothing_is_half_of_the_boards_own_two_sided_test(rows, higher) -> None:
    comparison = compare([Summary.of(row) for row in rows])
    p = comparison.p[0, 1]
    estimate = of_pair(comparison, 0, 1, higher_is_better=higher)
    if np.isfinite(p):
        tested = gap(estimate, 0.0)
        assert min(tested.holds, tested.fails) == pytest.approx(p / 2, abs=1e-11)
        assert (tested.holds < tested.fails) == (estimate.value > 0) or tested.holds == pytest.approx(0.5)
        assert tested.holds + tested.fails == pytest.approx(1)


def test_an_order_holds_by_its_least_clear_pair_and_fails_by_any_pair() -> None:
    rows = [[0.9, 0.91, 0.92], [0.8, 0.81, 0.82], [0.79, 0.80, 0.82]]
    comparison = compare([Summary.of(row) for row in rows])
    pairs = {(i, j): of_pair(comparison, i, j, higher_is_better=True) for i in range(3) for j in range(i + 1, 3)}
    tested = order([pairs[0, 1], pairs[1, 2]], [*pairs.values()])
    assert tested.holds == pairs[1, 2].above(0) > pairs[0, 1].above(0)
    assert tested.fails == min(1, 3 * min(one.below(0) for one in pairs.values()))
    reversed_pairs = [of_pair(comparison, j, i, higher_is_better=True) for i, j in pairs]
    assert order([reversed_pairs[2]], reversed_pairs).fails < 0.05


# Error rates over thousands of claims whose truth is known

CLAIMS = 3000
MARGIN = 3 * np.sqrt(0.05 * 0.95 / CLAIMS)


def summaries(rows: npt.NDArray[np.float64]) -> list[Summary]:
    """Of (K, n) values."""
    facts = [rows.mean(axis=1), rows.std(axis=1, ddof=1), rows.min(axis=1), rows.max(axis=1)]
    return [Summary(rows.shape[1], *of_row) for of_row in np.stack(facts, axis=1).tolist()]


def shares(truth: float, seeds: int = 3, *, published: int = 0, margin: float = 1.0) -> tuple[float, float]:
    """How often a claim of equivalence is found to hold, and to fail, where our true mean is ``truth`` off theirs."""
    rng = np.random.default_rng(round(100 * truth) + seeds)
    holds = fails = 0
    for ours in summaries(rng.normal(truth, 0.5, (CLAIMS, seeds))):
        theirs, error = 0.0, None
        if published:
            sample = rng.normal(0, 0.7, published)
            theirs, error = sample.mean(), (sample.std(ddof=1) / np.sqrt(published), published - 1.0)
        tested = equivalence(of_row(ours, theirs, None, error), margin)
        holds, fails = holds + (tested.holds < 0.05), fails + (tested.fails < 0.05)
    return holds / CLAIMS, fails / CLAIMS


@pytest.mark.parametrize("seeds", [3, 10])
@pytest.mark.parametrize("published", [0, 3])
def test_on_the_margin_itself_a_claim_is_found_to_hold_or_to_fail_in_at_most_5_of_100(seeds, published) -> None:
    holds, fails = shares(1.0, seeds, published=published)
    assert holds <= 0.05 + MARGIN
    assert fails <= 0.05 + MARGIN
    assert not published or seeds > 3 or holds < 0.05  # Welch's test is careful with few seeds


def test_a_claim_that_holds_is_never_found_to_fail_more_often_and_is_found_to_hold() -> None:
    holds, fails = shares(0.0, 10)
    assert holds > 0.95
    assert fails < 0.001
    assert shares(0.0, 3, margin=0.01)[1] <= 0.05 + MARGIN  # a margin of next to nothing: both tails count


def test_a_claim_that_does_not_hold_is_found_to_fail() -> None:
    holds, fails = shares(2.5, 5)
    assert holds < 0.001
    assert fails > 0.9


def family(rng: np.random.Generator) -> list[estimates.Tested]:
    """Tests of eight claims, half of them on their margin and half well within it or far off."""
    truth = np.array([1.0] * 4 + [0.0, 0.5, 2.0, 3.0])
    return [
        equivalence(of_row(one, 0.0, None, None), 1.0) for one in summaries(rng.normal(truth[:, None], 0.3, (8, 4)))
    ]


def test_in_at_most_5_of_100_families_is_any_claim_that_holds_found_to_fail() -> None:
    rng = np.random.default_rng(5)
    families = CLAIMS // 4
    wrong = sum(bool((holm(np.array([one.fails for one in family(rng)]))[:6] < 0.05).any()) for _ in range(families))
    assert wrong / families <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)


def test_each_claim_is_falsely_found_to_hold_in_at_most_5_of_100_cases_and_so_is_a_whole_family() -> None:
    """An intersection-union test: one claim on its margin is enough for the family not to hold."""
    rng = np.random.default_rng(5)
    families = CLAIMS // 4
    holds = np.array([[one.holds < 0.05 for one in family(rng)] for _ in range(families)])
    margin = 3 * np.sqrt(0.05 * 0.95 / families)
    assert (holds[:, :4].mean(axis=0) <= 0.05 + margin).all()
    assert not holds[:, 6:].any()
    assert holds[:, 4].mean() > 0.9
    assert holds[:, [0, 4, 5]].all(axis=1).mean() <= 0.05 + margin
    assert holds[:, :4].any(axis=1).mean() > 0.1  # the price: of several on their margin one may pass


def test_the_stated_number_of_seeds_settles_a_claim_in_most_cases() -> None:
    """The greater end of a range has a power of at least 80 %, with Holm's correction for eight claims.

    A range is stated where a claim would fail by itself and does not with the correction.
    """
    rng, claims, level = np.random.default_rng(6), 8, 0.05
    settled = []
    for _ in range(600):
        tested = gap(of_row(Summary.of(rng.normal(-1.0, 0.5, 3).tolist()), 0.0, None, None), 0.0)
        if claims * tested.fails < level:
            continue
        found = seeds_to_tell(abs(tested.estimate.value), tested.estimate.uncertainty, 2 * level / claims)
        if found:
            more = Summary.of(rng.normal(-1.0, 0.5, found.most).tolist())
            settled.append(claims * gap(of_row(more, 0.0, None, None), 0.0).fails < level)
    assert len(settled) > 100
    assert np.mean(settled) > 0.8
