"""The field's metrics: detection, and attributes under correlation shift."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Metric

__all__ = ["latentbench_metrics"]


@hookimpl
def latentbench_metrics() -> list[type["Metric"]]:
    """Offer AUROC, AUPRC, FPR80, FPR95, accuracy, worst-case accuracy and the accuracy gap."""
    from latentbench_metrics.detection import AUPRC, AUROC, FPR80, FPR95
    from latentbench_metrics.shift import Accuracy, AccuracyGap, WorstCaseAccuracy

    return [AUROC, AUPRC, FPR80, FPR95, Accuracy, WorstCaseAccuracy, AccuracyGap]
