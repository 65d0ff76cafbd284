"""Nulls for clusters: chance, k-means on pixels and on principal components, and a mixture of Gaussians on these."""

import warnings
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from latentbench import DataInfo, LatentbenchError, Options, Split
from latentbench_nulls.null import MOST_IMAGES, Null, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["ChanceClusters", "ComponentClusters", "ComponentMixture", "PixelClusters"]

#: Restarts of k-means; the one with the least inertia is kept.
_RESTARTS = 3


class _Clusters(Null):
    """Facets are called after their number of clusters, as those that the harness reads from codes: ``k10``."""

    needs = ("attributes",)

    class Config(Options):
        clusters: int | None = Field(
            None, ge=2, description="number of clusters; None: a facet for each number of values that an attribute has"
        )

    config: Config

    @property
    def numbers(self) -> dict[str, int]:
        """Facet -> its number of clusters."""
        own = self.config.clusters
        return {f"k{k}": k for k in ([own] if own else _numbers_of_values(self.info))}

    def build(self, info: DataInfo) -> None:
        """Check the number of clusters.

        Raises:
            LatentbenchError: it is the one that there is without the option.
        """
        if [self.config.clusters] == _numbers_of_values(info):
            what = f"model '{self.name}': 'clusters' has no effect: the attributes have {self.config.clusters} values"
            raise LatentbenchError(what, "leave it out")


class ChanceClusters(_Clusters):
    """Every image is in a random cluster."""

    name = "null-chance-clusters"

    def cluster(self, images: Tensor) -> dict[str, Tensor]:
        """Facet -> (B,) int64, uniform."""
        return {facet: torch.randint(k, (len(images),), device=images.device) for facet, k in self.numbers.items()}


class _KMeans(_Clusters):
    """k-means (Lloyd 1982, seeded as by Arthur & Vassilvitskii 2007) by scikit-learn, the best of three restarts."""

    @abstractmethod
    def code(self, images: Tensor) -> Tensor:
        """(B, D) for images (B, C, H, W)."""

    def make_centres(self, dimensions: int) -> None:
        """Make a buffer for the centres of each facet."""
        for facet, k in self.numbers.items():
            self.register_buffer(f"centres_{facet}", torch.zeros(k, dimensions))

    def find_centres(self, codes: Tensor, seed: int) -> None:
        """Fit each facet to codes (N, D) on the CPU, on one thread.

        Raises:
            LatentbenchError: there are more clusters than codes.
        """
        from sklearn.exceptions import ConvergenceWarning
        from threadpoolctl import threadpool_limits

        for facet, k in self.numbers.items():
            if k > len(codes):
                what = f"model '{self.name}': {k} clusters need as many training images, and there are {len(codes)}"
                mend = f"set clusters to {len(codes)} at most" if len(codes) > 1 else "take a dataset with more of them"
                raise LatentbenchError(what, mend)
            with threadpool_limits(1), warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different codes than clusters
                self.fit_facet(facet, k, codes, seed % 2**32)

    def fit_facet(self, facet: str, k: int, codes: Tensor, seed: int) -> None:
        """Fit a facet of ``k`` clusters to codes (N, D)."""
        from sklearn.cluster import KMeans

        fitted = KMeans(k, n_init=_RESTARTS, random_state=seed).fit(codes.numpy())
        self.get_buffer(f"centres_{facet}").copy_(torch.from_numpy(fitted.cluster_centers_))

    def cluster(self, images: Tensor) -> dict[str, Tensor]:
        """Facet -> (B,) int64: the nearest centre."""
        codes = self.code(images)
        return {facet: torch.cdist(codes, self.get_buffer(f"centres_{facet}")).argmin(1) for facet in self.numbers}


class PixelClusters(_KMeans):
    """k-means on raw pixels."""

    name = "null-pixel-clusters"

    def build(self, info: DataInfo) -> None:
        """Make the buffers of the centres."""
        super().build(info)
        self.make_centres(info.image_numel)

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Cluster the training images, or 10,000 of them."""
        self.find_centres(_pixels(train, trainer), trainer.seed)

    def code(self, images: Tensor) -> Tensor:
        """(B, C H W): the pixels."""
        return images.flatten(1)


class ComponentClusters(_KMeans):
    """k-means on the leading 30 principal components of the pixels, or as many as there are."""

    name = "null-component-clusters"

    mean: Tensor
    components: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffers of the components, (q, C H W), and of the centres."""
        super().build(info)
        q = min(30, info.image_numel, info.train_size)
        self.register_buffer("mean", torch.zeros(info.image_numel))
        self.register_buffer("components", torch.zeros(q, info.image_numel))
        self.make_centres(q)

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit principal components to the training images, or to 10,000 of them, and cluster the coordinates."""
        from sklearn.decomposition import PCA

        pixels = _pixels(train, trainer)
        with np.errstate(invalid="ignore"):  # shares of a variance of 0, where all images are equal
            pca = PCA(len(self.components), random_state=trainer.seed % 2**32).fit(pixels.numpy())
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.components.copy_(torch.from_numpy(pca.components_))
        self.find_centres(torch.from_numpy(pca.transform(pixels.numpy())), trainer.seed)

    def code(self, images: Tensor) -> Tensor:
        """(B, q): coordinates along the components."""
        return (images.flatten(1) - self.mean) @ self.components.T


class ComponentMixture(ComponentClusters):
    """A mixture of Gaussians with full covariances on the same coordinates (EM by scikit-learn, from k-means)."""

    name = "null-component-mixture"

    def make_centres(self, dimensions: int) -> None:
        """Make buffers for the means of each facet, the Cholesky factors of its precisions, and its offsets."""
        super().make_centres(dimensions)
        for facet, k in self.numbers.items():
            self.register_buffer(f"whitening_{facet}", torch.zeros(k, dimensions, dimensions))
            self.register_buffer(f"offsets_{facet}", torch.zeros(k))

    def fit_facet(self, facet: str, k: int, codes: Tensor, seed: int) -> None:
        """Fit a mixture of ``k`` Gaussians to codes (N, D)."""
        from sklearn.mixture import GaussianMixture

        fitted = GaussianMixture(k, random_state=seed).fit(codes.double().numpy())
        means, factors, weights = map(torch.from_numpy, (fitted.means_, fitted.precisions_cholesky_, fitted.weights_))
        self.get_buffer(f"centres_{facet}").copy_(means)
        self.get_buffer(f"whitening_{facet}").copy_(factors)
        self.get_buffer(f"offsets_{facet}").copy_(weights.log() + factors.diagonal(dim1=1, dim2=2).log().sum(1))

    def cluster(self, images: Tensor) -> dict[str, Tensor]:
        """Facet -> (B,) int64: the Gaussian that the image is most likely of."""
        codes, found = self.code(images), {}
        for facet in self.numbers:
            means, whitening, offsets = (self.get_buffer(f"{of}_{facet}") for of in ("centres", "whitening", "offsets"))
            white = torch.einsum("bkd,kde->bke", codes[:, None] - means, whitening)
            found[facet] = (offsets - white.square().sum(2) / 2).argmax(1)
        return found


def _numbers_of_values(info: DataInfo) -> list[int]:
    """In ascending order, each once."""
    return sorted({values for values in info.attributes.values() if values > 1})


def _pixels(train: Split, trainer: "Trainer") -> Tensor:
    """(N, C H W) on the CPU."""
    return torch.cat([batch.images.flatten(1).cpu() for batch in draw(train, trainer, MOST_IMAGES)])
