"""The store: a folder with one record per run, found by key, beside its predictions and weights.

    <root>/<dataset>/<model>/<key>.json           the record; it is written last, so what it names is complete
    <root>/<dataset>/<model>/<key>.npz.xz         per-image predictions (``latentbench.records.arrays``)
    <root>/<dataset>/<model>/<key>.replicates.npz.xz    bootstrap replicates (``latentbench.records.replicates``)
    <root>/<dataset>/<model>/<key>.safetensors    the fitted model's state
    <root>/<dataset>/<model>/<key>.<name>.png     a picture; <key>.<name>.local.png: one that must not be published
    <root>/<dataset>/<split hash>.npz.xz          targets and condition weights, once for all runs on these splits
    <root>/.work/<key>/                           checkpoint, lock and spec of an unfinished run
    <root>/.trash/<time>/<dataset>/<model>/       the files of runs that were removed, in their places

Records from elsewhere are untrusted: they are parsed by schema, their key must be that of their spec and their place
that of their key, and nothing is ever unpickled.
"""

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latentbench.config import differing, format_options
from latentbench.errors import LatentbenchError
from latentbench.files import StorageError, names_in, replacing, taken
from latentbench.records.arrays import SUFFIX, pack, unpack
from latentbench.records.form import decode, encode
from latentbench.records.migrate import NewerRecordError
from latentbench.records.record import Artefact, Record
from latentbench.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LAST", "BusyError", "Store", "read_record"]

#: Names the run that ended last, in place of a key.
LAST = "last"
#: The file in a run's work folder that says which run it is.
_SPEC = "spec"

log = logging.getLogger("latentbench")


class BusyError(LatentbenchError):
    """Another process is carrying the run out."""


