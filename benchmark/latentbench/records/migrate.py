"""Migration of records with earlier schema versions, when they are read.

A change of what a field means, or of where it stands, raises ``SCHEMA_VERSION`` and adds a step here; no file has to be
written again. A file of a later version is refused: an older program cannot know what its fields mean.
"""

from collections.abc import Callable, Mapping
from typing import Any

from latentbench.errors import LatentbenchError
from latentbench.records.record import SCHEMA_VERSION

__all__ = ["NewerRecordError", "migrate"]


class NewerRecordError(LatentbenchError):
    """A record whose schema version is later than this program knows."""


def migrate(document: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a record file's content to schema ``SCHEMA_VERSION``.

    Raises:
        NewerRecordError: its schema version is later.
        LatentbenchError: it has none, or its content is not of the version that it states.
    """
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise LatentbenchError(f"is not a record of this version: 'schema_version' is {version!r}")
    if version > SCHEMA_VERSION:
        raise NewerRecordError(
            f"is not a record of this version: it has schema {version}, "
            f"written by latentbench {document.get('written_by', '(unknown)')}",
            f"this one reads schemas 1 to {SCHEMA_VERSION}, so update latentbench",
        )
    migrated = dict(document)
    for step in _STEPS[version - 1 :]:
        try:
            migrated = step(migrated)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise LatentbenchError(f"is not a record of schema {version}: {error}") from None
    return migrated


def _from_1(document: dict[str, Any]) -> dict[str, Any]:
    """From schema 1, which repeats a metric's facts with every value, has losses by epoch and names no writer.

    Losses need no change here: schema 2 reads them by epoch, too.
    """
    metrics: dict[str, dict[str, Any]] = {}
    numbers: dict[str, Any] = {}
    readouts: dict[str, Any] = {}
    for name, value in document.get("values", {}).items():
        facts = {field: fact for field, fact in value.items() if field not in ("value", "metric")}
        common = metrics.setdefault(value["metric"], facts)
        if {**facts, "readout": ""} != {**common, "readout": ""}:
            raise ValueError(f"value '{name}' has other facts than the values of its metric before it")
        if facts.get("readout") != common.get("readout"):
            readouts[name] = facts.get("readout", "native")
        numbers[name] = value["value"]
    written_by = document["environment"]["packages"].get("latentbench", "0.1.0")
    folded = {"metrics": metrics, "values": numbers, "readouts": readouts}
    return {**document, "schema_version": 2, "written_by": written_by, **folded}


#: The step at index n converts version n + 1 to version n + 2.
_STEPS: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (_from_1,)
