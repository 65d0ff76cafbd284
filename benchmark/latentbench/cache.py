"""The cache: folders of uint8 arrays that were made once, written in one step, and mapped into memory, not read.

    <root>/<dataset>/<subject>/<state>/
        <name>.npy        an array
        prepared.json     what the arrays are

The subject says what is prepared (a source with some options), the state of which versions of it. The root is
``.prepared`` in the data root where that can be written, else a folder of the user's own; the environment variable
LATENTBENCH_CACHE names another one. Any of it may be deleted: it is made again when it is needed.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from latentbench.data import content_hash
from latentbench.errors import LatentbenchError
from latentbench.files import StorageError

__all__ = ["CACHE_VARIABLE", "HalfMade", "Prepared", "Shelf", "cache_roots", "digest"]

#: Environment variable: the folder to prepare data in.
CACHE_VARIABLE = "LATENTBENCH_CACHE"

_DESCRIPTION = "prepared.json"
_HALF_MADE = ".part-"
#: Age in seconds from which a half-made folder is what a killed process left.
_ABANDONED = 24 * 3600


def cache_roots(data_root: Path) -> list[Path]:
    """Where to look for what is prepared of a data root, in this order."""
    own = hashlib.sha256(str(data_root.resolve()).encode()).hexdigest()[:8]
    if named := os.environ.get(CACHE_VARIABLE):
        return [Path(named) / own]
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    return [data_root / ".prepared", user / "latentbench" / own]


def digest(value: object) -> str:
    """16 hex digits of the SHA-256 of a value as JSON: a folder's name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Prepared:
    """The arrays of one folder."""

    arrays: Mapping[str, npt.NDArray[np.uint8]]
    """Mapped from their files. The mapping is private: writing into an array changes no file."""
    facts: Mapping[str, int]
    """What was counted when they were made."""
    content_hash: str
    """Hex SHA-256 of the arrays when they were made."""


class HalfMade:
    """A folder that is being filled.

    Args:
        folder: exists, and is empty.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}

    def save(self, name: str, shape: tuple[int, ...], rows: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Write the array ``name`` row by row, so that no more than a row is in memory.

        Args:
            name: of the array.
            shape: of the array.
            rows: ``shape[0]`` uint8 arrays, each of shape ``shape[1:]``.

        Raises:
            StorageError: the system refuses to write.
            ValueError: rows of another number, shape or type.
        """
        path, written = self.folder / f"{name}.npy", 0
        with _writing(path):
            file = path.open("wb")
        try:
            with _writing(path):
                header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
                np.lib.format.write_array_header_1_0(file, header)
            for row in rows:
                if row.shape != shape[1:] or row.dtype != np.uint8:
                    raise ValueError(f"a row of {name} is {row.shape} {row.dtype}, not {shape[1:]} uint8")
                with _writing(path):
                    file.write(np.ascontiguousarray(row).data)
                written += 1
            if written != shape[0]:
                raise ValueError(f"{name} has {written} rows, not {shape[0]}")
            with _writing(path):
                file.flush()
                os.fsync(file.fileno())
        finally:
            with suppress(OSError):  # what could not be written is tried again, in vain
                file.close()
        self._shapes[str(name)] = shape  # an enum's member becomes its text: its hash is to be that of the name read

    def describe(self, facts: Mapping[str, int], about: Mapping[str, object]) -> Prepared:
        """Write the description, which makes the folder whole.

        Args:
            facts: what was counted.
            about: what the arrays were made of, for a reader.
        """
        arrays = {name: _mapped(self.folder / f"{name}.npy", shape) for name, shape in self._shapes.items()}
        prepared = Prepared(arrays, facts, content_hash(arrays))
        description = {
            **about,
            "arrays": self._shapes,
            "facts": dict(facts),
            "content_hash": prepared.content_hash,
        }
        with _writing(self.folder / _DESCRIPTION) as path:
            path.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
        return prepared


class Shelf:
    """The place of one subject in one state.

    Several processes may fill it at a time: each fills a folder of its own, the first one to be done gives it its name,
    the others drop theirs.

    Args:
        root: the folder of the whole cache.
        dataset: name of the dataset.
        subject: what is prepared.
        state: of which versions.
    """

    def __init__(self, root: Path, dataset: str, subject: str, state: str) -> None:
        self.root = root
        self.subject = root / dataset / subject
        self.folder = self.subject / state

    @property
    def writable(self) -> bool:
        """Whether the cache can be written; it may have to be made."""
        there = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)

    @property
    def has_others(self) -> bool:
        """Whether something is there that does not serve: another state's, or damaged."""
        return any(self.subject.glob(f"*/{_DESCRIPTION}"))

    def read(self) -> Prepared | None:
        """What is prepared; None if nothing is, or not all of it is there."""
        try:
            description = json.loads((self.folder / _DESCRIPTION).read_text(encoding="utf-8"))
            arrays = {
                name: _mapped(self.folder / f"{name}.npy", shape) for name, shape in description["arrays"].items()
            }
            return Prepared(arrays, description["facts"], description["content_hash"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    @contextmanager
    def half_made(self) -> Iterator[HalfMade]:
        """A folder to fill; it is gone at the end of the block unless it was ``put``.

        Raises:
            StorageError: the system refuses to write.
        """
        with _writing(self.subject):
            self.subject.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.subject, prefix=_HALF_MADE))
            folder.chmod(0o755)
        try:
            yield HalfMade(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def put(self, made: HalfMade) -> Prepared:
        """Give a whole folder its name, in one step, and drop other states'; or take what another process put.

        Raises:
            StorageError: the system refuses to write.
        """
        if self.folder.exists() and self.read() is None:
            shutil.rmtree(self.folder, ignore_errors=True)
        with _writing(self.folder):
            try:
                made.folder.rename(self.folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        prepared = self.read()
        if prepared is None:
            raise LatentbenchError(f"cannot read what was just prepared in {self.folder}", "delete it and try again")
        self._sweep()
        return prepared

    def _sweep(self) -> None:
        """Drop what is of other states, and what killed processes left."""
        with suppress(OSError):  # another process sweeps as well
            for other in self.subject.iterdir():
                in_work = other.name.startswith(_HALF_MADE) and time.time() - other.stat().st_mtime < _ABANDONED
                if other != self.folder and not in_work:
                    shutil.rmtree(other, ignore_errors=True)


def _mapped(path: Path, shape: Iterable[int]) -> npt.NDArray[np.uint8]:
    """The array in ``path``, copy-on-write, so that PyTorch takes it as it is.

    Raises:
        OSError, ValueError: missing, cut short, or not of this shape.
    """
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != tuple(shape):
        raise ValueError(f"{path} is {array.shape} {array.dtype}")
    mapped: npt.NDArray[np.uint8] = array
    return mapped


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Turn the system's refusal to write ``path`` into one line for the user."""
    try:
        yield path
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}",
            f"free space, or name another folder with the environment variable {CACHE_VARIABLE}",
        ) from error
