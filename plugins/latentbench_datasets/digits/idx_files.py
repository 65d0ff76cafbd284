"""Images published as MNIST was, in idx files: found, verified, read, and downloaded where torchvision can do it."""

import gzip
import hashlib
import http.client
import shlex
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentbench import LatentbenchError, import_torchvision
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.links import refuse_broken_links

__all__ = ["IdxFiles"]


@dataclass(frozen=True, eq=False)
class IdxFiles:
    """A set of images in the format of MNIST.

    The files lie in ``FOLDER/raw`` below a data root, as torchvision keeps them.
    """

    title: str
    """The name that errors use."""
    torchvision_name: str
    """The folder; where torchvision has a class for the set, it is the name of that class."""
    licence: str
    sha256: Mapping[str, str]
    """The SHA-256 sum of each decompressed file.

    A set that only serves as anomalies has no more than its two test files.
    """
    by_hand: str = ""
    """Where to get the files, if torchvision has no class that downloads them."""

    def read(self, data_root: Path, dataset: str) -> tuple[Digits, Digits]:
        """Read the set from below ``data_root``, where each file may be as published (``.gz``) or decompressed.

        Args:
            data_root: the folder that holds the set's.
            dataset: name of the dataset that is made of it, for the command that an error offers; its options may
                follow, as the command takes them.

        Returns:
            The 60,000 training and the 10,000 test images, each (28, 28), with their classes.

        Raises:
            LatentbenchError: a file is missing, unreadable or not the published one.
        """
        files = self._complete(data_root, dataset)
        return _digits(files, "train"), _digits(files, "t10k")

    def read_test(self, data_root: Path, dataset: str) -> Digits:
        """The 10,000 test images alone, with their classes; otherwise as ``read``."""
        return _digits(self._complete(data_root, dataset), "t10k")

    def download(self, data_root: Path, dataset: str) -> None:
        """Put the set below ``data_root`` unless it is there: torchvision downloads it and checks its MD5 sums.

        Raises:
            LatentbenchError: the download failed, the folder cannot be written, a file that was there is corrupt, or
                the files are missing and have to be got by hand.
        """
        raw = data_root / self._folder
        if self._missing(raw) and not self.by_hand:
            try:
                self._class(data_root, download=True)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                raise LatentbenchError(
                    f"cannot download {self.title} into {raw} ({' '.join(str(error).split())})",
                    f"check the network and that the folder can be written, or put the {self._count} published files "
                    "there by hand",
                ) from error
        self._complete(data_root, dataset)

    @property
    def _class(self) -> Any:
        return getattr(import_torchvision().datasets, self.torchvision_name)

    @property
    def _folder(self) -> Path:
        return Path(self.torchvision_name, "raw")

    @property
    def _count(self) -> str:
        return {2: "two", 4: "four"}[len(self.sha256)]

    def _missing(self, raw: Path) -> list[str]:
        return [
            f"{name}(.gz)" for name in self.sha256 if not ((raw / name).is_file() or (raw / f"{name}.gz").is_file())
        ]

    def _complete(self, data_root: Path, dataset: str) -> dict[str, bytes]:
        """Each file's decompressed bytes, if all are there and are the published ones."""
        raw = data_root / self._folder
        command = f"latentbench data prepare {dataset} --data-root {shlex.quote(str(data_root))}"
        if missing := self._missing(raw):
            refuse_broken_links(raw / name for missed in self.sha256 for name in (missed, f"{missed}.gz"))
            get = f"from {self.by_hand}" if self.by_hand else f"with `{command}`"
            raise LatentbenchError(
                f"{self.title} is not complete in {raw}: missing {', '.join(missing)}",
                f"get it (licence {self.licence}) {get}, or put the {self._count} published files there, as they are "
                "(.gz) or decompressed",
            )
        again = f"get it again from {self.by_hand}" if self.by_hand else f"run `{command}`"
        return {
            name: _checked(raw / name, sha256, f"move it elsewhere and {again}") for name, sha256 in self.sha256.items()
        }


def _checked(path: Path, sha256: str, mend: str) -> bytes:
    """The bytes of ``path``, or else those of ``path.gz`` decompressed, if they are the published ones.

    How they are compressed does not matter.
    """
    compressed = not path.is_file()
    if compressed:
        path = path.with_name(f"{path.name}.gz")
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from error
    damaged = f"{path} is corrupt or cut short ({len(stored):,} bytes; "
    try:
        content = gzip.decompress(stored) if compressed else stored
    except (OSError, EOFError, zlib.error) as error:
        raise LatentbenchError(f"{damaged}{error})", mend) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        what = "SHA-256 of what it compresses" if compressed else "SHA-256"
        raise LatentbenchError(f"{damaged}{what} expected {sha256}, found {found})", mend)
    return content


def _digits(files: Mapping[str, bytes], part: str) -> Digits:
    """The images and classes of one part, from the bytes of its two files."""
    images, labels = (_array(files[f"{part}-{kind}-ubyte"]) for kind in ("images-idx3", "labels-idx1"))
    return Digits(images, labels.to(torch.int64))


def _array(content: bytes) -> Tensor:
    """A verified file's array: two zero bytes, 8 for uint8, the number of dimensions, each size, then the values."""
    sizes = np.frombuffer(content, ">u4", count=content[3], offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * len(sizes))
    return torch.from_numpy(values.reshape(sizes.tolist()).copy())
