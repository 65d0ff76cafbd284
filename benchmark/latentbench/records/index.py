"""An index of a results folder: what verdicts need of many records, without parsing their files again.

The index is believed by content alone. Every record file is read and hashed each time; what the index has of it counts
only if it is of the same path and the same SHA-256, and was extracted by the same code. It lies in the cache folder
(``latentbench.files.cache_folder``), not beside the records, so that no folder from elsewhere brings one along. It may
be deleted.

What runs share is kept once: the *setting* (the spec but for the seed), the *making* (the environment and the like) and
the facts of their values. A record is these with its own key, seed and numbers.
"""

import hashlib
import json
import logging
import sqlite3
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from latentbench.errors import LatentbenchError
from latentbench.files import cache_folder, content_of, names_in
from latentbench.records.record import Artefact, Facts, Record, Value
from latentbench.records.replicates import REPLICATES, kept_replicates, replicates_name, replicates_path, unpacked
from latentbench.records.store import Store, read_record
from latentbench.records.values import FactsOf, IndexedValues, changed
from latentbench.spec import RunSpec

__all__ = ["index_path", "indexed_records", "indexed_replicates"]

log = logging.getLogger("latentbench")

Array = npt.NDArray[np.float64]

#: The fields of a record that are its making.
_MAKING = ("status", "null", "deterministic", "batches", "environment", "targets")

#: In place of a spec that is not known yet.
_NO_SPEC = RunSpec(
    model="", model_version=0, config={}, dataset="", dataset_version=0, options={}, split_hash="", seed=0
)

_TABLES = """
CREATE TABLE code (digest TEXT);
CREATE TABLE shared (id INTEGER PRIMARY KEY, content TEXT UNIQUE);
CREATE TABLE replicates (digest TEXT PRIMARY KEY, origin TEXT, names TEXT, arrays BLOB);
CREATE TABLE records (
    path TEXT PRIMARY KEY, digest TEXT,
    setting INTEGER, making INTEGER, facts INTEGER, seed INTEGER, finished TEXT, predictions TEXT, model_facts TEXT,
    numbers BLOB
);
"""


def indexed_records(store: Store, values: Collection[str], datasets: Collection[str] | None = None) -> list[Record]:
    """The records of a store, in the order of their places, without what takes long to read.

    They have their key, spec, status, environment, facts, the files of their predictions and targets, the capabilities
    by which they are transductive, and those of their values that are asked for. Training, phases, pictures, failures
    and the rest are left out. A file that is no record is warned of and left out.

    Args:
        store: the results folder.
        values: names of the values to give.
        datasets: names of the datasets whose records are wanted; None for all.
    """

    def wanted(place: str) -> bool:
        return datasets is None or place.partition("/")[0] in datasets

    with _opened(index_path(store)) as index:
        known = {place: _Row(*row) for place, *row in index.execute("SELECT * FROM records")}
        places = [place for place in store.places() if wanted(place)]
        rows = {place: row for place in places if (row := _row(store.root, place, known.get(place), index))}
        gone = {place for place in known if wanted(place)}.difference(rows)
        index.executemany("DELETE FROM records WHERE path = ?", [(place,) for place in gone])
        index.commit()
        shared = dict(index.execute("SELECT * FROM shared"))
    settings = {place: RunSpec.model_validate_json(shared[place]) for place in {row.setting for row in rows.values()}}
    makings = {place: _made(shared[place]) for place in {row.making for row in rows.values()}}
    facts = {place: _facts(shared[place], values) for place in {row.facts for row in rows.values()}}
    return [
        _record(_key(place), row, settings[row.setting], makings[row.making], facts[row.facts])
        for place, row in rows.items()
    ]


def indexed_replicates(store: Store, records: Iterable[Record]) -> dict[str, dict[str, Array]]:
    """The replicates that are kept of these records' values, by the record's key, as ``read_replicates`` gives them.

    Their files are read and hashed as those of records are; what the index spares is to unpack them.
    """
    found = {}
    there = cache(lambda dataset, model: {*names_in(store.root / dataset / model)})
    with _opened(index_path(store)) as index:
        for record in records:
            if replicates_name(record) not in there(record.spec.dataset, record.spec.model):
                continue
            path = replicates_path(store, record)
            try:
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                row = index.execute("SELECT * FROM replicates WHERE digest = ?", (digest,)).fetchone()
                if row is None:
                    origin, arrays = unpacked(content)
                    row = digest, origin, json.dumps([*arrays]), b"".join(one.tobytes() for one in arrays.values())
                    index.execute("INSERT INTO replicates VALUES (?, ?, ?, ?)", row)
            except FileNotFoundError:
                continue
            except (OSError, LatentbenchError) as error:
                log.warning("%s: %s; left out", path, error)
                continue
            origin, names, numbers = row[1], json.loads(row[2]), np.frombuffer(row[3], np.float32)
            arrays = dict(zip(names, numbers.reshape(len(names), REPLICATES), strict=True))
            found[record.key] = kept_replicates(origin, arrays, record)
        index.commit()
    return found


