"""A model's samples compared with a split's images: Fréchet and kernel distance, precision and recall of features.

Two families. FID, KID, precision and recall measure with Inception, whose weights the user has to get. What is called
after a shipped extractor, as ``fd-scenes``, is the same arithmetic on the features of a small classifier: never to be
compared with a published FID, nor with the distance by another extractor, and blind to what is finer than the
classifier sees. There are three:

- ``-mnist-fashion`` is measured on every dataset. Its classifier has seen grey digits and clothes alone, at 32 pixels,
  and reads the channels of an image one by one. Its distances rank blur, noise, swirl and colour casts of 64x64 faces,
  as of digits and clothes, by their strength (tests/latentbench_metrics/test_generation_on_real_images.py). Its
  precision refuses random pixels, and takes what lies between images for plausible: of faces, a mixture of two passes
  more often than a real one does.
- ``-celeba-attributes`` and ``-scenes`` know the 40 attributes of CelebA's faces, at 64 pixels, and the factors of the
  dataset ``scenes``, at 32. They are measured where the attributes of a split are among those that they know, and
  nowhere else: elsewhere what they were trained to see is not there.

Samples are clipped to [0, 1] and rounded to the nearest of 256 levels, ties to even. They are held against the normal
images of a test split, whatever its conditions, each counted once.

The distances of finite sets are above those of their distributions, by about (D / N) times the features' variance: the
same number of samples is drawn of every model, that number is part of the version, and values of different splits are
not comparable. With N = 2,000 of each, two disjoint sets of real images have an FD (mnist-fashion) of 0.5 (digits) to
1.3 (faces).
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError, Metric
from latentbench_metrics import weights

if TYPE_CHECKING:
    from torch import Tensor

    from latentbench import Targets

__all__ = [
    "FID",
    "KID",
    "FDCelebAAttributes",
    "FDMnistFashion",
    "FDScenes",
    "Generation",
    "KDCelebAAttributes",
    "KDMnistFashion",
    "KDScenes",
    "Precision",
    "PrecisionCelebAAttributes",
    "PrecisionMnistFashion",
    "PrecisionScenes",
    "Recall",
    "RecallCelebAAttributes",
    "RecallMnistFashion",
    "RecallScenes",
]

#: Samples that are rounded at a time.
_AT_ONCE = 64

_FID = "Heusel et al., NeurIPS 2017, section 3 and eq. 6"
_KID = "Binkowski et al., ICLR 2018, section 4: kernel (x'y / D + 1)^3, unbiased"
_PRC = "Kynkäänniemi et al., NeurIPS 2019, section 2, k = 3"


class Generation(Metric):
    """A metric of samples' features. Applies where the split has enough normal images, as far as that is known."""

    capability = "sample"
    spans = ()
    extractor: ClassVar[str]
    """``weights.INCEPTION`` or one of ``weights.SHIPPED``."""
    least: ClassVar[int]
    """Normal images that the split must have."""

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether the split has enough normal images; one whose anomalies are not known is taken to have them."""
        enough = targets.anomaly is None or np.count_nonzero(targets.anomaly == 0) >= self.least
        return super().applies(targets, conditions) and bool(enough)

    def compute(self, evaluation: Evaluation) -> float:
        """The value.

        Raises:
            LatentbenchError: samples that are NaN, infinite or of another shape than the images, images of another
                number of channels than 1 or 3, fewer samples or normal images than it needs, or no weights.
        """
        from latentbench_metrics.fidelity import features

        images, anomaly = evaluation.images(), evaluation.targets.anomaly
        reals = images if anomaly is None else images[anomaly == 0]
        samples = _as_bytes(evaluation.output, reals)
        for what, found in (("samples", samples), ("normal images", reals)):
            if len(found) < self.least:
                raise LatentbenchError(f"there are {len(found)} {what}", f"it needs at least {self.least}")
        return self.value(features(self.extractor, samples), features(self.extractor, reals))

    @abstractmethod
    def value(self, samples: "Tensor", reals: "Tensor") -> float:
        """The metric of features, (S, D) and (N, D) float64."""


class FrechetDistance(Generation):
    """Squared Fréchet distance of two Gaussians that have the means and covariances of the features."""

    higher_is_better = False
    bounds = (0.0, float("inf"))

    def value(self, samples: "Tensor", reals: "Tensor") -> float:
        """0 for equal sets; defined for constant images too, whose covariance is 0."""
        from latentbench_metrics.fidelity import frechet_distance

        return frechet_distance(samples, reals)


class KernelDistance(Generation):
    """Squared maximum mean discrepancy of the features, estimated without bias: so it may be below 0."""

    higher_is_better = False
    bounds = (-float("inf"), float("inf"))
    subsets: ClassVar[int] = 1
    """Over how many draws of features it is averaged."""
    size: ClassVar[int | None] = None
    """Features of each side in a draw; None: as many as the smaller side has."""

    def value(self, samples: "Tensor", reals: "Tensor") -> float:
        """The mean over draws."""
        from latentbench_metrics.fidelity import kernel_distance

        size = self.size or min(len(samples), len(reals))
        return kernel_distance(samples, reals, subsets=self.subsets, size=size)


class NearestNeighbours(Generation):
    """How the features of samples and images lie among each other."""

    higher_is_better = True
    bounds = (0.0, 1.0)


class SamplePrecision(NearestNeighbours):
    """Share of samples that lie near a real image: fidelity."""

    def value(self, samples: "Tensor", reals: "Tensor") -> float:
        """0 if all images are equal and the samples are not."""
        from latentbench_metrics.fidelity import precision_and_recall

        return precision_and_recall(samples, reals)[0]


class SampleRecall(NearestNeighbours):
    """Share of real images that lie near a sample: coverage."""

    def value(self, samples: "Tensor", reals: "Tensor") -> float:
        """0 if all samples are equal and the images are not."""
        from latentbench_metrics.fidelity import precision_and_recall

        return precision_and_recall(samples, reals)[1]


class _Inception(Generation):
    """Metrics with Inception features, if the user has the weights."""

    extractor = weights.INCEPTION
    instrument = f"inception-2015-12-05 sha256:{weights.INCEPTION_HASH_PREFIX}"
    samples = 10_000
    least = 1_000

    @classmethod
    def unavailable(cls) -> str | None:
        """How to get the weights, where they are not chosen."""
        return weights.inception_unavailable()


class FID(_Inception, FrechetDistance):
    """Fréchet Inception distance, of 10,000 samples; a split's covariance has full rank from 2,049 images on."""

    name = "fid"
    title = "FID"
    source = f"{_FID}; torch-fidelity 0.4, inception-v3-compat, layer 2048"


