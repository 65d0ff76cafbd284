"""The kit passes datasets that keep their promises, and names the promise that a broken dataset really breaks."""

import numpy as np
import pytest
import torch

from latentbench import (
    Batch,
    Data,
    DataInfo,
    Dataset,
    IndexedSplit,
    LatentbenchError,
    Options,
    Role,
    Split,
    StoredSplit,
    Targets,
)
from latentbench.testing import check_dataset


class Embedded(Dataset):
    """Noise with every kind of target and two conditions; the hooks below are where the broken ones differ."""

    name = "noise"
    title, licence, citation, source = "Noise", "CC0-1.0", "none", "this file"

    class Config(Options):
        size: int = 20

    config: Config

    def load(self, data_root):
        splits = {str(role): self.split(role, number) for number, role in enumerate(Role)}
        return Data(self.info(), splits)

    def info(self):
        return DataInfo(1, 4, 6, self.config.size, {"side": 2})

    def split(self, role, number):
        return StoredSplit(role, self.images(number), Targets(**self.targets(number)), self.conditions(role))

    def images(self, number):
        draw = np.random.default_rng(number)
        return torch.from_numpy(draw.integers(0, 256, (self.config.size, 1, 4, 6)).astype(np.uint8))

    def targets(self, number):
        size = self.config.size
        return {
            "anomaly": (np.arange(size) % 2).astype(np.uint8),
            "mask": np.zeros((size, 4, 6), np.uint8),
            "mask_known": np.ones(size, bool),
            "attributes": {"side": np.arange(size) % 3 - 1},
        }

    def conditions(self, role):
        return {"even": np.ones(self.config.size), "odd": np.arange(self.config.size) % 2.0}


class FromFile(Embedded):
    def load(self, data_root):
        if not (data_root / "noise.bin").exists():
            raise LatentbenchError(f"dataset 'noise' is not in {data_root}", "make it")
        return super().load(data_root)


class Bytes(StoredSplit):
    """Images that are not brought from 0..255 to [0, 1]."""

    def batch(self, index, generator):
        return Batch(self.images[index].float())


class Declared(Embedded):
    """Its test split leaves [0, 1], and says so."""

    range_of_test = (0.0, 255.0)

    def split(self, role, number):
        split = super().split(role, number)
        if role is not Role.TEST:
            return split
        bright = Bytes(split.role, split.images, split.targets, split.conditions)
        bright.image_range = self.range_of_test
        return bright


class Composed(Split):
    """Training images drawn afresh from the generator."""

    role = Role.TRAIN
    content_hash = "composed"

    def __len__(self):
        return 20

    def to(self, device):
        return self

    def batch(self, index, generator):
        sides = torch.randint(2, (len(index),), generator=generator, device=index.device)
        images = torch.rand((len(index), 1, 4, 6), generator=generator, device=index.device)
        return Batch(images, {"side": sides})


class ComposedTraining(Embedded):
    def split(self, role, number):
        return Composed() if role is Role.TRAIN else super().split(role, number)


class Indexed(Embedded):
    """Its splits are of one array."""

    def split(self, role, number):
        images = torch.cat([self.images(number) for number in range(3)])
        rows = np.arange(number * self.config.size, (number + 1) * self.config.size)
        return IndexedSplit(role, images, rows, "hash", Targets(**self.targets(number)), self.conditions(role))


@pytest.mark.parametrize("dataset_class", [Embedded, FromFile, Declared, ComposedTraining, Indexed])
def test_a_dataset_that_keeps_its_promises_passes_with_a_line_for_each(dataset_class, tmp_path):
    (tmp_path / "noise.bin").touch()
    report = check_dataset(dataset_class, tmp_path)
    for name in ("validation", "test"):
        assert f"split '{name}': targets have the right length and range" in report


def test_options_can_be_given(tmp_path):
    check_dataset(Embedded, tmp_path, options={"size": 7})
    with pytest.raises(AssertionError, match="it loads: dataset 'noise' has no option 'sizes'"):
        check_dataset(Embedded, tmp_path, options={"sizes": 7})


class NoLicence(Embedded):
    licence = ""


