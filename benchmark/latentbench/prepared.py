"""Prepared datasets: their source is decoded once into the cache, and decoded again when it has changed."""

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from latentbench.cache import HalfMade, Prepared, Shelf, cache_roots, digest
from latentbench.data import Data, Dataset, State, Status, content_hash
from latentbench.errors import LatentbenchError

__all__ = ["Prepared", "PreparedDataset", "Save", "Source"]

#: Raise it when the files of a prepared folder change their meaning.
_FORMAT = 1

log = logging.getLogger("latentbench")


@dataclass(frozen=True)
class Source:
    """The files that a dataset is made of."""

    folder: Path
    """Holds them all; in the data root."""
    files: tuple[Path, ...]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of every file's name, size and time of change: another one means that something has changed."""
        seen = []
        for file in sorted(self.files):
            facts = file.stat()
            seen.append((file.relative_to(self.folder).as_posix(), facts.st_size, facts.st_mtime_ns))
        return digest(seen)


class Save(Protocol):
    """Writes one array (``HalfMade.save``)."""

    def __call__(self, name: str, shape: tuple[int, ...], rows: Iterable[npt.NDArray[np.uint8]]) -> None:
        """Write ``name``: ``shape[0]`` uint8 arrays, each of shape ``shape[1:]``."""


class PreparedDataset(Dataset):
    """A dataset whose source is decoded once. Implement ``locate``, ``convert`` and ``assemble`` in place of ``load``.

    What was prepared serves equal options, the dataset's ``version`` and an unchanged source alone.
    """

    @abstractmethod
    def locate(self, data_root: Path) -> Source:
        """Find the source's files; reads none of them.

        Raises:
            LatentbenchError: missing (what, where to put it, its licence, how to get it).
        """

    @abstractmethod
    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        """Decode the source into arrays, telling ``progress``; returns what it counted.

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
        """Whether the source is there, and prepared as it stands; decodes nothing."""
        try:
            source = self.locate(data_root)
        except LatentbenchError as error:
            return Status(State.MISSING, note=str(error))
        shelves = self._shelves(source, data_root)
        for shelf in shelves:
            if prepared := shelf.read():
                return Status(State.PREPARED, source.folder, prepared.facts)
        outdated = any(shelf.has_others for shelf in shelves)
        return Status(State.OUTDATED if outdated else State.PRESENT, source.folder, {"files": len(source.files)})

    def verify(self, data_root: Path) -> str:
        """Decode the source again; it and the prepared arrays must have the hash of what was prepared."""
        source = self.locate(data_root)
        shelves = self._shelves(source, data_root)
        found = next(((shelf, prepared) for shelf in shelves if (prepared := shelf.read())), None)
        if found is None:
            raise LatentbenchError(
                f"dataset '{self.name}' is not prepared with these options as it now stands in {source.folder}",
                "prepare it, with `latentbench data prepare`",
            )
        shelf, prepared = found
        if content_hash(prepared.arrays) != prepared.content_hash:
            raise LatentbenchError(
                f"{shelf.folder} has changed since it was prepared",
                "delete it; the dataset is prepared again when it is next loaded",
            )
        with _to_write(shelves).half_made() as made:
            again = self._fill(made, source, data_root)
        if again.content_hash != prepared.content_hash:
            raise LatentbenchError(
                f"the files in {source.folder} no longer give what was prepared in {shelf.folder}",
                "if they are right, delete what was prepared; if not, put the published files back",
            )
        return self.assemble(prepared).split_hash

    def _prepared(self, data_root: Path) -> Prepared:
        source = self.locate(data_root)
        shelves = self._shelves(source, data_root)
        for shelf in shelves:
            if prepared := shelf.read():
                return prepared
        shelf = _to_write(shelves)
        why = " again, for its source, its version or what was prepared has changed" if shelf.has_others else ""
        log.warning("preparing dataset '%s'%s: %s into %s", self.name, why, source.folder, shelf.folder)
        with shelf.half_made() as made:
            self._fill(made, source, data_root)
            return shelf.put(made)

    def _fill(self, made: HalfMade, source: Source, data_root: Path) -> Prepared:
        """Decode the source into ``made``; it must not change meanwhile."""
        facts = self.convert(source, made.save)
        if self.locate(data_root).fingerprint != source.fingerprint:
            raise LatentbenchError(f"files in {source.folder} changed while they were read", "try again when they rest")
        about = {"dataset": self.name, "version": self.version, "options": self.config.model_dump(mode="json")}
        return made.describe(facts, about)

    def _shelves(self, source: Source, data_root: Path) -> list[Shelf]:
        """Where to look for what is prepared, in this order."""
        subject = digest([self.config.model_dump(mode="json"), source.folder.relative_to(data_root).as_posix()])
        state = digest([_FORMAT, self.version, source.fingerprint])
        return [Shelf(root, self.name, subject, state) for root in cache_roots(data_root)]


def _to_write(shelves: list[Shelf]) -> Shelf:
    """The first one that can be written, else the last, which then says why not."""
    return next((shelf for shelf in shelves if shelf.writable), shelves[-1])