class KID(_Inception, KernelDistance):
    """Kernel Inception distance: the mean over 100 draws of 1,000 images."""

    name = "kid"
    title = "KID"
    source = f"{_KID}; torch-fidelity 0.4, inception-v3-compat, layer 2048, 100 subsets of 1,000"
    subsets = 100
    size = 1_000


class Precision(_Inception, SamplePrecision):
    """Precision of samples. The paper has the features of VGG-16: these are Inception's, as FID's are."""

    name = "precision"
    title = "precision (Inception)"
    source = f"{_PRC}; torch-fidelity 0.4, inception-v3-compat, layer 2048, not VGG-16"


class Recall(_Inception, SampleRecall):
    """Recall of samples. The paper has the features of VGG-16: these are Inception's, as FID's are."""

    name = "recall"
    title = "recall (Inception)"
    source = f"{_PRC}; torch-fidelity 0.4, inception-v3-compat, layer 2048, not VGG-16"


class _MnistFashion(Generation):
    """Metrics with features of the shipped classifier of MNIST and Fashion-MNIST."""

    version = 2
    extractor = weights.MNIST_FASHION.name
    instrument = weights.MNIST_FASHION.instrument
    samples = 2_000
    least = 350  # more than the 336 features of a colour image, so that their covariance has full rank


_ON = "on features of a classifier of MNIST and Fashion-MNIST"


class FDMnistFashion(_MnistFashion, FrechetDistance):
    """Fréchet distance of the small classifier's features. It is no FID."""

    name = "fd-mnist-fashion"
    title = "FD (mnist-fashion)"
    source = f"{_FID}, {_ON}"


class KDMnistFashion(_MnistFashion, KernelDistance):
    """Kernel distance of the small classifier's features, over all of them at once. It is no KID."""

    name = "kd-mnist-fashion"
    title = "KD (mnist-fashion)"
    source = f"{_KID}, {_ON}"


class PrecisionMnistFashion(_MnistFashion, SamplePrecision):
    """Precision of samples among the small classifier's features."""

    name = "precision-mnist-fashion"
    title = "precision (mnist-fashion)"
    source = f"{_PRC}, {_ON}"


