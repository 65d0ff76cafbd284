"""Which rows of a table differ: tests of all pairs, over seeds and test images together, with a family-wise error rate.

The variance of the difference of two rows' means has two parts, which add up:

- the seeds': each row's moderated variance (``latentbench.boards.moderation``) over its number of seeds;
- the images': that of the paired difference over bootstrap weightings of the test images that both rows share, less
  what the seeds' part has of it already (``latentbench.boards.images``).

The difference over the root of the sum is referred to Student's t. The seeds' part has the degrees of freedom of one
moderated variance, d0 + d, and of two the lesser: what the table's rows share is not counted twice. The images' part
has the number of replicates less one. Satterthwaite's formula combines the two (Hillis, Statistics in Medicine 26,
2007, for seeds as readers and images as cases). As it is an approximation, and can give more in degrees of freedom than
the images' part costs in variance, the p-value is never less than that over seeds alone: images do not separate what
seeds do not. Holm's method corrects for the number of pairs.

The p-value of a pair depends on the values of the two rows and, through the common variance and its degrees of freedom
only, on the other rows. Whether a pair is separated also depends on the number of pairs, and on those with smaller
p-values, by Holm's method. Simulated with nine equal models, any false separation occurs in at most 5 %
of tables (``tests/latentbench/boards/test_error_rates.py``).

A row without any spread over several seeds, or of a model that says so, is deterministic: it is not in the pool that
the common variance is estimated from, and carries the images' uncertainty alone. Where nothing is known to vary,
nothing is tested.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr

from latentbench.boards.images import Images
from latentbench.boards.moderation import Prior, fit_prior
from latentbench.boards.rank_sets import RankInterval, holm, rank_intervals
from latentbench.boards.significance import CONFIDENCE, RESOLUTION, Summary

__all__ = ["Comparison", "compare", "satterthwaite"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """The tests of all pairs of K rows. A pair that cannot be tested has NaN, and is not separated."""

    difference: Array
    """(K, K), the mean of the row of the first index less that of the second; 0 where it is only rounding."""
    counts: Array
    """(K,), seeds of each row."""
    variances: Array
    """(K,), moderated, of the value of one seed; 0 of a deterministic row, NaN of a row with a single seed.

    All are 0 where images alone are compared.
    """
    freedoms: Array
    """(K,), of these; infinite where the variance is 0."""
    images: Array
    """(K, K) >= 0, the images' part of the variance of the difference; 0 where it is not known."""
    images_freedom: float
    prior: Prior
    """What the table's rows have in common."""
    tested: npt.NDArray[np.bool_]
    """(K,), the rows that are compared at all; the others are placed by their value and have no interval."""
    images_alone: bool
    """Whether seeds are left out as a source of uncertainty."""

    @cached_property
    def seeds(self) -> Array:
        """(K, K), the seeds' part of the variance of the difference; NaN where a row is not tested."""
        part = np.where(self.tested, self.variances / self.counts, np.nan)
        return np.asarray(part[:, None] + part)

    @cached_property
    def variance(self) -> Array:
        """(K, K), of the difference; NaN where a row is not tested."""
        return self.seeds + self.images

    @cached_property
    def freedom(self) -> Array:
        """(K, K), degrees of freedom of the variance."""
        return satterthwaite(self.seeds, self.least_freedom, self.images, self.images_freedom)

    @cached_property
    def p(self) -> Array:
        """(K, K), two-sided p-values of equal means, not corrected; NaN on the diagonal and where nothing varies."""
        both = _p_value(self.difference, self.variance, self.freedom)
        p = np.fmax(both, _p_value(self.difference, self.seeds, self.least_freedom))
        np.fill_diagonal(p, np.nan)
        return np.asarray(np.round(p, 12))  # builds of SciPy differ in the last bits

    @property
    def least_freedom(self) -> Array:
        """(K, K), degrees of freedom of the seeds' part."""
        return np.minimum(self.freedoms[:, None], self.freedoms)

    @cached_property
    def adjusted(self) -> Array:
        """(K, K), Holm's adjusted p-values over all pairs that are tested."""
        upper = np.triu(np.isfinite(self.p))
        adjusted = np.full_like(self.p, np.nan)
        adjusted[upper] = holm(self.p[upper])
        return np.fmax(adjusted, adjusted.T)

    @cached_property
    def separated(self) -> npt.NDArray[np.bool_]:
        """(K, K), whether the data tell the two rows apart, at a family-wise error rate of 5 % over the table."""
        return np.asarray(self.adjusted < 1 - CONFIDENCE)

    @property
    def next_level(self) -> float:
        """What the least p-value of the pairs that are not separated had to be less than, by Holm's method."""
        upper = np.triu(np.isfinite(self.p))
        return (1 - CONFIDENCE) / max(int(np.count_nonzero(upper & ~self.separated)), 1)

    def ranks(self, higher_is_better: bool) -> list[RankInterval | None]:
        """The rank interval of each row among those that are tested; None for the others."""
        sign = 1 if higher_is_better else -1
        better = self.separated & (sign * self.difference > 0)
        intervals = iter(rank_intervals(better[np.ix_(self.tested, self.tested)]))
        return [next(intervals) if tested else None for tested in self.tested]


