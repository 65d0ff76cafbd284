"""Prepared datasets: their source is decoded once into the cache, and decoded again when its contents have changed."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.data.cache import HalfMade, Prepared, Shelf, cache_roots
from latentbench.data.contents import FileSet, Memory, digest
from latentbench.data.dataset import Dataset, State, Status
from latentbench.data.splits import Data, content_hash
from latentbench.errors import LatentbenchError

__all__ = ["Decoding", "Prepared", "PreparedDataset", "Rows", "Save", "Source"]

#: Raise it when the files of a prepared folder change their meaning. 2: the source is known by its contents.
_FORMAT = 2

T = TypeVar("T")

log = logging.getLogger("latentbench")


@dataclass(frozen=True)
class Source(FileSet):
    """The files that a dataset is made of; their folder lies in the data root."""


@dataclass(frozen=True)
class Decoding:
    """What prepared arrays depend on, beside the source. Datasets of an equal decoding share what is prepared."""

    name: str
    """What it is called in the cache."""
    version: int
    options: Mapping[str, Any]
    """As JSON has them."""


class Save(Protocol):
    """Writes one array, or the rest of one of which a process that was killed wrote the first rows."""

    def __call__(
        self,
        name: str,
        shape: tuple[int, ...],
        rows: Callable[[int], Iterable[npt.NDArray[np.uint8]]],
        made_of: Sequence[Iterable[Path]] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Write the array ``name``.

        Args:
            name: of the array.
            shape: of the array.
            rows: called with the number of the first row that is not there yet, gives it and all that follow: uint8
                arrays, each of shape ``shape[1:]``. Not called if all rows are there. What it counts on the way it
                counts of the rest alone: count what ``save`` returns.
            made_of: for each row those of the source's files that it is made of, beside the options and ``shape``. The
                first rows are kept when other files change, as one does that was corrupt and is put there again. None:
                every row is made of all files.

        Returns:
            The whole array, mapped from its file.
        """


class Rows:
    """Makes what ``Save`` takes, for rows that are decoded one from each item; tells how many of all are done.

    Args:
        progress: told (done, of how many), of the rows of all arrays together.
        total: the rows of all arrays together.
    """

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._before = progress, total, 0

    def __call__(
        self, decode: Callable[[T], npt.NDArray[np.uint8]], items: Sequence[T]
    ) -> Callable[[int], Iterator[npt.NDArray[np.uint8]]]:
        """The rows of the next array: ``decode`` of each of the items."""
        before = self._before
        self._before += len(items)

        def rows(start: int) -> Iterator[npt.NDArray[np.uint8]]:
            for number in range(start, len(items)):
                yield decode(items[number])
                self._progress(before + number + 1, self._total)

        return rows


