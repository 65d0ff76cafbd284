"""Intervals of a row against SciPy, closed forms and coverage: what they cover, and that they stay within bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from latentbench.boards.images import Images
from latentbench.boards.intervals import interval
from latentbench.boards.significance import Summary

SETTINGS = settings(max_examples=100)


@SETTINGS
@given(st.lists(st.integers(-2000, 2000).map(lambda number: number / 1000), min_size=2, max_size=8))
def test_over_seeds_alone_it_is_student_s(sample):
    found = interval(Summary.of(sample))
    assert found is not None
    assert found.covers == ("seeds",)
    half_width = Summary.of(sample).half_width
    assert half_width is not None
    assert (found.low + found.high) / 2 == pytest.approx(np.mean(sample), abs=1e-9)
    assert (found.high - found.low) / 2 == pytest.approx(half_width, abs=1e-9)


def test_over_images_alone_it_is_that_of_their_standard_error():
    replicates = np.random.default_rng(0).normal(0.5, 0.02, (200, 1))
    images = Images.of([None, replicates])
    for seeds, row in [(True, Summary.of([0.5])), (False, Summary.of([0.5])), (False, Summary.of([0.45, 0.55]))]:
        found = interval(row, images, 1, seeds=seeds)
        assert found is not None
        assert found.covers == ("test images",)
        width = stats.t.ppf(0.975, 199) * replicates.std(ddof=1)
        assert (found.low, found.high) == pytest.approx((0.5 - width, 0.5 + width))
    assert interval(Summary.of([0.5]), images, 0) is None
    assert interval(Summary.of([0.5])) is None
    assert interval(Summary.of([0.4, 0.6]), seeds=False) is None


def test_both_sources_stand_and_what_is_in_both_counts_once():
    rng = np.random.default_rng(1)
    replicates = rng.normal(0, 0.05, (200, 1)) + rng.normal(0, 0.05, (200, 3))
    row, images = Summary.of([0.4, 0.5, 0.6]), Images.of([replicates])
    found = interval(row, images)
    assert found is not None
    assert found.covers == ("seeds", "test images")
    whole = np.cov(replicates.T)
    seeds, part = 0.1**2 / 3, float(np.mean([whole[0, 1], whole[0, 2], whole[1, 2]]))
    freedom = (seeds + part) ** 2 / (seeds**2 / 2 + part**2 / 199)
    width = stats.t.ppf(0.975, freedom) * np.sqrt(seeds + part)
    assert (found.low, found.high) == pytest.approx((0.5 - width, 0.5 + width))


def test_a_deterministic_row_has_the_images_interval_and_without_them_a_point():
    replicates = np.random.default_rng(2).normal(0, 0.02, (200, 1)).repeat(3, axis=1)
    found, one = (
        interval(Summary.of([0.5] * 3), Images.of([replicates])),
        interval(Summary.of([0.5]), Images.of([replicates[:, :1]])),
    )
    assert found is not None
    assert one is not None
    assert (found.low, found.high) == pytest.approx((one.low, one.high))
    point = interval(Summary.of([0.5] * 3))
    assert point is not None
    assert (point.low, point.high) == (0.5, 0.5)


@SETTINGS
@given(st.lists(st.integers(0, 1000).map(lambda number: number / 1000), min_size=2, max_size=5))
def test_it_stays_within_bounds_and_is_otherwise_what_it_was(sample):
    free, bound = interval(Summary.of(sample)), interval(Summary.of(sample), bounds=(0, 1))
    assert free is not None
    assert bound is not None
    assert (bound.low, bound.high) == (max(free.low, 0), min(free.high, 1))
    assert 0 <= bound.low <= Summary.of(sample).mean <= bound.high <= 1


def test_it_holds_the_truth_in_95_of_100_cases_over_seeds_and_images_even_next_to_the_bound():
    rng = np.random.default_rng(3)
    held = []
    for _ in range(
        1500
    ):  # of 3 seeds, on 150 images; an image is solved with a chance of 0.97, alike by all seeds or not
        solved = np.where(rng.random((150, 3)) < 0.6, rng.random((150, 1)), rng.random((150, 3))) < 0.97
        weights = rng.exponential(size=(100, 150))
        found = interval(
            Summary.of(list(solved.mean(axis=0))),
            Images.of([weights @ solved / weights.sum(axis=1, keepdims=True)]),
            bounds=(0, 1),
        )
        assert found is not None
        held.append(found.low <= 0.97 <= found.high)
    assert np.mean(held) > 0.92
