"""Prepared datasets: their source is decoded once into the cache, and decoded again when its contents have changed."""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.data.cache import HalfMade, Prepared, Shelf, all_roots, cache_roots, prepared_folders, size_of
from latentbench.data.contents import FileSet, Memory, digest
from latentbench.data.dataset import Dataset, State, Status
from latentbench.data.splits import Data, content_hash
from latentbench.errors import LatentbenchError, command_line
from latentbench.files import size_in_words

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
    """What prepared arrays depend on besides the source. Datasets with equal decodings share prepared arrays."""

    name: str
    """Its name in the cache."""
    version: int
    options: Mapping[str, Any]
    """As JSON values."""


class Save(Protocol):
    """Writes one array, or completes one of which a killed process wrote the first rows."""

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
            rows: called with the index of the first missing row, yields that row and all that follow: uint8 arrays,
                each of shape ``shape[1:]``. It is not called if no row is missing. Do not count facts in it, because a
                resumed call sees the remaining rows only: count in the array that ``save`` returns.
            made_of: for each row, the files of the source that it depends on, besides the options and ``shape``. Rows
                that were written stay valid when other files change, for example when a corrupt one is replaced. None:
                every row depends on all files.

        Returns:
            The whole array, mapped from its file.
        """


class Rows:
    """Makes the ``rows`` argument of ``Save`` where each row is decoded from one item, and reports progress.

    Args:
        progress: called with (done, total), counted over the rows of all arrays together.
        total: number of rows of all arrays together.
    """

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._before = progress, total, 0

    def __call__(
        self, decode: Callable[[T], npt.NDArray[np.uint8]], items: Sequence[T]
    ) -> Callable[[int], Iterator[npt.NDArray[np.uint8]]]:
        """The rows of the next array: ``decode`` applied to each item."""
        before = self._before
        self._before += len(items)

        def rows(start: int) -> Iterator[npt.NDArray[np.uint8]]:
            for number in range(start, len(items)):
                yield decode(items[number])
                self._progress(before + number + 1, self._total)

        return rows


class PreparedDataset(Dataset):
    """A dataset whose source is decoded once. Implement ``locate``, ``convert`` and ``assemble`` in place of ``load``.

    Prepared arrays are used only for an equal ``decoding`` and an unchanged source.
    """

    @property
    def decoding(self) -> Decoding:
        """By default the dataset's name, its ``version`` and all its options.

        Override it where some options only choose among the arrays' rows, without changing them.
        """
        return Decoding(self.name, self.version, self.config.model_dump(mode="json"))

    @abstractmethod
    def locate(self, data_root: Path) -> Source:
        """Find the source's files, without reading any of them.

        Raises:
            LatentbenchError: files are missing; the message says which, where to put them, their licence, and how to
                get them.
        """

    @abstractmethod
    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Decode the source into arrays, telling ``progress``; returns what it counted in them.

        If the process is killed, the next one calls it again; it has to save the same arrays in the same order.

        Raises:
            LatentbenchError: a file is corrupt or does not fit. The message names it; no file is skipped silently.
        """

    @abstractmethod
    def assemble(self, prepared: Prepared) -> Data:
        """Make the splits from the arrays, without copying them."""

    def load(self, data_root: Path) -> Data:
        """Make the splits from the prepared arrays; prepare them first if necessary."""
        return self.assemble(self._prepared(data_root))

    def prepare(self, data_root: Path) -> None:
        """Decode the source, unless up-to-date arrays are prepared already."""
        self._prepared(data_root)

    def status(self, data_root: Path) -> Status:
        """Whether the source is there and whether prepared arrays are up to date. It decodes nothing.

        If something is prepared, files that may have changed since they were last hashed are hashed again.
        """
        try:
            source = self.locate(data_root)
            shelves, others = self._shelves(source, data_root), self._others(source, data_root)
            outdated = any(shelf.has_any for shelf in shelves)
            if outdated or any(shelf.has_any for shelf in others):
                memory = _memory(shelves)
                state = self._state(source, memory)
                for shelf in (*shelves, *others):
                    if prepared := shelf.read_checked(state, memory):
                        return Status(State.PREPARED, source.folder, prepared.facts)
        except LatentbenchError as error:
            return Status(State.MISSING, note=str(error))
        facts = {"files": len(source.files)}
        if rows := sum(shelf.rows for shelf in shelves):
            facts["rows half prepared"] = rows
        return Status(State.OUTDATED if outdated else State.PRESENT, source.folder, facts)

    def caches(self, data_root: Path) -> list[Path]:
        """The folders of what is prepared for the decoding, in any options and of any source."""
        return [
            folder
            for root in cache_roots(data_root)
            for folder in prepared_folders(root)
            if folder.name == self.decoding.name
        ]

    def verify(self, data_root: Path) -> str:
        """Read and decode the source again; the result and the prepared arrays must have the recorded hash."""
        source = self.locate(data_root)
        shelves = self._shelves(source, data_root)
        state = self._state(source)
        everywhere = (*shelves, *self._others(source, data_root))
        found = next(((shelf, prepared) for shelf in everywhere if (prepared := shelf.read(state))), None)
        if found is None:
            how = command_line("data", "prepare", self.name, "--data-root", data_root)
            raise LatentbenchError(
                f"dataset '{self.name}' is not prepared with these options from what {source.folder} holds now",
                f"prepare it, with the same --set: {how}",
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
        for shelf in (*shelves, *self._others(source, data_root)):
            if prepared := shelf.read_checked(state, memory):
                return prepared
        shelf = _to_write(shelves)
        why = " again, for its source, its version or what was prepared has changed" if shelf.has_any else ""
        with shelf.half_made() as made:
            kept = f", going on from {made.rows:,} rows that are kept" if made.rows else ""
            folder = shelf.folder(state)
            log.warning("preparing dataset '%s'%s: %s into %s%s", self.name, why, source.folder, folder, kept)
            self._fill(made, source, data_root)
            prepared = shelf.put(made, state, memory)
        log.warning("prepared dataset '%s': %s, which `latentbench data clean` deletes", self.name, _size(folder))
        return prepared

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
            raise LatentbenchError(
                f"files in {source.folder} changed while they were read", "try again when nothing writes to them"
            )
        about = {"dataset": decoding.name, "version": decoding.version, "options": dict(decoding.options)}
        return made.describe(facts, about)

    def _shelves(self, source: Source, data_root: Path) -> list[Shelf]:
        """Where to look for what is prepared of the data root, in this order."""
        return [self._shelf(root, source, data_root) for root in cache_roots(data_root)]

    def _others(self, source: Source, data_root: Path) -> list[Shelf]:
        """Where other data roots have what is prepared: a copy of the same files, or they themselves before a move."""
        own = cache_roots(data_root)
        return [self._shelf(root, source, data_root) for root in all_roots() if root not in own]

    def _shelf(self, root: Path, source: Source, data_root: Path) -> Shelf:
        decoding = self.decoding
        subject = digest([dict(decoding.options), source.folder.relative_to(data_root).as_posix()])
        return Shelf(root, decoding.name, subject)

    def _state(self, source: Source, memory: Memory | None = None) -> str:
        """Identifies what prepared arrays must be made from; without a memory the whole source is read."""
        fingerprint = memory.recall("source", source, lambda: source.fingerprint) if memory else source.fingerprint
        return digest([_FORMAT, self.decoding.version, fingerprint])


def _memory(shelves: Sequence[Shelf]) -> Memory:
    """Where hashes are remembered: beside the prepared arrays."""
    return Memory([shelf.known for shelf in shelves])


def _size(folder: Path) -> str:
    return size_in_words(size_of(folder))


def _to_write(shelves: list[Shelf]) -> Shelf:
    """The first writable shelf, else the last, whose error then says why it cannot be written."""
    return next((shelf for shelf in shelves if shelf.writable), shelves[-1])
