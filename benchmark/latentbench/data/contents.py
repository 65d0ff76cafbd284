"""The contents of files, identified by SHA-256 and hashed again only where the files may have changed.

Neither the size nor the time of modification says that a file is the same: containers, package stores and reproducible
archives give one fixed time to every file. The time of the last status change (``st_ctime``) is set by the kernel and
by no user. What was computed of some files is therefore remembered with the size, modification time, status change
time and inode number of each file, and is valid while all four are unchanged. It is not remembered at all

- while a file's last change is so recent that another one could bear the same time,
- where a status change time is in the future, as after the clock was set back, or
- where it is a whole second, as on file systems that do not store it, such as reproducibly built read-only images.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from latentbench.errors import LatentbenchError
from latentbench.files import StorageError, replacing

__all__ = ["FileSet", "Memory", "Stamp", "digest"]

#: Nanoseconds by which a file's last change must lie back before its stamp is trusted. The clock that file systems
#: stamp with ticks every few milliseconds, but some store times with a resolution of two seconds.
_MARGIN = 2_000_000_000
_SECOND = 1_000_000_000


def digest(value: object) -> str:
    """16 hex digits of the SHA-256 of a value as JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


class Stamp(NamedTuple):
    """What the file system knows about a file without reading it."""

    size: int
    modified: int
    """Nanoseconds since 1970."""
    changed: int
    """The same, of its content, name, owner or permissions; cannot be set by a user."""
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file as it is now.

        Raises:
            LatentbenchError: the file is missing or inaccessible.
        """
        try:
            facts = path.stat()
        except OSError as error:
            raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)

    def settled(self, now: int) -> bool:
        """Whether any later change of the file, after ``now`` (nanoseconds since 1970), is sure to change the stamp."""
        return self.changed + _MARGIN < now and self.changed % _SECOND != 0


@dataclass(frozen=True)
class FileSet:
    """Some files of a folder, as they were when they were first asked about."""

    folder: Path
    """Holds them all."""
    files: tuple[Path, ...]

    @cached_property
    def seen(self) -> int:
        """When the stamps were taken, in nanoseconds since 1970."""
        return time.time_ns()

    @cached_property
    def stamps(self) -> Mapping[Path, Stamp]:
        """The stamp of every file."""
        _ = self.seen  # before the first of them
        return {file: Stamp.of(file) for file in self.files}

    @cached_property
    def settled(self) -> bool:
        """Whether equal stamps, seen later, will prove that no content has changed since."""
        return all(stamp.settled(self.seen) for stamp in self.stamps.values())

    @cached_property
    def stamp(self) -> str:
        """Digest of all names and stamps."""
        return digest([(self.name(file), *self.stamps[file]) for file in sorted(self.files)])

    @cached_property
    def sha256(self) -> Mapping[Path, str]:
        """Hex SHA-256 of every file's content. Reads all of them.

        Raises:
            LatentbenchError: a file cannot be read.
        """
        _ = self.stamps  # taken first, so that a change while the contents are read changes the stamps
        return {file: _sha256(file) for file in self.files}

    @property
    def fingerprint(self) -> str:
        """Digest of all names and contents: it changes when any content changes. Reads all files."""
        return digest([(self.name(file), self.sha256[file]) for file in sorted(self.files)])

    def name(self, file: Path) -> str:
        """The path of a file relative to the folder."""
        return file.relative_to(self.folder).as_posix()

    def changed(self) -> bool:
        """Whether a file has changed since the stamps were taken and the contents hashed."""
        now = FileSet(self.folder, self.files)
        return now.stamp != self.stamp or (not self.settled and now.sha256 != self.sha256)


class Memory:
    """Remembers what was computed from the contents of some files, for as long as their stamps stay the same.

    Args:
        paths: the files that it may be stored in. It is read from the first that has the entry, and written to the
            first that can be written. If none can, everything is computed each time.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def recall(self, key: str, files: FileSet, compute: Callable[[], str]) -> str:
        """The remembered result of ``compute`` for ``files``; it is called only if a file may have changed since.

        Args:
            key: distinguishes this result from others that are remembered here.
            files: the files that it is computed from.
            compute: reads the files and returns a text that depends on their names and contents only.
        """
        for path in self.paths:
            entry = _entries(path).get(key)
            if isinstance(entry, dict) and entry == _entry(files.stamp, entry.get("value")):
                return str(entry["value"])
        value = compute()
        self.remember(key, files, value)
        return value

    def remember(self, key: str, files: FileSet, value: str) -> None:
        """Keep ``value``, if a change of the files is sure to change their stamps."""
        if not files.settled:
            return
        for path in self.paths:
            with suppress(StorageError):
                with replacing(path) as file:
                    file.write(json.dumps({**_entries(path), key: _entry(files.stamp, value)}, indent=1).encode())
                return


def _entry(stamp: str, value: object) -> dict[str, object]:
    """The stored form of a value, with a checksum, so that a damaged entry is not used."""
    return {"stamp": stamp, "value": value, "check": digest([stamp, value])}


def _entries(path: Path) -> dict[str, object]:
    """What is kept in a file; nothing if it cannot be read."""
    try:
        entries = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _sha256(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from None
