"""Datasets as plugins: their metadata, how they are loaded, and their state in a data root."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from latentbench.config import Options
from latentbench.data.pictures import read_picture
from latentbench.data.splits import Data, DataInfo
from latentbench.errors import LatentbenchError

__all__ = ["Dataset", "State", "Status"]


class State(StrEnum):
    """How far a dataset is from being loaded."""

    MISSING = "missing"
    """What it reads is missing, or is damaged or incomplete."""
    PRESENT = "present"
    """What it reads is there. Nothing is prepared yet, or nothing has to be."""
    OUTDATED = "outdated"
    """Prepared from another source or by another version: it is prepared again when it is loaded."""
    PREPARED = "prepared"
    """Ready: it loads from what was prepared."""


@dataclass(frozen=True)
class Status:
    """What is known of a dataset in a data root."""

    state: State
    folder: Path | None = None
    """Where it looks; None if it does not say."""
    facts: Mapping[str, int] = field(default_factory=dict)
    """Counts of what was found: {"train images": 320, "masks missing": 0}."""
    note: str = ""
    """One line: what is missing or wrong and how to mend it, or a remark."""


class Dataset(ABC):
    """A dataset as a plugin. Subclass it, set the class attributes, and implement ``load``."""

    name: ClassVar[str]
    """How boards and the command line call it."""
    version: ClassVar[int] = 1
    """Raise it when the same options give other images, targets or splits."""
    title: ClassVar[str]
    licence: ClassVar[str]
    citation: ClassVar[str]
    source: ClassVar[str]
    """Where it comes from: a URL, or the package that ships it."""

    redistributable: ClassVar[bool] = False
    """Whether pictures that show its images may be published with a record: its licence decides."""

    class Config(Options):
        """Options of the dataset; subclass it in the plugin."""

    config: Options

    def __init__(self, config: Options | None = None) -> None:
        self.config = config if config is not None else self.Config()
        #: Called with (done, total) during a long ``load``, ``prepare`` or ``verify``. Set it on the object.
        self.progress: Callable[[int, int], None] = lambda done, total: None

    @abstractmethod
    def load(self, data_root: Path) -> Data:
        """Read the dataset from ``data_root`` (a folder with a sub-folder for each source) and make its splits.

        It downloads nothing.

        Raises:
            LatentbenchError: files are missing (the message says which, where to put them, their licence, and the
                command that gets them) or corrupt.
        """

    def prepare(self, data_root: Path) -> None:
        """Put what ``load`` reads into ``data_root``, by download if necessary. Embedded data needs nothing."""

    def read_picture(self, path: Path, info: DataInfo) -> npt.NDArray[np.uint8]:
        """A picture file of the user's own, made as the dataset's images are, for `latentbench score`.

        The default takes 8 bits a channel, converts colours to grey where the dataset is grey, and resizes. Override it
        where the dataset's files are cut or scaled otherwise.

        Args:
            path: the file.
            info: of the dataset.

        Returns:
            (C, H, W), 0..255 for 0..1.

        Raises:
            LatentbenchError: the file cannot be read, or not without guessing.
        """
        return read_picture(path, info.image_shape)

    def status(self, data_root: Path) -> Status:
        """What is there, and what is missing. The default loads the dataset; override it if loading is slow."""
        try:
            data = self.load(data_root)
        except LatentbenchError as error:
            return Status(State.MISSING, note=str(error))
        return Status(State.PRESENT, facts={f"{name} images": len(split) for name, split in data.splits.items()})

    def caches(self, data_root: Path) -> Sequence[Path]:
        """Folders with what was prepared of the dataset in any options; `latentbench data clean` empties them."""
        return ()

    def verify(self, data_root: Path) -> str:
        """Check all that ``load`` depends on, by default with the checks that ``load`` makes.

        Returns:
            The split hash of the data, which records carry.

        Raises:
            LatentbenchError: missing, corrupt, or not what was prepared.
        """
        return self.load(data_root).split_hash