def compare(
    rows: Sequence[Summary],
    images: Images | None = None,
    *,
    seeds: bool = True,
    deterministic: Sequence[bool] | None = None,
    beside: Sequence[Summary] = (),
) -> Comparison:
    """Compare all rows of a table.

    Args:
        rows: their values over seeds.
        images: what the test images add, for the same rows in the same order; a pair of which one has no replicates is
            compared over seeds alone.
        seeds: whether seeds are a source of uncertainty. A board of one seed says False: its rows are compared as the
            trained models that they are, over images alone, and those without replicates are not tested.
        deterministic: which rows would have the same value with every seed, so that one seed tells all; by default
            none is known to.
        beside: further rows of the table, whose spread counts in the common variance; they are not compared.
    """
    means, counts = np.array([row.mean for row in rows]), np.array([row.n for row in rows])
    difference = means[:, None] - means
    difference[np.abs(difference) <= RESOLUTION * np.fmax(np.abs(means)[:, None], np.abs(means))] = 0
    fixed = np.zeros(len(rows), dtype=bool) if deterministic is None else np.array(deterministic, dtype=bool)
    variances, freedoms, prior = _moderated(rows, fixed, beside) if seeds else _fixed(len(rows))
    part = np.zeros_like(difference)
    tested = (counts > 1) | fixed if seeds else np.zeros(len(rows), dtype=bool)
    if images is not None:
        shared = np.diag(images.covariance) - (images.noise if seeds else 0)
        part = np.fmax(shared[:, None] + shared - 2 * images.covariance, 0)  # 0 where it is NaN
        np.fill_diagonal(part, 0)
        tested = tested if seeds else np.isfinite(shared)
    freedom = images.freedom if images is not None else 0
    return Comparison(difference, counts, variances, freedoms, part, freedom, prior, tested, not seeds)


def _moderated(
    rows: Sequence[Summary], fixed: npt.NDArray[np.bool_], beside: Sequence[Summary]
) -> tuple[Array, Array, Prior]:
    """The moderated variance of each row, its degrees of freedom, and what these and the rows beside have in common."""
    pool = [row for row in (*rows, *beside) if row.variance > 0]
    own, own_freedoms = [row.variance for row in pool], [row.n - 1 for row in pool]
    prior = fit_prior(np.array(own, dtype=np.float64), np.array(own_freedoms, dtype=np.float64))
    variances = np.array(
        [np.nan if row.std is None and not known else 0.0 for row, known in zip(rows, fixed, strict=True)]
    )
    freedoms = np.full(len(rows), np.inf)
    for place, row in enumerate(rows):
        if row.variance > 0:
            variances[place], freedoms[place] = prior.moderate(row.variance, row.n - 1)
    return variances, freedoms, prior


def _fixed(rows: int) -> tuple[Array, Array, Prior]:
    """The same where seeds are no source of uncertainty."""
    return np.zeros(rows), np.full(rows, np.inf), Prior(0.0, 0.0, 0.0)


def satterthwaite(seeds: Array, freedom: Array, images: Array, images_freedom: float) -> Array:
    """The degrees of freedom of the sum of two variances; those of the seeds' where the images' is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = seeds**2 / freedom + np.where(images > 0, images**2 / images_freedom, 0)
        return np.where(images > 0, (seeds + images) ** 2 / spread, freedom)


def _p_value(difference: Array, variance: Array, freedom: Array) -> Array:
    """Two-sided p-values by Student's t; NaN where the variance is 0 or NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(variance > 0, np.abs(difference) / np.sqrt(variance), np.nan)
    return np.asarray(2 * stdtr(np.minimum(freedom, 1e15), -t))
