"""Files that are never half written: a new content replaces the old one in one step, or not at all."""

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from latentbench.errors import LatentbenchError

__all__ = ["LOCK", "StorageError", "discard", "replacing", "workplace"]

#: The file in a ``workplace`` whose lock says that a process works there.
LOCK = ".lock"


class StorageError(LatentbenchError):
    """A file could not be written: no fault of the run, which stays unfinished and can be resumed."""


@contextmanager
def replacing(path: Path, scratch: Path | None = None) -> Iterator[BinaryIO]:
    """A file to write; on leaving the block its content becomes ``path``'s, after an error nothing has changed.

    Args:
        path: the file; its folder is made if need be.
        scratch: an existing folder on the same file system for what is half written, and what a killed process leaves
            of it; by default the folder of ``path``.

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
    """A folder that this process alone works in until the block ends.

    It is ``folder`` itself, made if need be, with what the one before left there: a process that was killed holds
    nothing. While another process works there, or where the file system has no locks, it is a new folder beside it,
    named ``folder``, a dash and a random text, and deleted at the end of the block.

    Whoever moves the folder away deletes its ``LOCK`` then, and not before.

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
    """Delete a ``workplace`` with all that is in it, in one step for whoever would work there next."""
    with suppress(OSError):  # it is deleted where it is, or is gone
        folder = folder.rename(folder.with_name(f"{folder.name}-{uuid.uuid4().hex}"))
    shutil.rmtree(folder, ignore_errors=True)


def _held(folder: Path) -> BinaryIO | None:
    """The open lock of ``folder``, which it is made for; None if it is not to be had."""
    try:
        folder.mkdir(exist_ok=True)
        lock = (folder / LOCK).open("ab")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever held it until now may have moved the folder away.
        if os.path.samestat(os.fstat(lock.fileno()), (folder / LOCK).stat()):
            return lock
    except OSError:
        pass
    lock.close()
    return None