class Fails(Embedded):
    def load(self, data_root):
        raise FileNotFoundError(2, "No such file", "noise.bin")


class RaisesWithoutFiles(Embedded):
    def load(self, data_root):
        (data_root / "noise.bin").read_bytes()
        return super().load(data_root)


class Leaks(Indexed):
    def split(self, role, number):
        split = super().split(role, number)
        split.rows[0] = 0
        return split


class Unseeded(Embedded):
    def images(self, number):
        return torch.from_numpy(np.random.default_rng().integers(0, 256, (20, 1, 4, 6)).astype(np.uint8))


class NoTest(Embedded):
    def load(self, data_root):
        data = super().load(data_root)
        return Data(data.info, {name: split for name, split in data.splits.items() if name != "test"})


class BadSplitName(Embedded):
    def load(self, data_root):
        data = super().load(data_root)
        return Data(data.info, {name.replace("test", "test/far"): split for name, split in data.splits.items()})


class ValidatesOnTest(Embedded):
    def images(self, number):
        return super().images(min(number, 1))


class WrongSize(Embedded):
    def info(self):
        return DataInfo(1, 4, 6, 21, {"side": 2})


class WrongShape(Embedded):
    def info(self):
        return DataInfo(1, 6, 4, 20, {"side": 2})


class UnknownAttribute(Embedded):
    def info(self):
        return DataInfo(1, 4, 6, 20, {"side": 2, "size": 3})


class FloatLabels(ComposedTraining):
    def split(self, role, number):
        class Floats(Composed):
            def batch(self, index, generator):
                batch = super().batch(index, generator)
                return Batch(batch.images, {"side": batch.attributes["side"].float()})

        return Floats() if role is Role.TRAIN else super().split(role, number)


class IgnoresGenerator(ComposedTraining):
    def split(self, role, number):
        class Ignoring(Composed):
            def batch(self, index, generator):
                return super().batch(index, torch.Generator().manual_seed(torch.seed()))

        return Ignoring() if role is Role.TRAIN else super().split(role, number)


class BrokenTest(Embedded):
    """Breaks one thing, and in the test split alone."""

    def split(self, role, number):
        return self.broken(super().split(role, number)) if role is Role.TEST else super().split(role, number)

    def broken(self, split):
        raise NotImplementedError


class NotScaled(BrokenTest):
    def broken(self, split):
        return Bytes(split.role, split.images, split.targets, split.conditions)


class Augmented(StoredSplit):
    def batch(self, index, generator):
        images = super().batch(index, generator).images
        return Batch(images * torch.rand((), generator=generator))


class DeclaredTooNarrowly(Declared):
    range_of_test = (0.0, 9.0)


class ValidatesOutside(Embedded):
    def split(self, role, number):
        split = super().split(role, number)
        split.image_range = (0.0, 1.0) if role is not Role.VALIDATION else (0.0, 3.0)
        return split


class NotFixed(BrokenTest):
    def broken(self, split):
        return Augmented(split.role, split.images, split.targets, split.conditions)


def with_targets(**changes):
    class Changed(BrokenTest):
        def broken(self, split):
            targets = Targets(**{**vars(split.targets), **changes})
            return StoredSplit(split.role, split.images, targets, split.conditions)

    return Changed


def with_condition(weights):
    class Changed(BrokenTest):
        def broken(self, split):
            return StoredSplit(split.role, split.images, split.targets, {"uneven": np.array(weights)})

    return Changed


