"""Files that are never half written: a new content replaces the old one in one step, or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from latentbench.errors import LatentbenchError

__all__ = ["StorageError", "replacing"]


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
