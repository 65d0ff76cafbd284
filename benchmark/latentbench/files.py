"""Atomic replacement of files, folders in which one process works at a time, and the folder of caches."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from latentbench.errors import LatentbenchError

try:
    import fcntl
except ImportError:  # files that it replaces while they are open, and processes that it forks, are POSIX's as well
    raise LatentbenchError("latentbench runs on Linux and other POSIX systems", "on Windows, use WSL") from None

__all__ = [
    "CACHE_VARIABLE",
    "LOCK",
    "StorageError",
    "cache_folder",
    "content_of",
    "discard",
    "names_in",
    "replacing",
    "size_in_words",
    "taken",
    "workplace",
]

#: Environment variable: the folder for what may be deleted at any time.
CACHE_VARIABLE = "LATENTBENCH_CACHE"

#: The file in a ``workplace`` whose lock says that a process works there.
LOCK = ".lock"


#: Bytes that are read in one go; a record has fewer.
_AT_ONCE = 2**16


class StorageError(LatentbenchError):
    """A file could not be written. The run is not at fault: it stays unfinished and can be resumed."""


def cache_folder() -> Path:
    """The folder for what may be deleted at any time: the one that CACHE_VARIABLE names, else one of the user's own."""
    from platformdirs import user_cache_path

    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else user_cache_path("latentbench", appauthor=False)


def names_in(folder: Path) -> list[str]:
    """What is in a folder, sorted; nothing where there is no such folder."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names alone, in a tenth of the time
    except OSError:
        return []


def content_of(path: str) -> bytes:
    """What is in a file, in half of the time that Python's own file objects take for a small one.

    Raises:
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, _AT_ONCE)]
        while len(parts[-1]) == _AT_ONCE:
            parts.append(os.read(descriptor, _AT_ONCE))
        return b"".join(parts)
    finally:
        os.close(descriptor)


def size_in_words(size: int) -> str:
    """A number of bytes as people read it.

    >>> size_in_words(123_456_789), size_in_words(4_200), size_in_words(12)
    ('123 MB', '4.2 kB', '12 bytes')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:,.{int(size < 10 * factor)}f} {unit}"
    return f"{size} bytes"


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file for writing that replaces ``path`` when the block ends, or is deleted if the block raises.

    Args:
        path: the file; its folder is made if necessary.
        scratch: an existing folder on the same file system for the temporary file, which a killed process leaves behind
            there; by default the folder of ``path``.

    Raises:
        StorageError: no space, no permission, not a folder; one line with the path and the system's reason.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=scratch or path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o644)
            yield file
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            mend = "free space or choose another folder; what was finished is kept, the same command resumes"
            raise StorageError(f"cannot write {path}: {error.strerror or error}", mend) from error
        raise


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """Yield a folder in which no other process works until the block ends.

    Normally this is ``folder`` itself, created if necessary, with whatever an earlier process left there: the lock of a
    process that was killed is released by the system. While another process holds ``folder``, or on a file system
    without locks, it is a new folder beside it, named ``folder``, a dash and a random text, which is deleted at the end
    of the block.

    A caller that moves the folder away must delete its ``LOCK`` file afterwards, and not before.

    Args:
        folder: its parent exists.

    Raises:
        OSError: the system refuses to make a folder.
    """
    lock = _held(folder)
    if lock is not None:
        with lock:
            yield folder
        return
    own = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}-"))
    try:
        own.chmod(0o755)
        yield own
    finally:
        discard(own)


def discard(folder: Path) -> None:
    """Delete a ``workplace`` and its content. It is renamed first, so that nobody finds it half deleted."""
    with suppress(OSError):  # it is deleted where it is, or is gone
        folder = folder.rename(folder.with_name(f"{folder.name}-{uuid.uuid4().hex}"))
    shutil.rmtree(folder, ignore_errors=True)


def taken(lock: IO[Any]) -> bool:
    """Take the lock of an open file, if no other process has it; the system lets go of it when this process ends.

    Raises:
        OSError: the file system has no locks.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(folder: Path) -> BinaryIO | None:
    """Create ``folder`` and lock it; returns the open lock file, or None if the lock cannot be had."""
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / LOCK).open("ab")
    except OSError:
        return None
    try:
        # Whoever held it until now may have moved the folder away.
        if taken(lock) and os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
            return lock
    except OSError:
        pass
    lock.close()
    return None
