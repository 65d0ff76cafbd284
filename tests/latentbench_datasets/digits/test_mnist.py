import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from latentbench import Data, LatentbenchError, Role, StoredSplit
from latentbench.testing import check_dataset
from latentbench_datasets.digits import mnist as labelled_mnist
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.digits.mnist import Mnist


def load(data_root: Path, **options: Any) -> Data:
    return Mnist(Mnist.Config.parse(options, "dataset 'mnist'")).load(data_root)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> tuple[Digits, Digits]:
    """60 training and 20 test digits stand for MNIST's; the first 50 are trained on."""
    draw = torch.Generator().manual_seed(0)
    digits = tuple(
        Digits(
            torch.randint(256, (count, 28, 28), generator=draw, dtype=torch.uint8),
            torch.randint(10, (count,), generator=draw),
        )
        for count in (60, 20)
    )
    monkeypatch.setattr(mnist, "read", lambda data_root, dataset: digits)
    monkeypatch.setattr(labelled_mnist, "_TRAINED_ON", 50)
    return digits[0], digits[1]


@pytest.mark.parametrize("image_size", [28, 32])
def test_it_keeps_what_a_dataset_promises(small: tuple[Digits, Digits], image_size: int, tmp_path: Path) -> None:
    check_dataset(Mnist, tmp_path, options={"image_size": image_size})


def test_every_digit_is_in_one_split_with_its_label(small: tuple[Digits, Digits], tmp_path: Path) -> None:
    data = load(tmp_path)
    train, test = small
    parts = {"train": (train, slice(0, 50)), "validation": (train, slice(50, 60)), "test": (test, slice(0, 20))}
    assert {name: split.role for name, split in data.splits.items()} == {
        "train": Role.TRAIN,
        "validation": Role.VALIDATION,
        "test": Role.TEST,
    }
    assert data.info.attributes == {"digit": 10}
    for name, (digits, part) in parts.items():
        assert torch.equal(stored(data, name).images, digits.images[part, None])
        np.testing.assert_array_equal(stored(data, name).targets.attributes["digit"], digits.labels[part].numpy())


def test_at_32_pixels_the_digit_stands_in_the_middle_of_black(small: tuple[Digits, Digits], tmp_path: Path) -> None:
    data = load(tmp_path, image_size=32)
    assert data.info.image_shape == (1, 32, 32)
    images = stored(data, "test").images
    assert torch.equal(images[:, 0, 2:30, 2:30], small[1].images)
    assert int(images.sum()) == int(small[1].images.sum())  # and all else is black


def test_a_size_that_would_need_interpolation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LatentbenchError, match=r"dataset 'mnist': 'image_size': Input should be 28 or 32, got 64"):
        load(tmp_path, image_size=64)


def test_without_the_files_the_command_that_gets_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(LatentbenchError, match=r"latentbench data prepare mnist --data-root"):
        load(tmp_path)


def published(path: Path) -> npt.NDArray[np.uint8]:
    """The array in an idx file, read without the project."""
    content = gzip.decompress(path.read_bytes())
    dimensions = content[3]
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@pytest.mark.real
def test_the_real_splits_are_the_published_images_and_labels(data_root: Path) -> None:
    data, raw = load(data_root), data_root / "MNIST" / "raw"
    if not (raw / "train-images-idx3-ubyte.gz").is_file():
        pytest.skip(f"the files in {raw} are decompressed")
    images, labels = (published(raw / f"train-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1"))
    for name, part in {"train": slice(0, 50_000), "validation": slice(50_000, 60_000)}.items():
        split = stored(data, name)
        np.testing.assert_array_equal(split.images[:, 0].numpy(), images[part])
        np.testing.assert_array_equal(split.targets.attributes["digit"], labels[part])
    counts = np.bincount(stored(data, "test").targets.attributes["digit"])
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
