"""Means over seeds, their intervals, and which of them the data can tell apart."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

__all__ = ["CONFIDENCE", "Summary", "rank", "seeds_to_separate", "separates", "welch"]

#: Of the interval around a mean; its complement is the level of the test that separates two means.
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """One quantity over seeds."""

    n: int
    mean: float
    std: float | None
    """Standard deviation of the sample, with n - 1 in the denominator; None for a single value."""
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Summary":
        """Summarize at least one value. The sums are exact, so the order of the values does not matter."""
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(len(values), statistics.mean(values), std, min(values), max(values))

    @property
    def half_width(self) -> float | None:
        """Half of the width of the mean's Student-t interval; None for a single value."""
        if self.std is None:
            return None
        quantile = round(float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)), 10)  # builds of SciPy differ in the last bit
        return quantile * self.std / sqrt(self.n)


def welch(a: Summary, b: Summary) -> float | None:
    """Two-sided p-value of equal means, by the t test for unequal variances (Welch, Biometrika 34, 1947).

    Returns:
        The p-value; None where either is a single value. Where neither varies: 1 if the means are equal, else 0.
    """
    return None if a.n < 2 or b.n < 2 else float(_p_value(a, b, np.array(a.n), np.array(b.n)))


def separates(a: Summary, b: Summary) -> bool:
    """Whether two means count as different: by Welch's test, or just by value where either is a single value."""
    p = welch(a, b)
    return a.mean != b.mean if p is None else p < 1 - CONFIDENCE


def rank(ordered: Sequence[Summary]) -> list[int]:
    """Ranks of summaries that come best first.

    Going down, each takes the rank of the current group's first one, unless the data separate it from that one: then
    it opens a group, and its rank is its place. The tests are not corrected for their number.
    """
    ranks: list[int] = []
    first = 0
    for place, summary in enumerate(ordered):
        if separates(ordered[first], summary):
            first = place
        ranks.append(first + 1)
    return ranks


def seeds_to_separate(a: Summary, b: Summary, most: int = 1000) -> int | None:
    """The least number of seeds of each, beyond those there are, at which Welch's test separates a and b.

    It takes the means and standard deviations to stay as they are: the chance that so many seeds do separate the two
    is then about one half.

    Args:
        a: of at least two values.
        b: of at least two values.
        most: where to give up.

    Returns:
        The number; None when it is greater than ``most``.
    """
    n = np.arange(max(a.n, b.n) + 1, most + 1)
    separated = _p_value(a, b, n, n) < 1 - CONFIDENCE
    return int(n[separated.argmax()]) if separated.any() else None


def _p_value(a: Summary, b: Summary, n_a: npt.NDArray[np.int64], n_b: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Welch's p-value of the two means and standard deviations as if they came from n_a and n_b values, each (K,)."""
    assert a.std is not None
    assert b.std is not None
    error_a, error_b = a.std / np.sqrt(n_a), b.std / np.sqrt(n_b)
    error = np.hypot(error_a, error_b)
    if not error.any():
        return np.full(error.shape, float(a.mean == b.mean))
    share_a, share_b = (error_a / error) ** 2, (error_b / error) ** 2
    freedom = 1 / (share_a**2 / (n_a - 1) + share_b**2 / (n_b - 1))  # Welch-Satterthwaite
    p: npt.NDArray[np.float64] = 2 * stdtr(freedom, -abs(a.mean - b.mean) / error)
    return p
