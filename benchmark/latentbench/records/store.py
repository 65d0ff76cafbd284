"""The store: a folder with one record per run, found by key, beside its predictions and weights.

    <root>/<dataset>/<model>/<key>.json           the record; it is written last, so what it names is complete
    <root>/<dataset>/<model>/<key>.npz            per-image predictions
    <root>/<dataset>/<model>/<key>.safetensors    the fitted model's state
    <root>/.work/<key>/                           checkpoint and lock of an unfinished run

Records from elsewhere are untrusted: they are parsed by schema, and nothing is ever unpickled.
"""

import fcntl
import hashlib
import io
import logging
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from latentbench.config import one_line
from latentbench.errors import LatentbenchError
from latentbench.files import StorageError, replacing
from latentbench.records.record import Artefact, Record
from latentbench.spec import RunSpec

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BusyError", "Store", "read_record"]

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
        """The record of ``spec``, or None; a file that is no record counts as none, with a warning."""
        path = self.path(spec)
        if not path.exists():
            return None
        try:
            return read_record(path)
        except LatentbenchError as error:
            log.warning("%s; the run is made again", error)
            return None

    def records(self) -> Iterator[tuple[Path, Record]]:
        """Every record with its path, in the order of the paths; a file that is no record is warned of and left out."""
        for path in sorted(self.root.glob("*/*/*.json")):
            try:
                yield path, read_record(path)
            except LatentbenchError as error:
                log.warning("%s; left out", error)

    def find(self, prefix: str) -> tuple[Path, Record]:
        """The one record whose key begins with ``prefix``.

        Raises:
            LatentbenchError: none, or several.
        """
        paths = sorted(self.root.glob("*/*/*.json"))
        found = [path for path in paths if path.stem.startswith(prefix)]
        if len(found) != 1:
            what = "no run" if not found else f"{len(found)} runs"
            mend = f"{len(paths)} records are there" if not found else ", ".join(path.stem for path in found[:5])
            raise LatentbenchError(f"{what} in {self.root} with a key that begins with '{prefix}'", mend)
        return found[0], read_record(found[0])

    def save_predictions(self, spec: RunSpec, predictions: Mapping[str, npt.NDArray[np.generic]]) -> Artefact:
        """Write per-image predictions, in their order (compressed, equal arrays give equal bytes)."""
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **predictions)
        return self._save(spec, ".npz", buffer.getvalue())

    def save_weights(self, spec: RunSpec, state: Mapping[str, "Tensor"]) -> Artefact:
        """Write a model's state as safetensors."""
        from safetensors.torch import save

        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        return self._save(spec, ".safetensors", save(own))

    def save_record(self, record: Record, *, resumable: bool = False) -> None:
        """Write the record, then drop the work folder: from here on the run is finished, or failed.

        The work folder of a failed run that is ``resumable`` stays: when it is made again, its fit is not.
        """
        self._save(record.spec, ".json", (record.model_dump_json(indent=1, exclude_none=True) + "\n").encode())
        if not resumable:
            shutil.rmtree(self.work(record.spec), ignore_errors=True)

    def predictions(self, path: Path, record: Record) -> dict[str, npt.NDArray[np.generic]]:
        """The predictions of the record at ``path``, their hash checked.

        Raises:
            LatentbenchError: the record has none, the file is missing or is not the one that the record names.
        """
        if record.predictions is None:
            raise LatentbenchError(f"{path} names no predictions")
        file = path.with_suffix(".npz")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise LatentbenchError(f"cannot read {file}: {error.strerror}") from None
        found = hashlib.sha256(content).hexdigest()
        if found != record.predictions.sha256:
            raise LatentbenchError(f"{file} has SHA-256 {found}", f"its record expects {record.predictions.sha256}")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    @contextmanager
    def lock(self, spec: RunSpec, patience: float = 10.0) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it when the process ends, however it ends.

        Raises:
            BusyError: another process held it for ``patience`` seconds.
            StorageError: the folder cannot be written.
        """
        with (self._made_work(spec) / "lock").open("w") as file:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BusyError(f"another process is carrying out {spec} in {self.root}") from None
                    time.sleep(0.1)
            yield

    def _save(self, spec: RunSpec, suffix: str, content: bytes) -> Artefact:
        """Write a file of the run; while it is half written it lies in the work folder."""
        path = self.path(spec).with_suffix(suffix)
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


def read_record(path: Path) -> Record:
    """Parse one record file.

    Raises:
        LatentbenchError: unreadable, not JSON, or not a record; one line with the path.
    """
    try:
        return Record.model_validate_json(path.read_bytes())
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise LatentbenchError(f"{path} is not a record of this version: {one_line(error)}") from None
