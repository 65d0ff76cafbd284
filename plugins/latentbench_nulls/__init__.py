"""Nulls: what no training and no method gets, as rows that every other row is read against."""

from typing import TYPE_CHECKING

from latentbench import hookimpl

if TYPE_CHECKING:
    from latentbench import Model

__all__ = ["latentbench_models"]


@hookimpl
def latentbench_models() -> list[type["Model"]]:
    """Offer the nulls of every capability."""
    from latentbench_nulls.attributes import FactorRotation, Majority
    from latentbench_nulls.clusters import ChanceClusters, ComponentClusters, ComponentMixture, PixelClusters
    from latentbench_nulls.gaussians import PatchGaussian, UntrainedPatchGaussian
    from latentbench_nulls.images import Brightness, CompressedSize, Contrast, Darkness, Entropy
    from latentbench_nulls.maps import LocalContrast, MedianImage
    from latentbench_nulls.neighbours import NearestImage, NearestPatch
    from latentbench_nulls.projections import RandomProjection
    from latentbench_nulls.samples import PixelGaussian, TrainingImages
    from latentbench_nulls.untrained import UntrainedFeatures

    return [
        *(Brightness, Darkness, Contrast, Entropy, CompressedSize, NearestImage, UntrainedFeatures),
        *(LocalContrast, MedianImage, NearestPatch, PatchGaussian, UntrainedPatchGaussian),
        *(Majority, FactorRotation, RandomProjection),
        *(ChanceClusters, PixelClusters, ComponentClusters, ComponentMixture),
        *(TrainingImages, PixelGaussian),
    ]
