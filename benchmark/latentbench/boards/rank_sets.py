"""Ranks as intervals that hold for all rows of a table at once, from tests of all pairs.

A row's rank is at least 1 + the number of rows that are significantly better, and at most n less the number that are
significantly worse. As the chance that any pair of equal rows is called different is held below the level over the
whole table, all intervals hold the true ranks together with at least the confidence that is its complement.

Sources: Holm, Scandinavian Journal of Statistics 6, 1979; Mogstad, Romano, Shaikh and Wilhelm, Review of Economic
Studies 91, 2024, section 3 (the R package csranks).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["RankInterval", "holm", "rank_intervals"]


class RankInterval(NamedTuple):
    """The ranks that the data leave to a row; 1 is best."""

    first: int
    last: int

    def __str__(self) -> str:
        """``1-3``; just ``2`` where one rank is left."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def holm(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Holm's adjusted p-values: those below a level are a set of rejections whose family-wise error is that level.

    Of m p-values, the k-th smallest is multiplied by m - k + 1; none is less than that of a smaller p-value, or more
    than 1. Nothing is assumed of how the tests depend on each other.

    Args:
        p: (m,) in [0, 1].

    Returns:
        (m,), in the order of ``p``.
    """
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1)
    return adjusted


def rank_intervals(better: npt.NDArray[np.bool_]) -> list[RankInterval]:
    """The rank interval of each of K rows.

    Args:
        better: (K, K), whether the row of the first index is significantly better than that of the second.
    """
    above, below = better.sum(axis=0), better.sum(axis=1)
    return [RankInterval(1 + int(a), len(better) - int(b)) for a, b in zip(above, below, strict=True)]