def index_path(store: Store) -> Path:
    """Where the index of a store is."""
    name = hashlib.sha256(str(store.root.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / "records" / f"{name}.sqlite"


class _Row(NamedTuple):
    """What the index has of one record: the columns of its table but the first."""

    digest: str
    """SHA-256 of the file."""
    setting: int
    making: int
    facts: int
    """These three are in the table ``shared``."""
    seed: int
    finished: str
    predictions: str | None
    """SHA-256 and name of the file, with a blank between them."""
    model_facts: str
    """JSON of what the fitted model tells of itself."""
    numbers: bytes
    """Of its values, float64, in the order of the facts."""


def _made(content: str) -> Record:
    """A record that was made so, without the rest."""
    return Record.model_validate({**json.loads(content), "key": "", "spec": _NO_SPEC, "started": "", "finished": ""})


def _facts(content: str, wanted: Collection[str]) -> FactsOf:
    """Those of the values that are wanted."""
    found = {}
    for place, (name, of_value) in enumerate(json.loads(content).items()):
        if name in wanted:
            metric = of_value.pop("metric")
            facts = Facts.model_validate(of_value)
            found[name] = place, Value.model_construct(**vars(facts), metric=metric, value=nan)
    return found


def _record(key: str, row: _Row, setting: RunSpec, making: Record, facts: FactsOf) -> Record:
    """The record that was indexed. It was valid then, so its parts are not validated again."""
    sha256, _, file = (row.predictions or "").partition(" ")
    return changed(
        making,
        key=key,
        spec=changed(setting, seed=row.seed),
        values=IndexedValues(facts, array("d", row.numbers)),
        finished=row.finished,
        facts=json.loads(row.model_facts),
        predictions=Artefact.model_construct(file=file, sha256=sha256) if file else None,
    )


def _key(place: str) -> str:
    """The key of the record at a place, which is that of its spec."""
    return place.rpartition("/")[2].removesuffix(".json")


def _row(root: Path, place: str, known: _Row | None, index: sqlite3.Connection) -> _Row | None:
    """What the index has of the file as it is now, indexing it if it is another one; None if it is no record."""
    try:
        content = content_of(f"{root}/{place}")
    except OSError as error:
        log.warning("cannot read %s: %s; left out", root / place, error.strerror)
        return None
    digest = hashlib.sha256(content).hexdigest()
    if known and known.digest == digest:
        return known
    try:
        record = read_record(root / place, content)
    except LatentbenchError as error:
        log.warning("%s; left out", error)
        return None
    row = _extracted(digest, record, index)
    index.execute("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (place, *row))
    return row


def _extracted(digest: str, record: Record, index: sqlite3.Connection) -> _Row:
    """The row of a record; what it shares is put into the index if it is new."""
    setting = record.spec.model_dump(mode="json") | {"seed": 0}
    making = record.model_dump(mode="json", include={*_MAKING})
    making["batches"] = {name: found for name, found in making.get("batches", {}).items() if found["transductive"]}
    names = sorted(record.values)
    facts = {name: record.values[name].model_dump(mode="json", exclude={"value"}) for name in names}
    predictions = record.predictions
    return _Row(
        digest,
        _shared(setting, index),
        _shared(making, index),
        _shared(facts, index),
        record.spec.seed,
        record.finished,
        f"{predictions.sha256} {predictions.file}" if predictions else None,
        json.dumps(record.facts),
        array("d", [record.values[name].value for name in names]).tobytes(),
    )


def _shared(content: Mapping[str, Any], index: sqlite3.Connection) -> int:
    """Where the content stands in the index, which it is put into if it is new."""
    text = json.dumps(content)
    index.execute("INSERT OR IGNORE INTO shared (content) VALUES (?)", (text,))
    ((place,),) = index.execute("SELECT id FROM shared WHERE content = ?", (text,))
    return int(place)


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The index, empty if there is none that this code has made; in memory where none can be kept."""
    for place in (path, path, ":memory:"):  # a file that is no index is deleted, and tried again
        try:
            if isinstance(place, Path):
                place.parent.mkdir(parents=True, exist_ok=True)
            index = sqlite3.connect(place, timeout=10)
            _prepare(index)
            break
        except (OSError, sqlite3.Error) as error:
            log.debug("%s is no index of records: %s", place, error)
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
                path.unlink(missing_ok=True)
    with closing(index):
        yield index


def _prepare(index: sqlite3.Connection) -> None:
    """Empty the index if other code has made it."""
    tables = [name for (name,) in index.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if "code" in tables and [*index.execute("SELECT digest FROM code")] == [(_code(),)]:
        return
    for name in tables:
        index.execute(f'DROP TABLE "{name}"')
    index.executescript(_TABLES)
    index.execute("INSERT INTO code VALUES (?)", (_code(),))
    index.commit()


def _code() -> str:
    """The digest of the code that reads records: what other code has extracted may differ."""
    here = Path(__file__).parent
    sources = [*sorted(here.glob("*.py")), here.parent / "spec.py", here.parent / "value_name.py"]
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()
