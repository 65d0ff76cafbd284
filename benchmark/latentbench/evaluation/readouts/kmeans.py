"""The k-means readout: clusters the codes of a model that does not cluster. It uses no labels."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from latentbench.evaluation.inference import WHOLE_CODE, Parts
from latentbench.evaluation.readouts.readout import Reader, Readout, TrainingCodes

__all__ = ["K_MEANS", "RESTARTS", "Facet", "KMeansReadout", "fit_kmeans"]

#: Number of restarts of k-means; the result with the least inertia is kept.
RESTARTS = 10


@dataclass(frozen=True)
class Facet:
    """One clustering: the subspace that it reads, and the fitted k-means."""

    subspace: str
    clusterer: KMeans


@dataclass(frozen=True)
class KMeansReadout(Reader):
    """A fitted readout."""

    facets: Mapping[str, Facet]

    @property
    def facts(self) -> dict[str, int]:
        """Facet -> its number of clusters."""
        return {name: int(facet.clusterer.n_clusters) for name, facet in self.facets.items()}

    def read(self, codes: Parts) -> dict[str, npt.NDArray[np.int64]]:
        """Facet -> (N,) the nearest cluster, for codes by subspace, each (N, D_k)."""
        with threadpool_limits(1):
            return {
                name: facet.clusterer.predict(codes[facet.subspace].astype(np.float64)).astype(np.int64)
                for name, facet in self.facets.items()
            }


def fit_kmeans(attributes: Mapping[str, int], code: Parts, seed: int) -> KMeansReadout:
    """Cluster the codes of training images: once for each subspace and each number of values that an attribute has.

    Facets are named after their number of clusters: ``k10``, or ``shape-k10`` in a subspace "shape". As is usual in the
    field, the number of an attribute's values is given; in practice a user would have to guess it.

    Dimensions are not standardized. Otherwise a collapsed dimension of a variational model, which carries no
    information about an image, would count as much as any other.

    The method is Lloyd's algorithm (IEEE Transactions on Information Theory 28, 1982) with the seeding of k-means++
    (Arthur and Vassilvitskii, SODA 2007), the best of ``RESTARTS``, by scikit-learn. It runs on one thread, so that the
    result depends on the arguments only.

    Args:
        attributes: name -> its number of values. An attribute with fewer than two values gives no facet.
        code: codes by subspace, each (N, D_k). There are fewer clusters if there are fewer images or distinct codes.
        seed: seed of the k-means++ initialization.
    """
    facets = {}
    for subspace, codes in code.items():
        for values in sorted({count for count in attributes.values() if count > 1}):
            clusterer = KMeans(min(values, len(codes)), n_init=RESTARTS, random_state=seed % 2**32)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than clusters
                clusterer.fit(codes.astype(np.float64))
            name = f"k{values}" if subspace == WHOLE_CODE else f"{subspace}-k{values}"
            facets[name] = Facet(subspace, clusterer)
    return KMeansReadout(facets)


def _fit(given: TrainingCodes) -> KMeansReadout:
    return fit_kmeans(given.attributes, given.train.parts, given.seed)


K_MEANS = Readout("k-means", "cluster", _fit, needs_attributes=True)
