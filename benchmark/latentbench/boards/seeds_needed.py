"""How many seeds would separate two rows: a range with a stated confidence, or that it is not in sight.

That two rows are not separated at few seeds says little about the number at which they would be: the gap that was
measured may be all chance. So the range is what is compatible with the measurement: the gap over its standard error has
a 90 % confidence interval, by the noncentral t distribution, which takes account of the uncertainty of the gap and of
the variances (Steiger and Fouladi, in: What If There Were No Significance Tests?, 1997, chapter 9). The range goes from
the number of seeds at which the greatest gap of the interval would be found with a probability of 80 %, to that at
which the least would. Where the interval holds no gap at all, or the least takes more seeds than anyone runs, the
separation is not in sight.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtr, stdtrit

from latentbench.boards.comparison import Comparison

__all__ = ["MOST_SEEDS", "POWER", "SeedRange", "seeds_needed"]

Array = npt.NDArray[np.float64]

#: The probability with which so many seeds separate the two.
POWER = 0.8
#: Of the interval of the gap.
_GAP_CONFIDENCE = 0.9
#: More than these are not in sight.
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
    variance, images = float(comparison.variance[first, second]), float(comparison.images[first, second])
    seeds = comparison.variances[first] + comparison.variances[second]
    if not seeds > 0:  # nothing is known of the seeds, or they do not matter
        return None
    t = abs(comparison.difference[first, second]) / np.sqrt(variance)
    least_gap, greatest_gap = _noncentralities(t, comparison.freedom[first, second])
    if not least_gap > 0:
        return None
    n = np.arange(max(comparison.counts[[first, second]]) + 1, MOST_SEEDS + 1)
    later = np.asarray(seeds / n + images, dtype=np.float64)
    freedom = _later_freedom(comparison, first, second, n, later)
    critical = np.asarray(stdtrit(freedom, 1 - comparison.next_level / 2), dtype=np.float64)
    scale = _scales(freedom)
    enough = [_exceeds(critical, scale, gap * np.sqrt(variance / later)) >= POWER for gap in (greatest_gap, least_gap)]
    return SeedRange(*(int(n[np.argmax(one)]) for one in enough)) if enough[1].any() else None


def _later_freedom(comparison: Comparison, first: int, second: int, n: Array, variance: Array) -> Array:
    """(M,), degrees of freedom of the variance (M,) of the difference when both rows have n (M,) seeds."""
    prior, images = comparison.prior, comparison.images[first, second]
    varying = [place for place in (first, second) if comparison.variances[place] > 0]
    pooled = prior.pooled + sum(n - comparison.counts[place] for place in varying)
    spread = (variance - images) ** 2 / np.minimum(prior.freedom + n - 1, pooled)
    if images:
        spread = spread + images**2 / comparison.images_freedom
    return np.asarray(variance**2 / spread)


def _noncentralities(t: float, freedom: float) -> tuple[float, float]:
    """The ends of the interval of the noncentrality, given t >= 0; an end below 0 is 0."""
    scale = _scales(np.array([freedom]))
    ends = []
    for chance in ((1 - _GAP_CONFIDENCE) / 2, (1 + _GAP_CONFIDENCE) / 2):  # to exceed t
        low, high = 0.0, 2 * t + 20
        while high - low > 1e-9:
            middle = (low + high) / 2
            if _exceeds(np.array([t]), scale, np.array([middle]))[0] < chance:
                low = middle
            else:
                high = middle
        ends.append(low)
    return ends[0], ends[1]


def _scales(freedom: Array) -> Array:
    """(M, S), quantiles of the root of a chi-squared variable over its degrees of freedom (M,)."""
    freedom = np.minimum(freedom, 1e6)[:, None]
    return np.asarray(np.sqrt(gammaincinv(freedom / 2, _SHARES) * 2 / freedom))


def _exceeds(t: Array, scale: Array, noncentrality: Array) -> Array:
    """(M,), the chance that a noncentral t variable is greater than t: that a normal one is, averaged over scales."""
    return np.asarray(ndtr(noncentrality[:, None] - t[:, None] * scale).mean(axis=1))
