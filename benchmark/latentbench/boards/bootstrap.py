"""Uncertainty from the finite test set: one bootstrap over test images, with the same weights for all models.

The Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981) weights the images of a split at random, with weights from
the flat Dirichlet distribution, and computes the value again. To first order its variance is that of drawing images
with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6), but no image is lost: a rare
class or a small subgroup is present in every replicate, and every metric that is defined on the split stays defined.

The weights depend on the split only. The replicates of two models are therefore paired, whenever and wherever each was
computed: their difference varies only as far as the models differ on the same images.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from latentbench.metric import Evaluation, Metric

__all__ = ["REPLICATES", "Images", "bootstrap_replicates", "image_weights"]

Array = npt.NDArray[np.float64]

#: Enough for a standard error (Efron and Tibshirani, section 6.4); degrees of freedom account for the rest.
REPLICATES = 200


def image_weights(split: str, images: int, replicates: int = REPLICATES) -> Iterator[Array]:
    """For each replicate, the random weights of the images, (N,) > 0 with mean 1.

    Args:
        split: the split's hash. Equal hashes give equal weights.
        images: N.
        replicates: B.
    """
    rng = np.random.default_rng(list(split.encode()))
    for _ in range(replicates):
        exponential = -np.log1p(-rng.random(images))  # by the inverse CDF, to depend on no library's sampler
        yield exponential * (images / exponential.sum())


def bootstrap_replicates(
    metric: Metric, evaluation: Evaluation, split: str, replicates: int = REPLICATES
) -> dict[str, Array]:
    """A metric's value, by its parts, under each random weighting of the test images.

    An image's random weight multiplies its weight under every condition, so values under several conditions are paired
    as well. This costs ``replicates`` computations of the metric.

    Args:
        metric: the metric.
        evaluation: the evaluation that the value itself is computed from.
        split: the split's hash; see ``image_weights``.
        replicates: B.

    Returns:
        Part -> (B,); parts that only some replicates have are left out.

    Raises:
        LatentbenchError: the metric is undefined here.
    """
    values = []
    for weights in image_weights(split, len(evaluation.weights), replicates):
        conditions = {name: own * weights for name, own in evaluation.conditions.items()}
        values.append(metric.measure(replace(evaluation, weights=evaluation.weights * weights, conditions=conditions)))
    parts = set(values[0]).intersection(*values) if values else set()
    return {part: np.array([value[part] for value in values]) for part in sorted(parts)}


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
