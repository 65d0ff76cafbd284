"""A board's typos and a dataset's faults are told at planning, before anything is run."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbench.boards.board import Board, load_board
from latentbench.data.splits import Data, DataInfo, IndexedSplit, Role, Split, StoredSplit, Targets
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.running.asked import check_data, check_nulls, warn_of_shared_images
from latentbench.running.plan import parse_override, plan

INFO = DataInfo(1, 8, 8, 60, {"side": 2})


@pytest.fixture
def plugins(toys: Path) -> Plugins:
    return Plugins.load([toys])


def board(folder: Path, text: str) -> Board:
    path = folder / "typos.yaml"
    path.write_text(f"name: typos\ntitle: Typos\nmodels: [pca]\n{text}\n")
    return load_board(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "datasets: [toy-blobs]\nrank: aurok@test",
            r"typos.yaml:5: 'aurok@test': unknown metric 'aurok': did you mean 'auroc'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@test\ncolumns: [auprc@test, acuracy@test]",
            r"typos.yaml:6: .*unknown metric 'acuracy': did you mean 'accuracy'",
        ),
        (
            "datasets: [{name: toy-blobs, rank: f1max@test}]\nrank: auroc@test",
            r"typos.yaml:4: .*unknown metric 'f1max'",
        ),
        (
            "datasets: [toy-blobs]\nrank:\n  - auroc@test\n  - aupro3@test",
            r"typos.yaml:7: 'aupro3@test': unknown metric 'aupro3': did you mean 'aupro30'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@tset",
            r"typos.yaml:5: 'auroc@tset': dataset 'toy-blobs' has no validation or test split 'tset': .*'test'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@test\ncolumns: [accuracy@train]",
            r"typos.yaml:6: .*has no validation or test split 'train'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@test/shifted",
            r"typos.yaml:5: .*dataset 'toy-blobs' has no condition 'shifted' in split 'test'",
        ),
        (
            "datasets: [toy-blobs]\nrank: accuracy[sde]@test",
            r"typos.yaml:5: .*dataset 'toy-blobs' has no 'sde' in split 'test' for metric 'accuracy': .*'side'",
        ),
        (
            "datasets: [{name: toy-blobs, rank: 'nmi[facet:sid]@test'}]\nrank: auroc@test",
            r"typos.yaml:4: .*dataset 'toy-blobs' has no 'sid' in split 'test' for metric 'nmi': .*'side'",
        ),
        (
            "datasets: [toy-blobs]\nrank: [aupro30@test, auroc@validation]",
            r"typos.yaml:5: 'aupro30@test': dataset 'toy-blobs' has nothing in split .test. that metric",
        ),
        (
            "datasets: [toy-blobs, {name: toy-blobs, label: small, options: {size: 40}}]\n"
            "rank: auroc@test\ncolumns: [auprc@tset]",
            r"typos.yaml:6: .*no validation or test split 'tset'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@test\ncolumns: [auprc@test, 'accuracy[sied]@test']",
            r"typos.yaml:6: .*dataset 'toy-blobs' has no 'sied' in split 'test' for metric 'accuracy': .*'side'",
        ),
        (
            "datasets: [{name: toy-blobs, columns: ['accuracy[sied]@test']}]\nrank: auroc@test",
            r"typos.yaml:4: .*dataset 'toy-blobs' has no 'sied' in split 'test' for metric 'accuracy': .*'side'",
        ),
        (
            "datasets: [toy-blobs]\nrank: auroc@test\nceilings: [pca]",
            r"typos.yaml:6: the board has no null 'pca'",
        ),
        (
            "datasets:\n- name: toy-blobs\n  diagnosis: nul-mean\nrank: auroc@test\n"
            "variants: [{model: null-brightness, label: nul-mode}]",
            r"typos.yaml:6: the board has no null 'nul-mean': did you mean 'nul-mode'",
        ),
    ],
)
def test_a_typo_in_what_a_board_shows_is_refused_with_its_line(
    tmp_path: Path, plugins: Plugins, text: str, message: str
) -> None:
    with pytest.raises(LatentbenchError, match=message):
        plan(board(tmp_path, text), plugins, tmp_path)


def test_a_ceiling_of_a_board_of_all_models_is_one_of_their_nulls(plugins: Plugins) -> None:
    found = Board(name="all", title="All", datasets=["toy-blobs"], rank="auroc@test", ceilings=["null-brightnes"])
    with pytest.raises(LatentbenchError, match="board 'all': the board has no null 'null-brightnes': did you mean"):
        check_nulls(found, plugins)
    check_nulls(found.model_copy(update={"ceilings": ["null-brightness"]}), plugins)


@pytest.mark.parametrize("column", ["accuracy[side]@test", "nmi[any:side]@test", "auroc[any]@test", "aupro30@test"])
def test_a_column_that_the_data_may_have_or_may_lack_is_none(tmp_path: Path, plugins: Plugins, column: str) -> None:
    text = f"datasets: [toy-blobs]\nrank: auroc@test\ncolumns: ['{column}']"
    assert len(plan(board(tmp_path, text), plugins, tmp_path)) == 1


@pytest.mark.parametrize(
    "rank", ["accuracy[side]@test", "nmi[any:side]@test", "[aupro30@test, auroc@test]", "auroc[any]@test"]
)
def test_a_ranking_of_which_the_data_can_have_a_value_is_none(tmp_path: Path, plugins: Plugins, rank: str) -> None:
    assert len(plan(board(tmp_path, f"datasets: [toy-blobs]\nrank: {rank}"), plugins, tmp_path)) == 1


def test_a_column_that_one_dataset_has_is_no_typo_on_another(faulty: Plugins, tmp_path: Path) -> None:
    text = "datasets: [named, toy-blobs]\nrank: accuracy@test\ncolumns: [accuracy@other]"
    assert len(plan(board(tmp_path, text), faulty, tmp_path)) == 2
    assert plan(board(tmp_path, text), faulty, tmp_path, datasets=["toy-blobs"]), "the other is not loaded"


def test_a_split_that_an_override_takes_away_is_no_typo(faulty: Plugins, tmp_path: Path) -> None:
    text = "datasets: [{name: named, columns: [accuracy@other]}]\nrank: accuracy@test"
    overrides = [parse_override("named.other=another")]
    assert len(plan(board(tmp_path, text), faulty, tmp_path, overrides=overrides)) == 1
    text = text.replace("name: named", "name: named, options: {other: another}")
    with pytest.raises(LatentbenchError, match="no validation or test split 'other'"):
        plan(board(tmp_path, text), faulty, tmp_path)


def images(count: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"anomaly": np.zeros(20, np.uint8)}, "split 'test': target 'anomaly' has 20 entries for 40 images"),
        ({"mask": np.zeros((41, 8, 8), np.uint8)}, "split 'test': target 'mask' has 41 entries for 40 images"),
        (
            {"attributes": {"side": np.zeros(20, np.int64)}},
            "split 'test': attribute 'side' has 20 entries for 40 images",
        ),
    ],
)
def test_targets_of_another_length_than_their_images_are_refused(targets: dict[str, Any], message: str) -> None:
    test = StoredSplit(Role.TEST, images(40, 1), Targets(**targets))
    with pytest.raises(LatentbenchError, match=f"dataset 'some', .*{message}"):
        check_data("some", Data(INFO, {"train": StoredSplit(Role.TRAIN, images(60, 0)), "test": test}))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        ({"channels": 3}, r"'train': images have shape \(1, 8, 8\), its DataInfo states \(3, 8, 8\) \(channels, hei"),
        ({"height": 16}, r"'train': images have shape \(1, 8, 8\), its DataInfo states \(1, 16, 8\)"),
        ({"train_size": 59}, r"its DataInfo states train_size=59: its training split has 60 images"),
        ({"attributes": {"hand": 2}}, r"'test': it has labels of attribute 'side', of which its DataInfo states no ca"),
        (
            {"attributes": {"side": 1}},
            r"'test': labels of attribute 'side' are in \[-1, 1\], its DataInfo states cardi",
        ),
    ],
)
def test_a_wrong_statement_about_the_images_is_the_datasets_and_no_models(info: dict[str, Any], message: str) -> None:
    targets = Targets(attributes={"side": np.array([-1, 0, 1])}, mask=np.zeros((3, 8, 8), np.uint8))
    splits = {"train": StoredSplit(Role.TRAIN, images(60, 0)), "test": StoredSplit(Role.TEST, images(3, 1), targets)}
    check_data("some", Data(INFO, splits))
    with pytest.raises(LatentbenchError, match=f"dataset 'some'.* {message}"):
        check_data("some", Data(replace(INFO, **info), splits))


@pytest.mark.parametrize("name", ["test/new", "te st", "test@1", "a:b", "[a]", "", "a" * 65, "a\u202eb"])
@pytest.mark.parametrize("kind", ["split", "attribute", "condition"])
def test_a_name_that_would_have_a_meaning_in_those_of_values_is_refused(name: str, kind: str) -> None:
    conditions = {name: np.ones(3)} if kind == "condition" else {}
    test = StoredSplit(Role.TEST, images(3, 1), None, conditions)
    info = replace(INFO, attributes={name: 2}) if kind == "attribute" else INFO
    splits = {"train": StoredSplit(Role.TRAIN, images(60, 0)), name if kind == "split" else "test": test}
    with pytest.raises(
        LatentbenchError, match=r"dataset 'some': a name .*: name its splits, attributes and conditions so"
    ):
        check_data("some", Data(info, splits))


NOT_BINARY = [(2, "2"), (-1, "-1"), (255, "255"), (0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")]


@pytest.mark.parametrize("target", ["anomaly", "mask", "mask_known"])
@pytest.mark.parametrize(("value", "told"), NOT_BINARY)
def test_a_target_that_is_neither_0_nor_1_anywhere_is_refused(target: str, value: float, told: str) -> None:
    found: Any = np.zeros((40, 8, 8) if target == "mask" else 40, np.min_scalar_type(value))
    found[::4] = 1
    splits = {"train": StoredSplit(Role.TRAIN, images(60, 0))}
    splits["test"] = StoredSplit(Role.TEST, images(40, 1), replace(Targets(), **{target: found.copy()}))
    check_data("some", Data(INFO, splits))
    found[(13, 7, 0)[: found.ndim]] = value
    splits["test"] = StoredSplit(Role.TEST, images(40, 1), replace(Targets(), **{target: found}))
    with pytest.raises(
        LatentbenchError, match=f"dataset 'some', split 'test': target '{target}' has a value {told}: it is 0 or 1"
    ):
        check_data("some", Data(INFO, splits))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2], r"labels of attribute 'side' are in \[0, 2\], its DataInfo states cardinality 2"),
        ([0, 1, -2], r"labels of attribute 'side' are in \[-2, 1\], its DataInfo states cardinality 2"),
        ([0.0, 1.0, np.nan], r"labels of attribute 'side' are in \[nan, nan\], its DataInfo states cardinality 2"),
        ([0.0, 1.0, 0.5], "attribute 'side' has a label 0.5: labels are whole numbers"),
        ([[0], [1], [1]], r"attribute 'side' has shape \(3, 1\): it has one number for each image"),
    ],
)
def test_a_label_that_is_none_of_its_attributes_is_refused(labels: list[Any], message: str) -> None:
    test = StoredSplit(Role.TEST, images(3, 1), Targets(attributes={"side": np.array(labels)}))
    with pytest.raises(LatentbenchError, match=f"dataset 'some', split 'test': {message}"):
        check_data("some", Data(INFO, {"train": StoredSplit(Role.TRAIN, images(60, 0)), "test": test}))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, np.nan, 1.0], "has a weight nan: weights are finite, and not negative"),
        ([1.0, np.inf, 1.0], "has a weight inf: weights are finite"),
        ([1.0, -np.inf, 1.0], "has a weight -inf: weights are finite"),
        ([1.0, -0.5, 1.0], "has a weight -0.5: weights are finite"),
        ([0.0, 0.0, 0.0], "has no image whose weight is not 0"),
        ([1.0, 1.0], "has 2 entries for 3 images"),
        ([[1.0], [1.0], [1.0]], r"has shape \(3, 1\): it has one number for each image"),
        (1.0, "has no entries for 3 images"),
    ],
)
def test_weights_that_weigh_nothing_are_refused(weights: Any, message: str) -> None:
    """The mean of a score under such weights is no number, or none that lies between the scores."""
    conditions = {"even": np.ones(3), "odd": np.array(weights)}
    test = StoredSplit(Role.TEST, images(3, 1), None, conditions)
    with pytest.raises(LatentbenchError, match=f"dataset 'some', split 'test': condition 'odd' {message}"):
        check_data("some", Data(INFO, {"train": StoredSplit(Role.TRAIN, images(60, 0)), "test": test}))


def test_masks_of_another_size_than_the_images_are_refused() -> None:
    test = StoredSplit(Role.TEST, images(40, 1), Targets(mask=np.zeros((40, 8, 9), np.uint8)))
    with pytest.raises(
        LatentbenchError, match=r"split 'test': masks have shape \(8, 9\), its DataInfo states \(8, 8\)"
    ):
        check_data("some", Data(INFO, {"train": StoredSplit(Role.TRAIN, images(60, 0)), "test": test}))


def test_what_is_no_data_is_named_by_its_type() -> None:
    with pytest.raises(LatentbenchError, match=r"dataset 'some': load\(\) gave NoneType: return a latentbench.Data"):
        check_data("some", None)


SHORT = """
import numpy as np
from latentbench import Targets, hookimpl
from toys import Blobs

