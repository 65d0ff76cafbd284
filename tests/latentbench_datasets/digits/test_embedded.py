"""scikit-learn's digits, enlarged: against PyTorch's interpolation, and the split of the reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import interpolate

from latentbench import Data, LatentbenchError, StoredSplit
from latentbench.testing import check_dataset
from latentbench_datasets.digits.embedded import EmbeddedDigits, enlarged

NOWHERE = Path("nowhere")


def load(**options: Any) -> Data:
    return EmbeddedDigits(EmbeddedDigits.Config.parse(options, "dataset 'digits'")).load(NOWHERE)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


def labels(data: Data, name: str) -> list[int]:
    return data.splits[name].targets.attributes["digit"].tolist()


@pytest.mark.parametrize("options", [{}, {"image_size": 32, "validation": 137}])
def test_it_keeps_what_a_dataset_promises(options: dict[str, Any], tmp_path: Path) -> None:
    check_dataset(EmbeddedDigits, tmp_path, options=options)


@pytest.mark.parametrize("size", [28, 32])
def test_the_split_and_the_pixels_are_those_of_the_reference(size: int) -> None:
    source = load_digits()
    order = np.random.RandomState(0).permutation(1797)
    plain = torch.from_numpy(source.images / 16)[:, None]
    reference = 255 * interpolate(plain, (size, size), mode="bilinear", align_corners=False)[order]
    data = load(image_size=size)
    assert list(data.splits) == ["train", "test"]
    assert [len(split) for split in data.splits.values()] == [1437, 360]
    images = torch.cat([stored(data, name).images for name in data.splits])
    assert (images - reference).abs().max() <= 0.5 + 1e-9
    assert labels(data, "train") + labels(data, "test") == source.target[order].tolist()
    assert data.info.image_shape == (1, size, size)
    assert data.info.attributes == {"digit": 10}


def test_validation_takes_the_last_training_digits() -> None:
    whole, data = load(), load(validation=37)
    assert [len(split) for split in data.splits.values()] == [1400, 37, 360]
    assert labels(data, "train") + labels(data, "validation") == labels(whole, "train")
    kept = torch.cat([stored(data, "train").images, stored(data, "validation").images])
    assert torch.equal(kept, stored(whole, "train").images)
    assert data.splits["test"].content_hash == whole.splits["test"].content_hash


def test_enlarging_is_exact_and_keeps_flat_images_flat() -> None:
    flat = np.arange(17)[:, None, None] * np.ones((1, 8, 8), np.int64)
    expected = np.floor(np.arange(17) * 255 / 16 + 0.5)
    for size in (28, 32):
        np.testing.assert_array_equal(enlarged(flat, size), expected[:, None, None] * np.ones((1, size, size)))
    steps = np.tile(np.arange(0, 16, 2), (1, 8, 1))  # a ramp stays one, between the centres of its end pixels
    row = enlarged(steps, 32)[0, 0]
    ramp = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7) * 2 * 255 / 16
    np.testing.assert_array_equal(row, np.floor(ramp + 0.5))


@pytest.mark.parametrize(
    ("size", "split_hash"),
    [
        (28, "1e369eda0b3686014296fde6659e487c0851f58cd316d257bf8905f25425fd66"),
        (32, "21a8907dbb2a141ba6859f19c91469d2b96735d5befbb7c662623dda644a9271"),
    ],
)
def test_the_digits_are_the_same_on_every_machine(size: int, split_hash: str) -> None:
    assert load(image_size=size).split_hash == split_hash


@pytest.mark.parametrize("options", [{"image_size": 8}, {"validation": 1437}, {"validation": -1}])
def test_a_wrong_option_is_one_clear_line(options: dict[str, Any]) -> None:
    with pytest.raises(LatentbenchError, match=f"dataset 'digits': '{next(iter(options))}': Input should be"):
        load(**options)
