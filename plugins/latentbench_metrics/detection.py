"""Anomaly detection from one score per image; the anomaly is the positive class for every score."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError, Metric

if TYPE_CHECKING:
    from latentbench import Targets

__all__ = ["AUPRC", "AUROC", "FPR80", "FPR95", "Detection", "F1Max"]

Array = npt.NDArray[np.float64]

#: A true positive rate this close below its level counts as reaching it: sums of fractional weights are rounded.
_ROUNDING = 1e-9


class Detection(Metric):
    """A metric that ranks images by score and asks whether the anomalies come first; weights count as repetitions.

    Applies where the split has both normal and anomalous images.
    """

    capability = "score"
    targets = ("anomaly",)
    bounds = (0.0, 1.0)

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether the split's anomalies are known, and it has images of both kinds."""
        anomaly = targets.anomaly
        return super().applies(targets, conditions) and anomaly is not None and len(np.unique(anomaly)) == 2

    def lacking(self, targets: "Targets") -> str:
        """Which kind of image is not there."""
        kinds = (("normal", 0), ("anomalous", 1))
        missing = [kind for kind, value in kinds if targets.anomaly is not None and value not in targets.anomaly]
        return f"the split has no {' and no '.join(missing)} images" if missing else ""

    def compute(self, evaluation: Evaluation) -> float:
        """The value over the images of positive weight.

        Raises:
            LatentbenchError: no normal or no anomalous image has weight, or a score is not finite.
        """
        anomaly = evaluation.targets.anomaly
        assert anomaly is not None, "declared in `targets`"
        counts = evaluation.weights > 0
        anomaly, scores, weights = anomaly[counts], np.asarray(evaluation.output)[counts], evaluation.weights[counts]
        for value, kind in enumerate(("normal", "anomalous")):
            if not np.any(anomaly == value):
                raise LatentbenchError(f"no {kind} image has weight", "it needs normal and anomalous images")
        if broken := int(np.count_nonzero(~np.isfinite(scores))):
            raise LatentbenchError(f"{broken} of {len(scores)} scores are NaN or infinite", "it needs finite scores")
        return float(np.clip(self.value(anomaly, scores, weights), *self.bounds))  # sums of fractions are rounded

    @abstractmethod
    def value(self, anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array) -> float:
        """The metric of (N,) finite scores, both classes present and every weight positive."""


def _thresholds(
    anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array
) -> tuple[Array, Array]:
    """Weight of the anomalous and of the normal images that score at least each distinct score, the greatest first.

    The same sums in the same order as in scikit-learn's metrics, without their checks, which take several times as
    long: uncertainty over test images computes a metric a hundred times.
    """
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    found = np.cumsum(anomaly[order] * weights[order])
    false = np.cumsum((1 - anomaly[order]) * weights[order])
    last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(order) - 1)
    return found[last], false[last]


class AUROC(Detection):
    """Area under the ROC curve: the probability that an anomalous image scores above a normal one, ties half."""

    name = "auroc"
    title = "AUROC"
    source = "Hanley and McNeil, Radiology 143 (1982): equals the Mann-Whitney statistic; sklearn.metrics.roc_auc_score"
    higher_is_better = True

    def value(self, anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array) -> float:
        """The area by the trapezoidal rule, which counts ties half; 0.5 when all scores are equal."""
        found, false = _thresholds(anomaly, scores, weights)
        if len(found) > 2:  # corners alone, as in scikit-learn, so that sums are rounded alike
            corner = np.concatenate([[True], (np.diff(false, 2) != 0) | (np.diff(found, 2) != 0), [True]])
            found, false = found[corner], false[corner]
        found, false = np.append(0.0, found), np.append(0.0, false)
        return float(np.trapezoid(found / found[-1], false / false[-1]))


class AUPRC(Detection):
    """Average precision: the step-wise area under the precision-recall curve, anomalies positive.

    Chance level is the anomalies' share of the weight, so values under different shares are not comparable.
    """

    name = "auprc"
    title = "AUPRC"
    source = (
        "AP = sum_n (R_n - R_(n-1)) P_n, sklearn.metrics.average_precision_score; "
        "why no linear interpolation: Davis and Goadrich, ICML 2006, section 4"
    )
    higher_is_better = True

    def value(self, anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array) -> float:
        """One step per distinct score; the anomalies' share of the weight when all scores are equal."""
        found, false = _thresholds(anomaly, scores, weights)
        steps = np.diff(found / found[-1], prepend=0.0)
        return float(np.sum(np.ascontiguousarray((steps * (found / (found + false)))[::-1])))


class FalsePositiveRate(Detection):
    """Share of normal images that are called anomalous at the threshold that finds ``level`` of the anomalies.

    The smallest false positive rate of any threshold whose true positive rate is at least ``level``: a threshold that
    exists, nothing interpolated.
    """

    source = (
        "FPRN of Hendrycks, Mazeika and Dietterich, ICLR 2019, section 4.1; thresholds as in sklearn.metrics.roc_curve"
    )
    higher_is_better = False
    level: ClassVar[float]

    def value(self, anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array) -> float:
        """The first point of the ROC curve that reaches the level; 1 when all scores are equal."""
        found, false = _thresholds(anomaly, scores, weights)
        return float((false / false[-1])[np.argmax(found / found[-1] >= self.level - _ROUNDING)])


class FPR80(FalsePositiveRate):
    """False positive rate at a true positive rate of at least 80 %."""

    name = "fpr80"
    title = "FPR80"
    level = 0.80


class FPR95(FalsePositiveRate):
    """False positive rate at a true positive rate of at least 95 %."""

    name = "fpr95"
    title = "FPR95"
    level = 0.95


class F1Max(Detection):
    """Greatest F1 of calling every image anomalous that scores at least a threshold, over every threshold that exists.

    The threshold is the best one for the images that it is measured on, so it is a bound on what a user reaches with a
    threshold set beforehand. To call all images anomalous is one of the choices: with a share p of anomalies no score
    has less than 2 p / (1 + p), which is 2/3 of a balanced split.
    """

    name = "f1-max"
    title = "F1-max"
    source = (
        "F1 at its best threshold, as in Jeong et al. (WinCLIP), CVPR 2023; thresholds as in sklearn.metrics.roc_curve"
    )
    higher_is_better = True

    def value(self, anomaly: npt.NDArray[np.uint8], scores: npt.NDArray[np.floating], weights: Array) -> float:
        """The greatest of 2 TP / (2 TP + FP + FN); that of calling all anomalous when all scores are equal."""
        found, false = _thresholds(anomaly, scores, weights)
        normal, anomalous = (weights[anomaly == kind].sum() for kind in (0, 1))
        # by way of the rates, as with scikit-learn's curve, so that they are rounded alike
        found, false = found / found[-1] * anomalous, false / false[-1] * normal
        return float(np.max(2 * found / (found + false + anomalous)))
