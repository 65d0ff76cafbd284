"""The range of seeds against SciPy's noncentral t, its limits, and simulated boards with a known truth."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.images import Images
from latentbench.boards.seeds_needed import MOST_SEEDS, SeedRange, seeds_needed
from latentbench.boards.significance import Summary


def of(*rows: list[float], images: Images | None = None) -> Comparison:
    return compare([Summary.of(row) for row in rows], images)


def expected(comparison: Comparison, i: int, j: int) -> tuple[float, float]:
    """The range by SciPy's noncentral t: for two rows of three seeds each, over seeds alone."""
    variance, freedom = comparison.variance[i, j], comparison.freedom[i, j]
    t = abs(comparison.difference[i, j]) / np.sqrt(variance)
    numbers = []
    for tail in (0.95, 0.05):
        excess = lambda gap, tail=tail: stats.nct.sf(t, freedom, gap) - tail  # noqa: E731
        gap = optimize.brentq(excess, 1e-9, 60) if excess(1e-9) < 0 else 0.0
        number = 4
        while number <= MOST_SEEDS:
            pooled = comparison.prior.pooled + 2 * (number - 3)
            later = min(comparison.prior.freedom + number - 1, pooled)
            critical = stats.t.ppf(1 - comparison.next_level / 2, later)
            if stats.nct.sf(critical, later, gap * np.sqrt(number / 3)) >= 0.8:
                break
            number += 1
        numbers.append(float(number))
    return numbers[0], numbers[1]


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.floats(0.5, 4))
def test_the_range_is_that_of_the_noncentral_t(seed, gap):
    rows = np.random.default_rng(seed).normal(size=(3, 3))
    rows[0] += gap
    comparison = of(*rows.tolist())
    for i, j in combinations(range(3), 2):
        if comparison.separated[i, j]:
            continue
        least, most = expected(comparison, i, j)
        found = seeds_needed(comparison, i, j)
        assert found == seeds_needed(comparison, j, i)
        if found is None:
            assert most > MOST_SEEDS - 1
        else:
            assert found == pytest.approx((least, most), abs=max(1.0, 0.01 * most))


def test_equal_means_and_rows_without_spread_are_not_in_sight():
    comparison = of([0.4, 0.6], [0.3, 0.7], [0.5, 0.5], [0.6, 0.6], [0.5])
    for pair in [(0, 1), (2, 3), (0, 2), (0, 4)]:
        assert seeds_needed(comparison, *pair) is None


def test_what_the_images_leave_open_no_number_of_seeds_closes():
    rng = np.random.default_rng(0)
    rows = [[0.50, 0.51, 0.53], [0.56, 0.55, 0.53], [0.9, 0.91, 0.92]]
    assert seeds_needed(of(*rows), 0, 1) is not None
    replicates = rng.normal(0, 0.05, (3, 200, 1)).repeat(3, axis=2)
    assert seeds_needed(of(*rows, images=Images.of(list(replicates))), 0, 1) is None
    little = Images.of(list(replicates / 100))
    few, some = seeds_needed(of(*rows), 0, 1), seeds_needed(of(*rows, images=little), 0, 1)
    assert few is not None
    assert some is not None
    assert few.most <= some.most <= few.most + 3


def test_how_it_is_written():
    assert (str(SeedRange(8, 21)), str(SeedRange(8, 8))) == ("8 to 21", "8")


# Simulated boards: nine models, three seeds, spreads that differ by a factor of about e^.5


def board(rng: np.random.Generator, gap: float, spreads: np.ndarray, counts: np.ndarray) -> Comparison:
    rows = []
    for place, (spread, n) in enumerate(zip(spreads, counts, strict=True)):
        drawn = rng.normal(gap if place == 0 else 0, spread, n)
        rows.append(Summary(n, drawn.mean(), drawn.std(ddof=1), drawn.min(), drawn.max()))
    return compare(rows)


def test_with_equal_models_a_separation_is_not_in_sight():
    rng = np.random.default_rng(1)
    ranges = []
    for _ in range(60):
        comparison = board(rng, 0, np.exp(rng.normal(0, 0.5, 9)), np.full(9, 3))
        pairs = [pair for pair in combinations(range(9), 2) if not comparison.separated[pair]]
        ranges += [seeds_needed(comparison, *pair) for pair in pairs]
    assert np.mean([one is None for one in ranges]) > 0.93


@pytest.mark.parametrize("gap", [1.0, *(pytest.param(gap, marks=pytest.mark.long) for gap in (2.0, 4.0))])
def test_the_range_holds_the_number_that_separates_four_times_in_five(gap):
    rng = np.random.default_rng(int(gap))
    given = wrong = 0
    for _ in range(250):
        spreads = np.exp(rng.normal(0, 0.5, 9))
        comparison = board(rng, gap, spreads, np.full(9, 3))
        if comparison.separated[0, 1]:
            continue
        found = seeds_needed(comparison, 0, 1)
        if found is None:
            continue
        given += 1
        # With the greater number, drawn anew, at least four of five are separated; with less than the smaller, less.
        later = [power(rng, gap, spreads, number) for number in (found.most, found.least - 1)]
        wrong += later[0] < 0.8 - 0.1 or (found.least > 4 and later[1] > 0.8 + 0.1)
    assert given > 10
    assert wrong <= 0.1 * 250
    if gap > 1:
        assert wrong <= 0.15 * given


def power(rng: np.random.Generator, gap: float, spreads: np.ndarray, number: int) -> float:
    """How often the first two rows are separated when they have so many seeds, and the others three."""
    counts = np.array([number, number, *[3] * 7])
    return float(np.mean([board(rng, gap, spreads, counts).separated[0, 1] for _ in range(50)]))
