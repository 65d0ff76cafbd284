"""Uncertainty from the finite test set: one bootstrap over test images, with the same weights for all models.

The Bayesian bootstrap (Rubin, Annals of Statistics 9, 1981) weights the images of a split at random, with weights from
the flat Dirichlet distribution, and computes the value again. To first order its variance is that of drawing images
with replacement (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 6), but no image is lost: a rare
class or a small subgroup is present in every replicate, and every metric that is defined on the split stays defined.

The weights depend on the split only. The replicates of two models are therefore paired, whenever and wherever each was
computed: their difference varies only as far as the models differ on the same images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latentbench.metric import Evaluation, Metric
from latentbench.records.replicates import REPLICATES

__all__ = ["bootstrap_replicates", "bootstrap_replicates_of_kept", "image_weights"]

Array = npt.NDArray[np.float64]


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
    return _by_part(values)


def bootstrap_replicates_of_kept(
    metric: Metric, kept: Mapping[str, npt.NDArray[Any]], weights: Array, split: str, replicates: int = REPLICATES
) -> dict[str, Array]:
    """The same from what the metric's statistic keeps in the place of an output, under the same random weights.

    Args:
        metric: has a statistic.
        kept: its arrays.
        weights: (N,), the images' own, of the condition at hand.
        split: the split's hash.
        replicates: B.

    Returns:
        Part -> (B,); nothing where the statistic does not tell images apart.

    Raises:
        LatentbenchError: the metric is undefined here.
    """
    assert metric.statistic is not None, "its caller looked"
    values = []
    for drawn in image_weights(split, len(weights), replicates):
        arrays = metric.statistic().reweighted(kept, weights * drawn)
        if arrays is None:
            return {}
        values.append(metric.measure_kept(arrays))
    return _by_part(values)


def _by_part(values: Sequence[Mapping[str, float]]) -> dict[str, Array]:
    """Part -> (B,), from the values of each replicate; parts that only some of them have are left out."""
    parts = set(values[0]).intersection(*values) if values else set()
    return {part: np.array([value[part] for value in values]) for part in sorted(parts)}
