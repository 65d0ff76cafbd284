"""The interface of a readout: a name, the capability that it supplies, and how it is fitted on training codes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from latentbench.evaluation.inference import Parts

__all__ = ["MAX_IMAGES", "Codes", "Reader", "Readout", "TrainingCodes", "side_by_side"]

#: Images of the training split that readouts are fitted on, at most.
MAX_IMAGES = 10_000


@dataclass(frozen=True)
class Codes:
    """Codes of images, and the known labels of these images."""

    parts: Parts
    """Subspace -> (N, D_k) float32, or float64 where the model gives that."""
    labels: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Attribute -> (N,), MISSING where it is not known."""


@dataclass(frozen=True)
class TrainingCodes:
    """The data that a readout is fitted on."""

    train: Codes
    """Of at most ``MAX_IMAGES`` images of the training split, drawn at random."""
    validation: Callable[[], Codes | None]
    """Returns the codes of the validation split, or None if there is none. They are computed on the first call."""
    attributes: Mapping[str, int]
    """Name -> number of values."""
    seed: int
    """Seed of the readout's random numbers."""


class Reader(Protocol):
    """A fitted readout."""

    @property
    def facts(self) -> Mapping[str, float]:
        """What the fit selected, for the record; empty if it selects nothing."""
        return {}

    @property
    def refused(self) -> Mapping[str, str]:
        """Each part of the output that it cannot give for these codes, and why, in one line; empty if it gives all."""
        return {}

    def read(self, codes: Parts) -> Parts:
        """The output of the readout's capability, for codes by subspace, each (N, D_k).

        ``predict``: attribute -> (N,) int64; ``cluster``: facet -> (N,) int64; ``score``: the readout's name -> (N,)
        of the codes' type, larger = more anomalous.
        """


@dataclass(frozen=True)
class Readout:
    """One way to read codes."""

    name: str
    """Stands in the ``readout`` of a value; for a readout that scores, it is also the name of its score."""
    capability: str
    """The capability that it supplies: "predict", "cluster" or "score"."""
    fit: Callable[[TrainingCodes], Reader | None]
    """Fits the readout; returns None if these codes cannot be read in this way.

    The result depends on the arguments alone, not on the number of threads.
    """
    needs_attributes: bool = False
    """Whether it applies only to datasets with attributes."""


def side_by_side(parts: Parts) -> npt.NDArray[np.floating[Any]]:
    """The whole code (N, D): all subspaces concatenated, in their order."""
    return np.concatenate(list(parts.values()), axis=1)
