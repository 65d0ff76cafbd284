"""One-class detectors on feature vectors: fitted to those of normal images, they score others.

scikit-learn fits, PyTorch scores, and all that a detector has learned lies in buffers. Which detectors the paper has is
not known: its abstract says "several systems". These are the usual ones on the features of a network. Their settings
are the same for every data set, so that none is chosen by test images.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from math import log, pi

import numpy as np
import numpy.typing as npt
import torch
from sklearn import mixture, svm
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from latentbench import LatentbenchError

__all__ = ["DETECTORS", "Detector", "GaussianMixture", "Mahalanobis", "NearestNeighbours", "OneClassSVM"]

#: Entries of a table of distances that is held at a time.
_TABLE = 2**22
#: Least variance of a direction, as a share of the largest, in the covariance of ``Mahalanobis``.
_LEAST_VARIANCE = 1e-6
#: A deviation that is a smaller share of the mean is rounding: a network's float32 features are no more exact.
_ROUNDING = 1e-5


class Detector(nn.Module, ABC):
    """A detector that is fitted to vectors of normal images.

    Each dimension is standardized by mean and deviation of the vectors that it is fitted to. One that is constant there
    but for rounding is only centred. A vector's score does not depend on the others in its batch.

    Args:
        dim: D, dimensions of a vector.
        count: how many vectors it is fitted to at most; with ``dim`` it settles the shapes of the buffers.

    Raises:
        LatentbenchError: one of them is below 1.
    """

    mean: Tensor
    deviation: Tensor
    number: Tensor
    """() int64: how many vectors it was fitted to; 0 before."""

    #: How many vectors the fit takes at least.
    least = 1

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        if dim < 1 or count < self.least:
            what = f"{type(self).__name__} cannot be fitted to {count} vectors of {dim} dimensions"
            raise LatentbenchError(what, f"it takes {self.least} of 1 dimension or more")
        self.dim, self.count = dim, count
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("deviation", torch.ones(dim))
        self.register_buffer("number", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Fit to the vectors of normal images, (N, D) float32 on any device; scikit-learn gets a copy on the CPU.

        It runs on one thread, so that the result depends on the arguments only.

        Raises:
            LatentbenchError: they are not of ``dim`` dimensions, too few, more than ``count``, or not finite.
        """
        self._check(features)
        if not self.least <= len(features) <= self.count:
            what = f"{type(self).__name__} was given {len(features)} vectors to fit"
            raise LatentbenchError(what, f"it takes {self.least} to {self.count}")
        x = features.detach().float().cpu()
        if not x.isfinite().all():
            what = f"{type(self).__name__} was given a vector to fit that is not finite"
            raise LatentbenchError(what, "the network that it comes from has probably diverged")
        with threadpool_limits(1):
            scaler = StandardScaler().fit(x.double().numpy())
            self.mean.copy_(torch.from_numpy(scaler.mean_))
            constant = scaler.scale_ < _ROUNDING * np.abs(scaler.mean_)
            self.deviation.copy_(torch.from_numpy(np.where(constant, 1.0, scaler.scale_)))
            self.number.fill_(len(x))
            self._fit(((x - self.mean.cpu()) / self.deviation.cpu()).double().numpy())

    def forward(self, features: Tensor) -> Tensor:
        """(B,) float32 for vectors (B, D): larger = more anomalous.

        Raises:
            LatentbenchError: it is not fitted, or the vectors have another dimension.
        """
        self._check(features)
        if not self.number:
            raise LatentbenchError(f"{type(self).__name__} is not fitted", "call fit() or load a fitted state")
        return self._score((features.float() - self.mean) / self.deviation)

    @abstractmethod
    def _fit(self, x: npt.NDArray[np.float64]) -> None:
        """Fill the buffers from standardized vectors (N, D)."""

    @abstractmethod
    def _score(self, x: Tensor) -> Tensor:
        """(B,) for standardized vectors (B, D) float32."""

    def _check(self, features: Tensor) -> None:
        if features.ndim != 2 or features.shape[1] != self.dim:
            what = f"{type(self).__name__} was given features of shape {tuple(features.shape)}"
            raise LatentbenchError(what, f"it takes (N, {self.dim})")


