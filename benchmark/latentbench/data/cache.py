"""The cache: folders of uint8 arrays that are prepared once, put in place atomically, and memory-mapped when used.

    <root>/<dataset>/<subject>/<state>/
        <name>.npy        an array
        prepared.json     what the arrays are
    <root>/<dataset>/<subject>/.part/
        <name>.npy        an array, or as many of its rows as were made
        rows.json         how many of them are known to be on the disk, and their digest
    <root>/.known/<dataset>-<subject>.json
        hashes of the source and of the arrays, with the stamps of the files that were hashed

The subject identifies what is prepared (a source with some options), the state its version, by the contents of the
source's files. Arrays are compared with their hash before they are used; this, and hashing the source, costs about
a second per gigabyte, and is left out while the files are known to be unchanged (``contents``). A folder is filled
under the name ``.part``, whose lock one process holds: when that is killed, the next one goes on after the last row
that is known to be right. A process that does not get the lock fills a folder ``.part-*`` of its own.

The root is a folder for the data root in the user's cache, or in the folder that the environment variable
LATENTBENCH_CACHE names; where that cannot be written, ``.prepared`` in the data root, which is looked into in any case.
Everything in it may be deleted, and is prepared again when needed: ``latentbench data clean`` does it.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO, TypedDict

import numpy as np
import numpy.typing as npt

from latentbench.data.contents import FileSet, Memory, digest
from latentbench.data.splits import content_hash
from latentbench.errors import LatentbenchError
from latentbench.files import CACHE_VARIABLE, LOCK, StorageError, cache_folder, discard, replacing, workplace

__all__ = ["HalfMade", "Prepared", "Shelf", "all_roots", "cache_roots", "clear", "prepared_folders", "size_of"]

_DESCRIPTION = "prepared.json"
_HALF_MADE = ".part"
_ROWS = "rows.json"
_KNOWN = ".known"
#: Age in seconds from which a process's own half-made folder is taken for one that a killed process left.
_ABANDONED = 24 * 3600
#: Seconds of work that a killed process may lose.
_EVERY = 1.0


def cache_roots(data_root: Path) -> list[Path]:
    """Folders in which to look for arrays prepared from a data root, in this order.

    What is prepared goes into the first that can be written.
    """
    own = cache_folder() / hashlib.sha256(os.fsencode(data_root.resolve())).hexdigest()[:8]
    return [own] if os.environ.get(CACHE_VARIABLE) else [own, data_root / ".prepared"]


def all_roots() -> list[Path]:
    """The folders of all data roots in the user's cache."""
    return sorted(cache_folder().glob("[0-9a-f]" * 8))


