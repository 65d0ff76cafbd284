"""The 95 % interval of a row's value: what it covers, seeds, test images or both, and that it stays within bounds."""

from dataclasses import dataclass
from math import inf, sqrt
from typing import Literal

from scipy.special import stdtrit

from latentbench.boards.images import Images
from latentbench.boards.significance import CONFIDENCE, Summary, freedom_of_sum

__all__ = ["Interval", "interval"]

Source = Literal["seeds", "test images"]


@dataclass(frozen=True)
class Interval:
    """Where the value lies with 95 % confidence: this row's alone, not all rows' together."""

    low: float
    high: float
    covers: tuple[Source, ...]
    """What would give other values: training with other seeds, testing on other images of the same kind, or both."""


def interval(
    row: Summary,
    images: Images | None = None,
    place: int = 0,
    *,
    seeds: bool = True,
    bounds: tuple[float, float] = (-inf, inf),
) -> Interval | None:
    """The interval of a row's mean, from the row's own values and nothing of other rows.

    It is Student's, with the sum of the variances of both sources where both are known and degrees of freedom by
    Satterthwaite's formula. It is cut at the metric's bounds. As no true value lies beyond them, that costs no
    coverage at any number of seeds, and unlike a logit it is defined for a value on the bound.

    Args:
        row: the values over seeds.
        images: what the test images add, for the rows of a table.
        place: which of those rows it is.
        seeds: whether seeds are a source of uncertainty; see ``latentbench.boards.comparison.compare``.
        bounds: of the metric.

    Returns:
        The interval; None for a single seed without replicates.
    """
    sources: dict[Source, tuple[float, float]] = {}  # the variance of the mean, and its degrees of freedom
    if seeds and row.std is not None:
        sources["seeds"] = row.std**2 / row.n, row.n - 1
    if images is not None and images.covariance[place, place] >= 0:  # false for NaN too
        counted = images.noise[place] if "seeds" in sources else 0
        sources["test images"] = max(float(images.covariance[place, place] - counted), 0.0), images.freedom
    if not sources:
        return None
    variance = sum(part for part, _ in sources.values())
    width = _quantile(freedom_of_sum(sources.values())) * sqrt(variance) if variance else 0.0
    low, high = bounds
    return Interval(max(row.mean - width, low), min(row.mean + width, high), tuple(sources))


def _quantile(freedom: float) -> float:
    return round(float(stdtrit(freedom, (1 + CONFIDENCE) / 2)), 10)  # builds of SciPy differ in the last bit
