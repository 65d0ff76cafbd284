"""The format of a record's file: JSON in which facts of a metric occur once, and each list of losses is one line.

    "metrics": {"auroc": {"version": 1, "title": "AUROC", "higher_is_better": true, "readout": "knn", ...}},
    "values": {"auroc@test": 0.91, "auroc[mahalanobis]@test": 0.87},
    "readouts": {"auroc[mahalanobis]@test": "mahalanobis"},
    "training": {..., "losses": {"loss": [0.71, 0.42], "validation": [0.69, 0.44]}}

Under ``readouts`` stand the values that were read otherwise than the first value of their metric. Equal records give
equal bytes. What is read is untrusted: an object that has a key twice, and a number that is none or that no float
holds, are refused.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pydantic import ValidationError

from latentbench.config import one_line
from latentbench.errors import LatentbenchError
from latentbench.records.migrate import migrate
from latentbench.records.record import Facts, Record
from latentbench.value_name import ValueName

__all__ = ["decode", "encode"]

#: Objects and lists without nested objects are on one line up to this length; lists of numbers at any length.
_LINE = 200

_NATIVE = Facts.model_fields["readout"].default


def encode(record: Record) -> bytes:
    """Serialize a record to the bytes of its file.

    Raises:
        ValueError: the record holds values of one metric that differ in the metric's facts.
    """
    document = record.model_dump(mode="json", exclude_none=True)
    metrics: dict[str, dict[str, Any]] = {}
    numbers, readouts = {}, {}
    for name, value in record.values.items():
        facts = value.model_dump(mode="json", exclude_defaults=True, include=set(Facts.model_fields))
        common = metrics.setdefault(value.metric, facts)
        if value.readout != common.get("readout", _NATIVE):
            readouts[name] = value.readout
        if _metric(name) != value.metric or {**facts, "readout": ""} != {**common, "readout": ""}:
            raise ValueError(f"value '{name}' of run {record.key} has other facts than its metric '{_metric(name)}'")
        numbers[name] = value.value
    if record.training:
        document["training"]["losses"] = _columns(record.training.losses)
    ordered: dict[str, Any] = {}
    for field, content in document.items():
        if field == "values":
            ordered |= {"metrics": metrics, "values": numbers} | ({"readouts": readouts} if readouts else {})
        else:
            ordered[field] = content
    return (_layout(ordered) + "\n").encode("utf-8", "backslashreplace")  # of a byte that is none of UTF-8, its escape


def decode(content: bytes) -> Record:
    """The record in a file of this schema version or an earlier one.

    Raises:
        LatentbenchError: not JSON, not a record, or one of a later schema version; what is wrong, without the path.
    """
    try:
        document = json.loads(content, object_pairs_hook=_object, parse_float=_float, parse_constant=_float)
    except ValueError as error:  # what is no JSON, too, and no UTF-8
        raise LatentbenchError(f"is not a record of this version: {error}") from None
    except RecursionError:
        raise LatentbenchError("is not a record of this version: it is nested too deeply") from None
    if not isinstance(document, dict):
        raise LatentbenchError("is not a record of this version: it is no JSON object")
    document = migrate(document)
    try:
        return Record.model_validate(_unfolded(document), strict=True)
    except ValidationError as error:
        first, *others = one_line(error).split("; ")
        more = f" (and {len(others)} more)" if others else ""
        raise LatentbenchError(f"is not a record of this version: {first}{more}") from None


def _unfolded(document: Mapping[str, Any]) -> dict[str, Any]:
    """The file's fields in the form of ``Record``; a wrong type is left for the schema to refuse."""
    unfolded = dict(document)
    metrics, readouts = unfolded.pop("metrics", {}), unfolded.pop("readouts", {})
    values, training = unfolded.get("values", {}), unfolded.get("training")
    if not all(isinstance(part, dict) for part in (metrics, readouts, values)):
        raise LatentbenchError("is not a record of this version: 'metrics', 'values', 'readouts' should be objects")
    whole = {}
    for name, number in values.items():
        facts = metrics.get(_metric(name))
        if not isinstance(facts, dict) or not facts.keys() <= Facts.model_fields.keys():
            raise LatentbenchError(f"is not a record of this version: 'metrics' has no facts of value '{name}'")
        whole[name] = {**facts, "value": number, "metric": _metric(name)}
        if name in readouts:
            whole[name]["readout"] = readouts[name]
    if strange := readouts.keys() - values.keys():
        raise LatentbenchError(f"is not a record of this version: 'readouts' names no value: '{min(strange)}'")
    if unused := metrics.keys() - {_metric(name) for name in values}:
        raise LatentbenchError(f"is not a record of this version: no value is of metric '{min(unused)}'")
    unfolded["values"] = whole
    if isinstance(training, dict) and isinstance(training.get("losses"), dict):
        unfolded["training"] = {**training, "losses": _rows(training["losses"])}
    return unfolded


@cache
def _metric(name: str) -> str:
    """The metric in a value's name; cached, because records share most names.

    Raises:
        LatentbenchError: it is no such name.
    """
    return ValueName.parse(name).metric


def _columns(epochs: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
    """Losses by name, with one entry per epoch; null if the epoch lacks the loss."""
    names = dict.fromkeys(name for epoch in epochs for name in epoch)
    return {name: [epoch.get(name) for epoch in epochs] for name in names}


def _rows(columns: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The losses of each epoch by name: the inverse of ``_columns``."""
    lengths = {len(column) if isinstance(column, list) else -1 for column in columns.values()}
    if -1 in lengths or len(lengths) > 1:
        raise LatentbenchError("is not a record of this version: 'training.losses' should be lists of one length")
    epochs = zip(*columns.values(), strict=True)
    return [{name: loss for name, loss in zip(columns, epoch, strict=True) if loss is not None} for epoch in epochs]


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key '{next(name for name in names if names.count(name) > 1)}' is there twice")
    return found


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    return number


def _layout(value: Any, indent: int = 0) -> str:
    """JSON with an entry on each line; what is short and flat, and every list of numbers, on one line."""
    line = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if not isinstance(value, dict | list) or not value:
        return line
    content = list(value.values() if isinstance(value, dict) else value)
    flat = not any(isinstance(one, dict) for one in content) and len(line) <= _LINE
    numbers = isinstance(value, list) and all(isinstance(one, int | float | None) for one in content)
    if numbers or (flat and indent):
        return line
    if isinstance(value, dict):
        entries = [f"{json.dumps(key, ensure_ascii=False)}: {_layout(one, indent + 1)}" for key, one in value.items()]
    else:
        entries = [_layout(one, indent + 1) for one in value]
    start, end = "{}" if isinstance(value, dict) else "[]"
    inner = " " * (indent + 1)
    return start + "\n" + ",\n".join(inner + entry for entry in entries) + "\n" + " " * indent + end
