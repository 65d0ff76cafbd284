"""The field's metrics: detection, localization, and attributes under correlation shift."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Metric

__all__ = ["latentbench_metrics"]


@hookimpl
def latentbench_metrics() -> list[type["Metric"]]:
    """Offer the metrics, by what they measure."""
    from latentbench_metrics.detection import AUPRC, AUROC, FPR80, FPR95
    from latentbench_metrics.localization import AUPRO5, AUPRO30, MissingMasks, PixelAP, PixelAUROC
    from latentbench_metrics.shift import Accuracy, AccuracyGap, WorstCaseAccuracy

    detection = [AUROC, AUPRC, FPR80, FPR95]
    localization = [PixelAUROC, PixelAP, AUPRO30, AUPRO5, MissingMasks]
    shift = [Accuracy, WorstCaseAccuracy, AccuracyGap]
    return [*detection, *localization, *shift]
