"""Readouts: what the harness reads from the codes of a model that cannot give it itself.

A further readout is a module of this package with a ``Readout`` in it, and a line in ``READOUTS``.
"""

from latentbench.evaluation.readouts.kmeans import K_MEANS
from latentbench.evaluation.readouts.knn import KNN
from latentbench.evaluation.readouts.mahalanobis import MAHALANOBIS
from latentbench.evaluation.readouts.probe import PROBE
from latentbench.evaluation.readouts.readout import MAX_IMAGES, Codes, Reader, Readout, TrainingCodes

__all__ = ["MAX_IMAGES", "READOUTS", "Codes", "Reader", "Readout", "TrainingCodes"]

#: Every readout. Of those that give scores the first stands for the model where one score is asked for.
READOUTS = (PROBE, K_MEANS, KNN, MAHALANOBIS)
