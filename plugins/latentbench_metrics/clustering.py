"""Clusterings, one for each facet of a model, against the labels of the images."""

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError, Metric
from latentbench_metrics.information import contingency, entropy, mutual_information

if TYPE_CHECKING:
    from latentbench import Targets

__all__ = ["ARI", "NMI", "ClusterAccuracy", "ClusterMajorityAccuracy", "Clustering", "Facets"]


class Clustering(Metric):
    """A metric of each facet against each label: parts ``facet:label``, ``label`` for its best facet, and their mean.

    The best facet of a label is found on the same images that it is measured on, and the more facets are tried the
    better it looks: read it beside the number of facets (``facets``). Of a label the images count that have it; a label
    with one value on these is left out. A weight counts as so many copies of the image.

    Applies where a label has two values.
    """

    capability = "cluster"
    targets = ("attributes",)
    higher_is_better = True
    bounds = (0.0, 1.0)

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether some label has two values."""
        return super().applies(targets, conditions) and any(
            len(np.unique(truth[_known(truth)])) > 1 for truth in targets.attributes.values()
        )

    def parts(self, targets: "Targets") -> Collection[str]:
        """The labels."""
        return targets.attributes

    def compute(self, evaluation: Evaluation) -> dict[str, float]:
        """The mean over labels of the best facet under "", each label's best under its name, and ``facet:label``.

        Raises:
            LatentbenchError: no label has two values among the images of positive weight, or there is no facet.
        """
        if not evaluation.output:
            raise LatentbenchError("the model gives no facet", "it needs at least one clustering")
        best: dict[str, float] = {}
        each: dict[str, float] = {}
        for label, truth in evaluation.targets.attributes.items():
            counts = _known(truth) & (evaluation.weights > 0)
            if len(np.unique(truth[counts])) < 2:
                continue
            found = {
                f"{facet}:{label}": self.value(_table(clusters[counts], truth[counts], evaluation.weights[counts]))
                for facet, clusters in evaluation.output.items()
            }
            best[label] = max(found.values())
            each |= found
        if not best:
            raise LatentbenchError("no label has two values among the images that have weight", "it needs one that has")
        return {"": sum(best.values()) / len(best), **best, **each}

    @abstractmethod
    def value(self, table: npt.NDArray[np.float64]) -> float:
        """The metric of the weight of the images in each cluster with each value: (clusters, values >= 2)."""


class ClusterAccuracy(Clustering):
    """Accuracy under the best one-to-one matching of clusters and values.

    The assignment is the best one on the images measured. The images of a cluster without a value are wrong, so a
    facet with more clusters than values is at a disadvantage; ``cluster-majority-accuracy`` has it the other way.
    """

    name = "cluster-accuracy"
    title = "cluster accuracy (one-to-one)"
    source = "Yang et al., IEEE Transactions on Image Processing 19 (2010): optimal assignment"

    def value(self, table: npt.NDArray[np.float64]) -> float:
        """The greatest weight of an assignment, relative to all."""
        from scipy.optimize import linear_sum_assignment

        return min(float(table[linear_sum_assignment(table, maximize=True)].sum() / table.sum()), 1.0)


class ClusterMajorityAccuracy(Clustering):
    """Share of images that have their cluster's most frequent value; clusters may share a value (many-to-one).

    Also called purity. It grows with the number of clusters whatever they are: 25 random clusters of 1,024 images with
    10 random values have 0.18. Never compare it with ``cluster-accuracy``.
    """

    name = "cluster-majority-accuracy"
    title = "cluster accuracy (many-to-one)"
    source = "Falck et al., NeurIPS 2021: the accuracy of its released code"

    def value(self, table: npt.NDArray[np.float64]) -> float:
        """The weight of the clusters' most frequent values, relative to all."""
        return min(float(table.max(axis=1).sum() / table.sum()), 1.0)


class NMI(Clustering):
    """Mutual information of cluster and value over the mean of their entropies."""

    name = "nmi"
    title = "NMI"
    source = "Vinh, Epps and Bailey, JMLR 11 (2010), NMI_sum; as sklearn.metrics.normalized_mutual_info_score"

    def value(self, table: npt.NDArray[np.float64]) -> float:
        """The normalized mutual information; 0 where all images are in one cluster."""
        entropies = entropy(table.sum(axis=1)) + entropy(table.sum(axis=0))
        return min(float(2 * mutual_information(table) / entropies), 1.0)


class ARI(Clustering):
    """Agreement of cluster and value on which pairs of images belong together, less that of chance, over 1 less that.

    0 is the expectation of random clusters, 1 is perfect agreement.
    """

    name = "ari"
    title = "ARI"
    source = "Hubert and Arabie, Journal of Classification 2 (1985); as sklearn.metrics.adjusted_rand_score"
    bounds = (-0.5, 1.0)

    def value(self, table: npt.NDArray[np.float64]) -> float:
        """The adjusted Rand index; 0 where all images are in one cluster.

        Raises:
            LatentbenchError: the weights add up to no more than one image, so there is no pair.
        """
        if table.sum() <= 1:
            raise LatentbenchError(f"the weights add up to {table.sum():g} images", "it needs pairs, so more than one")
        together = _pairs(table)
        by_cluster, by_value = _pairs(table.sum(axis=1)), _pairs(table.sum(axis=0))
        expected = by_cluster * by_value / _pairs(table.sum())
        greatest = (by_cluster + by_value) / 2
        return min((together - expected) / (greatest - expected), 1.0) if greatest > expected else 1.0


class Facets(Metric):
    """Number of facets of a model, from which the best facet of each label was chosen."""

    name = "facets"
    title = "facets tried"
    source = "ours: the number of a model's clusterings"
    capability = "cluster"
    targets = ("attributes",)
    higher_is_better = False
    bounds = (0.0, float("inf"))
    spans = ()

    def compute(self, evaluation: Evaluation) -> float:
        """The number of facets."""
        return float(len(evaluation.output))


def _known(truth: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    from latentbench import MISSING

    return np.asarray(truth != MISSING)


def _table(
    clusters: npt.NDArray[np.int64], truth: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The weight of the images in each cluster that occurs with each value that occurs: (clusters, values)."""
    rows, columns = (np.unique(labels, return_inverse=True)[1] for labels in (clusters, truth))
    return np.asarray(contingency(rows[:, None], columns, weights)[0])


def _pairs(counts: npt.NDArray[np.float64]) -> float:
    """Pairs of images within each of ``counts``, in all."""
    return float((counts * (counts - 1) / 2).sum())