@pytest.mark.parametrize(
    ("dataset_class", "line"),
    [
        (NoLicence, "it can be offered*needs a licence"),
        (Fails, "it loads: FileNotFoundError"),
        (RaisesWithoutFiles, "without its files it raises a LatentbenchError that says so: FileNotFoundError"),
        (Unseeded, "it loads the same splits each time: split 'train' has two content hashes"),
        (NoTest, "it has a test split*there is none"),
        (BadSplitName, "splits' names fit into the names of values: 'test/far' has one of '/'"),
        (ValidatesOnTest, "no two splits are of the same images: 'validation' and 'test' are"),
        (Leaks, "no two splits are of the same images: 'train' and 'validation' share 1 images"),
        (WrongSize, "the training split is as long as it says*: it has 20 images, not 21"),
        (
            UnknownAttribute,
            "every attribute's labels: a batch has attributes ['side'], the dataset ['side', 'size']",
        ),
        (FloatLabels, "labels of 'side' are torch.float32, not int64"),
        (IgnoresGenerator, "with one generator's seed it gives two batches"),
        (NotScaled, "split 'test': images are fixed*images are in [*, 25"),
        (DeclaredTooNarrowly, "split 'test': images are fixed, float32 in [0, 9]*images are in [*, 25"),
        (ValidatesOutside, "only a test split says that its images leave [0, 1]: 'validation' says (0.0, 3.0)"),
        (NotFixed, "split 'test': images are fixed*an index does not always give the same image"),
        (with_targets(anomaly=np.zeros(19, np.uint8)), "split 'test': targets*'anomaly' has shape (19,), not (20,)"),
        (with_targets(anomaly=np.full(20, 255, np.uint8)), "'anomaly' has other values than 0 and 1"),
        (with_targets(mask=np.zeros((20, 6, 4), np.uint8)), "'mask' has shape (20, 6, 4), not (20, 4, 6)"),
        (with_targets(attributes={"side": np.full(20, 2)}), "labels of 'side' are not all in [0, 2)"),
        (with_targets(attributes={"size": np.zeros(20, np.int64)}), "attribute 'size' has no cardinality"),
        (with_targets(mask_known=np.ones(5, bool)), "'mask_known' has shape (5,), not (20,)"),
        (with_condition([1.0] * 19), "split 'test': conditions are weights*'uneven' has shape (19,), not (20,)"),
        (with_condition([1.0] * 19 + [-1.0]), "'uneven' has weights below 0 or not finite"),
        (with_condition([0.0] * 20), "'uneven' has no positive weight"),
    ],
)
def test_a_broken_promise_is_named(dataset_class, line, tmp_path):
    (tmp_path / "noise.bin").touch()
    with pytest.raises(AssertionError) as error:
        check_dataset(dataset_class, tmp_path)
    subject, *lines = str(error.value).splitlines()
    assert subject == "dataset 'noise' breaks what it promises"
    assert len(lines) == 1, lines
    position = 0
    for piece in line.split("*"):
        position = lines[0].index(piece, position) + len(piece)


class CpuGenerator(Composed):
    """Draws on the CPU and moves what it drew."""

    def batch(self, index, generator):
        images = torch.rand((len(index), 1, 4, 6), generator=generator)
        return Batch(images.to(index.device), {"side": torch.zeros_like(index)})


class StaysOnTheCpu(StoredSplit):
    def to(self, device):
        return self


class Waits(Composed):
    """Reads a number in every batch."""

    def batch(self, index, generator):
        assert index.max().item() < len(self)
        return super().batch(index, generator)


@pytest.mark.parametrize(
    ("training", "line"),
    [
        (CpuGenerator(), "RuntimeError: Expected a 'cpu' device type for generator but found 'sim'"),
        (Waits(), "there are 1 in a batch (item: 1)"),
        (None, "RuntimeError: Expected all tensors to be on the same device"),
    ],
    ids=["generator", "waits", "stays"],
)
def test_a_mistake_that_only_an_accelerator_shows_is_named(training, line, tmp_path):
    class Broken(Embedded):
        def split(self, role, number):
            split = super().split(role, number)
            if role is not Role.TRAIN:
                return split
            return training or StaysOnTheCpu(role, split.images, split.targets, split.conditions)

    with pytest.raises(AssertionError) as error:
        check_dataset(Broken, tmp_path)
    _, *lines = str(error.value).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"- split 'train': on an accelerator it gives the same batches there: {line}")


def test_all_broken_promises_are_named_together(tmp_path):
    with pytest.raises(AssertionError) as error:
        check_dataset(WrongShape, tmp_path)
    assert len(str(error.value).splitlines()) == 1 + 1 + 2 + 2  # training; images and masks of two splits
