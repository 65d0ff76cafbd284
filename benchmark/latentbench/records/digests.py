"""The places of a folder's record files and their digests; these may be taken by a process beside this one.

``latentbench verify`` has to read and hash every record, and to import SciPy and read the claims. Neither needs the
other, so a forked process does the first meanwhile. Whatever it has not come to is left to this one.
"""

import hashlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from latentbench.files import content_of, names_in

__all__ = ["Digests", "digested_meanwhile", "record_places"]

#: Ends the process beside this one; gives SHA-256 of the files that it has read, by their place below the folder.
Digests = Callable[[], Mapping[str, str]]


def record_places(root: Path) -> Iterator[str]:
    """The places of all records below a folder, ``dataset/model/key.json``, sorted by these parts."""
    for dataset in names_in(root):
        for model in names_in(root / dataset) if not dataset.startswith(".") else ():
            for name in names_in(root / dataset / model):
                if name.endswith(".json"):
                    yield f"{dataset}/{model}/{name}"


@contextmanager
def digested_meanwhile(root: Path) -> Iterator[Digests]:
    """Let another process read and hash the record files below a folder while the block is under way.

    It is forked, so it is best begun before there are threads. Where none can be, nothing is taken.
    """
    begun = _begun(root)
    if begun is None:
        yield dict
        return
    process, file = begun
    taken: dict[str, str] = {}

    def end() -> Mapping[str, str]:
        if not file.closed:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            file.seek(0)
            *whole, _ = os.fsdecode(file.read()).split("\0")  # the last one may be cut short
            taken.update((one[64:], one[:64]) for one in whole)
            file.close()
        return taken

    try:
        yield end
    finally:
        end()


def _begun(root: Path) -> tuple[int, IO[bytes]] | None:
    """A process that takes digests, and the file that it writes them into, each with its place."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process is ended
        process = os.fork()
    except OSError:  # no room, or no more processes
        return None
    if process:
        return process, file
    try:
        with suppress(OSError):  # a file that cannot be read: it and the rest are left to this one
            for place in record_places(root):
                digest = hashlib.sha256(content_of(f"{root}/{place}")).hexdigest()
                file.write(os.fsencode(f"{digest}{place}\0"))
        file.flush()
    finally:
        os._exit(0)
