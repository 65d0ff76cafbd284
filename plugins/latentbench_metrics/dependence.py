"""Statistical dependence between the dimensions of a code, without regard to the factors."""

import numpy as np
import numpy.typing as npt

from latentbench import LatentbenchError
from latentbench_metrics.disentanglement import CodedFactors, Disentanglement
from latentbench_metrics.information import contingency, histogram_bins, mutual_information
from latentbench_metrics.mig import BINS

__all__ = [
    "GaussianTotalCorrelation",
    "GaussianWasserstein",
    "MutualInformationScore",
    "NormalizedGaussianWasserstein",
]

#: Eigenvalues of a correlation matrix below this count as this: single precision cannot tell them from 0.
_LEAST_EIGENVALUE = 1e-10

_SOURCE = 'Locatello et al., ICML 2019, the "unsupervised scores" of disentanglement_lib'


class Dependence(Disentanglement):
    """A metric of the codes alone, on the images of the other metrics of disentanglement; 0 is independence."""

    higher_is_better = False


class GaussianTotalCorrelation(Dependence):
    """Total correlation in nats of a Gaussian with the covariance of the codes: -1/2 log det of their correlation.

    Finite for dependent dimensions too: an eigenvalue below 1e-10 counts as that, so each dependence adds at most 11.5.
    Constant dimensions do not count. Its expectation for N images of D independent dimensions is about
    D (D - 1) / (4 N), not 0.
    """

    name = "gaussian-total-correlation"
    title = "Gaussian TC"
    source = _SOURCE
    bounds = (0.0, float("inf"))

    def value(self, images: CodedFactors) -> float:
        """The total correlation.

        Raises:
            LatentbenchError: no more images than dimensions, so the dependence would be that of the sample.
        """
        covariance = _covariance(images)
        deviation = np.sqrt(np.diag(covariance))
        eigenvalues = np.linalg.eigvalsh(covariance / np.outer(deviation, deviation))
        return max(0.0, float(-np.log(np.maximum(eigenvalues, _LEAST_EIGENVALUE)).sum() / 2))


class GaussianWasserstein(Dependence):
    """Squared 2-Wasserstein distance from a Gaussian with the covariance of the codes to the product of its marginals.

    2 tr C - 2 tr (D^1/2 C D^1/2)^1/2, where C is the covariance (divided by the number of images) and D its diagonal.
    In the codes' own squared units: models of different scale are compared by the normalized one.
    """

    name = "gaussian-wasserstein"
    title = "Gaussian Wasserstein"
    source = _SOURCE
    bounds = (0.0, float("inf"))

    def value(self, images: CodedFactors) -> float:
        """The squared distance.

        Raises:
            LatentbenchError: no more images than dimensions, so the dependence would be that of the sample.
        """
        covariance = _covariance(images)
        deviation = np.sqrt(np.diag(covariance))
        eigenvalues = np.linalg.eigvalsh(covariance * np.outer(deviation, deviation))
        overlap = np.sqrt(np.maximum(eigenvalues, 0)).sum()
        return max(0.0, float(2 * np.trace(covariance) - 2 * overlap))


class NormalizedGaussianWasserstein(GaussianWasserstein):
    """The squared Gaussian Wasserstein distance over the sum of the dimensions' variances; 0 for a constant code."""

    name = "gaussian-wasserstein-normalized"
    title = "normalized Gaussian Wasserstein"
    bounds = (0.0, 2.0)

    def value(self, images: CodedFactors) -> float:
        """The squared distance, relative to the variance.

        Raises:
            LatentbenchError: no more images than dimensions, so the dependence would be that of the sample.
        """
        variance = np.trace(_covariance(images))
        return float(super().value(images) / variance) if variance > 0 else 0.0


class MutualInformationScore(Dependence):
    """Mean mutual information in nats of two dimensions of the code, each discretized by a histogram of 20 bins.

    Independent dimensions do not have 0 but about 361 / (2 N) at N images, the bias of so many cells.
    """

    name = "mutual-information-score"
    title = "MI score"
    source = _SOURCE
    bounds = (0.0, float(np.log(BINS)))

    def value(self, images: CodedFactors) -> float:
        """The mean over all pairs of dimensions, constant ones among them."""
        bins = histogram_bins(images.codes, BINS)
        pairs = [
            mutual_information(contingency(bins[:, :second], bins[:, second], images.weights))
            for second in range(1, bins.shape[1])
        ]
        return min(float(np.concatenate(pairs).mean()), self.bounds[1])  # a sum of fractions is rounded


def _covariance(images: CodedFactors) -> npt.NDArray[np.float64]:
    """Covariance (d, d) of the d dimensions that are not constant."""
    codes, weights = images.codes[:, images.varying], images.weights
    if len(codes) <= codes.shape[1]:
        found = f"{len(codes)} images have codes of {codes.shape[1]} dimensions"
        raise LatentbenchError(found, "it needs more images than dimensions")
    centred = codes - np.average(codes, axis=0, weights=weights)
    return np.asarray(centred.T * weights @ centred / weights.sum())
