"""The interface to torch-fidelity: distances between features, and the feature extractors.

Importing this module imports torch-fidelity, and torchvision with it.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench import import_torchvision
from latentbench_metrics import attribute_extractor, extractor, weights

import_torchvision()  # beside a CPU-only PyTorch the next imports need its help

from torch_fidelity.feature_extractor_base import FeatureExtractorBase  # noqa: E402
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # noqa: E402
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric  # noqa: E402
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, kid_features_to_metric  # noqa: E402
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric  # noqa: E402
from torch_fidelity.registry import register_feature_extractor  # noqa: E402

__all__ = ["ShippedExtractor", "features", "frechet_distance", "kernel_distance", "precision_and_recall"]

Images = npt.NDArray[np.uint8]

#: Number of cached feature sets: a split's images and one model's samples, with three extractors.
_KEPT = 6
#: k of the nearest neighbours (Kynkäänniemi et al. 2019, section 3).
_NEIGHBOURS = 3


class ShippedExtractor(FeatureExtractorBase):  # type: ignore[misc]
    """The features of a shipped classifier, as an extractor of torch-fidelity."""

    def __init__(self, name: str, features_list: list[str], **kwargs: Any) -> None:
        super().__init__(name, features_list)
        shipped = weights.SHIPPED[name]
        self.classifier = extractor.load() if shipped is weights.MNIST_FASHION else attribute_extractor.load(shipped)

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        """The one layer."""
        return ("features",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        """The same for every metric."""
        return "features"

    @staticmethod
    def can_be_compiled() -> bool:
        """Not supported, because the extractors are small."""
        return False

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """(B, C, H, W) uint8 -> (B, D)."""
        return (self.classifier.features(images),)


for _name in weights.SHIPPED:
    register_feature_extractor(_name, ShippedExtractor)


def features(name: str, images: Images) -> Tensor:
    """Features of images by the extractor of that name; those of the last few sets of images are remembered.

    Args:
        name: ``weights.INCEPTION`` or one of ``weights.SHIPPED``.
        images: (N, C, H, W) uint8, C of 1 or 3. A grey image has three equal channels, but for mnist-fashion, which
            reads every channel as an image.

    Returns:
        (N, D) float64, on the CPU.

    Raises:
        LatentbenchError: the extractor's weights are not there or not what they should be.
    """
    images = np.ascontiguousarray(images)
    key = name, images.shape, hashlib.sha256(images.data).hexdigest()
    if key not in _remembered:
        extract, batch_size = _inception() if name == weights.INCEPTION else _shipped(name)
        with torch.inference_mode():
            starts = range(0, len(images), batch_size)
            batches = (torch.from_numpy(images[start : start + batch_size].copy()) for start in starts)  # to write to
            _remembered[key] = torch.cat([extract(batch).double() for batch in batches])
    _remembered.move_to_end(key)
    while len(_remembered) > _KEPT:
        _remembered.popitem(last=False)
    return _remembered[key]


_remembered: OrderedDict[tuple[Any, ...], Tensor] = OrderedDict()


@cache
def _shipped(name: str) -> tuple[Callable[[Tensor], Tensor], int]:
    """A shipped extractor; on the CPU always, so that its numbers do not depend on the machine's GPU."""
    network = ShippedExtractor(name, ["features"])
    return lambda images: network(images)[0], 500


@cache
def _inception() -> tuple[Callable[[Tensor], Tensor], int]:
    """Inception, on a GPU where PyTorch finds one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = FeatureExtractorInceptionV3(
        weights.INCEPTION, ["2048"], feature_extractor_weights_path=weights.inception()
    ).to(device)

    def extract(images: Tensor) -> Tensor:
        result: Tensor = network(images.expand(-1, 3, -1, -1).to(device))[0].cpu()
        return result

    return extract, 50


def frechet_distance(samples: Tensor, reals: Tensor) -> float:
    """Squared Fréchet distance of the Gaussians with the features' means and covariances, (N, D) each; at least 0."""
    statistics = [fid_features_to_statistics(features) for features in (samples, reals)]
    # of equal sets, rounding leaves it on either side of 0
    return max(0.0, float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]))


def kernel_distance(samples: Tensor, reals: Tensor, *, subsets: int, size: int) -> float:
    """Squared maximum mean discrepancy by the unbiased estimate, kernel (x'y / D + 1)^3, (N, D) each.

    The mean over ``subsets`` draws of ``size`` features of each side.
    """
    result = kid_features_to_metric(
        _ordered(samples), _ordered(reals), kid_subsets=subsets, kid_subset_size=size, rng_seed=0, verbose=False
    )
    return float(result[KEY_METRIC_KID_MEAN])


@lru_cache(maxsize=1)  # two metrics ask for one each
def precision_and_recall(samples: Tensor, reals: Tensor) -> tuple[float, float]:
    """Share of samples near a real feature, and of reals near a sample's, (N, D) each.

    Near is within a feature's distance to the third nearest other one of its own side. Both sides are of one size, as
    in the paper: of the larger one, that many are drawn.
    """
    centre = reals.mean(0)  # distances of equal features are then less of a difference of large numbers
    size = min(len(samples), len(reals))
    samples, reals = (_drawn(side - centre, size) for side in (samples, reals))
    result = prc_features_to_metric(
        samples, reals, prc_neighborhood=_NEIGHBOURS, prc_batch_size=1000, save_cpu_ram=True,
        verbose=False,
    )  # fmt: skip
    return float(result[KEY_METRIC_PRECISION]), float(result[KEY_METRIC_RECALL])


def _drawn(features: Tensor, size: int) -> Tensor:
    """``size`` rows without replacement, whatever the order of the rows."""
    if size == len(features):
        return features
    return _ordered(features)[np.random.default_rng(0).choice(len(features), size, replace=False)]


def _ordered(features: Tensor) -> Tensor:
    """The rows in lexicographic order, so that what is drawn of them does not depend on the order that they had."""
    return features[np.lexsort(features.numpy().T)]
