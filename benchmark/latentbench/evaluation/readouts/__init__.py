"""Readouts: capabilities that the harness derives from the codes of a model that lacks them.

To add a readout, add a module with a ``Readout`` to this package, and a line to ``READOUTS``.
"""

from collections.abc import Iterable

from latentbench.evaluation.readouts.kmeans import K_MEANS
from latentbench.evaluation.readouts.knn import KNN
from latentbench.evaluation.readouts.mahalanobis import MAHALANOBIS
from latentbench.evaluation.readouts.probe import PROBE
from latentbench.evaluation.readouts.readout import MAX_IMAGES, Codes, Reader, Readout, TrainingCodes

__all__ = ["MAX_IMAGES", "READOUTS", "Codes", "Reader", "Readout", "TrainingCodes", "with_readouts"]

#: Every readout. If one score is asked for, the first of those that give scores represents the model.
READOUTS = (PROBE, K_MEANS, KNN, MAHALANOBIS)


def with_readouts(capabilities: Iterable[str]) -> set[str]:
    """The capabilities of a model, and those that are read from its codes if it gives any."""
    able = set(capabilities)
    return able | {readout.capability for readout in READOUTS} if "encode" in able else able
