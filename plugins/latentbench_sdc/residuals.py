"""From residuals to anomaly maps and scores: smoothing, pooling, and a choice by the defects they find."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, nan
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

__all__ = [
    "CANDIDATES",
    "MEASURES",
    "OF_PIXELS",
    "POOLINGS",
    "Measure",
    "Pooling",
    "Smoothing",
    "best_map",
    "best_pooling",
    "outliers",
    "pool",
]

Measure = Literal["squared", "standardized", "patches", "patches_with_image"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
#: What is chosen from where no measure is given.
OF_PIXELS: tuple[Measure, ...] = ("squared", "standardized")
Pooling = Literal["maximum", "mean"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)

#: Kernels have the stated size on images whose shorter side has so many pixels.
_SIDE = 256
#: An extreme outlier is a score whose logarithm is so many robust standard deviations above the median, ...
_FAR = 5.0
#: ... and which is at least so many times the median.
_TIMES = 2.0
#: The upper quartile of a standard Gaussian, which is also its median absolute deviation.
_QUARTILE = 0.6745


@dataclass(frozen=True)
class Smoothing:
    """G_k applied n times: averages over windows of k x k pixels, which are cut to the image at its border.

    Away from the border, n passes together have nearly the shape of a Gaussian of variance n (k^2 - 1) / 12.
    """

    kernel: int
    """Side of the window on images whose shorter side has 256 pixels; on others it is in proportion."""
    passes: int
    """n."""

    def side(self, height: int, width: int) -> int:
        """The odd number k for images of this size.

        >>> Smoothing(11, 2).side(128, 192)
        5
        """
        return 2 * (self.kernel * min(height, width) // (2 * _SIDE)) + 1

    def __call__(self, maps: Tensor) -> Tensor:
        """(B, H, W) -> (B, H, W)."""
        side = self.side(*maps.shape[1:])
        # A window is a product, so its average is one of averages. Pooling is vectorized over channels that lie last.
        maps = maps[None].contiguous(memory_format=torch.channels_last)
        for _ in range(self.passes):
            maps = avg_pool2d(maps, (side, 1), 1, (side // 2, 0), count_include_pad=False)
            maps = avg_pool2d(maps, (1, side), 1, (0, side // 2), count_include_pad=False)
        return maps[0].contiguous()


#: What is chosen from.
CANDIDATES = tuple(Smoothing(kernel, passes) for kernel in (7, 11, 15, 21, 31) for passes in (1, 2, 3))


def pool(maps: Tensor, pooling: Pooling) -> Tensor:
    """(B, H, W) -> (B,): the score of an image."""
    return maps.amax((1, 2)) if pooling == "maximum" else maps.mean((1, 2))


def best_map(
    residuals: Mapping[Measure, Tensor], defects: Tensor, candidates: Sequence[Smoothing] = CANDIDATES
) -> tuple[Tensor, Measure, Smoothing]:
    """The residual and smoothing whose maps find several kinds of defects best: by their mean average precision.

    Of equal ones it is the first.

    Args:
        residuals: (K, N, H, W) of each measure, of N images of each of K kinds of defects.
        defects: (K, N, H, W) bool: the pixels of the defects. Kinds without any do not count.
        candidates: smoothings to choose from.

    Returns:
        The average precision of each kind, (K,) float64, NaN for kinds without a pixel; the measure; the smoothing.
    """
    from sklearn.metrics import average_precision_score

    kinds = defects.flatten(1).cpu().numpy()

    def precisions(measure: Measure, smooth: Smoothing) -> Tensor:
        maps = (smooth(kind).flatten().cpu().numpy() for kind in residuals[measure])
        pairs = zip(kinds, maps, strict=True)
        found = [average_precision_score(truth, each) if truth.any() else nan for truth, each in pairs]
        return torch.tensor(found, dtype=torch.float64)

    found = ((precisions(measure, smooth), measure, smooth) for measure in residuals for smooth in candidates)
    return max(found, key=lambda one: float(one[0].nansum()))


def best_pooling(clean: Tensor, defective: Tensor) -> Pooling:
    """The pooling by which defective images are best told from clean ones, in AUROC; of equal ones, the maximum.

    Args:
        clean: maps of clean images, (N, H, W).
        defective: maps of defective images, (M, H, W).
    """
    from sklearn.metrics import roc_auc_score

    maps = torch.cat([clean, defective])
    truth = [0] * len(clean) + [1] * len(defective)
    return max(POOLINGS, key=lambda pooling: roc_auc_score(truth, pool(maps, pooling).cpu().numpy()))


def outliers(scores: Tensor) -> Tensor:
    """Which scores (N,), all positive, stand far above the others: (N,) bool.

    They are at least twice the median, and their logarithm is more than 5 robust standard deviations above it. The
    standard deviation is that of a Gaussian with the median absolute deviation or, if that is greater, the distance of
    the upper quartile: where a third of the images has a bright spot, these are no outliers.
    """
    logarithm = scores.clamp(min=torch.finfo(scores.dtype).tiny).log()
    above = logarithm - logarithm.median()
    deviation = torch.maximum(above.abs().median(), above.quantile(0.75)) / _QUARTILE
    return (above > _FAR * deviation) & (above > log(_TIMES))
