"""Computing metrics from predictions and data alone: again, or for the first time, without the model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from latentbench.capabilities import PER_IMAGE
from latentbench.data.splits import Data, Split
from latentbench.errors import LatentbenchError, describe
from latentbench.evaluation.applicability import applies, evaluated_splits, why_lacking
from latentbench.evaluation.predictions import Predictions, kept_name
from latentbench.evaluation.shared import COPY, SharedArrays, read_only
from latentbench.metric import Evaluation, Metric, Statistic, why_unavailable
from latentbench.plugins.process_state import ProcessState, is_of_suite
from latentbench.records.record import Value
from latentbench.value_name import ValueName

__all__ = ["Measurement", "evaluation_of", "kept_statistic", "measure", "weights_under"]

#: Images that are read at a time, for metrics that look at them.
_AT_ONCE = 500


@dataclass(frozen=True)
class Measurement:
    """What metrics made of predictions."""

    values: Mapping[str, Value]
    """By name: ``metric[part]@split/condition``."""
    unmeasured: Mapping[str, str]
    """``metric@split/condition`` -> why there is no value, in one line: one metric's failure costs no other's value."""
    kept: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """What metrics keep of outputs that are not kept themselves: ``split/statistic/array``, or with a condition
    ``split/statistic/condition/array``."""


def measure(
    predictions: Predictions,
    data: Data,
    metrics: Mapping[str, type[Metric]],
    announce: Callable[[str, str], None] = lambda metric, split: None,
) -> Measurement:
    """Compute every metric for which there are predictions and targets.

    A metric is computed under each condition of a split; where there are none, or where it spans them, once, all
    images weighted 1. The order is that of the splits, the metrics' names, and the conditions. A metric that is
    undefined for a split, gives a value out of its bounds, fails or is unavailable here is left out, and the reason
    kept. Metrics of samples are computed on test splits alone. Of a model that gives several scores a metric sees one
    at a time, and its value is the part of the score's name; the first one's is the value without a part, too.

    Arrays are read-only to metrics: one that writes to them all the same is left out, and others see what was there. So
    is one of a plugin that changes the process: torch's defaults, say, or a function of NumPy.

    Where the output itself is not among the predictions, a metric that has a ``statistic`` is computed from what is
    kept of it.

    ``announce`` is called with a metric's name and the split's before it is computed there.

    Raises:
        LatentbenchError: the predictions are not of the split's images, or of too few samples.
    """
    values: dict[str, Value] = {}
    unmeasured: dict[str, str] = {}
    kept: dict[str, npt.NDArray[Any]] = {}
    before = ProcessState.now(with_functions=not all(is_of_suite(one.__module__) for one in metrics.values()))
    for name, split in evaluated_splits(data):
        even = np.ones(len(split))
        shared = SharedArrays()
        firsts: dict[int, npt.NDArray[np.float32]] = {}  # so many samples -> the same array for all metrics
        images = cache(partial(_images, split))  # read once if a metric asks for them, and let go with the split
        shown = partial(_shown, images, shared)
        for metric_name, metric_class in sorted(metrics.items()):
            output = predictions.output(name, metric_class.capability)
            from_kept = output is None and metric_class.statistic is not None  # where something is kept, it applies
            guarded = nullcontext if is_of_suite(metric_class.__module__) else partial(_guarded, before)
            announce(metric_name, name)
            try:
                with guarded():
                    metric = metric_class()
                    if not from_kept and (output is None or not applies(metric_class, split)):
                        whole, refused = str(ValueName(metric_name, name)), predictions.refused.get(metric.capability)
                        if output is not None and (lacking := why_lacking(metric_class, split)):
                            unmeasured[whole] = lacking
                        elif output is None and refused is not None and applies(metric_class, split):
                            unmeasured[whole] = refused
                        continue
                    reason = why_unavailable(metric_class)
            except (Exception, SystemExit) as error:
                unmeasured[str(ValueName(metric_name, name))] = describe(error)
                continue
            if reason:
                unmeasured[str(ValueName(metric_name, name))] = reason
                continue
            if from_kept:
                pass
            elif metric.samples is None:
                _check_length(output, len(split), name, metric.capability)
            else:
                output = firsts.setdefault(metric.samples, _first(output, metric.samples, name, metric.name))
            conditions = split.conditions if metric.spans is None and split.conditions else {"": even}
            for condition, weights in conditions.items():
                for score, given in _one_by_one(output, metric.capability).items():
                    summary: dict[str, npt.NDArray[Any]] = {}
                    try:
                        with shared.watched(), guarded():
                            if from_kept:
                                parts = _measure_kept(metric, predictions, name, condition, shared)
                            else:
                                evaluation = Evaluation(
                                    output=shared.give(given),
                                    targets=shared.give(split.targets),
                                    weights=shared.give(weights),
                                    conditions=shared.give(split.conditions),
                                    images=shown,
                                )
                                parts = metric.measure(evaluation)
                                summary = _summary(metric, evaluation, name, condition, kept)
                            version = metric.measured_version()
                        kept |= summary
                        named = {
                            str(ValueName.of(metric.name, name, condition, score=score, part=part)): value
                            for part, value in parts.items()
                        }
                    except (Exception, SystemExit) as error:
                        unmeasured[str(ValueName.of(metric.name, name, condition, score=score))] = _why(error)
                        continue
                    if "" not in parts and metric.capability in predictions.refused:
                        whole = str(ValueName.of(metric.name, name, condition, score=score))
                        unmeasured[whole] = predictions.refused[metric.capability]
                    for full_name, value in named.items():
                        values[full_name] = Value(
                            value=value,
                            metric=metric.name,
                            version=version,
                            title=metric.title,
                            higher_is_better=metric.higher_is_better,
                            capability=metric.capability,
                            bounds=_finite(metric.bounds),
                            readout=predictions.readout(metric.capability, score),
                            instrument=metric.instrument,
                        )
    return Measurement(values, unmeasured, kept)


def evaluation_of(
    predictions: Predictions, data: Data, metric: Metric, name: ValueName
) -> tuple[Evaluation, str] | None:
    """What ``measure`` gives ``metric`` to see for the value of that name, and which part of the result the value is.

    Returns:
        None where the output, the split or its condition is not there.
    """
    split, output = data.splits.get(name.split), predictions.output(name.split, metric.capability)
    if split is None or output is None:
        return None
    outputs = _one_by_one(output, metric.capability)
    score, part = name.resolve(metric.capability)
    if score not in outputs:  # the model has one score, and what is in brackets is the part alone
        score, part = "", name.selector
    weights = weights_under(split, name.condition)
    if weights is None:
        return None
    seen = (outputs[score], split.targets, weights, split.conditions)
    return Evaluation(*map(read_only, seen)), part


def weights_under(split: Split, condition: str) -> npt.NDArray[np.float64] | None:
    """(N,), the images' weights under a condition; ones where there is none; None where the split has no such one."""
    return split.conditions.get(condition) if condition else np.ones(len(split))


