"""How many seeds would separate two rows: a range with a stated confidence, or none that is in sight.

That a few seeds do not separate two rows says little about the number that would: the measured gap may be due to
chance. So the range is what is compatible with the measurement: the gap over its standard error has
a 90 % confidence interval, by the noncentral t distribution, which takes account of the uncertainty of the gap and of
the variances (Steiger and Fouladi, in: What If There Were No Significance Tests?, 1997, chapter 9). The range goes from
the number of seeds at which the greatest gap of the interval would be found with a probability of 80 %, to that at
which the least would. Where the interval holds no gap at all, or the least takes more seeds than anyone runs, the
separation is not in sight.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, stdtrit

from latentbench.boards.comparison import Comparison, satterthwaite
from latentbench.boards.significance import freedom_of_sum

__all__ = ["MOST_SEEDS", "POWER", "SeedRange", "Uncertainty", "seeds_needed", "seeds_to_tell"]

Array = npt.NDArray[np.float64]

#: The probability with which the stated number of seeds separates two rows.
POWER = 0.8
#: Confidence of the interval of the gap.
_GAP_CONFIDENCE = 0.9
#: More seeds than these count as not in sight.
MOST_SEEDS = 100
#: An average over a distribution is taken at its quantiles in the middle of so many equal shares.
_SHARES = (np.arange(200) + 0.5) / 200


class SeedRange(NamedTuple):
    """Numbers of seeds of each of two rows."""

    least: int
    most: int

    def __str__(self) -> str:
        """``8 to 21``; just ``8`` where both are the same."""
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"


def seeds_needed(comparison: Comparison, first: int, second: int) -> SeedRange | None:
    """How many seeds of each of two rows would separate them with a probability of 80 %.

    The other rows, the multiplicity and the test images stay as they are; at most the images' part of the variance
    remains, however many the seeds.

    Args:
        comparison: of a table.
        first: the place of a row that is tested.
        second: that of another, not separated from it.

    Returns:
        The range, of more seeds than the two rows have; None where it is not in sight.
    """
    of = Uncertainty.of_pair(comparison, first, second)
    return seeds_to_tell(float(abs(comparison.difference[first, second])), of, comparison.next_level)


@dataclass(frozen=True)
class Uncertainty:
    """The variance of a measured number: a part that more seeds make smaller, and a rest that stays."""

    have: int
    """Seeds that there are."""
    seed: float
    """The variance of one seed's number."""
    seeds: float
    """What is left of it in the mean over the seeds that there are; 0 where seeds do not matter."""
    freedom: float
    """Degrees of freedom of that."""
    later: Callable[[npt.NDArray[np.int64]], Array]
    """The same for other numbers of seeds (M,), as (M,)."""
    rest: float = 0.0
    """Such as the variance over test images."""
    rest_freedom: float = inf

    @classmethod
    def of_pair(cls, comparison: Comparison, first: int, second: int) -> "Uncertainty":
        """Of the difference of two rows of a table."""
        return cls(
            have=int(max(comparison.counts[[first, second]])),
            seed=float(comparison.variances[first] + comparison.variances[second]),
            seeds=float(comparison.seeds[first, second]),
            freedom=float(comparison.least_freedom[first, second]),
            later=partial(_later_freedom, comparison, first, second),
            rest=float(comparison.images[first, second]),
            rest_freedom=comparison.images_freedom,
        )

    @property
    def variance(self) -> float:
        """Of the number."""
        return self.seeds + self.rest

    @cached_property
    def all_freedom(self) -> float:
        """Degrees of freedom of the variance."""
        if not self.rest > 0:
            return self.freedom
        return freedom_of_sum([(self.seeds, self.freedom), (self.rest, self.rest_freedom)])


def seeds_to_tell(gap: float, of: Uncertainty, level: float) -> SeedRange | None:
    """How many seeds would tell a number from a bound with a probability of 80 %.

    Args:
        gap: how far it was measured from the bound, >= 0.
        of: the uncertainty of the number.
        level: of the two-sided test.

    Returns:
        The range, of more seeds than there are; None where it is not in sight.
    """
    if not of.seed > 0:  # nothing is known of the seeds, or they do not matter
        return None
    gaps = _noncentralities(gap / np.sqrt(of.variance), of.all_freedom)
    if gaps is None:
        return None
    needed = []
    for standardized in reversed(gaps):
        number = bisect_left(
            range(MOST_SEEDS + 1), True, lo=of.have + 1, key=partial(_are_enough, standardized, of, level)
        )
        if number > MOST_SEEDS:
            return None
        needed.append(number)
    return SeedRange(*needed)


def _are_enough(standardized: float, of: Uncertainty, level: float, seeds: int) -> bool:
    """Whether so many seeds tell a number from a bound: the more there are, the likelier.

    Args:
        standardized: the gap over its standard error now.
        of: the uncertainty now.
        level: of the two-sided test.
        seeds: how many.
    """
    n = np.array([seeds])
    freedom, part = of.later(n), of.seed / n
    both = satterthwaite(part, freedom, np.full(1, of.rest), of.rest_freedom)
    power = (
        _power(standardized * np.sqrt(of.variance / (part + of.rest)), both, level),
        _power(standardized * np.sqrt(of.variance / part), freedom, level),
    )
    return bool(min(power) >= POWER)


def _later_freedom(comparison: Comparison, first: int, second: int, n: npt.NDArray[np.int64]) -> Array:
    """(M,), degrees of freedom of the seeds' part of the variance when both rows have n (M,) seeds."""
    varying = [place for place in (first, second) if comparison.variances[place] > 0]
    pooled = comparison.prior.pooled + sum(n - comparison.counts[place] for place in varying)
    return np.asarray(np.minimum(comparison.prior.freedom + n - 1, pooled), dtype=np.float64)


def _power(noncentrality: Array, freedom: Array, level: float) -> Array:
    """(M,), the chance that a two-sided t test at that level separates, on the side where the gap is."""
    critical = np.asarray(stdtrit(freedom, 1 - level / 2), dtype=np.float64)
    return _exceeds(critical, _scales(freedom), noncentrality)


def _noncentralities(t: float, freedom: float) -> tuple[float, float] | None:
    """The ends of the interval of the noncentrality, given t >= 0; None if it reaches down to 0."""
    exceeds = partial(_exceeds, np.array([t]), _scales(np.array([freedom])))
    chances = np.array([1 - _GAP_CONFIDENCE, 1 + _GAP_CONFIDENCE]) / 2  # to exceed t
    if exceeds(np.zeros(1))[0] >= chances[0]:
        return None
    low, width = np.zeros(2), 2 * t + 20
    while width > 1e-9:
        width /= 2
        low += width * (exceeds(low + width) < chances)
    return (float(low[0]), float(low[1])) if low[0] > 0 else None


def _scales(freedom: Array) -> Array:
    """(M, S), quantiles of the root of a chi-squared variable over its degrees of freedom (M,)."""
    freedom = np.minimum(freedom, 1e6)[:, None]
    return np.asarray(np.sqrt(gammaincinv(freedom / 2, _SHARES) * 2 / freedom))


def _exceeds(t: Array, scale: Array, noncentrality: Array) -> Array:
    """(M,), the chance that a noncentral t variable is greater than t: that a normal one is, averaged over scales."""
    return np.asarray(ndtr(noncentrality[:, None] - t[:, None] * scale).mean(axis=1))
