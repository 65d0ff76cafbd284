"""Data that cannot teach a model its attributes is refused before training, with a line that says why."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor

from latentbench import (
    MISSING,
    Batch,
    Data,
    DataInfo,
    Execution,
    LatentbenchError,
    Plugins,
    Role,
    RunSpec,
    Split,
    Store,
    StoredSplit,
    Targets,
    Task,
    execute,
    load_data,
)
from latentbench.running.supervision import check_supervision

CPU = torch.device("cpu")
LABELS = {"left": np.arange(64) % 2, "right": np.arange(64) // 2 % 2}
BINARY = {"left": 2, "right": 2}


def data(labels: Mapping[str, Any], attributes: Mapping[str, int] = BINARY) -> Data:
    images = torch.zeros(64, 1, 4, 8, dtype=torch.uint8)
    targets = Targets(attributes={name: np.asarray(values, dtype=np.int64) for name, values in labels.items()})
    return Data(DataInfo(1, 4, 8, 64, attributes), {"train": StoredSplit(Role.TRAIN, images, targets)})


class Composed(Split):
    """Draws its labels for every batch, and has no targets of its own."""

    role = Role.TRAIN
    content_hash = "composed"

    def __init__(self, values: int) -> None:
        self.values = values

    def __len__(self) -> int:
        return 5000

    def to(self, device: torch.device) -> Self:
        return self

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        assert len(index) <= 1000
        labels = torch.randint(self.values, (len(index),), generator=generator)
        return Batch(torch.zeros(len(index), 1, 4, 8), {"left": labels})


def test_labels_of_two_values_pass_even_if_most_are_missing() -> None:
    check_supervision("toy", data(LABELS), CPU)
    check_supervision("toy", data({**LABELS, "left": np.where(np.arange(64) < 62, MISSING, np.arange(64) % 2)}), CPU)


@pytest.mark.parametrize(
    ("labels", "attributes", "message"),
    [
        ({}, {}, "model 'toy' learns from attributes, and the dataset has none: choose a dataset that has"),
        (LABELS, {"left": 2, "right": 1}, "model 'toy' cannot learn attribute 'right' of 1 value: it takes two"),
        ({}, BINARY, "the training split has no labels of attribute 'left': choose a dataset that has"),
        ({"left": LABELS["left"]}, BINARY, "the training split has no labels of attribute 'right'"),
        (
            {**LABELS, "right": np.full(64, MISSING)}, BINARY,
            "every training label of attribute 'right' is missing: keep some of them",
        ),
        (
            {**LABELS, "left": np.where(np.arange(64) < 9, MISSING, 1)}, BINARY,
            "the training labels of attribute 'left' show one value, 1: it takes two to learn",
        ),
        (
            {**LABELS, "left": np.arange(64) % 3}, BINARY,
            "attribute 'left' has the training label 2: labels are 0 to 1, or -1 where one is missing",
        ),
        ({**LABELS, "left": np.arange(64) % 2 - 2}, BINARY, "attribute 'left' has the training label -2"),
    ],
)  # fmt: skip
def test_labels_that_teach_nothing_are_refused(
    labels: dict[str, Any], attributes: dict[str, int], message: str
) -> None:
    with pytest.raises(LatentbenchError, match="model 'toy'") as error:
        check_supervision("toy", data(labels, attributes), CPU)
    assert message in str(error.value)


def test_a_composed_split_is_judged_by_a_batch_and_leaves_the_random_numbers_of_training_alone() -> None:
    info = DataInfo(1, 4, 8, 5000, {"left": 2})
    state = torch.get_rng_state()
    check_supervision("toy", Data(info, {"train": Composed(2)}), CPU)
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(LatentbenchError, match="show one value, 0"):
        check_supervision("toy", Data(info, {"train": Composed(1)}), CPU)


def test_a_run_that_lacks_labels_fails_with_that_line_before_it_trains(tmp_path: Path) -> None:
    plugin = tmp_path / "unlabelled.py"
    plugin.write_text(PLUGIN)
    plugins = Plugins.load([plugin])
    spec = RunSpec(
        model="shift-base",
        model_version=1,
        config=plugins.get("models", "shift-base").value.Config().model_dump(mode="json"),
        dataset="unlabelled",
        dataset_version=1,
        options={},
        split_hash=load_data(plugins, "unlabelled", {}, tmp_path).split_hash,
        seed=0,
    )
    outcome = execute(Task(spec, Execution(out=tmp_path / "out", data_root=tmp_path)), plugins)
    assert outcome.status == "failed"
    assert outcome.message == (
        "model 'shift-base': every training label of attribute 'left' is missing: keep some of them"
    )
    record = Store(tmp_path / "out").read(spec)
    assert record is not None
    assert record.training is None


PLUGIN = '''
import numpy as np
import torch
from latentbench import Data, DataInfo, Dataset, Options, Role, StoredSplit, Targets, hookimpl


class Unlabelled(Dataset):
    """An attribute whose training labels are all missing."""

    name = "unlabelled"
    title, licence, citation, source = "Unlabelled", "CC0-1.0", "none", "this file"

    class Config(Options):
        pass

    def load(self, data_root):
        draw = np.random.default_rng(0)
        splits = {}
        for role in Role:
            images = torch.from_numpy(draw.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8))
            labels = np.full(20, -1) if role is Role.TRAIN else np.arange(20) % 2
            splits[str(role)] = StoredSplit(role, images, Targets(attributes={"left": labels}))
        return Data(DataInfo(1, 8, 8, 20, {"left": 2}), splits)


@hookimpl
def latentbench_datasets():
    return [Unlabelled]
'''
