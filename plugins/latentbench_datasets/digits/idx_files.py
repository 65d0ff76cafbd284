"""Images published as MNIST was, in four idx files: found, verified, read and downloaded by torchvision's class."""

import gzip
import hashlib
import http.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from latentbench import LatentbenchError, import_torchvision
from latentbench_datasets.digits.digits import Digits

__all__ = ["IdxFiles"]


@dataclass(frozen=True, eq=False)
class IdxFiles:
    """A set of images in the format of MNIST, of which torchvision has a class.

    The files lie in ``FOLDER/raw`` below a data root, as torchvision keeps them; FOLDER is the name of its class.
    """

    title: str
    """How errors call it."""
    torchvision_name: str
    """Of torchvision's class, and so of the folder."""
    licence: str
    sha256: Mapping[str, str]
    """Of each file once decompressed. The published MD5 sums, which torchvision knows, are of the compressed files."""

    def read(self, data_root: Path, dataset: str) -> tuple[Digits, Digits]:
        """Read the set from below ``data_root``, where each file may be as published (``.gz``) or decompressed.

        Args:
            data_root: the folder that holds the set's.
            dataset: name of the dataset that is made of it, for the command that an error offers.

        Returns:
            The 60,000 training and the 10,000 test images, each (28, 28), with their classes.

        Raises:
            LatentbenchError: a file is missing, unreadable or not the published one.
        """
        raw = data_root / self._folder
        if missing := self._missing(raw):
            raise LatentbenchError(
                f"{self.title} is not complete in {raw}: missing {', '.join(missing)}",
                f"get it (licence {self.licence}) with `{_command(dataset, data_root)}`, or put the four published "
                "files there, as they are (.gz) or decompressed",
            )
        # The class trusts the files that it finds, and prefers an old version's: it is shown only verified bytes.
        with TemporaryDirectory(prefix="latentbench-idx-") as folder:
            for name, content in self._verified(data_root, dataset).items():
                copy = Path(folder, self._folder, name)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
            loaded = [self._class(folder, train=train) for train in (True, False)]
        train, test = (Digits(part.data, part.targets) for part in loaded)
        return train, test

    def download(self, data_root: Path, dataset: str) -> None:
        """Put the set below ``data_root`` unless it is there: torchvision downloads it and checks its MD5 sums.

        Raises:
            LatentbenchError: the download failed, the folder cannot be written, or a file that was there is corrupt.
        """
        raw = data_root / self._folder
        if self._missing(raw):
            try:
                self._class(data_root, download=True)
            except (RuntimeError, OSError, http.client.HTTPException) as error:
                raise LatentbenchError(
                    f"cannot download {self.title} into {raw} ({' '.join(str(error).split())})",
                    "check the network and that the folder can be written, or put the four published files there by "
                    "hand",
                ) from error
        self._verified(data_root, dataset)

    @property
    def _class(self) -> Any:
        return getattr(import_torchvision().datasets, self.torchvision_name)

    @property
    def _folder(self) -> Path:
        return Path(self.torchvision_name, "raw")

    def _missing(self, raw: Path) -> list[str]:
        return [
            f"{name}(.gz)" for name in self.sha256 if not ((raw / name).is_file() or (raw / f"{name}.gz").is_file())
        ]

    def _verified(self, data_root: Path, dataset: str) -> dict[str, bytes]:
        """Each file's decompressed bytes, if they are the published ones."""
        published = {name.removesuffix(".gz"): md5 for name, md5 in self._class.resources}
        return {
            name: _checked(data_root / self._folder / name, published[name], sha256, _command(dataset, data_root))
            for name, sha256 in self.sha256.items()
        }


def _checked(path: Path, published_md5: str, sha256: str, command: str) -> bytes:
    """The bytes of ``path``, or else those of ``path.gz`` decompressed, if they are the published ones."""
    compressed = not path.is_file()
    if compressed:
        path = path.with_name(f"{path.name}.gz")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read {path}: {error.strerror}") from error
    if compressed:
        kind, expected, found = "MD5", published_md5, hashlib.md5(content, usedforsecurity=False).hexdigest()
    else:
        kind, expected, found = "SHA-256", sha256, hashlib.sha256(content).hexdigest()
    if found != expected:
        raise LatentbenchError(
            f"{path} is corrupt or cut short ({len(content):,} bytes; {kind} expected {expected}, found {found})",
            f"delete it and run `{command}`",
        )
    return gzip.decompress(content) if compressed else content


def _command(dataset: str, data_root: Path) -> str:
    return f"latentbench data prepare {dataset} --data-root {data_root}"