class RecallMnistFashion(_MnistFashion, SampleRecall):
    """Recall of samples among the small classifier's features."""

    name = "recall-mnist-fashion"
    title = "recall (mnist-fashion)"
    source = f"{_PRC}, {_ON}"


class _Attributes(Generation):
    """Metrics with features of a shipped classifier of attributes, for images of which these are the attributes."""

    samples = 2_000
    least = 350  # more than the 112 features, so that their covariance has full rank

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether the split has attributes, all of them known to the classifier, and enough normal images."""
        from latentbench_metrics.attribute_extractor import KNOWN

        known = bool(targets.attributes) and set(targets.attributes) <= set(KNOWN[self.extractor])
        return known and super().applies(targets, conditions)


class _CelebAAttributes(_Attributes):
    """Metrics with features of the shipped classifier of CelebA's attributes."""

    extractor = weights.CELEBA_ATTRIBUTES.name
    instrument = weights.CELEBA_ATTRIBUTES.instrument


_ON_FACES = "on features of a classifier of the 40 attributes of CelebA"


class FDCelebAAttributes(_CelebAAttributes, FrechetDistance):
    """Fréchet distance of the face classifier's features. It is no FID."""

    name = "fd-celeba-attributes"
    title = "FD (celeba-attributes)"
    source = f"{_FID}, {_ON_FACES}"


class KDCelebAAttributes(_CelebAAttributes, KernelDistance):
    """Kernel distance of the face classifier's features, over all of them at once. It is no KID."""

    name = "kd-celeba-attributes"
    title = "KD (celeba-attributes)"
    source = f"{_KID}, {_ON_FACES}"


class PrecisionCelebAAttributes(_CelebAAttributes, SamplePrecision):
    """Precision of samples among the face classifier's features."""

    name = "precision-celeba-attributes"
    title = "precision (celeba-attributes)"
    source = f"{_PRC}, {_ON_FACES}"


class RecallCelebAAttributes(_CelebAAttributes, SampleRecall):
    """Recall of samples among the face classifier's features."""

    name = "recall-celeba-attributes"
    title = "recall (celeba-attributes)"
    source = f"{_PRC}, {_ON_FACES}"


class _Scenes(_Attributes):
    """Metrics with features of the shipped classifier of the factors of scenes."""

    extractor = weights.SCENES.name
    instrument = weights.SCENES.instrument


_ON_SCENES = "on features of a classifier of the factors of the dataset scenes"


class FDScenes(_Scenes, FrechetDistance):
    """Fréchet distance of the scene classifier's features. It is no FID."""

    name = "fd-scenes"
    title = "FD (scenes)"
    source = f"{_FID}, {_ON_SCENES}"


class KDScenes(_Scenes, KernelDistance):
    """Kernel distance of the scene classifier's features, over all of them at once. It is no KID."""

    name = "kd-scenes"
    title = "KD (scenes)"
    source = f"{_KID}, {_ON_SCENES}"


class PrecisionScenes(_Scenes, SamplePrecision):
    """Precision of samples among the scene classifier's features."""

    name = "precision-scenes"
    title = "precision (scenes)"
    source = f"{_PRC}, {_ON_SCENES}"


class RecallScenes(_Scenes, SampleRecall):
    """Recall of samples among the scene classifier's features."""

    name = "recall-scenes"
    title = "recall (scenes)"
    source = f"{_PRC}, {_ON_SCENES}"


def _as_bytes(samples: npt.NDArray[np.floating], images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Samples clipped to [0, 1] and rounded to 0..255, once they are known to be finite and of the images' shape."""
    if samples.ndim != 4 or samples.shape[1:] != images.shape[1:] or samples.shape[1] not in (1, 3):
        raise LatentbenchError(
            f"samples are {samples.shape}, images {images.shape}", "it needs equal (C, H, W), and C of 1 or 3"
        )
    broken, found = 0, np.empty(samples.shape, np.uint8)
    for start in range(0, len(samples), _AT_ONCE):
        part = samples[start : start + _AT_ONCE]
        broken += int(np.count_nonzero(~np.isfinite(part)))
        with np.errstate(invalid="ignore"):  # of NaN, which is refused below
            found[start : start + _AT_ONCE] = np.rint(np.clip(part, 0, 1) * 255)
    if broken:
        raise LatentbenchError(f"{broken} of {samples.size} sample values are NaN or infinite", "it needs finite ones")
    return found
