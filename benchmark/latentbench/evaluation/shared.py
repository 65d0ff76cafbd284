"""Arrays that metrics share are read-only to them: what one writes to, all others would be computed from."""

import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latentbench.data.splits import Targets
from latentbench.errors import LatentbenchError

__all__ = ["COPY", "SharedArrays", "read_only"]

#: How a metric is mended that writes.
COPY = "let it copy what it writes to"

#: Arrays of up to so many bytes are given as copies, which can be made anew where one was written to all the same.
_COPIED = 2**28


def read_only(source: Any) -> Any:
    """The same array, which cannot be written to by this name; of a mapping or of targets, all their arrays."""
    if isinstance(source, Mapping):
        return {name: read_only(array) for name, array in source.items()}
    if isinstance(source, Targets):
        return replace(source, **{name: read_only(array) for name, array in vars(source).items()})
    if not isinstance(source, np.ndarray):
        return source
    view = source.view()
    view.flags.writeable = False
    return view


class SharedArrays:
    """Read-only stand-ins of arrays, the same ones for all metrics.

    NumPy refuses to write to them. A tensor that PyTorch makes of one can be written to, so ``watched`` looks.
    """

    def __init__(self) -> None:
        self._given: dict[int, _Given] = {}
        self._recent: set[int] = set()
        self._targets: tuple[Targets, Targets, list[Any]] | None = None

    def give(self, source: Any) -> Any:
        """What stands for an array, or for those of a mapping or of targets; anything else is given as it is.

        Raises:
            LatentbenchError: it was written to, and was too large to be copied.
        """
        if isinstance(source, Mapping):
            return {name: self.give(array) for name, array in source.items()}
        if isinstance(source, Targets):
            given = replace(source, **{name: self.give(array) for name, array in vars(source).items()})
            if self._targets is None or self._targets[0] is not source:
                self._targets = source, given, _identities(given)
            return self._targets[1]
        if not isinstance(source, np.ndarray):
            return source
        if id(source) not in self._given:
            self._given[id(source)] = _Given(source)
        elif self._given[id(source)].lost:
            raise LatentbenchError("another metric wrote to the array that it reads", COPY)
        self._recent.add(id(source))
        return self._given[id(source)].stand_in

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block of one metric: what it wrote to is made anew for the others.

        Raises:
            LatentbenchError: it wrote to an array that was given to it, or exchanged one.
        """
        try:
            yield
        finally:
            written = self._renew()
        if written:
            raise LatentbenchError("it wrote to an array that metrics share", COPY)

    def _renew(self) -> bool:
        """Make anew what was written to, of all that was given since the last call; whether there was anything."""
        written = [key for key in self._recent if self._given[key].written()]
        self._recent.clear()
        for key in written:
            if self._given[key].copied:
                del self._given[key]
            else:
                self._given[key].lost = True
        exchanged = self._targets is not None and _identities(self._targets[1]) != self._targets[2]
        if written or exchanged:
            self._targets = None
        return bool(written) or exchanged


class _Given:
    """An array, what stands for it, and whether that is still what it was."""

    def __init__(self, source: npt.NDArray[Any]) -> None:
        self.source = source  # held, so that no other array has its id
        self.copied = source.nbytes <= _COPIED or not source.flags.c_contiguous
        self.stand_in: npt.NDArray[Any] = read_only(source.copy() if self.copied else source)
        self.lost = False
        self._checksum = _checksum(self.stand_in)

    def written(self) -> bool:
        return _checksum(self.stand_in) != self._checksum


def _identities(targets: Targets) -> list[Any]:
    """The names of a split's attributes, and which arrays they are."""
    return [(name, id(array)) for name, array in targets.attributes.items()]


def _checksum(array: npt.NDArray[Any]) -> int:
    return 0 if array.dtype.hasobject else zlib.crc32(array.reshape(-1).view(np.uint8).data)
