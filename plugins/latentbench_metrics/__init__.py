"""The field's metrics: detection, localization, attributes under shift, disentanglement, clustering, generation."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    import click

    from latentbench import Metric

__all__ = ["latentbench_commands", "latentbench_metrics"]


@hookimpl
def latentbench_metrics() -> list[type["Metric"]]:
    """Offer the metrics."""
    from latentbench_metrics.clustering import ARI, NMI, ClusterAccuracy, ClusterMajorityAccuracy, Facets
    from latentbench_metrics.dci import DCI
    from latentbench_metrics.dependence import (
        GaussianTotalCorrelation,
        GaussianWasserstein,
        MutualInformationScore,
        NormalizedGaussianWasserstein,
    )
    from latentbench_metrics.detection import AUPRC, AUROC, FPR80, FPR95, F1Max
    from latentbench_metrics.generation import (
        FID,
        KID,
        FDCelebAAttributes,
        FDMnistFashion,
        FDScenes,
        KDCelebAAttributes,
        KDMnistFashion,
        KDScenes,
        Precision,
        PrecisionCelebAAttributes,
        PrecisionMnistFashion,
        PrecisionScenes,
        Recall,
        RecallCelebAAttributes,
        RecallMnistFashion,
        RecallScenes,
    )
    from latentbench_metrics.intervention import IRS, BetaVAEScore, FactorVAEScore
    from latentbench_metrics.localization import AUPRO5, AUPRO30, MissingMasks, PixelAP, PixelAUROC
    from latentbench_metrics.mig import MIG
    from latentbench_metrics.sap import SAP
    from latentbench_metrics.shift import Accuracy, AccuracyGap, SubgroupError, WorstCaseAccuracy

    detection = [AUROC, AUPRC, FPR80, FPR95, F1Max]
    localization = [PixelAUROC, PixelAP, AUPRO30, AUPRO5, MissingMasks]
    shift = [Accuracy, WorstCaseAccuracy, AccuracyGap, SubgroupError]
    disentanglement = [MIG, SAP, DCI, IRS, FactorVAEScore, BetaVAEScore]
    dependence = [
        GaussianTotalCorrelation, GaussianWasserstein, NormalizedGaussianWasserstein, MutualInformationScore
    ]  # fmt: skip
    clustering = [ClusterAccuracy, ClusterMajorityAccuracy, NMI, ARI, Facets]
    generation = [
        *(FID, KID, Precision, Recall),
        *(FDMnistFashion, KDMnistFashion, PrecisionMnistFashion, RecallMnistFashion),
        *(FDCelebAAttributes, KDCelebAAttributes, PrecisionCelebAAttributes, RecallCelebAAttributes),
        *(FDScenes, KDScenes, PrecisionScenes, RecallScenes),
    ]
    return [*detection, *localization, *shift, *disentanglement, *dependence, *clustering, *generation]


@hookimpl
def latentbench_commands() -> list["click.Command"]:
    """Offer the command that trains and fetches feature extractors."""
    from latentbench_metrics.extractor_command import command

    return [command]
