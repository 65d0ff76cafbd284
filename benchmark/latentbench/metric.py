"""The contract of a metric: a number from predictions and targets, with its needs, direction, bounds and version."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.data import Targets

__all__ = ["Evaluation", "Metric", "value_name"]


@dataclass(frozen=True)
class Evaluation:
    """What a metric sees of one split: what the model gave, what is true, and how much each image counts.

    Arrays are NumPy, on the CPU. ``output`` has the form of the capability that the metric asked for: ``score`` and
    ``log_likelihood`` (N,) float32; ``localize`` (N, H, W) float32; ``encode`` subspace -> (N, D_k) float32;
    ``predict`` attribute -> (N,) int64; ``cluster`` facet -> (N,) int64; ``reconstruct`` and ``sample`` (N, C, H, W)
    float32.
    """

    output: Any
    targets: "Targets"
    """The truth."""
    weights: npt.NDArray[np.float64]
    """(N,) >= 0, of the condition at hand."""
    conditions: Mapping[str, npt.NDArray[np.float64]]
    """Weights under every condition of the split, for a metric that spans several."""


class Metric(ABC):
    """A metric as a plugin."""

    name: ClassVar[str]
    version: ClassVar[int] = 1
    """Raise it when the same predictions give another number: values of two versions are never compared."""
    title: ClassVar[str]
    """As a column's heading: "AUROC"."""
    source: ClassVar[str]
    """Where it is defined: paper, section or equation, or the library that computes it."""
    capability: ClassVar[str]
    """The capability whose output it reads (``latentbench.capabilities``)."""
    targets: ClassVar[tuple[str, ...]] = ()
    """The targets that it needs: "anomaly", "mask", "attributes"."""
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]
    """Least and greatest possible value; a value outside is refused as a defect."""
    spans: ClassVar[tuple[str, ...] | None] = None
    """None: computed once under each condition. Otherwise computed once per split that has these conditions."""

    @abstractmethod
    def compute(self, evaluation: Evaluation) -> float | Mapping[str, float]:
        """The value; or several by part, the mean or main one under "".

        Raises:
            LatentbenchError: undefined for these targets (one class only, nothing labelled).
        """

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether a split with these targets and conditions can be measured."""
        return all(targets.has(name) for name in self.targets) and set(self.spans or ()) <= set(conditions)

    def measure(self, evaluation: Evaluation) -> dict[str, float]:
        """``compute``, its result checked: finite and within bounds.

        Raises:
            LatentbenchError: undefined, not finite or out of bounds.
        """
        result = self.compute(evaluation)
        values = dict(result) if isinstance(result, Mapping) else {"": result}
        low, high = self.bounds
        for part, value in values.items():
            if not low <= float(value) <= high:  # false for NaN too
                raise LatentbenchError(
                    f"gave {value}{f' for part {part!r}' if part else ''}", f"its bounds are [{low}, {high}]"
                )
        return {part: float(value) for part, value in values.items()}


def value_name(metric: str, split: str, condition: str = "", part: str = "") -> str:
    """How one measured number is called in records and boards: ``metric[part]@split/condition``."""
    return metric + (f"[{part}]" if part else "") + f"@{split}" + (f"/{condition}" if condition else "")
