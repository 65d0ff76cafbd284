"""Processes that a command forks from a server: how one begins, and that it does not outlive the command."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType

__all__ = ["become_child", "starting_child"]


@contextmanager
def starting_child() -> Iterator[None]:
    """Let a process begin, in this block, without the script that started it.

    multiprocessing would run the script's top level again in each process, the call that starts it among it, unless the
    script guards it; and what is sent to a child refers to nothing in it.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def become_child(environ: Mapping[str, str]) -> None:
    """What a child does first: it leaves interrupts to its parent, ends with it, and takes over its environment.

    Args:
        environ: the parent's variables; the fork server's may be older.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles it, and then kills its children
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environ)


def _end_with_parent() -> None:
    """Let no child go on when the command that started it is gone."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
