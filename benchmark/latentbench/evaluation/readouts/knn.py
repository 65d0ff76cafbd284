"""The nearest-neighbour readout: scores an image by the distance of its code to those of training images."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from latentbench.evaluation.inference import Parts
from latentbench.evaluation.readouts.readout import Reader, Readout, TrainingCodes, side_by_side

__all__ = ["KNN", "K", "Neighbours", "fit_knn"]

#: The neighbour whose distance is the score.
K = 5


@dataclass(frozen=True)
class Neighbours(Reader):
    """A fitted readout."""

    index: NearestNeighbors
    """Index of the training codes after subtracting their mean."""
    mean: npt.NDArray[np.float64]
    """(D,) of the training codes."""

    def read(self, codes: Parts) -> Parts:
        """``knn`` -> (N,) of the codes' type: the distance to the ``K``-th nearest training code."""
        whole = side_by_side(codes)
        with threadpool_limits(1):
            distances, _ = self.index.kneighbors(whole.astype(np.float64) - self.mean)
        return {KNN.name: distances[:, -1].astype(whole.dtype)}


def fit_knn(given: TrainingCodes) -> Neighbours:
    """Index the training codes for Euclidean distances.

    An outlier is a point that is far from its k-th nearest neighbour (Ramaswamy, Rastogi & Shim, SIGMOD 2000); on the
    codes of a network this is the detector of Sun et al. (ICML 2022), without their normalization. k is ``K``, the
    default of PyOD, or the number of training codes if there are fewer. The search is exact. Dimensions are not
    standardized, and subspaces are concatenated.
    """
    train = side_by_side(given.train.parts).astype(np.float64)
    mean = train.mean(0)  # subtracted for precision; distances do not depend on it
    return Neighbours(NearestNeighbors(n_neighbors=min(K, len(train)), algorithm="brute").fit(train - mean), mean)


KNN = Readout("knn", "score", fit_knn)
