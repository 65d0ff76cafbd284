"""Anomaly localization from one score per pixel: pixel AUROC and AP, and per-region overlap; exact, every threshold."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, Metric
from latentbench_metrics.kept_pixels import CURVE_TOLERANCE, KeptCurve
from latentbench_metrics.pixels import PixelCurve, shared_curve

if TYPE_CHECKING:
    from latentbench import Targets

__all__ = ["AUPRO5", "AUPRO30", "Localization", "MissingMasks", "PixelAP", "PixelAUROC"]


class Localization(Metric):
    """A metric that ranks all pixels of all images by score and asks whether the anomalous ones come first.

    An image of weight w counts as w images. Images whose mask is missing are left out, never taken as all-normal.
    Applies where the known masks have both normal and anomalous pixels.
    """

    capability = "localize"
    targets = ("mask",)
    higher_is_better = True
    bounds = (0.0, 1.0)
    statistic = KeptCurve
    tolerance = CURVE_TOLERANCE

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether the split has masks, and pixels of both kinds in those that are known."""
        if not super().applies(targets, conditions) or targets.mask is None:
            return False
        known = slice(None) if targets.mask_known is None else targets.mask_known
        any_anomalous = np.any(targets.mask, axis=(1, 2))[known].any()
        all_anomalous = np.all(targets.mask, axis=(1, 2))[known].all()
        return bool(any_anomalous and not all_anomalous)

    def lacking(self, targets: "Targets") -> str:
        """That there is no defect to find, or nothing else."""
        return "" if self.applies(targets, {}) else "the known masks of the split hold pixels of one kind alone"

    def compute(self, evaluation: Evaluation) -> float:
        """The value over the images that have weight and whose mask is known.

        Raises:
            LatentbenchError: maps and masks differ in shape, no mask is known, a map's value is NaN or infinite, or
                there is no normal or no anomalous pixel.
        """
        return float(np.clip(self.value(shared_curve(evaluation)), *self.bounds))  # sums of fractions are rounded

    def compute_kept(self, kept: Mapping[str, npt.NDArray[np.float64]]) -> float:
        """The value from the curve that a record keeps."""
        return float(np.clip(self.value(KeptCurve.curve(kept)), *self.bounds))

    @abstractmethod
    def value(self, curve: PixelCurve) -> float:
        """The metric of what every threshold finds."""


class PixelAUROC(Localization):
    """Area under the ROC curve of pixels: the probability that an anomalous one outscores a normal one, ties half."""

    name = "pixel-auroc"
    title = "pixel AUROC"
    source = "Hanley and McNeil, Radiology 143 (1982), of pixels: sklearn.metrics.roc_auc_score over all of them"

    def value(self, curve: PixelCurve) -> float:
        """The whole area; 0.5 when all scores are equal."""
        return _area(curve, curve.pixels, 1.0)


class PixelAP(Localization):
    """Average precision of pixels: the step-wise area under the precision-recall curve, anomalous pixels positive.

    Chance level is the anomalous pixels' share, so values of different sets of images are not comparable.
    """

    name = "pixel-ap"
    title = "pixel AP"
    source = "AP = sum_n (R_n - R_(n-1)) P_n over every distinct score, sklearn.metrics.average_precision_score"

    def value(self, curve: PixelCurve) -> float:
        """One step per distinct score; the anomalous pixels' share when all scores are equal."""
        found = np.cumsum(curve.pixels)
        return float(np.sum(curve.pixels * (found / (found + curve.false))) / found[-1])


class AUPRO(Localization):
    """Area under the per-region overlap curve up to a false positive rate, divided by that rate.

    At a threshold, the per-region overlap is the found share of a region's pixels, averaged over the regions of all
    images: small regions count as much as large ones. The false positive rate is over the normal pixels of all images.
    The curve has one point per distinct score and is straight between them, at ``limit`` too.

    anomalib 2.7's AUPRO is the same, in float32. adeval 1.1's reference differs: its thresholds are evenly spaced among
    the normal pixels' scores, 2,000 by default and not all. With one at every normal pixel it still slopes where this
    curve is upright, between two normal pixels, and so gives up to half a normal pixel's width more.
    """

    source = "Bergmann et al., IJCV 129 (2021) 1038-1059: normalized area under the PRO curve; regions are 8-connected"
    limit: ClassVar[float]

    def value(self, curve: PixelCurve) -> float:
        """The area's share of the greatest possible one; half the limit when all scores are equal."""
        return _area(curve, curve.overlap, self.limit) / self.limit


class AUPRO30(AUPRO):
    """Per-region overlap up to 30 % false positives, the usual limit on MVTec AD."""

    name = "aupro30"
    title = "AUPRO@30%"
    limit = 0.30


class AUPRO5(AUPRO):
    """Per-region overlap up to 5 % false positives: nearer to what a user can bear."""

    name = "aupro5"
    title = "AUPRO@5%"
    limit = 0.05


class MissingMasks(Metric):
    """How many images of positive weight have no mask and are left out of every pixel metric. A fact of the data.

    Applies where a mask is missing, so that pixel metrics of part of a split say so in their record.
    """

    name = "missing-masks"
    title = "images without a mask"
    source = "ours: a count"
    capability = "localize"
    targets = ("mask",)
    higher_is_better = False
    bounds = (0.0, float("inf"))

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether a mask is missing."""
        return super().applies(targets, conditions) and targets.mask_known is not None and not targets.mask_known.all()

    def compute(self, evaluation: Evaluation) -> float:
        """The number of images."""
        known = evaluation.targets.mask_known
        return 0.0 if known is None else float(np.count_nonzero(~known & (evaluation.weights > 0)))


def _area(curve: PixelCurve, gain: npt.NDArray[np.float64], limit: float) -> float:
    """Area under a curve over false positive rates in [0, limit], which climbs by ``gain`` (T,) to a height of 1.

    The integral by parts: at its threshold, an anomalous pixel lifts the curve by its gain, from the rate a of normal
    pixels above it to the rate b of those tied with it as well, in a straight line. Right of b the whole gain counts.
    """
    a, b = (np.minimum(false / curve.normal, limit) for false in (curve.false_above, curve.false))
    tied = (curve.false - curve.false_above) / curve.normal
    lifted = np.divide(b - a, tied, out=np.zeros_like(a), where=tied > 0)  # share of the gain that is made by the limit
    return float(np.sum(gain * (limit - b + lifted * (b - a) / 2)) / np.sum(gain))
