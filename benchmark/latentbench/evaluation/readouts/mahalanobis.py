"""The Mahalanobis readout: scores an image by its code's distance under one Gaussian fitted to training codes."""

from dataclasses import dataclass

import numpy as np
from sklearn.covariance import LedoitWolf
from threadpoolctl import threadpool_limits

from latentbench.evaluation.inference import Parts
from latentbench.evaluation.readouts.readout import Reader, Readout, TrainingCodes, side_by_side

__all__ = ["MAHALANOBIS", "MAX_DIMS", "Gaussian", "fit_mahalanobis"]

#: Codes with more dimensions are not read, because their covariance would take too much memory and time.
MAX_DIMS = 2048


@dataclass(frozen=True)
class Gaussian(Reader):
    """A fitted readout."""

    covariance: LedoitWolf

    def read(self, codes: Parts) -> Parts:
        """``mahalanobis`` -> (N,) of the codes' type: the distance to the mean of the training codes."""
        whole = side_by_side(codes)
        with threadpool_limits(1):
            squared = self.covariance.mahalanobis(whole.astype(np.float64))
        return {MAHALANOBIS.name: np.sqrt(squared.clip(0)).astype(whole.dtype)}


def fit_mahalanobis(given: TrainingCodes) -> Gaussian | None:
    """Fit one Gaussian to the training codes: their mean and a shrunk covariance.

    The covariance is shrunk towards a multiple of the identity, with the weight of Ledoit & Wolf (Journal of
    Multivariate Analysis 88, 2004) as scikit-learn computes it. That keeps it invertible where a dimension has
    collapsed, or where there are more dimensions than images. Subspaces are concatenated.

    Returns:
        The fitted readout; None for codes with more than ``MAX_DIMS`` dimensions.
    """
    train = side_by_side(given.train.parts).astype(np.float64)
    if train.shape[1] > MAX_DIMS:
        return None
    with threadpool_limits(1):
        return Gaussian(LedoitWolf().fit(train))


MAHALANOBIS = Readout("mahalanobis", "score", fit_mahalanobis)