class Store:
    """Records and artefacts under one folder.

    Args:
        root: the folder; made when the first record is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: RunSpec) -> Path:
        """Where the record of ``spec`` is, or will be."""
        return self.root / spec.dataset / spec.model / f"{spec.key}.json"

    def work(self, spec: RunSpec) -> Path:
        """The folder of the run while it is unfinished."""
        return self.root / ".work" / spec.key

    def read(self, spec: RunSpec) -> Record | None:
        """The record of ``spec``, or None; a file that is no record of it counts as none, with a warning.

        Raises:
            NewerRecordError: a later version of latentbench wrote it: to make the run again would destroy its work.
        """
        path = self.path(spec)
        if not path.exists():
            return None
        try:
            return read_record(path)
        except NewerRecordError:
            raise
        except LatentbenchError as error:
            log.warning("%s; the run is made again", error)
            return None

    def paths(self) -> list[Path]:
        """The files of all records, in the order of their places; they are not read."""
        return [self.root / place for place in self.places()]

    def places(self) -> list[str]:
        """The places of all records below the root, ``dataset/model/key.json``, sorted by these parts."""
        return [
            f"{dataset}/{model}/{name}"
            for dataset in names_in(self.root)
            if not dataset.startswith(".")
            for model in names_in(self.root / dataset)
            for name in names_in(self.root / dataset / model)
            if name.endswith(".json")
        ]

    def records(self) -> Iterator[tuple[Path, Record]]:
        """Every record with its path, in the order of the paths; a file that is no record is warned of and left out."""
        for path in self.paths():
            try:
                yield path, read_record(path)
            except LatentbenchError as error:
                log.warning("%s; left out", error)

    def unfinished(self) -> Iterator[tuple[RunSpec, bool]]:
        """Every run that was begun and has no record, in the order of the keys; and whether a process is at it now."""
        for path in sorted(self.root.glob(f".work/*/{_SPEC}")):
            try:
                spec = RunSpec.model_validate_json(path.read_bytes())
            except (OSError, ValueError):
                continue
            if spec.key == path.parent.name and not self.path(spec).exists():
                yield spec, self._is_busy(spec)

    def find(self, wanted: str) -> tuple[Path, Record]:
        """The one run that ``wanted`` names.

        Args:
            wanted: the beginning of its key; or "last", the run that ended last, nulls and untrained twins aside; or
                ``model/dataset/seed``, of the trained runs.

        Raises:
            LatentbenchError: none, or several, which are told apart by their keys.
        """
        if wanted == LAST:
            ended = [one for one in self.records() if not (one[1].null or one[1].spec.untrained)]
            if not ended:
                raise LatentbenchError(f"no run of a model in {self.root}", "name its folder with --results")
            return max(ended, key=lambda one: (one[1].finished, one[0]))
        if wanted.count("/") == 2:
            return self._find_by_name(*wanted.split("/"))
        paths = self.paths()
        found = [path for path in paths if wanted and path.stem.startswith(wanted)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            mend = ", ".join(path.stem for path in found[:5])
            if not found:
                mend = f"a run is named by its key, '{LAST}' or MODEL/DATASET/SEED; {len(paths)} records are there"
            raise LatentbenchError(f"{what} in {self.root} with a key that begins with '{wanted}'", mend)
        return found[0], read_record(found[0])

    def _find_by_name(self, model: str, dataset: str, seed: str) -> tuple[Path, Record]:
        """The one trained run of a model on a dataset with a seed.

        Raises:
            LatentbenchError: none, or several.
        """
        there = [path for path in self.paths() if path.parts[-3:-1] == (dataset, model)]
        records = [(path, read_record(path)) for path in there]
        found = [one for one in records if not one[1].spec.untrained and str(one[1].spec.seed) == seed]
        if len(found) == 1:
            return found[0]
        what = f"{'no run' if not found else f'{len(found)} runs'} of {model} on {dataset} with seed {seed}"
        if found:
            settings = differing([{**one.spec.options, **one.spec.config} for _, one in found])
            told = [f"{path.stem} ({format_options(own)})" for (path, _), own in zip(found, settings, strict=True)]
            raise LatentbenchError(f"{what} in {self.root}", f"name one by its key: {', '.join(told[:5])}")
        seeds = sorted({one.spec.seed for _, one in records if not one.spec.untrained})
        mend = f"its seeds are {', '.join(map(str, seeds))}" if seeds else "`latentbench runs` lists what is there"
        raise LatentbenchError(f"{what} in {self.root}", mend)

    def save_predictions(self, spec: RunSpec, predictions: Mapping[str, npt.NDArray[np.generic]]) -> Artefact:
        """Write per-image predictions, in their order (compressed, equal arrays give equal bytes)."""
        return self._save(spec, self.path(spec).with_suffix(SUFFIX), pack(predictions))

    def save_targets(self, spec: RunSpec, targets: Mapping[str, npt.NDArray[np.generic]]) -> Artefact:
        """Write the targets of the run's splits, unless they are there already, from another run on these splits."""
        path = self.root / spec.dataset / f"{spec.split_hash}{SUFFIX}"
        try:
            there = path.read_bytes()
            if _equal(unpack(there), targets):
                return Artefact(file=path.name, sha256=hashlib.sha256(there).hexdigest())
            log.warning("%s does not hold the targets of its splits; it is written again", path)
        except FileNotFoundError:
            pass
        except (OSError, LatentbenchError) as error:
            log.warning("%s cannot be read (%s); it is written again", path, error)
        return self._save(spec, path, pack(targets))

    def save_weights(self, spec: RunSpec, state: Mapping[str, "Tensor"]) -> Artefact:
        """Write a model's state as safetensors."""
        from safetensors.torch import save

        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        return self._save(spec, self.path(spec).with_suffix(".safetensors"), save(own))

    def save_picture(self, spec: RunSpec, name: str, png: bytes, *, publishable: bool) -> Artefact:
        """Write a picture; one that shows images that must not be published is named so that git ignores it."""
        suffix = f".{name}.png" if publishable else f".{name}.local.png"
        return self._save(spec, self.path(spec).with_suffix(suffix), png)

    def save_record(self, record: Record, *, resumable: bool = False) -> None:
        """Write the record, then drop the work folder: from here on the run is finished, or failed.

        The work folder of a failed run that is ``resumable`` stays: when it is made again, its fit is not.
        """
        self._save(record.spec, self.path(record.spec), encode(record))
        if not resumable:
            shutil.rmtree(self.work(record.spec), ignore_errors=True)

    def clear_work(self, spec: RunSpec) -> None:
        """Drop the work folder of a finished run: a process that was killed once its record was written left it.

        It stays where a process is at it, or where it cannot be written.
        """
        if self.work(spec).exists():
            with suppress(BusyError, StorageError), self.lock(spec, patience=1.0):
                shutil.rmtree(self.work(spec), ignore_errors=True)

    def discard_record(self, spec: RunSpec) -> None:
        """Remove the record of a run that is to be made again: from here on the run is unfinished."""
        path = self.path(spec)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"cannot remove {path}: {error.strerror}") from error

    def move_to_trash(self, spec: RunSpec, when: str) -> Path:
        """Move all that a run left into the folder ``.trash/WHEN``, in its place there; from here on it is not begun.

        Moved back, with its work folder, it is what it was. The targets, which other runs share, stay.

        Returns:
            The folder ``.trash/WHEN``.

        Raises:
            BusyError: a process is carrying the run out.
            StorageError: the folder cannot be written.
        """
        trash = self.root / ".trash" / when
        path = self.path(spec)
        place = trash / path.relative_to(self.root).parent
        with self.lock(spec, patience=0):
            try:
                place.mkdir(parents=True, exist_ok=True)
                # The record goes first: without it, what it named belongs to no run.
                for file in sorted(path.parent.glob(f"{spec.key}.*"), key=lambda file: file != path):
                    file.rename(place / file.name)
                work = trash / self.work(spec).relative_to(self.root)
                work.parent.mkdir(exist_ok=True)
                self.work(spec).rename(work)
            except OSError as error:
                raise StorageError(f"cannot move {path} to {place}: {error.strerror}") from error
        return trash

    def predictions(self, path: Path, record: Record) -> dict[str, npt.NDArray[np.generic]]:
        """The predictions of the record at ``path``, their hash checked.

        Raises:
            LatentbenchError: the record has none, the file is missing or is not the one that the record names.
        """
        if record.predictions is None:
            raise LatentbenchError(f"{path} names no predictions")
        return _arrays(path.parent, record.predictions)

    def targets(self, path: Path, record: Record) -> dict[str, npt.NDArray[np.generic]]:
        """The targets that the record at ``path`` names, their hash checked.

        Raises:
            LatentbenchError: the record names none, the file is missing or is not the one that the record names.
        """
        if record.targets is None:
            raise LatentbenchError(f"{path} names no targets")
        return _arrays(path.parent.parent, record.targets)

    @contextmanager
    def lock(self, spec: RunSpec, patience: float = 10.0) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            BusyError: another process held it for ``patience`` seconds.
            StorageError: the folder cannot be written, or its file system has no locks.
        """
        with (self._made_work(spec) / "lock").open("w") as file:
            deadline = time.monotonic() + patience
            while True:
                try:
                    if taken(file):
                        break
                except OSError as error:
                    what = f"cannot lock {file.name}: {error.strerror}"
                    raise StorageError(what, "choose a folder on another file system with --out") from error
                if time.monotonic() > deadline:
                    raise BusyError(f"another process is carrying out {spec} in {self.root}")
                time.sleep(0.1)
            with suppress(OSError):  # it is there for people who list the runs
                (self.work(spec) / _SPEC).write_text(spec.model_dump_json())
            yield

    def _is_busy(self, spec: RunSpec) -> bool:
        """Whether a process is carrying the run out."""
        try:
            with self.lock(spec, patience=0):
                return False
        except BusyError:
            return True
        except (StorageError, OSError):  # nobody can lock it here
            return False

    def _save(self, spec: RunSpec, path: Path, content: bytes) -> Artefact:
        """Write a file of the run; while it is half written it lies in the work folder."""
        with replacing(path, self._made_work(spec)) as file:
            file.write(content)
        return Artefact(file=path.name, sha256=hashlib.sha256(content).hexdigest())

    def _made_work(self, spec: RunSpec) -> Path:
        folder = self.work(spec)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            mend = "choose another folder with --out"
            raise StorageError(f"cannot write {folder}: {error.strerror}", mend) from error
        return folder


def read_record(path: Path, content: bytes | None = None) -> Record:
    """Parse one record file, of this schema version or an earlier one.

    Args:
        path: the file.
        content: what stands in it, where that was read already.

    Raises:
        NewerRecordError: a later version of latentbench wrote it.
        LatentbenchError: unreadable, not JSON, not a record, or another run's than its spec, folder and name say; one
            line with the path.
    """
    try:
        record = decode(path.read_bytes() if content is None else content)
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
    except LatentbenchError as error:
        raise type(error)(f"{path} {error}") from None
    if misfit := _misfit(path, record):
        raise LatentbenchError(f"{path} is not believed: {misfit}")
    return record


def _misfit(path: Path, record: Record) -> str:
    """What in the record contradicts its spec or its place; empty if nothing does."""
    spec = record.spec
    key = spec.key
    if record.key != key:
        return f"its key is {record.key}, that of its spec is {key}"
    place, found = (spec.dataset, spec.model, f"{key}.json"), path.absolute().parts[-3:]
    if found != place:
        return f"its place is {Path(*place)}, it lies at {Path(*found)}"
    names = [(record.predictions, key), (record.weights, key), (record.targets, spec.split_hash)]
    for artefact, stem in names:
        if artefact and artefact.file.partition(".")[0] != stem:
            return f"it names the file {artefact.file}, which should begin with {stem}"
    return ""


def _arrays(folder: Path, artefact: Artefact) -> dict[str, npt.NDArray[np.generic]]:
    """The arrays of a file, its hash checked."""
    file = folder / artefact.file
    try:
        content = file.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read {file}: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != artefact.sha256:
        raise LatentbenchError(f"{file} has SHA-256 {found}", f"its record expects {artefact.sha256}")
    try:
        return unpack(content)
    except LatentbenchError as error:
        raise LatentbenchError(f"{file} {error}") from None


def _equal(one: Mapping[str, npt.NDArray[np.generic]], other: Mapping[str, npt.NDArray[np.generic]]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == array.dtype and np.array_equal(one[name], array) for name, array in other.items()
    )
