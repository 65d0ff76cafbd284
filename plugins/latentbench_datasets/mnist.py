"""MNIST on disk: found, verified, read through torchvision's class, and downloaded by it."""

import gzip
import hashlib
import http.client
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from latentbench import LatentbenchError
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets.digits import Digits

__all__ = ["CITATION", "LICENCE", "SOURCE", "download", "read"]

LICENCE = "CC BY-SA 3.0"
CITATION = (
    "Y. LeCun, L. Bottou, Y. Bengio and P. Haffner: Gradient-based learning applied to document recognition. "
    "Proceedings of the IEEE 86(11):2278-2324, 1998"
)
SOURCE = "http://yann.lecun.com/exdb/mnist/ (torchvision.datasets.MNIST downloads it from a mirror)"

#: Where torchvision keeps the files, below a data root.
_FOLDER = Path("MNIST", "raw")
#: SHA-256 of each file once decompressed. The published MD5 sums, which torchvision knows, are of the compressed files.
_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def read(data_root: Path, dataset: str) -> tuple[Digits, Digits]:
    """Read MNIST from ``data_root/MNIST/raw``, where each file may be as published (``.gz``) or decompressed.

    Args:
        data_root: the folder that holds ``MNIST``.
        dataset: name of the dataset that is made of it, for the command that an error offers.

    Returns:
        The 60,000 training and the 10,000 test digits, each image (28, 28).

    Raises:
        LatentbenchError: a file is missing, unreadable or not the published one.
    """
    mnist = import_torchvision().datasets.MNIST
    published = _published(mnist)
    raw = data_root / _FOLDER
    if missing := _missing(raw):
        raise LatentbenchError(
            f"MNIST is not complete in {raw}: missing {', '.join(missing)}",
            f"get it (licence {LICENCE}) with `{_command(dataset, data_root)}`, or put the four published files there, "
            "as they are (.gz) or decompressed",
        )
    # The class trusts the files that it finds, and prefers an old version's: it is shown nothing but verified bytes.
    with TemporaryDirectory(prefix="latentbench-mnist-") as folder:
        for name in _SHA256:
            copy = Path(folder, _FOLDER, name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(_verified(raw / name, published[name], _command(dataset, data_root)))
        return _digits(mnist(folder, train=True)), _digits(mnist(folder, train=False))


def download(data_root: Path, dataset: str) -> None:
    """Put MNIST into ``data_root/MNIST/raw`` unless it is there: torchvision downloads it and checks its MD5 sums.

    Raises:
        LatentbenchError: the download failed, the folder cannot be written, or a file that was there is corrupt.
    """
    mnist = import_torchvision().datasets.MNIST
    raw = data_root / _FOLDER
    if _missing(raw):
        try:
            mnist(data_root, download=True)
        except (RuntimeError, OSError, http.client.HTTPException) as error:
            raise LatentbenchError(
                f"cannot download MNIST into {raw} ({' '.join(str(error).split())})",
                "check the network and that the folder can be written, or put the four published files there by hand",
            ) from error
    published = _published(mnist)
    for name in _SHA256:
        _verified(raw / name, published[name], _command(dataset, data_root))


def _published(mnist: Any) -> dict[str, str]:
    """MD5 of each compressed file, as torchvision's class has it, by the name of the decompressed one."""
    return {name.removesuffix(".gz"): md5 for name, md5 in mnist.resources}


def _missing(raw: Path) -> list[str]:
    return [f"{name}(.gz)" for name in _SHA256 if not ((raw / name).is_file() or (raw / f"{name}.gz").is_file())]


def _verified(path: Path, published_md5: str, command: str) -> bytes:
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
        kind, expected, found = "SHA-256", _SHA256[path.name], hashlib.sha256(content).hexdigest()
    if found != expected:
        raise LatentbenchError(
            f"{path} is corrupt or cut short ({len(content):,} bytes; {kind} expected {expected}, found {found})",
            f"delete it and run `{command}`",
        )
    return gzip.decompress(content) if compressed else content


def _digits(loaded: Any) -> Digits:
    return Digits(loaded.data, loaded.targets)


def _command(dataset: str, data_root: Path) -> str:
    return f"latentbench data prepare {dataset} --data-root {data_root}"
