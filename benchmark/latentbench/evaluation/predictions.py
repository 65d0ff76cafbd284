"""What a model gave for the splits that it was evaluated on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from latentbench.capabilities import PER_IMAGE
from latentbench.evaluation.readouts import READOUTS
from latentbench.records.record import BatchDependence

__all__ = ["Predictions", "kept_name"]


@dataclass(frozen=True)
class Predictions:
    """What a model gave for the splits that it was evaluated on."""

    arrays: Mapping[str, npt.NDArray[Any]]
    """``split/capability``, or ``split/capability/part`` by subspace, attribute, facet or score's name -> (N, ...).

    In the forms of ``latentbench.metric.Evaluation.output``; a code without named subspaces is the part "z". Of
    ``sample`` every test split has the same images, as many as the metric that needs most.
    """
    readouts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Name of each readout that read codes -> what its fit chose (``Reader.facts``)."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Capability -> why a readout that would have supplied it, or a part of it, could not be fitted, in one line."""
    images: int = 0
    """Images that the model was given or drew, counted once for each capability."""
    batches: Mapping[str, BatchDependence] = field(default_factory=dict)
    """Capability -> how far an image's result depends on the others in its batch."""

    @property
    def per_image(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays that are kept with a record: numbers and labels of images; no codes, maps or pictures."""
        return {key: array for key, array in self.arrays.items() if key.split("/")[1] in PER_IMAGE}

    def kept(self, split: str, statistic: str, condition: str) -> dict[str, npt.NDArray[Any]]:
        """What is kept of a larger output in its place: the arrays of a ``Statistic`` by name, if there are any."""
        start = kept_name(split, statistic, condition, "")
        return {
            name.removeprefix(start): array
            for name, array in self.arrays.items()
            if name.startswith(start) and "/" not in name.removeprefix(start)
        }

    def output(self, split: str, capability: str) -> Any:
        """The array of one capability on one split, or its arrays by part; None if there is none."""
        key = f"{split}/{capability}"
        parts = {
            name.removeprefix(f"{key}/"): array for name, array in self.arrays.items() if name.startswith(f"{key}/")
        }
        return self.arrays.get(key, parts or None)

    def readout(self, capability: str, part: str = "") -> str:
        """What gave a capability, or one of several scores: the name of a readout, or "native" for the model itself."""
        read = (one.name for one in READOUTS if one.capability == capability and one.name in self.readouts)
        return next((name for name in read if part in ("", name) or capability != "score"), "native")


def kept_name(split: str, statistic: str, condition: str, array: str) -> str:
    """The name of an array that a statistic keeps of an output, among predictions: ``split/statistic/array``, say."""
    return "/".join([*filter(None, (split, statistic, condition)), array])
