"""PCA as a detector: the squared distance to the principal subspace; as a density, probabilistic PCA."""

from math import log, pi
from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import Tensor

from latentbench import DataInfo, LatentbenchError, Model, Options, Split, Where

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["PCA"]

#: Images that are drawn at a time, so that the device holds one copy of the training split and not several.
DRAWN_AT_ONCE = 1024


class PCA(Model):
    """Principal component analysis, fitted by scikit-learn to one pass over the training split.

    An image t is centred and projected onto the q leading eigenvectors of the covariance. The squared length of what
    remains is its score, the squared prediction error of process monitoring (Jackson & Mudholkar 1979).
    ``log_likelihood`` and ``sample`` read the same fit as the maximum likelihood solution of probabilistic PCA (Tipping
    & Bishop 1999, section 3.2).
    """

    class Config(Options):
        components: int = Field(32, ge=1, description="q: dimensions of the principal subspace")

    version = 2
    config: Config
    presets = {  # as many components as the autoencoders' codes have dimensions there
        "mnist-shift": {"components": 64},
        "ood": {"components": 10},
        "celeba": {"components": 64},
        "celeba-novelty": {"components": 64},
        "celeba-subset": {"components": 64},
        "celeba-subset-novelty": {"components": 64},
        "mvtec-ad": {"components": 64},
        "magnetic-tile": {"components": 64},
        "textures": {"components": 64},
        Where("kolektor-sdd", image_size=(320, 128)): {"components": 64},
    }

    mean: Tensor
    components: Tensor
    variances: Tensor
    noise_variance: Tensor

    def build(self, info: DataInfo) -> None:
        """Make the buffers of the fit, for images of d = C H W values.

        Raises:
            LatentbenchError: there are as many components as an image has values, so nothing would remain to score by.
        """
        q, d = self.config.components, info.image_numel
        if q >= d:
            raise LatentbenchError(f"model 'pca': {q} components leave nothing of {d} values", f"use at most {d - 1}")
        self.register_buffer("mean", torch.zeros(d))
        self.register_buffer("components", torch.zeros(q, d))  # orthonormal rows
        self.register_buffer("variances", torch.ones(q))  # along the components, falling
        self.register_buffer("noise_variance", torch.ones(()))  # mean of the variances that were left out

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit to one pass over ``train``, drawn with ``trainer.generator``. ``validation`` is not used.

        Raises:
            LatentbenchError: the training split has too few images for the components.
        """
        from sklearn import decomposition

        if len(train) <= self.config.components:
            raise LatentbenchError(
                f"model 'pca': {self.config.components} components need more training images than {len(train)}",
                f"use at most {len(train) - 1} components",
            )
        index = torch.arange(len(train), device=trainer.device)
        batches = (train.batch(part, trainer.generator).images for part in torch.split(index, DRAWN_AT_ONCE))
        t = torch.cat([images.flatten(1).cpu() for images in batches])
        pca = decomposition.PCA(self.config.components, random_state=trainer.seed).fit(t.numpy())
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.components.copy_(torch.from_numpy(pca.components_))
        self.variances.copy_(torch.from_numpy(pca.explained_variance_))
        rounding = torch.finfo(torch.float32)  # images that the subspace holds have no other noise, and no density
        least = max(rounding.eps * float(pca.explained_variance_[0]), rounding.tiny)
        self.noise_variance.fill_(max(float(pca.noise_variance_), least))

    def encode(self, images: Tensor) -> Tensor:
        """(B, q): coordinates along the components."""
        return (images.flatten(1) - self.mean) @ self.components.T

    def reconstruct(self, images: Tensor) -> Tensor:
        """(B, C, H, W): the point of the subspace that is nearest to the image, clamped to [0, 1]."""
        return self.decode(self.encode(images))

    def decode(self, codes: Tensor) -> Tensor:
        """(B, C, H, W): the points of the subspace with coordinates (B, q), clamped to [0, 1]."""
        return self._at(codes).clamp(0, 1)

    def localize(self, images: Tensor) -> Tensor:
        """(B, H, W): the share of each pixel in the squared distance to the subspace."""
        return (images - self._at(self.encode(images))).square().sum(1)

    def score(self, images: Tensor) -> Tensor:
        """(B,): the squared distance to the subspace."""
        return self.localize(images).sum((1, 2))

    def log_likelihood(self, images: Tensor) -> Tensor:
        """(B,) in nats: log N(t | mean, C) (section 3.1); C has eigenvalues ``variances``, then ``noise_variance``."""
        q, d = self.components.shape
        log_det = self.variances.log().sum() + (d - q) * self.noise_variance.log()
        mahalanobis = (self.encode(images).square() / self.variances).sum(1) + self.score(images) / self.noise_variance
        return -(d * log(2 * pi) + log_det + mahalanobis) / 2

    def sample(self, count: int, codes: Tensor | None = None) -> Tensor:
        """(count, C, H, W) in [0, 1]: the means W x + mean at draws x ~ N(0, I) (section 3.1), or at codes (count, q).

        The noise of the pixels is left out, as in samples of other models whose decoder gives a distribution.
        """
        if codes is not None:
            return self.decode(codes)
        x = torch.randn(count, len(self.variances), device=self.mean.device)
        return self.decode(x * (self.variances - self.noise_variance).clamp_min(0).sqrt())

    def _at(self, coordinates: Tensor) -> Tensor:
        return (coordinates @ self.components + self.mean).view(-1, *self.info.image_shape)
