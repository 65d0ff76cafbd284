"""What the finite test set adds to the uncertainty of a table's rows, from bootstrap replicates of their values.

The replicates are those of ``latentbench.evaluation.bootstrap``: the same random weights of a split's images for every
model, so that they are paired over rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Images"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """What the finite test set adds to the uncertainty of K rows, each a mean over its seeds."""

    covariance: Array
    """(K, K), of the rows' means over replicates; NaN where a row has none."""
    noise: Array
    """(K,), the part of a row's variance that its seeds do not share; 0 for one seed, NaN without replicates.

    Two runs of one model take single images differently. That is in the spread over seeds already, and where both
    sources are added it counts once. What is left is the mean covariance of two different seeds, as in the analysis of
    several readers and cases (Obuchowski and Rockette, Communications in Statistics 24, 1995; Hillis, Statistics in
    Medicine 26, 2007), where seeds are the readers.
    """
    freedom: float
    """Degrees of freedom of the covariance: the replicates less one."""

    @classmethod
    def of(cls, replicates: Sequence[Array | None]) -> "Images":
        """From the replicates of each row, paired over rows.

        Args:
            replicates: for each row (B, n) of its n seeds, or None where they are not known. B is that of all.

        Raises:
            ValueError: rows differ in B.
        """
        known = [place for place, row in enumerate(replicates) if row is not None]
        rows = [row for row in replicates if row is not None]
        covariance = np.full((len(replicates),) * 2, np.nan)
        noise = np.full(len(replicates), np.nan)
        if len({len(row) for row in rows}) > 1:
            raise ValueError("rows differ in their number of replicates, so these are not paired")
        if rows:
            means = np.stack([row.mean(axis=1) for row in rows])
            covariance[np.ix_(known, known)] = np.atleast_2d(np.cov(means))
            noise[known] = [_noise(row) for row in rows]
        return cls(covariance, noise, len(rows[0]) - 1 if rows else 0)


def _noise(replicates: Array) -> float:
    """Of (B, n) replicates: the variance of their mean over seeds that comes from what seeds do not share."""
    n = replicates.shape[1]
    deviations = replicates - replicates.mean(axis=0)
    if n == 1:
        return 0.0
    own = np.var(deviations, axis=1, ddof=1).sum() / (len(replicates) - 1)
    return float(own / n)
