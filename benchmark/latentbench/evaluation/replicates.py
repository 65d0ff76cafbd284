"""Bootstrap replicates for records that lack them: from the predictions and targets that are kept, without training."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latentbench.data.splits import Data
from latentbench.errors import describe
from latentbench.evaluation.bootstrap import bootstrap_replicates, bootstrap_replicates_of_kept
from latentbench.evaluation.kept import kept_data
from latentbench.evaluation.measuring import evaluation_of, kept_statistic, weights_under
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.shared import read_only
from latentbench.metric import Metric, why_unavailable
from latentbench.records.code import is_current
from latentbench.records.record import Record
from latentbench.records.replicates import read_replicates, write_replicates
from latentbench.records.store import Store
from latentbench.value_name import ValueName

if TYPE_CHECKING:
    from latentbench.plugins.registry import Offer

__all__ = ["keep_replicates", "make_replicates", "replicates_of"]

log = logging.getLogger("latentbench")


def make_replicates(
    path: Path, record: Record, names: Iterable[str], store: Store, metrics: Mapping[str, "Offer"]
) -> dict[str, npt.NDArray[np.float64]]:
    """Replicates of the record's values of these names, (B,) each, rounded to float32 as they are kept.

    A value whose metric is not there in the record's version and code, or cannot be computed from what is kept, is left
    out.

    Args:
        path: the record's file.
        record: names predictions and targets that are beside it.
        names: of values that the record has.
        store: the folder that it lies in.
        metrics: by name.

    Raises:
        LatentbenchError: the predictions or the targets are not those that the record names.
    """
    predictions, data = Predictions(store.predictions(path, record)), kept_data(store.targets(path, record))
    found = {}
    for name in names:
        value = record.values[name]
        if not is_current(value, metrics):
            continue
        metric: type[Metric] = metrics[value.metric].value
        if why_unavailable(metric):
            continue
        try:
            replicates = replicates_of(ValueName.parse(name), predictions, data, metric(), record.spec.split_hash)
        except Exception as error:  # a plugin's metric, under weights that it was never given
            log.warning("run %s: no replicates of %s: %s", record.key, name, describe(error))
            continue
        if replicates is not None:
            found[name] = replicates.astype(np.float32).astype(np.float64)
    return found


def replicates_of(
    name: ValueName, predictions: Predictions, data: Data, metric: Metric, split_hash: str
) -> npt.NDArray[np.float64] | None:
    """Replicates of one value, (B,); None where the predictions do not have what it was computed from.

    Raises:
        LatentbenchError: the metric is undefined here.
    """
    seen = evaluation_of(predictions, data, metric, name)
    if seen is not None:
        evaluation, part = seen
        return bootstrap_replicates(metric, evaluation, split_hash).get(part)
    split = data.splits.get(name.split)
    weights = None if split is None else weights_under(split, name.condition)
    if weights is None or metric.statistic is None:
        return None
    kept = read_only(predictions.kept(name.split, metric.statistic.name, name.condition))
    return bootstrap_replicates_of_kept(metric, kept, weights, split_hash).get(name.selector)


def keep_replicates(path: Path, record: Record, store: Store, metrics: Mapping[str, "Offer"]) -> None:
    """Make the replicates of values whose output is not kept, and keep them beside the record.

    Such values are found again from their metric's statistic alone, which takes no time; the replicates of other values
    take longer and are made when a table asks for them.

    Args:
        path: the record's file.
        record: lies there.
        store: the folder that it lies in.
        metrics: by name.

    Raises:
        LatentbenchError: the predictions or the targets are not those that the record names, or the folder cannot be
            written.
    """
    able = {name for name, offer in metrics.items() if kept_statistic(offer.value) is not None}
    names = [name for name, value in record.values.items() if value.metric in able]
    if names and record.predictions is not None and record.targets is not None:
        made = make_replicates(path, record, names, store, metrics)
        if made:
            write_replicates(store, record, {**read_replicates(store, record), **made})
