"""Small idx files that stand for the published ones of MNIST, Fashion-MNIST, KMNIST or notMNIST."""

import gzip
import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from latentbench.torchvision_compat import import_torchvision

TRAIN_IMAGES, TRAIN_LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
TEST_IMAGES, TEST_LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """An array in the idx format: two zero bytes, the type's code, the number of dimensions, each size, the data."""
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


class Published:
    """The files of a set, with random images and labels.

    Args:
        files: the set's ``IdxFiles``.
        train: number of training images.
        test: number of test images.
    """

    def __init__(self, files: Any, train: int, test: int) -> None:
        random = np.random.default_rng(len(files.title))
        arrays = {
            TRAIN_IMAGES: random.integers(0, 256, (train, 28, 28), dtype=np.uint8),
            TRAIN_LABELS: random.integers(0, 10, train, dtype=np.uint8),
            TEST_IMAGES: random.integers(0, 256, (test, 28, 28), dtype=np.uint8),
            TEST_LABELS: random.integers(0, 10, test, dtype=np.uint8),
        }
        self.arrays = {name: array for name, array in arrays.items() if name in files.sha256}
        self.plain = {name: idx(array) for name, array in self.arrays.items()}
        self.packed = {name: gzip.compress(content, mtime=0) for name, content in self.plain.items()}
        self.files = files
        self.sha256 = {name: hashlib.sha256(content).hexdigest() for name, content in self.plain.items()}
        self.md5 = [(f"{name}.gz", hashlib.md5(content).hexdigest()) for name, content in self.packed.items()]
        self.torchvision_class = getattr(import_torchvision().datasets, files.torchvision_name, None)

    def raw(self, data_root: Path) -> Path:
        """Where the files belong."""
        return data_root / self.files.torchvision_name / "raw"

    def put(self, data_root: Path, packed: Callable[[str], bool] = lambda name: True) -> Path:
        """Write each file, as published or decompressed, and return their folder."""
        raw = self.raw(data_root)
        raw.mkdir(parents=True)
        for name in self.plain:
            if packed(name):
                (raw / f"{name}.gz").write_bytes(self.packed[name])
            else:
                (raw / name).write_bytes(self.plain[name])
        return raw

    def assert_equal(self, read: tuple[Any, Any]) -> None:
        for digits, images, labels in zip(read, (TRAIN_IMAGES, TEST_IMAGES), (TRAIN_LABELS, TEST_LABELS), strict=True):
            np.testing.assert_array_equal(digits.images.numpy(), self.arrays[images])
            np.testing.assert_array_equal(digits.labels.numpy(), self.arrays[labels])
            assert digits.images.dtype == torch.uint8
            assert digits.labels.dtype == torch.int64


@pytest.fixture
def publish(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Published]:
    """Takes a module such as ``mnist_files``: from then on, small files are the published ones to it."""

    def publish(module: Any, train: int = 30, test: int = 10) -> Published:
        published = Published(module.FILES, train, test)
        for name, sha256 in published.sha256.items():
            monkeypatch.setitem(module.FILES.sha256, name, sha256)
        if published.torchvision_class:
            monkeypatch.setattr(published.torchvision_class, "resources", published.md5)
        return published

    return publish


@pytest.fixture
def skip_without(data_root: Path) -> Callable[[Any], None]:
    """Takes a module such as ``mnist_files``: skips the test where the real files of that are not."""

    def skip_without(module: Any) -> None:
        raw = data_root / module.FILES.torchvision_name / "raw"
        if not raw.is_dir():
            pytest.skip(f"no real {module.FILES.title}: no {raw}")

    return skip_without
