"""A command's own process: what a plugin changes of it is told, in a line that names the plugin, and put back."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from latentbench.plugins.process_state import ProcessState

__all__ = ["undoing"]

log = logging.getLogger("latentbench")


@contextmanager
def undoing(whose: str) -> Iterator[None]:
    """Put back what the block changes of the process, also where it raises, and warn of it.

    Python's and NumPy's global generators are put back without a word: no result comes from them in this process.

    Args:
        whose: the code in the block, as the beginning of the warning: "plugin 'acme 1.2': its import".
    """
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # as ProcessState watches it
    before = ProcessState.now()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        if changes := before.undo():
            log.warning("%s changed the process of the command: %s; it is put back", whose, "; ".join(changes))