def kept_statistic(metric: type[Metric]) -> type[Statistic] | None:
    """What is kept in the place of the output that the metric reads; None for nothing, or where that is kept itself."""
    return None if metric.capability in PER_IMAGE else metric.statistic


@contextmanager
def _guarded(before: ProcessState) -> Iterator[None]:
    """A block of one metric: what it changed of the process is put back for the others.

    Raises:
        LatentbenchError: it changed something.
    """
    try:
        yield
    finally:
        changes = before.undo(with_generators=False)
    if changes:
        raise LatentbenchError(f"it changed the process: {'; '.join(changes)}", "let it leave that as it is")


def _summary(
    metric: Metric, evaluation: Evaluation, split: str, condition: str, kept: Mapping[str, npt.NDArray[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """What the metric's statistic keeps of an output that is not kept itself, by the names of ``Measurement.kept``.

    Nothing where it is in ``kept`` already, by another metric with the same statistic.
    """
    statistic = kept_statistic(type(metric))
    if statistic is None or Predictions(kept).kept(split, statistic.name, condition):
        return {}
    arrays = statistic().summarize(evaluation)
    return {kept_name(split, statistic.name, condition, name): array for name, array in arrays.items()}


def _measure_kept(
    metric: Metric, predictions: Predictions, split: str, condition: str, shared: SharedArrays
) -> dict[str, float]:
    """The metric from what is kept; nothing where nothing is."""
    assert metric.statistic is not None, "its caller looked"
    kept = shared.give(predictions.kept(split, metric.statistic.name, condition))
    return metric.measure_kept(kept) if kept else {}


def _why(error: Exception | SystemExit) -> str:
    """Why a metric has no value, in one line; where it is because it writes, how to mend it."""
    refused = type(error) is ValueError and "read-only" in str(error)
    return f"{describe(error)}: {COPY}" if refused else describe(error)


def _shown(images: Callable[[], npt.NDArray[np.uint8]], shared: SharedArrays) -> npt.NDArray[np.uint8]:
    """The images as metrics share them."""
    given: npt.NDArray[np.uint8] = shared.give(images())
    return given


def _finite(bounds: tuple[float, float]) -> tuple[float | None, float | None]:
    """Bounds as a record has them: None for infinity."""
    low, high = bounds
    return (low if isfinite(low) else None, high if isfinite(high) else None)


def _images(split: Split) -> npt.NDArray[np.uint8]:
    """The images of a fixed split, (N, C, H, W) in 0..255: of a stored one, the bytes that it holds."""
    split = split.to(torch.device("cpu"))
    generator = torch.Generator()  # a fixed split draws nothing
    chunks = torch.split(torch.arange(len(split)), _AT_ONCE)
    images = [split.batch(chunk, generator).images.mul(255).round().to(torch.uint8) for chunk in chunks]
    return torch.cat(images).numpy()


def _first(samples: Any, count: int, split: str, metric: str) -> npt.NDArray[np.float32]:
    """The first ``count`` samples."""
    if len(samples) < count:
        found = f"predictions '{split}/sample' are {len(samples)} images"
        raise LatentbenchError(found, f"metric '{metric}' needs {count}")
    first: npt.NDArray[np.float32] = samples[:count]
    return first


def _one_by_one(output: Any, capability: str) -> dict[str, Any]:
    """What a metric is to see, by the part of its value: the output as it is, or one of several scores."""
    if capability != "score" or not isinstance(output, Mapping):
        return {"": output}
    return {"": next(iter(output.values())), **output}


def _check_length(output: Any, images: int, split: str, capability: str) -> None:
    for array in output.values() if isinstance(output, Mapping) else (output,):
        if len(array) != images:
            found = f"predictions '{split}/{capability}' are of {len(array)} images"
            raise LatentbenchError(found, f"split '{split}' has {images}")
