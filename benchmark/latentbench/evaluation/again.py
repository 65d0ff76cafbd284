"""Metrics for a finished run: from what is stored with its record if that suffices, else from its weights."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from latentbench.capabilities import PER_IMAGE, capabilities_of
from latentbench.data.splits import Data, Role, Split, Targets
from latentbench.errors import LatentbenchError
from latentbench.evaluation.check import readouts_of
from latentbench.evaluation.collecting import collect, refuse_transductive
from latentbench.evaluation.kept import KeptSplit, kept_data, kept_targets
from latentbench.evaluation.loading import load_model, load_run_data, repeat_command
from latentbench.evaluation.measuring import Measurement, measure
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.readouts import with_readouts
from latentbench.evaluation.shared import read_only
from latentbench.metric import Metric, why_unavailable
from latentbench.plugins.registry import Plugins
from latentbench.records.code import is_current, with_plugins
from latentbench.records.record import Measured, Record
from latentbench.records.store import Store
from latentbench.value_name import ValueName

__all__ = ["evaluate_again", "lacking", "obtainable"]


def lacking(record: Record, plugins: Plugins, among: Iterable[str] | None = None) -> list[str]:
    """Metrics that apply to the run's model and of which it has no value in their present version and code.

    A metric that was tried and is recorded as unmeasured is not lacking, nor is one that this machine cannot compute.

    Args:
        record: the run's record.
        plugins: where metrics and models come from.
        among: consider only metrics with these names; names that no plugin offers are ignored.
    """
    offers = plugins.offers("metrics")
    has = {value.metric for value in record.values.values() if is_current(value, offers)}
    tried = {ValueName.parse(name).metric for name in record.unmeasured}
    models = plugins.offers("models")
    known = record.spec.model in models
    able = with_readouts(capabilities_of(models[record.spec.model].value)) if known else set(PER_IMAGE)
    return [
        name
        for name in sorted(set(offers) if among is None else set(among) & set(offers))
        if name not in has | tried and offers[name].value.capability in able and not why_unavailable(offers[name].value)
    ]


def obtainable(record: Record, names: Iterable[str], store: Store, plugins: Plugins) -> list[str]:
    """Those of some metrics that may apply to a split of the run, as far as its stored targets tell.

    Args:
        record: the run's record, in the store.
        names: of metrics that plugins offer.
        store: where the targets are.
        plugins: where metrics come from.
    """
    targets = _targets(store.path(record.spec), record, store)
    return [name for name in names if targets is None or _may_apply(plugins.get("metrics", name).value, targets)]


def evaluate_again(
    path: Path,
    record: Record,
    names: Iterable[str],
    store: Store,
    plugins: Plugins,
    data_root: Path,
    device: torch.device,
) -> Record | None:
    """The record with new values of these metrics, not yet written; values of other metrics stay as they are.

    If the model has to be run, it is run on ``device``.

    New values replace all values of the metric, because a record has one version of each metric.

    Returns:
        The new record; None if none of the metrics applies to the run's splits.

    Raises:
        LatentbenchError: a metric can be computed neither from predictions nor from weights, or the dataset is not the
            one of the run.
    """
    offers = plugins.offers("metrics")
    wanted = {name: plugins.get("metrics", name).value for name in names}
    targets = _targets(path, record, store)
    if targets is not None:
        wanted = {name: metric for name, metric in wanted.items() if _may_apply(metric, targets)}
    kept = _from_kept(path, record, wanted, store, targets, lambda: load_run_data(record, plugins, data_root))
    rest = {name: metric for name, metric in wanted.items() if kept is None or name not in _measured_by(kept)}
    parts: list[tuple[Measurement, Literal["predictions", "weights"]]] = [(kept, "predictions")] if kept else []
    update: dict[str, Any] = {}
    if rest:
        data = load_run_data(record, plugins, data_root)
        update["targets"] = store.save_targets(record.spec, kept_targets(data))
        measurement, predictions = _from_weights(path, record, rest, data, store, plugins, device)
        parts.append((measurement, "weights"))
        new = {**predictions.per_image, **measurement.kept}
        if new:
            before = store.predictions(path, record) if record.predictions else {}
            update["predictions"] = store.save_predictions(record.spec, {**before, **new})
        update["batches"] = {**record.batches, **predictions.batches}
    at = datetime.now(UTC).isoformat(timespec="seconds")
    replaced = {name for measurement, _ in parts for name in _measured_by(measurement)}
    if not replaced:
        return None
    values = {name: value for name, value in record.values.items() if value.metric not in replaced}
    reasons = {name: why for name, why in record.unmeasured.items() if ValueName.parse(name).metric not in replaced}
    for measurement, source in parts:
        for name, value in with_plugins(measurement.values, offers).items():
            measured = Measured(at=at, source=source, plugin=str(offers[value.metric].plugin))
            values[name] = value.model_copy(update={"measured": measured})
        reasons |= measurement.unmeasured
    return record.model_copy(update={**update, "values": values, "unmeasured": reasons})


def _measured_by(measurement: Measurement) -> set[str]:
    """The metrics that were measured, or are recorded as unmeasured."""
    return {ValueName.parse(name).metric for name in (*measurement.values, *measurement.unmeasured)}


def _targets(path: Path, record: Record, store: Store) -> Data | None:
    """The targets stored for the run; None if there are none."""
    if record.targets is None or not (path.parent.parent / record.targets.file).is_file():
        return None
    return kept_data(store.targets(path, record))


def _may_apply(metric: type[Metric], targets: Data) -> bool:
    """Whether the metric may apply to a split, by the stored targets.

    Of masks they only say which are known: those of anomalous images are taken to have pixels of both kinds.
    """
    for split in targets.splits.values():
        if split.role is Role.TRAIN:
            continue
        fits = metric().applies(read_only(_with_masks(split)), read_only(split.conditions))
        if fits and (metric.capability != "sample" or split.role is Role.TEST):
            return True
    return False


def _with_masks(split: Split) -> Targets:
    """The targets of a kept split, with masks of two pixels where the dataset has masks."""
    targets = split.targets
    if not (isinstance(split, KeptSplit) and split.masked):
        return targets
    anomalous = np.ones(len(split), bool) if targets.anomaly is None else targets.anomaly == 1
    return replace(targets, mask=np.stack([anomalous, np.zeros_like(anomalous)], axis=1)[:, None].astype(np.uint8))


def _from_kept(
    path: Path,
    record: Record,
    metrics: Mapping[str, type[Metric]],
    store: Store,
    targets: Data | None,
    load: Callable[[], Data],
) -> Measurement | None:
    """Values from stored predictions and targets; None if these are missing or suffice for none of the metrics."""
    if record.predictions is None or not (path.parent / record.predictions.file).is_file():
        return None
    arrays = store.predictions(path, record)
    contents = {name.split("/")[1] for name in arrays}
    able = {
        name: metric
        for name, metric in metrics.items()
        if metric.capability in contents or (metric.statistic and metric.statistic.name in contents)
    }
    if not able:
        return None
    return measure(Predictions(arrays, readouts_of(record)), targets or load(), able)


def _from_weights(
    path: Path,
    record: Record,
    metrics: Mapping[str, type[Metric]],
    data: Data,
    store: Store,
    plugins: Plugins,
    device: torch.device,
) -> tuple[Measurement, Predictions]:
    """Values from the fitted model: its capabilities are run as at the end of the run, and nothing is trained."""
    if record.weights is None or not (path.parent / record.weights.file).is_file():
        raise LatentbenchError(
            f"its predictions do not suffice for {', '.join(metrics)}, and its weights are not beside its record",
            f"evaluate where it was run, or make it again: {repeat_command(record, store)}",
        )
    spec, owner = record.spec, str(plugins.get("models", record.spec.model).plugin)
    model = load_model(path, record, store, plugins, data.info).to(device)
    data = data.to(device)
    predictions = collect(model, data, metrics, owner=owner, device=device, seed=spec.seed)
    if not record.transductive:  # nothing was refused, or its board allows it
        refuse_transductive(spec.model, predictions)
    return measure(predictions, data, metrics), predictions
