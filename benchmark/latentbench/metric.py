"""The contract of a metric: a number computed from predictions and targets, with requirements, bounds and version."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench.errors import LatentbenchError, describe

if TYPE_CHECKING:
    from latentbench.data.splits import Targets

__all__ = ["MAX_SAMPLES", "Evaluation", "Metric", "Statistic", "why_unavailable"]

#: The most samples that a metric may ask for; see ``Metric.measured_version``.
MAX_SAMPLES = 999_999


def _no_images() -> npt.NDArray[np.uint8]:
    raise LatentbenchError("the images of the split are not known here", "pass an evaluation that has them")


@dataclass(frozen=True)
class Evaluation:
    """What a metric sees of one split: the model's output, the targets, and the weight of each image.

    Arrays are NumPy, on the CPU, and read-only, because metrics share them: copy what you write to. ``output`` has the
    form of the capability that the metric asked for: ``score`` (of several, one at a time) and ``log_likelihood`` (N,),
    ``localize`` (N, H, W), and ``encode`` subspace -> (N, D_k), each float32, or float64 where the model gives that;
    ``predict`` attribute -> (N,) int64; ``cluster`` facet -> (N,) int64; ``reconstruct`` (N, C, H, W) float32;
    ``sample`` (S, C, H, W) float32, S being what the metric declares as ``samples``, and not of the split's images.
    """

    output: Any
    targets: "Targets"
    """The truth."""
    weights: npt.NDArray[np.float64]
    """(N,) >= 0, of the condition at hand."""
    conditions: Mapping[str, npt.NDArray[np.float64]]
    """Weights under every condition of the split, for a metric that spans several."""
    images: Callable[[], npt.NDArray[np.uint8]] = _no_images
    """Gives the split's images, (N, C, H, W) in 0..255, read-only. They are read when first asked for."""


class Statistic(ABC):
    """What is kept with a record of an output that is too large to be kept itself, such as anomaly maps.

    It is sufficient for the metrics that name it: they, and metrics that are added later, can be computed from it
    without the model and the data. Metrics of one capability may share a statistic.
    """

    name: ClassVar[str]
    """Its name in those of the kept arrays, ``split/name/array``: "pixel-curve"."""

    @abstractmethod
    def summarize(self, evaluation: Evaluation) -> Mapping[str, npt.NDArray[Any]]:
        """The arrays to keep for one split under one condition, by name: about 200 KB at most.

        Raises:
            LatentbenchError: undefined for these targets; then nothing is kept.
        """

    def reweighted(
        self, kept: Mapping[str, npt.NDArray[Any]], weights: npt.NDArray[np.float64]
    ) -> Mapping[str, npt.NDArray[Any]] | None:
        """The arrays that metrics would be computed from if the images had these weights, (N,) >= 0.

        By it tables know what the finite test set adds to a value's uncertainty. How the value varies with the weights
        is all that is asked, so the arrays may be coarser than those of ``summarize``, which are ``kept``.

        Returns:
            None where what is kept does not tell images apart, as it does not unless this is overridden.
        """
        return None


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
    """The targets that it needs, among "anomaly", "mask" and "attributes"."""
    higher_is_better: ClassVar[bool]
    bounds: ClassVar[tuple[float, float]]
    """Least and greatest possible value; a value outside is refused as a defect."""
    spans: ClassVar[tuple[str, ...] | None] = None
    """None: computed once under each condition. Otherwise computed once per split that has these conditions."""
    samples: ClassVar[int | None] = None
    """How many images the model draws for it: for the capability ``sample`` only."""
    instrument: ClassVar[str | None] = None
    """Name and hash of the weights that it measures with, where it has any; they are recorded with every value.

    Raise ``version`` when they change.
    """

    statistic: ClassVar[type[Statistic] | None] = None
    """What is kept of an output that is not kept itself; a metric that names one overrides ``compute_kept``."""
    tolerance: ClassVar[float] = 0.0
    """How far ``compute_kept`` may be from ``compute``, where the statistic is not exact."""

    @classmethod
    def measured_version(cls) -> int:
        """What values are compared by: ``version``, and with it the number of samples.

        For a metric of samples it is 1,000,000 * version + samples, so that values from different numbers of samples
        are never compared.
        """
        return cls.version if cls.samples is None else (MAX_SAMPLES + 1) * cls.version + cls.samples

    @classmethod
    def unavailable(cls) -> str | None:
        """Why it cannot be computed on this machine and how to mend it, in one line; None where it can.

        Use it for what a user has to install or download first. The reason is recorded instead of a value, without a
        warning.
        """
        return None

    @abstractmethod
    def compute(self, evaluation: Evaluation) -> float | Mapping[str, float]:
        """The value; or several values by part, with the mean or main one under "".

        Raises:
            LatentbenchError: undefined for these targets (one class only, nothing labelled).
        """

    def compute_kept(self, kept: Mapping[str, npt.NDArray[Any]]) -> float | Mapping[str, float]:
        """The same as ``compute``, to within ``tolerance``, from the arrays that ``statistic`` keeps."""
        raise NotImplementedError(f"metric '{self.name}' names a statistic and does not override compute_kept")

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether a split with these targets and conditions can be measured."""
        return all(targets.has(name) for name in self.targets) and set(self.spans or ()) <= set(conditions)

    def parts(self, targets: "Targets") -> Collection[str] | None:
        """The names of the parts that its result may have, or of what follows a colon in them; None: not known before.

        By it a typo in a board, as in "accuracy[lft]@test", is told before anything is run.
        """
        return None

    def lacking(self, targets: "Targets") -> str:
        """What targets of the right kind lack for it to apply, in one line; empty for nothing worth telling.

        It is recorded as the reason where a test split has no value.
        """
        return ""

    def measure(self, evaluation: Evaluation) -> dict[str, float]:
        """``compute``, its result checked: finite and within bounds.

        Raises:
            LatentbenchError: undefined, not finite or out of bounds.
        """
        return self._checked(self.compute(evaluation))

    def measure_kept(self, kept: Mapping[str, npt.NDArray[Any]]) -> dict[str, float]:
        """``compute_kept``, its result checked as by ``measure``."""
        return self._checked(self.compute_kept(kept))

    def _checked(self, result: float | Mapping[str, float]) -> dict[str, float]:
        values = dict(result) if isinstance(result, Mapping) else {"": result}
        low, high = self.bounds
        for part, value in values.items():
            if not low <= float(value) <= high:  # false for NaN too
                raise LatentbenchError(
                    f"gave {value}{f' for part {part!r}' if part else ''}", f"its bounds are [{low}, {high}]"
                )
        return {part: float(value) for part, value in values.items()}


def why_unavailable(metric: type[Metric]) -> str:
    """Why the metric cannot be computed on this machine, even if it fails to say so; empty where it can."""
    try:
        return metric.unavailable() or ""
    except (Exception, SystemExit) as error:
        return f"its unavailable() fails: {describe(error)}"
