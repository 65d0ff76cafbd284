"""One quantity over seeds: its mean, its spread, and the interval of the mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import inf, isqrt, sqrt
from operator import mul

from scipy.special import stdtrit

__all__ = ["CONFIDENCE", "RESOLUTION", "Summary", "freedom_of_sum"]

#: Confidence of the interval around a mean; its complement is the level of the tests of two means.
CONFIDENCE = 0.95
#: Differences below this share of the greater value are taken for rounding errors.
RESOLUTION = 1e-9


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

    @cached_property
    def variance(self) -> float:
        """Of the sample; 0 for a single value, and where the values differ by no more than rounding."""
        varies = self.greatest - self.least > RESOLUTION * max(abs(self.least), abs(self.greatest))
        return self.std**2 if self.std is not None and varies else 0.0

    @property
    def half_width(self) -> float | None:
        """Half of the width of the mean's Student-t interval; None for a single value."""
        if self.std is None:
            return None
        quantile = round(float(stdtrit(self.n - 1, (1 + CONFIDENCE) / 2)), 10)  # builds of SciPy differ in the last bit
        return quantile * self.std / sqrt(self.n)


def freedom_of_sum(parts: Iterable[tuple[float, float]]) -> float:
    """Satterthwaite's degrees of freedom of the sum of independent variances; infinite where they are all 0.

    Args:
        parts: each estimated variance, >= 0, and its degrees of freedom, > 0.
    """
    total = spread = 0.0
    for variance, freedom in parts:
        total += variance
        spread += variance * variance / freedom
    return total * total / spread if spread else inf


@lru_cache(maxsize=2**14)
def _summary(values: tuple[float, ...]) -> Summary:
    """A row's values are summarized for each of its comparisons, hence the cache."""
    n = len(values)
    numerators, denominators = zip(*[value.as_integer_ratio() for value in values], strict=True)
    unit = max(denominators)  # these are powers of two
    numbers = [one * (unit // denominator) for one, denominator in zip(numerators, denominators, strict=True)]
    total = sum(numbers)
    squares = n * sum(map(mul, numbers, numbers)) - total * total  # n^2 times the variance, in unit^-2
    std = _root(squares, n * (n - 1) * unit * unit) if n > 1 else None
    return Summary(n, total / (n * unit), std, min(values), max(values))


def _root(numerator: int, denominator: int) -> float:
    """The square root of a fraction >= 0, to the last bit."""
    if numerator == 0:
        return 0.0
    # An integer root of 55 bits or more, whose last bit says whether there is a rest, divided by a power of two
    shift = max((110 - numerator.bit_length() + denominator.bit_length()) // 2, 0)
    quotient, rest = divmod(numerator << (2 * shift), denominator)
    root = isqrt(quotient)
    return (root | (rest != 0 or root * root != quotient)) / (1 << shift)
