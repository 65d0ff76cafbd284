"""One quantity over seeds: its mean, its spread, and the interval of the mean."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

from scipy.special import stdtrit

__all__ = ["CONFIDENCE", "Summary"]

#: Confidence of the interval around a mean; its complement is the level of the tests of two means.
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
        return _summary(tuple(values))

    @property
    def half_width(self) -> float | None:
        """Half of the width of the mean's Student-t interval; None for a single value."""
        if self.std is None:
            return None
        quantile = round(float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)), 10)  # builds of SciPy differ in the last bit
        return quantile * self.std / sqrt(self.n)


@lru_cache(maxsize=2**14)
def _summary(values: tuple[float, ...]) -> Summary:
    """Exact sums take a tenth of a millisecond, and a row's values are summarized for each of its comparisons."""
    std = statistics.stdev(values) if len(values) > 1 else None
    return Summary(len(values), statistics.mean(values), std, min(values), max(values))