def prepared_folders(root: Path) -> list[Path]:
    """The folders of a root that hold something prepared, or half prepared: one for each dataset's name."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [folder for folder in folders if not folder.name.startswith(".") and _subjects(folder)]


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder and below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def clear(folder: Path) -> tuple[int, bool]:
    """Delete what is prepared in one of ``prepared_folders``.

    What a process is preparing is left to it.

    Returns:
        The bytes that were deleted, and whether something was left.

    Raises:
        StorageError: the system refuses to delete.
    """
    deleted, left = 0, False
    for subject in _subjects(folder):
        with _writing(subject), workplace(subject / _HALF_MADE) as place:
            if place != subject / _HALF_MADE:
                left = True
                continue
            deleted += size_of(subject)
            discard(subject)
            (folder.parent / _KNOWN / f"{folder.name}-{subject.name}.json").unlink(missing_ok=True)
    for empty in (folder, folder.parent / _KNOWN, folder.parent):
        with suppress(OSError):  # it is not
            empty.rmdir()
    return deleted, left


def _subjects(folder: Path) -> list[Path]:
    """The folders of subjects in that of a dataset; no other folder is taken for one."""
    return [
        subject
        for subject in (sorted(folder.iterdir()) if folder.is_dir() else [])
        if any(subject.glob(f"[!.]*/{_DESCRIPTION}")) or any(subject.glob(f"{_HALF_MADE}*/"))
    ]


@dataclass(frozen=True)
class Prepared:
    """The arrays of one folder."""

    arrays: Mapping[str, npt.NDArray[np.uint8]]
    """Mapped from their files. The mapping is private: writing into an array changes no file."""
    facts: Mapping[str, int]
    """What was counted when they were made."""
    content_hash: str
    """Hex SHA-256 of the arrays when they were made."""


class _Note(TypedDict):
    """What is known to be on disk of one array."""

    rows: int
    sha256: str
    """Of its name and shape, and of the origin and content of each of the rows."""


class HalfMade:
    """A folder that is being filled, including what an unfinished earlier process saved there.

    Args:
        folder: an existing folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._notes = _read_notes(folder)

    @property
    def rows(self) -> int:
        """Number of rows that are recorded as being on disk."""
        return sum(note["rows"] for note in self._notes.values())

    def save(
        self,
        name: str,
        shape: tuple[int, ...],
        rows: Callable[[int], Iterable[npt.NDArray[np.uint8]]],
        origins: Sequence[bytes],
    ) -> npt.NDArray[np.uint8]:
        """Write the array ``name`` row by row, so that only one row is in memory at a time.

        Rows that an earlier process wrote are kept if they match their digest and have the same origins.

        Args:
            name: of the array.
            shape: of the array.
            rows: given the index of a row, yields that row and all that follow: uint8 arrays of shape ``shape[1:]``.
            origins: for each row, what identifies the data that it is made from.

        Returns:
            The array, mapped from its file.

        Raises:
            StorageError: the system refuses to write.
            ValueError: the number, shape or dtype of the rows is wrong.
        """
        name = str(name)  # an enum's member becomes its text: its hash is to be that of the name read
        path = self.folder / f"{name}.npy"
        if len(origins) != shape[0]:
            raise ValueError(f"{name} has {shape[0]} rows, but {len(origins)} origins were given")
        with _writing(path):
            path.touch()
            file = path.open("r+b")
        try:
            self._fill(name, file, shape, rows, origins)
        finally:
            with suppress(OSError):  # closing retries a failed write, which fails again
                file.close()
        self._shapes[name] = shape
        return _mapped(path, shape)

    def _fill(
        self,
        name: str,
        file: BinaryIO,
        shape: tuple[int, ...],
        rows: Callable[[int], Iterable[npt.NDArray[np.uint8]]],
        origins: Sequence[bytes],
    ) -> None:
        """Write the rows that are not in ``file`` yet; the arguments are those of ``save``."""
        path, header = self.folder / f"{name}.npy", _header(shape)
        with _writing(path):
            written, digest = self._kept(name, file, shape, origins)
            if not written:
                file.seek(0)
                file.write(header)
            file.truncate(len(header) + written * prod(shape[1:]))
            file.seek(0, io.SEEK_END)
        noted = time.monotonic()
        try:
            for row in rows(written) if written < shape[0] else ():
                if row.shape != shape[1:] or row.dtype != np.uint8:
                    raise ValueError(f"a row of {name} is {row.shape} {row.dtype}, not {shape[1:]} uint8")
                if written == shape[0]:
                    raise ValueError(f"{name} has more than {shape[0]} rows")
                content = row.tobytes()
                with _writing(path):
                    file.write(content)
                digest.update(origins[written] + content)
                written += 1
                if time.monotonic() - noted > _EVERY:
                    self._note(name, file, written, digest.hexdigest())
                    noted = time.monotonic()
            if written != shape[0]:
                raise ValueError(f"{name} has {written} rows, not {shape[0]}")
        except BaseException:
            with suppress(StorageError):  # the first error is the one to tell
                self._note(name, file, written, digest.hexdigest())
            raise
        self._note(name, file, written, digest.hexdigest())

    def _kept(
        self, name: str, file: BinaryIO, shape: tuple[int, ...], origins: Sequence[bytes]
    ) -> tuple[int, "hashlib._Hash"]:
        """How many rows of ``file`` can be kept, those that are noted or none; and the digest that goes on from there.

        The rows are read again, so that neither a damaged file nor a damaged note leads to a wrong row.
        """
        blank, header, note = hashlib.sha256(f"{name} {shape}".encode()), _header(shape), self._notes.get(name)
        if note and 0 < note["rows"] <= shape[0] and file.read(len(header)) == header:
            digest = blank.copy()
            for origin in origins[: note["rows"]]:
                digest.update(origin + file.read(prod(shape[1:])))
            if digest.hexdigest() == note["sha256"]:
                return note["rows"], digest
        return 0, blank

    def _note(self, name: str, file: BinaryIO, rows: int, digest: str) -> None:
        """Record that rows are on disk, after flushing them."""
        with _writing(self.folder / f"{name}.npy"):
            file.flush()
            os.fsync(file.fileno())
        self._notes[name] = {"rows": rows, "sha256": digest}
        with replacing(self.folder / _ROWS) as notes:
            notes.write(json.dumps(self._notes).encode())

    def describe(self, facts: Mapping[str, int], about: Mapping[str, object]) -> Prepared:
        """Write the description, which completes the folder.

        Args:
            facts: what was counted.
            about: what the arrays were made from, for people who read the file.
        """
        known = {f"{name}.npy" for name in self._shapes} | {_ROWS, LOCK}
        for path in self.folder.iterdir():
            if path.name not in known:  # an array that is not saved any more, or a file that was to replace another
                path.unlink()
        arrays = {name: _mapped(self.folder / f"{name}.npy", shape) for name, shape in self._shapes.items()}
        prepared = Prepared(arrays, facts, content_hash(arrays))
        description = {
            **about,
            "arrays": self._shapes,
            "facts": dict(facts),
            "content_hash": prepared.content_hash,
        }
        description["check"] = digest(description)
        with replacing(self.folder / _DESCRIPTION) as file:
            file.write(json.dumps(description, indent=1).encode() + b"\n")
        return prepared


