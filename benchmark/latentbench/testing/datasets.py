"""Conformance of a dataset: it is loaded twice, and its splits, targets and conditions are checked."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentbench.data.dataset import Dataset
from latentbench.data.splits import MISSING, Data, IndexedSplit, Role, Split, StoredSplit
from latentbench.errors import LatentbenchError
from latentbench.plugins.contracts import KINDS
from latentbench.testing.on_device import check_data_on_device
from latentbench.testing.promises import Promises, expect

__all__ = ["check_dataset"]

_AT_ONCE = 500


def check_dataset(
    dataset_class: type[Dataset], data_root: Path, *, options: Mapping[str, Any] | None = None
) -> list[str]:
    """Check that a dataset fulfils its contract.

    It can be registered, and it loads with the same content each time. Without its files it raises a LatentbenchError.
    It has a test split, and no two splits share images. Images have the declared shape and are float32 in [0, 1], or in
    the range that a test split declares; validation and test images are fixed. Targets and conditions have the right
    length and range. On a simulated accelerator its splits give the same batches, with generators of that device.

    Args:
        dataset_class: the dataset.
        data_root: the folder that ``Dataset.load`` reads from.
        options: options of the dataset that differ from its defaults.

    Returns:
        What was checked, one line per promise.

    Raises:
        AssertionError: promises are broken; one line for each.
    """
    promises = Promises(f"dataset '{getattr(dataset_class, 'name', dataset_class)}'")
    with promises.that("it can be offered: name, version, Config, title, licence, citation, source", vital=True):
        KINDS["datasets"].name(dataset_class)
    with promises.that("it loads", vital=True):
        config = dataset_class.Config.parse(options or {}, f"dataset '{dataset_class.name}'")
        data = dataset_class(config).load(data_root)
    with promises.that("it loads the same splits each time"):
        again = dataset_class(config).load(data_root)
        for name in {**data.splits, **again.splits}:
            expect(name in data.splits and name in again.splits, f"split '{name}' is not always there")
            hashes = {found.splits[name].content_hash for found in (data, again)}
            expect(len(hashes) == 1, f"split '{name}' has two content hashes")
    with (
        promises.that("without its files it raises a LatentbenchError that says so"),
        tempfile.TemporaryDirectory() as empty,
        suppress(LatentbenchError),
    ):
        dataset_class(config).load(Path(empty))  # embedded data needs no files
    with promises.that("it has a test split, and splits' names fit into the names of values"):
        expect(any(split.role is Role.TEST for split in data.splits.values()), "there is none")
        for name in data.splits:
            expect(bool(name) and not set(name) & set("/@[] "), f"'{name}' has one of '/', '@', '[', ']' and blank")
    with promises.that("no two splits are of the same images"):
        stored = {name: split.images for name, split in data.splits.items() if isinstance(split, StoredSplit)}
        for (one, images), (other, others) in combinations(stored.items(), 2):
            expect(not torch.equal(images, others), f"'{one}' and '{other}' are")
        indexed = {name: split for name, split in data.splits.items() if isinstance(split, IndexedSplit)}
        for (one, first), (other, second) in combinations(indexed.items(), 2):
            shared = first.images_hash == second.images_hash and np.intersect1d(first.rows, second.rows).size
            expect(not shared, f"'{one}' and '{other}' share {shared} images")
    with promises.that("only a test split says that its images leave [0, 1]"):
        for name, split in data.splits.items():
            expect(split.role is Role.TEST or split.image_range == (0, 1), f"'{name}' says {split.image_range}")
    with promises.that("the training split is as long as it says, and gives every attribute's labels"):
        expect(len(data.train) == data.info.train_size, f"it has {len(data.train)} images, not {data.info.train_size}")
        _check_training(data)
    for name, split in data.splits.items():
        if split.role is not Role.TRAIN:
            low, high = split.image_range
            with promises.that(
                f"split '{name}': images are fixed, float32 in [{low:g}, {high:g}], as large as it says"
            ):
                _check_images(split, data)
            with promises.that(f"split '{name}': targets have the right length and range"):
                _check_targets(split, data)
            with promises.that(f"split '{name}': conditions are weights of its images"):
                _check_conditions(split)
    if not promises.broken:
        check_data_on_device(promises, data)
    return promises.kept()


def _check_training(data: Data) -> None:
    index = torch.arange(min(len(data.train), _AT_ONCE))
    batch = data.train.batch(index, torch.Generator().manual_seed(0))
    _check_batch(batch.images, len(index), data, (0, 1))
    expect(
        set(batch.attributes) == set(data.info.attributes),
        f"a batch has attributes {sorted(batch.attributes)}, the dataset {sorted(data.info.attributes)}",
    )
    for name, labels in batch.attributes.items():
        expect(labels.shape == (len(index),), f"labels of '{name}' have shape {tuple(labels.shape)}")
        expect(labels.dtype == torch.int64, f"labels of '{name}' are {labels.dtype}, not int64")
        _check_labels(name, labels.numpy(), data)
    same = data.train.batch(index, torch.Generator().manual_seed(0))
    expect(torch.equal(batch.images, same.images), "with one generator's seed it gives two batches")


def _check_batch(images: torch.Tensor, count: int, data: Data, image_range: tuple[float, float]) -> None:
    expected = (count, *data.info.image_shape)
    expect(tuple(images.shape) == expected, f"images have shape {tuple(images.shape)}, not {expected}")
    expect(images.dtype == torch.float32, f"images are {images.dtype}, not float32")
    low, high = float(images.min()), float(images.max())
    least, greatest = image_range
    expect(least <= low and high <= greatest, f"images are in [{low:g}, {high:g}]")


def _check_images(split: Split, data: Data) -> None:
    expect(len(split) > 0, "it has none")
    for index in torch.split(torch.arange(len(split)), _AT_ONCE):
        images = split.batch(index, torch.Generator().manual_seed(0)).images
        _check_batch(images, len(index), data, split.image_range)
        backwards = split.batch(index.flip(0), torch.Generator().manual_seed(1)).images
        expect(torch.equal(images, backwards.flip(0)), "an index does not always give the same image")


def _check_targets(split: Split, data: Data) -> None:
    targets, size = split.targets, len(split)
    shapes = {"anomaly": (size,), "mask": (size, data.info.height, data.info.width), "mask_known": (size,)}
    for name, shape in shapes.items():
        values = getattr(targets, name)
        if values is not None:
            expect(values.shape == shape, f"'{name}' has shape {values.shape}, not {shape}")
            expect(bool(np.isin(values, (0, 1)).all()), f"'{name}' has other values than 0 and 1")
    for name, labels in targets.attributes.items():
        expect(name in data.info.attributes, f"attribute '{name}' has no cardinality")
        expect(labels.shape == (size,), f"labels of '{name}' have shape {labels.shape}, not {(size,)}")
        _check_labels(name, labels, data)


def _check_labels(name: str, labels: np.ndarray[Any, np.dtype[np.int64]], data: Data) -> None:
    known = labels[labels != MISSING]
    cardinality = data.info.attributes[name]
    expect(bool(((known >= 0) & (known < cardinality)).all()), f"labels of '{name}' are not all in [0, {cardinality})")


def _check_conditions(split: Split) -> None:
    for name, weights in split.conditions.items():
        expect(weights.shape == (len(split),), f"'{name}' has shape {weights.shape}, not {(len(split),)}")
        expect(bool(np.isfinite(weights).all() and (weights >= 0).all()), f"'{name}' has weights below 0 or not finite")
        expect(bool(weights.sum() > 0), f"'{name}' has no positive weight")