class OneClassSVM(Detector):
    """Minus the decision function of a one-class support-vector machine (Schölkopf et al., Neural Comput. 13, 2001).

    The kernel is exp(-gamma |x - y|^2) with gamma = 1 / (D Var[x]), scikit-learn's "scale". The score is bounded: far
    from all support vectors the kernel vanishes, and all vectors there have the same score, the largest.

    Args:
        dim: D, dimensions of a vector.
        count: how many vectors it is fitted to at most.
        nu: the share of them that may lie outside, at most, and that are support vectors, at least.
    """

    support: Tensor
    """(count, D): the support vectors, then zeros."""
    alpha: Tensor
    """(count,): their dual coefficients, then zeros."""
    supports: Tensor
    """() int64: how many support vectors there are."""
    gamma: Tensor
    intercept: Tensor

    def __init__(self, dim: int, count: int, nu: float = 0.1) -> None:
        super().__init__(dim, count)
        self.nu = nu
        self.register_buffer("support", torch.zeros(count, dim))
        self.register_buffer("alpha", torch.zeros(count))
        self.register_buffer("supports", torch.zeros((), dtype=torch.int64))
        self.register_buffer("gamma", torch.ones(()))
        self.register_buffer("intercept", torch.zeros(()))

    def _fit(self, x: npt.NDArray[np.float64]) -> None:
        fitted = svm.OneClassSVM(kernel="rbf", gamma="scale", nu=self.nu)
        fitted.random_state = 0  # otherwise it draws from NumPy's global generator, for a number that it does not use
        fitted.fit(x)
        m = len(fitted.support_vectors_)
        _fill(self.support, fitted.support_vectors_)
        _fill(self.alpha, fitted.dual_coef_[0])
        self.supports.fill_(m)
        self.gamma.fill_(1 / (self.dim * x.var()) if x.var() else 1.0)
        self.intercept.fill_(float(fitted.intercept_[0]))

    def _score(self, x: Tensor) -> Tensor:
        m = int(self.supports)
        support, alpha = self.support[:m], self.alpha[:m]
        parts = torch.split(x, max(1, _TABLE // m))
        inside = [torch.exp(-self.gamma * _squared_distances(part, support)) @ alpha for part in parts]
        return -(torch.cat(inside) + self.intercept)


class NearestNeighbours(Detector):
    """Mean Euclidean distance to the k nearest of the vectors that it was fitted to (Angiulli & Pizzuti, PKDD 2002).

    (They take the sum.) Where there are fewer than k vectors, it is the mean distance to all.

    Args:
        dim: D, dimensions of a vector.
        count: how many vectors it is fitted to at most.
        k: neighbours.
    """

    references: Tensor
    """(count, D): the standardized vectors, then zeros."""

    def __init__(self, dim: int, count: int, k: int = 5) -> None:
        super().__init__(dim, count)
        self.k = k
        self.register_buffer("references", torch.zeros(count, dim))

    def _fit(self, x: npt.NDArray[np.float64]) -> None:
        _fill(self.references, x)

    def _score(self, x: Tensor) -> Tensor:
        n = int(self.number)
        return torch.cat(
            [self._mean_distance(part, self.references[:n]) for part in torch.split(x, max(1, _TABLE // n))]
        )

    def _mean_distance(self, x: Tensor, references: Tensor) -> Tensor:
        """Distances to the nearest ones are taken from differences: a table of products has lost their small ones."""
        nearest = _squared_distances(x, references).topk(min(self.k, len(references)), largest=False, sorted=False)
        return (x[:, None] - references[nearest.indices]).square().sum(2).sqrt().mean(1)


class Mahalanobis(Detector):
    """Distance to the mean under one Gaussian, whose covariance is shrunk towards a multiple of the identity.

    The weight of the shrinkage is that of Ledoit & Wolf (Journal of Multivariate Analysis 88, 2004) as scikit-learn
    computes it. It is 0 in degenerate cases, such as two vectors: a direction without variance then gets a millionth of
    the largest variance, so that a deviation in this direction counts.
    """

    location: Tensor
    """(D,): the mean of the standardized vectors, close to 0."""
    whitening: Tensor
    """(D, D): W with W W' = the inverse covariance."""

    least = 2

    def __init__(self, dim: int, count: int) -> None:
        super().__init__(dim, count)
        self.register_buffer("location", torch.zeros(dim))
        self.register_buffer("whitening", torch.zeros(dim, dim))

    def _fit(self, x: npt.NDArray[np.float64]) -> None:
        fitted = LedoitWolf().fit(x)
        variances, axes = np.linalg.eigh(fitted.covariance_)
        if variances[-1] <= 0:
            what = f"Mahalanobis was given {len(x)} vectors to fit that are all equal"
            raise LatentbenchError(what, "the network that they come from has probably collapsed")
        variances = variances.clip(_LEAST_VARIANCE * variances[-1])
        self.location.copy_(torch.from_numpy(fitted.location_))
        self.whitening.copy_(torch.from_numpy(axes / np.sqrt(variances)))

    def _score(self, x: Tensor) -> Tensor:
        return ((x - self.location) @ self.whitening).square().sum(1).sqrt()


class GaussianMixture(Detector):
    """Minus the log density, in nats, under a mixture of Gaussians with one covariance for all components.

    Ten components and a common covariance are our choice for every data set: several modes, as features of a network
    trained with categorical codes may have, but only one covariance to estimate, because ten of a few hundred
    dimensions would take more images than there are. To the variances of the standardized dimensions 0.001 is added.
    Where there are fewer different vectors than components, there are as many components as different vectors.
    The fit ends where a step raises the mean log density by less than 0.01 nats; with 10,000 vectors of 256 dimensions
    it takes some ten seconds.

    Args:
        dim: D, dimensions of a vector.
        count: how many vectors it is fitted to at most.
        components: Gaussians.
        seed: of the k-means++ initialization.
    """

    centres: Tensor
    """(components, D): means after ``whitening``."""
    shares: Tensor
    """(components,): weights of the components; 0 of those that are not used."""
    whitening: Tensor
    """(D, D): W with W W' = the inverse covariance."""
    log_volume: Tensor
    """(): log det W."""

    least = 2

    def __init__(self, dim: int, count: int, components: int = 10, seed: int = 0) -> None:
        super().__init__(dim, count)
        self.components, self.seed = components, seed
        self.register_buffer("centres", torch.zeros(components, dim))
        self.register_buffer("shares", torch.zeros(components))
        self.register_buffer("whitening", torch.zeros(dim, dim))
        self.register_buffer("log_volume", torch.zeros(()))

    def _fit(self, x: npt.NDArray[np.float64]) -> None:
        number = min(self.components, len(np.unique(x, axis=0)))
        settings = {"covariance_type": "tied", "reg_covar": 1e-3, "tol": 1e-2, "random_state": self.seed}
        fitted = mixture.GaussianMixture(number, **settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # after 100 iterations, a density like any other
            fitted.fit(x)
        whitening = fitted.precisions_cholesky_
        _fill(self.centres, fitted.means_ @ whitening)
        _fill(self.shares, fitted.weights_)
        self.whitening.copy_(torch.from_numpy(whitening))
        self.log_volume.fill_(float(np.log(np.diag(whitening)).sum()))

    def _score(self, x: Tensor) -> Tensor:
        y = x @ self.whitening
        squared = torch.stack([(y - centre).square().sum(1) for centre in self.centres], 1)
        log_density = self.log_volume - self.dim / 2 * log(2 * pi) - squared / 2
        return -(self.shares.log() + log_density).logsumexp(1)


#: Every detector by the name of its score.
DETECTORS: Mapping[str, type[Detector]] = {
    "one_class_svm": OneClassSVM,
    "nearest_neighbours": NearestNeighbours,
    "mahalanobis": Mahalanobis,
    "gaussian_mixture": GaussianMixture,
}


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """(B, N) for vectors (B, D) and (N, D)."""
    return torch.addmm(y.square().sum(1), x, y.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def _fill(buffer: Tensor, rows: npt.NDArray[np.float64]) -> None:
    """Put rows at the beginning of a buffer, and zeros behind them."""
    buffer.zero_()
    buffer[: len(rows)].copy_(torch.from_numpy(rows))