class Shelf:
    """The place of one subject, in all its states.

    Several processes may fill it at the same time, each in a folder of its own: the first to finish renames its folder
    into place, the others discard theirs.

    Args:
        root: the folder of the whole cache.
        dataset: name of the dataset.
        subject: what is prepared.
    """

    def __init__(self, root: Path, dataset: str, subject: str) -> None:
        self.root = root
        self.subject = root / dataset / subject
        self.known = root / _KNOWN / f"{dataset}-{subject}.json"

    def folder(self, state: str) -> Path:
        """The folder for arrays of a state."""
        return self.subject / state

    @property
    def writable(self) -> bool:
        """Whether the cache can be written, or created."""
        there = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)

    @property
    def has_any(self) -> bool:
        """Whether anything is there, in any state, even if damaged."""
        return any(self.subject.glob(f"[!.]*/{_DESCRIPTION}"))

    def read(self, state: str) -> Prepared | None:
        """The prepared arrays; None if there are none, or some are missing. They are not compared with their hash.

        Args:
            state: of which versions.
        """
        folder = self.folder(state)
        try:
            description = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
            if description.pop("check") != digest(description):
                return None
            arrays = {name: _mapped(folder / f"{name}.npy", shape) for name, shape in description["arrays"].items()}
            return Prepared(arrays, description["facts"], description["content_hash"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def read_checked(self, state: str, memory: Memory) -> Prepared | None:
        """The prepared arrays, as ``read`` gives them; None also if their hash does not match.

        Args:
            state: of which versions.
            memory: remembers the hash that the arrays had when they were last read, while they cannot have changed.
        """
        prepared, folder = self.read(state), self.folder(state)
        if prepared is None:
            return None
        files = FileSet(folder, tuple(folder / f"{name}.npy" for name in prepared.arrays))
        found = memory.recall("prepared", files, lambda: content_hash(prepared.arrays))
        return prepared if found == prepared.content_hash else None

    @property
    def rows(self) -> int:
        """Number of rows kept from unfinished work."""
        return HalfMade(self.subject / _HALF_MADE).rows

    @contextmanager
    def half_made(self) -> Iterator[HalfMade]:
        """A folder to fill, with what is kept from unfinished work.

        Its content is kept for the next time if the process is killed or interrupted, or if the block raises an error
        that the user can mend. After any other error, which is a defect of the dataset, it is deleted.

        Raises:
            StorageError: the system refuses to write.
        """
        with ExitStack() as stack:
            with _writing(self.subject):
                self.subject.mkdir(parents=True, exist_ok=True)
                folder = stack.enter_context(workplace(self.subject / _HALF_MADE))
            made, keep = HalfMade(folder), False
            try:
                yield made
            except BaseException as error:
                mendable = isinstance(error, LatentbenchError | OSError) or not isinstance(error, Exception)
                keep = mendable and made.rows > 0
                raise
            finally:
                if made.folder == folder and not keep:
                    discard(folder)

    @contextmanager
    def apart(self) -> Iterator[HalfMade]:
        """An empty folder to fill, which is deleted at the end of the block.

        Raises:
            StorageError: the system refuses to write.
        """
        with _writing(self.subject):
            self.subject.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(dir=self.subject, prefix=f"{_HALF_MADE}-"))
        try:
            yield HalfMade(folder)
        finally:
            discard(folder)

    def put(self, made: HalfMade, state: str, memory: Memory) -> Prepared:
        """Rename a complete folder into place and delete other states; or use what another process put there first.

        Args:
            made: the folder.
            state: of which versions it is.
            memory: as for ``read_checked``.

        Raises:
            StorageError: the system refuses to write.
        """
        folder = self.folder(state)
        if folder.exists() and self.read_checked(state, memory) is None:
            shutil.rmtree(folder, ignore_errors=True)
        with _writing(folder):
            try:
                made.folder = made.folder.rename(folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            else:
                for name in (_ROWS, LOCK):
                    (folder / name).unlink(missing_ok=True)
        prepared = self.read(state)
        if prepared is None:
            raise LatentbenchError(f"cannot read back what was prepared in {folder}", "delete it and try again")
        self._sweep(state)
        return prepared

    def _sweep(self, state: str) -> None:
        """Delete other states, and what killed processes left."""
        with suppress(OSError):  # another process sweeps as well
            for other in self.subject.iterdir():
                own = other.name.startswith(f"{_HALF_MADE}-") and time.time() - other.stat().st_mtime < _ABANDONED
                if not own and other.name not in (state, _HALF_MADE):
                    shutil.rmtree(other, ignore_errors=True)


def _header(shape: tuple[int, ...]) -> bytes:
    """The header of an array's file."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


def _read_notes(folder: Path) -> dict[str, _Note]:
    """The notes of a half-made folder; empty if they cannot be read."""
    try:
        notes = json.loads((folder / _ROWS).read_bytes())
        return {str(name): _Note(rows=int(note["rows"]), sha256=str(note["sha256"])) for name, note in notes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _mapped(path: Path, shape: Iterable[int]) -> npt.NDArray[np.uint8]:
    """The array in ``path``, copy-on-write, so that PyTorch takes it as it is.

    Raises:
        OSError, ValueError: missing, of another length, or with another header than an array of this shape has.
    """
    shape = tuple(shape)
    header = _header(shape)
    with path.open("rb") as file:
        if file.read(len(header)) != header or os.fstat(file.fileno()).st_size != len(header) + prod(shape):
            raise ValueError(f"{path} is no array of shape {shape}")
        return np.memmap(file, np.uint8, "c", len(header), shape)


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """Turn the system's refusal to write ``path`` into one line for the user."""
    try:
        yield path
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}",
            f"free some space and run the same command again; or name another folder by the variable {CACHE_VARIABLE}",
        ) from error
