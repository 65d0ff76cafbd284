"""Checks of a record: its files against their hashes, its values against its predictions."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from latentbench.capabilities import PER_IMAGE
from latentbench.data.splits import Data
from latentbench.errors import LatentbenchError
from latentbench.evaluation.kept import kept_data
from latentbench.evaluation.measuring import Measurement, measure
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.replicates import replicates_of
from latentbench.metric import Metric
from latentbench.model import Model
from latentbench.records.belief import contradictions
from latentbench.records.record import Record
from latentbench.records.replicates import read_replicates
from latentbench.records.store import Store, read_record
from latentbench.value_name import ValueName

__all__ = ["Checked", "check_record", "readouts_of"]

#: Relative tolerance: another CPU or build of NumPy may add numbers in another order, and edits by hand are larger.
_ROUNDING = 1e-9

#: Relative tolerance of replicates, which are kept in float32.
_FLOAT32 = 1e-6

#: Outputs of capabilities that are not stored with a record.
_NOT_KEPT = {"encode": "codes", "localize": "maps", "sample": "samples", "reconstruct": "reconstructions"}


@dataclass
class Checked:
    """The result of checking one record."""

    path: Path
    recomputed: int = 0
    """Number of values that were computed again from the predictions and compared."""
    faults: list[str] = field(default_factory=list)
    """What is wrong, one line each, without the path."""
    left: Counter[str] = field(default_factory=Counter)
    """Number of values that could not be computed again, by the reason."""


def check_record(
    path: Path,
    store: Store,
    metrics: Mapping[str, type[Metric]],
    models: Mapping[str, type[Model]] | None = None,
) -> Checked:
    """Check a record's schema, key, place and bounds, its files' hashes, and every value that follows from predictions.

    Args:
        path: the record's file.
        store: the store that it belongs to.
        metrics: by name. A value of a metric that is missing here, or has another version, is not computed again.
        models: by name. Of those, it is checked whether the record states rightly if they are nulls and deterministic.
    """
    checked = Checked(path)
    try:
        record = read_record(path)
    except LatentbenchError as error:
        checked.faults.append(str(error).removeprefix(f"{path} "))
        return checked
    checked.faults += _misstated(record, models or {})
    current: dict[str, type[Metric]] = {}
    for name, value in record.values.items():
        metric = metrics.get(value.metric)
        if metric is None:
            checked.left[f"metric '{value.metric}' is not known here"] += 1
        elif metric.measured_version() != value.version:
            checked.left["the metric has another version now"] += 1
        else:
            current[name] = metric
            checked.faults += contradictions(name, value, metric)
    if current:
        _recompute(record, current, store, checked)
    return checked


def _misstated(record: Record, models: Mapping[str, type[Model]]) -> list[str]:
    """Where what the record states about its model contradicts the model, if that is known here in its version."""
    model = models.get(record.spec.model)
    if model is None or model.version != record.spec.model_version or record.status != "finished":
        return []
    stated = {"null": record.null, "deterministic": record.deterministic}
    return [
        f"it states {fact} {its}, its model has {getattr(model, fact)}"
        for fact, its in stated.items()
        if its != getattr(model, fact)
    ]


def _recompute(record: Record, current: Mapping[str, type[Metric]], store: Store, checked: Checked) -> None:
    """Compute again what the stored predictions and targets allow, and compare."""
    predictions, data, reason = _kept(record, store, checked)
    if predictions is None or data is None:
        for metric in current.values():
            checked.left[_need(metric) or reason] += 1
        return
    try:
        measurement = measure(predictions, data, {metric.name: metric for metric in current.values()})
    except LatentbenchError as error:
        checked.faults.append(f"its predictions do not fit its targets: {error}")
        return
    for name, metric in current.items():
        stored = record.values[name].value
        if name in measurement.values:
            checked.recomputed += 1
            again = measurement.values[name].value
            tolerance = metric.tolerance if _need(metric) else 0.0
            if not isclose(stored, again, rel_tol=_ROUNDING, abs_tol=max(tolerance, _ROUNDING)):
                checked.faults.append(f"value '{name}' is {stored}, its predictions give {again}")
        elif fault := _impossible(name, metric, data, predictions, measurement):
            checked.faults.append(fault)
        else:
            checked.left[_need(metric) or "the output is not among the kept predictions"] += 1
    for name, replicates in read_replicates(store, record).items():
        if name in current:
            found = replicates_of(ValueName.parse(name), predictions, data, current[name](), record.spec.split_hash)
            if found is None or not np.allclose(found, replicates, rtol=_FLOAT32, atol=_FLOAT32):
                checked.faults.append(f"the replicates of value '{name}' do not follow from its predictions")


def _kept(record: Record, store: Store, checked: Checked) -> tuple[Predictions | None, Data | None, str]:
    """The stored predictions and targets, or the reason why they are missing; a file with a wrong hash is a fault."""
    arrays: list[dict[str, Any]] = []
    files = (
        ("predictions", record.predictions, checked.path.parent, store.predictions),
        ("targets", record.targets, checked.path.parent.parent, store.targets),
    )
    reason = ""
    for what, artefact, folder, read in files:
        if artefact is None or not (folder / artefact.file).exists():
            reason = reason or f"{what} not {'kept' if artefact is None else 'here'}"
            continue
        try:
            arrays.append(read(checked.path, record))
        except LatentbenchError as error:
            checked.faults.append(str(error))
            reason = reason or f"{what} not the record's"
    if reason:
        return None, None, reason
    try:
        return Predictions(arrays[0], readouts_of(record)), kept_data(arrays[1]), ""
    except LatentbenchError as error:
        checked.faults.append(str(error))
        return None, None, "targets not readable"


def readouts_of(record: Record) -> dict[str, dict[str, float]]:
    """The readouts of the record's codes, in the form of ``Predictions.readouts``."""
    chosen: dict[str, dict[str, float]] = {"probe": dict(record.probe), "k-means": dict(record.kmeans)}
    read = {value.readout for value in record.values.values()} - {"native"}
    return {name: chosen.get(name, {}) for name in sorted(read)}


def _need(metric: type[Metric]) -> str:
    """What the metric needs that is not stored; empty if its input is stored."""
    if metric.capability in PER_IMAGE:
        return ""
    return f"needs {_NOT_KEPT.get(metric.capability, metric.capability)}"


def _impossible(name: str, metric: type[Metric], data: Data, predictions: Predictions, measurement: Measurement) -> str:
    """Why no run can have produced this value; empty if its input is merely not stored."""
    parsed = ValueName.parse(name)
    if parsed.split not in data.splits:
        return f"value '{name}': the data has no split '{parsed.split}'"
    output = predictions.output(parsed.split, metric.capability)
    score, _ = parsed.resolve(metric.capability)
    if output is None or (isinstance(output, Mapping) and score not in ("", *output)):
        return ""
    unmeasured = measurement.unmeasured.get(str(parsed.whole))
    return f"value '{name}' does not follow from its predictions" + (f": {unmeasured}" if unmeasured else "")