class Short(Blobs):
    name = "short"
    def load(self, data_root):
        data = super().load(data_root)
        test = data.splits["test"]
        short = type(test)(test.role, test.images, Targets(anomaly=np.zeros(20, np.uint8)))
        return type(data)(data.info, {**data.splits, "test": short})

class OneKind(Short):
    name = "one-kind"
    def load(self, data_root):
        data = Blobs.load(self, data_root)
        test = data.splits["test"]
        normal = type(test)(test.role, test.images, Targets(anomaly=np.zeros(60, np.uint8)))
        return type(data)(data.info, {**data.splits, "test": normal})

class Same(Blobs):
    name = "same"
    def load(self, data_root):
        data = super().load(data_root)
        test = type(data.train)(data.splits["test"].role, data.train.images.flip(0), Targets())
        return type(data)(data.info, {**data.splits, "test": test})

class Named(Blobs):
    name = "named"
    class Config(Blobs.Config):
        other: str = "other"
    def load(self, data_root):
        data = super().load(data_root)
        return type(data)(data.info, {**data.splits, self.config.other: data.splits["test"]})

@hookimpl
def latentbench_datasets():
    return [Short, OneKind, Same, Named]
"""


@pytest.fixture
def faulty(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugins:
    monkeypatch.syspath_prepend(str(toys.parent))
    (tmp_path / "faulty.py").write_text(SHORT)
    return Plugins.load([toys, tmp_path / "faulty.py"])


def test_the_line_names_the_dataset_and_the_target(faulty: Plugins, tmp_path: Path) -> None:
    text = "datasets: [short]\nrank: auroc@test"
    with pytest.raises(LatentbenchError, match="dataset 'short', split 'test': target 'anomaly' has 20 entries for 60"):
        plan(board(tmp_path, text), faulty, tmp_path)


def test_a_test_split_of_training_images_is_named_once(
    faulty: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "datasets: [{name: same, rank: fd-mnist-fashion@test}, toy-blobs]\nseeds: 3\nrank: accuracy@test"
    with caplog.at_level(logging.WARNING):
        plan(board(tmp_path, text), faulty, tmp_path)
    told = [line for line in caplog.messages if "training image" in line]
    assert told == ["dataset 'same': every image of test split 'test' is a training image, too"]


def test_shared_rows_of_one_store_are_told_without_reading_it(caplog: pytest.LogCaptureFixture) -> None:
    store = images(40, 0)
    splits: dict[str, Split] = {
        "train": IndexedSplit(Role.TRAIN, store, np.arange(30), "ab"),
        "inside": IndexedSplit(Role.TEST, store, np.arange(5, 20), "ab"),
        "half": IndexedSplit(Role.TEST, store, np.arange(20, 40), "ab"),
        "elsewhere": IndexedSplit(Role.TEST, images(40, 1), np.arange(5), "cd"),
    }
    warn_of_shared_images("some", Data(INFO, splits))
    assert caplog.messages == ["dataset 'some': every image of test split 'inside' is a training image, too"]


def test_a_test_split_of_one_kind_has_a_reason_in_the_values_place(faulty: Plugins, toys: Path, tmp_path: Path) -> None:
    from latentbench.executor import Execution, Task
    from latentbench.records.store import Store
    from latentbench.running.execute import execute

    (run,) = plan(board(tmp_path, "datasets: [one-kind]\nrank: auroc@test"), faulty, tmp_path)
    assert execute(Task(run.spec, Execution(tmp_path / "out", tmp_path)), faulty).status == "finished"
    ((_, record),) = Store(tmp_path / "out").records()
    assert record.unmeasured["auroc@test"] == "the split has no anomalous images"
    assert "auroc@test" not in record.values
