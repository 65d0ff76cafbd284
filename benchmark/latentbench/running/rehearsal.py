"""Rehearsals: a dataset of another distribution is first loaded in a process of its own, where it can do no harm.

One that raises costs no other dataset's runs. One that ends the process, or never returns, would take the command with
it; so it is loaded once where it can take nothing, and by the command itself only when that has come to an end.
"""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from latentbench.errors import LatentbenchError, describe
from latentbench.plugins.registry import Plugins
from latentbench.running.children import become_child, starting_child
from latentbench.running.execute import load_data

__all__ = ["rehearse"]

#: What its server has imported is an executor's to say, which is asked for before datasets are loaded.
_context = multiprocessing.get_context("forkserver")


def rehearse(
    plugins: Plugins,
    dataset: str,
    options: dict[str, Any],
    data_root: Path,
    timeout: float | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Load a dataset in a process of its own, and see whether it comes back; exceptions do not count.

    Args:
        plugins: where it comes from.
        dataset: its name.
        options: its options.
        data_root: folder of the datasets.
        timeout: seconds that it may take; None: no limit.
        progress: as for ``load_data``.

    Raises:
        LatentbenchError: it ends its process, or does not return in time; names the plugin.
    """
    whose = plugins.get("datasets", dataset).plugin.blamed_for(f"dataset '{dataset}', load()")
    connection, theirs = _context.Pipe(duplex=False)
    arguments = (theirs, dict(os.environ), plugins.files, dataset, options, data_root)
    process = _context.Process(target=_load, args=arguments)
    try:
        with starting_child():
            process.start()
    except (EOFError, OSError):  # no process can be started: it is loaded without
        return
    finally:
        theirs.close()
    deadline = None if timeout is None else time.monotonic() + timeout
    try:
        while True:
            if not wait([connection, process.sentinel], None if deadline is None else deadline - time.monotonic()):
                raise LatentbenchError(f"{whose} did not return within {timeout:g} seconds")
            try:
                message = connection.recv() if connection.poll() else _end(process)
            except (EOFError, ConnectionResetError):
                message = _end(process)
            if isinstance(message, str):
                raise LatentbenchError(f"{whose}{message}")
            if message is None:
                return
            if progress is not None:
                progress(*message)
    finally:
        process.kill()
        process.join()
        connection.close()


def _end(process: multiprocessing.process.BaseProcess) -> str:
    """How a process ended that had not come to the end of its task."""
    process.join()
    code = process.exitcode or 0
    hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
    return f" ended the process with exit code {code}" if code >= 0 else f" was killed by signal {-code}{hint}"


def _load(
    connection: Connection,
    environ: Mapping[str, str],
    files: Sequence[Path],
    dataset: str,
    options: dict[str, Any],
    data_root: Path,
) -> None:
    """What the process does: it tells how far it has come, and ends at once when it has come through."""
    become_child(environ)
    for stream in (1, 2):  # the command prints it, when it loads the dataset itself
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    told = None
    try:
        load_data(
            Plugins.load(files, trial=False), dataset, options, data_root, lambda *now: connection.send(now)
        )  # fmt: skip
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):  # the command would take it for the user's
            told = f": {describe(error).rpartition(': ')[2]}"
    connection.send(told)
    os._exit(0)