class PreparedDataset(Dataset):
    """A dataset whose source is decoded once. Implement ``locate``, ``convert`` and ``assemble`` in place of ``load``.

    What was prepared serves an equal ``decoding`` and an unchanged source alone.
    """

    @property
    def decoding(self) -> Decoding:
        """By default the dataset's name, its ``version`` and all its options.

        Override it where some options choose among the arrays' rows and change none of them.
        """
        return Decoding(self.name, self.version, self.config.model_dump(mode="json"))

    @abstractmethod
    def locate(self, data_root: Path) -> Source:
        """Find the source's files; reads none of them.

        Raises:
            LatentbenchError: missing (what, where to put it, its licence, how to get it).
        """

    @abstractmethod
    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Decode the source into arrays, telling ``progress``; returns what it counted in them.

        It is called again, and saves the same arrays in the same order, when a process was killed on the way.

        Raises:
            LatentbenchError: a file is corrupt or does not fit; it is named, and never passed over.
        """

    @abstractmethod
    def assemble(self, prepared: Prepared) -> Data:
        """Make the splits of the arrays, without copying them."""

    def load(self, data_root: Path) -> Data:
        """Make the splits of what is prepared; prepare it first if need be."""
        return self.assemble(self._prepared(data_root))

    def prepare(self, data_root: Path) -> None:
        """Decode the source, unless it is prepared as it stands."""
        self._prepared(data_root)

    def status(self, data_root: Path) -> Status:
        """Whether the source is there, and prepared as it stands; decodes nothing.

        Where something is prepared, files whose contents are not known as they now are are hashed.
        """
        try:
            source = self.locate(data_root)
            shelves = self._shelves(source, data_root)
            if outdated := any(shelf.has_any for shelf in shelves):
                memory = _memory(shelves)
                state = self._state(source, memory)
                for shelf in shelves:
                    if prepared := shelf.read_checked(state, memory):
                        return Status(State.PREPARED, source.folder, prepared.facts)
        except LatentbenchError as error:
            return Status(State.MISSING, note=str(error))
        facts = {"files": len(source.files)}
        if rows := sum(shelf.rows for shelf in shelves):
            facts["rows half prepared"] = rows
        return Status(State.OUTDATED if outdated else State.PRESENT, source.folder, facts)

    def verify(self, data_root: Path) -> str:
        """Read the source again, and decode it; it and the prepared arrays must have the hash of what was prepared."""
        source = self.locate(data_root)
        shelves = self._shelves(source, data_root)
        state = self._state(source)
        found = next(((shelf, prepared) for shelf in shelves if (prepared := shelf.read(state))), None)
        if found is None:
            raise LatentbenchError(
                f"dataset '{self.name}' is not prepared with these options as it now stands in {source.folder}",
                "prepare it, with `latentbench data prepare`",
            )
        shelf, prepared = found
        if content_hash(prepared.arrays) != prepared.content_hash:
            raise LatentbenchError(
                f"{shelf.folder(state)} has changed since it was prepared",
                "delete it; the dataset is prepared again when it is next loaded",
            )
        with _to_write(shelves).apart() as made:
            again = self._fill(made, source, data_root)
        if again.content_hash != prepared.content_hash:
            raise LatentbenchError(
                f"the files in {source.folder} no longer give what was prepared in {shelf.folder(state)}",
                "if they are right, delete what was prepared; if not, put the published files back",
            )
        return self.assemble(prepared).split_hash

    def _prepared(self, data_root: Path) -> Prepared:
        source = self.locate(data_root)
        shelves = self._shelves(source, data_root)
        memory = _memory(shelves)
        state = self._state(source, memory)
        for shelf in shelves:
            if prepared := shelf.read_checked(state, memory):
                return prepared
        shelf = _to_write(shelves)
        why = " again, for its source, its version or what was prepared has changed" if shelf.has_any else ""
        with shelf.half_made() as made:
            kept = f", going on from {made.rows:,} rows that are kept" if made.rows else ""
            folder = shelf.folder(state)
            log.warning("preparing dataset '%s'%s: %s into %s%s", self.name, why, source.folder, folder, kept)
            self._fill(made, source, data_root)
            return shelf.put(made, state, memory)

    def _fill(self, made: HalfMade, source: Source, data_root: Path) -> Prepared:
        """Decode the source into ``made``; it must not change meanwhile."""
        decoding = self.decoding

        def save(
            name: str,
            shape: tuple[int, ...],
            rows: Callable[[int], Iterable[npt.NDArray[np.uint8]]],
            made_of: Sequence[Iterable[Path]] | None = None,
        ) -> npt.NDArray[np.uint8]:
            by = (_FORMAT, decoding.version)
            if made_of is None:
                origins = [repr((by, source.fingerprint)).encode()] * shape[0]
            else:
                contents = ([(source.name(file), source.sha256[file]) for file in files] for files in made_of)
                origins = [repr((by, content)).encode() for content in contents]
            return made.save(name, shape, rows, origins)

        _ = source.sha256  # before anything is decoded: what changes later is noticed
        facts = self.convert(source, save)
        if set(self.locate(data_root).files) != set(source.files) or source.changed():
            raise LatentbenchError(f"files in {source.folder} changed while they were read", "try again when they rest")
        about = {"dataset": decoding.name, "version": decoding.version, "options": dict(decoding.options)}
        return made.describe(facts, about)

    def _shelves(self, source: Source, data_root: Path) -> list[Shelf]:
        """Where to look for what is prepared, in this order."""
        decoding = self.decoding
        subject = digest([dict(decoding.options), source.folder.relative_to(data_root).as_posix()])
        return [Shelf(root, decoding.name, subject) for root in cache_roots(data_root)]

    def _state(self, source: Source, memory: Memory | None = None) -> str:
        """What prepared arrays must be made of, to serve; without a memory all of the source is read."""
        fingerprint = memory.recall("source", source, lambda: source.fingerprint) if memory else source.fingerprint
        return digest([_FORMAT, self.decoding.version, fingerprint])


def _memory(shelves: Sequence[Shelf]) -> Memory:
    """Where it is remembered what was hashed: with what is prepared."""
    return Memory([shelf.known for shelf in shelves])


def _to_write(shelves: list[Shelf]) -> Shelf:
    """The first one that can be written, else the last, which then says why not."""
    return next((shelf for shelf in shelves if shelf.writable), shelves[-1])
