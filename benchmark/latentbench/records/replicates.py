"""Bootstrap replicates of values, kept in a file beside the record: what tables need of the test images, without them.

    <root>/<dataset>/<model>/<key>.replicates.npz.xz

The file holds (B,) float32 for each value that ranks somewhere, and what they were made from. They follow from the
predictions, the targets and the metric alone: where one of these has changed, or the code that a third-party metric is
from, they count as absent. ``latentbench.evaluation.replicates`` makes them.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latentbench.capabilities import PER_IMAGE
from latentbench.errors import LatentbenchError
from latentbench.files import replacing
from latentbench.records.arrays import SUFFIX, pack, unpack
from latentbench.records.record import Record
from latentbench.records.store import Store

__all__ = [
    "REPLICATES",
    "Replicates",
    "kept_replicates",
    "read_replicates",
    "replicates_name",
    "replicates_path",
    "to_be_made",
    "unpacked",
    "write_replicates",
]

log = logging.getLogger("latentbench")

Array = npt.NDArray[np.float64]
#: Key of a run -> name of a value -> its replicates, (B,) float64.
Replicates = Mapping[str, Mapping[str, Array]]

#: B. Enough for a standard error (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.4); tests
#: take the rest into account, by their degrees of freedom.
REPLICATES = 200

#: The array that holds, as JSON, what the replicates were made from.
_ORIGIN = "origin"


def read_replicates(store: Store, record: Record) -> dict[str, Array]:
    """The replicates that are kept of the record's values, by the value's name.

    Those of other predictions or targets, or of another version or other code of a metric, are left out. A file that
    cannot be read is warned of, and counts as absent.
    """
    path = replicates_path(store, record)
    try:
        return kept_replicates(*unpacked(path.read_bytes()), record)
    except FileNotFoundError:
        return {}
    except (OSError, LatentbenchError) as error:
        log.warning("%s: %s; left out", path, error)
        return {}


def unpacked(content: bytes) -> tuple[str, dict[str, npt.NDArray[np.float32]]]:
    """What a file of replicates was made from, as JSON, and its arrays.

    Raises:
        LatentbenchError: it is no file of named arrays.
    """
    arrays = unpack(content)
    sound = {name: array.astype(np.float32) for name, array in arrays.items() if _sound(array)}
    return str(arrays.get(_ORIGIN)), sound


def kept_replicates(origin: str, arrays: Mapping[str, npt.NDArray[np.float32]], record: Record) -> dict[str, Array]:
    """Of what was unpacked, the replicates of the record's values that were made from the record's own files."""
    if origin != _origin(record):
        return {}
    kept = {name: arrays.get(_array(name, record)) for name in record.values}
    return {name: array.astype(np.float64) for name, array in kept.items() if array is not None}


def write_replicates(store: Store, record: Record, replicates: Mapping[str, Array]) -> None:
    """Keep replicates of the record's values, in place of those that are there.

    Raises:
        StorageError: the folder cannot be written.
    """
    arrays: dict[str, npt.NDArray[np.generic]] = {_ORIGIN: np.array(_origin(record))}
    arrays |= {_array(name, record): replicates[name].astype(np.float32) for name in sorted(replicates)}
    with replacing(replicates_path(store, record)) as file:
        file.write(pack(arrays))


def to_be_made(path: Path, record: Record, names: Iterable[str], kept: Mapping[str, Array]) -> list[str]:
    """Those of ``names`` that the record has a value of, but no replicates, and beside it what these follow from.

    Args:
        path: the record's file.
        record: is asked for.
        names: of values.
        kept: the replicates that there are.
    """
    if record.predictions is None or record.targets is None:
        return []
    here = (path.parent / record.predictions.file).is_file() and (path.parent.parent / record.targets.file).is_file()
    return [
        name
        for name in names
        if here and name not in kept and name in record.values and record.values[name].capability in PER_IMAGE
    ]


def replicates_path(store: Store, record: Record) -> Path:
    """Where the replicates of the record's values are, or will be."""
    return store.root / record.spec.dataset / record.spec.model / replicates_name(record)


def replicates_name(record: Record) -> str:
    """The name of that file."""
    return f"{record.key}.replicates{SUFFIX}"


def _array(name: str, record: Record) -> str:
    """What the array of a value is called: it names the version of the metric, and of a third-party one the plugin."""
    value = record.values[name]
    return f"{name} {value.version}" + (f" {value.plugin}" if value.plugin else "")


def _origin(record: Record) -> str:
    """The hashes of the files that the record's replicates follow from, as JSON."""
    files = {"predictions": record.predictions, "targets": record.targets}
    return json.dumps({name: artefact and artefact.sha256 for name, artefact in files.items()})


def _sound(array: npt.NDArray[np.generic]) -> bool:
    return array.shape == (REPLICATES,) and array.dtype == np.float32 and bool(np.isfinite(array).all())
