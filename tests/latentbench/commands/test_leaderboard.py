"""``leaderboard`` makes replicates once, from what a run left: against a slow loop over all pairs of images."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from latentbench.boards.board import find_board
from latentbench.commands.cli import main
from latentbench.commands.leaderboard import replicates_of
from latentbench.evaluation.again import evaluate_again
from latentbench.evaluation.bootstrap import image_weights
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.records.replicates import REPLICATES, read_replicates, replicates_path, write_replicates
from latentbench.records.store import Store

BOARD = """\
name: toys
title: Toys
datasets:
  - name: toy-blobs
  - {name: toy-blobs, label: codes, options: {size: 120}, rank: gaussian-wasserstein@test}
models: [pca, vae]
twins: false
rank: auroc@test
budget: {max_steps: 3}
"""


@pytest.fixture(scope="module")
def made(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "toys.yaml").write_text(BOARD)
    command = ["run", str(folder / "toys.yaml"), "--out", str(folder / "r"), "--jobs", "1"]
    assert main(["--plugin", str(toys), *command]) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "made"))


def leaderboard(folder: Path) -> str:
    assert main(["leaderboard", str(folder / "toys.yaml"), "--results", str(folder / "r")]) == 0
    return (folder / "r" / "toys.md").read_text()


def ranking(store: Store) -> list[tuple[Path, Record]]:
    """The records that rank by a value of single images."""
    return [(path, record) for path, record in store.records() if record.spec.options["size"] == 60]


def area(scores: np.ndarray, anomaly: np.ndarray, weights: np.ndarray) -> float:
    """The weighted share of pairs of an anomaly and a normal image in the right order, ties counting half."""
    total = right = 0.0
    for s, w in zip(scores[anomaly == 1], weights[anomaly == 1], strict=True):
        for t, v in zip(scores[anomaly == 0], weights[anomaly == 0], strict=True):
            total += w * v
            right += w * v * (1.0 if s > t else 0.5 if s == t else 0.0)
    return right / total


def test_replicates_follow_from_the_kept_predictions_and_targets(folder: Path) -> None:
    text = leaderboard(folder)
    store = Store(folder / "r")
    assert len(ranking(store)) == 2
    for path, record in ranking(store):
        found = read_replicates(store, record)
        assert list(found) == ["auroc@test"]
        scores = next(array for name, array in store.predictions(path, record).items() if "test/score" in name)
        anomaly = store.targets(path, record)["test/anomaly"]
        weights = list(image_weights(record.spec.split_hash, len(scores)))
        assert found["auroc@test"].shape == (REPLICATES,)
        expected = [area(scores, anomaly, one) for one in weights[:20]]
        assert found["auroc@test"][:20] == pytest.approx(expected, abs=1e-6)
    assert "ranked by test images alone" in text
    assert "is not known for any row" in text  # a value of codes has none


def test_they_are_made_once_and_then_need_neither_torch_nor_targets(folder: Path) -> None:
    first = leaderboard(folder)
    for path in (folder / "r" / "toy-blobs").glob("*.npz.xz"):
        path.unlink()
    program = (
        "import sys; from latentbench.commands.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or (3 if 'torch' in sys.modules else 0))"
    )
    command = ["leaderboard", str(folder / "toys.yaml"), "--results", str(folder / "r")]
    subprocess.run([sys.executable, "-c", program, *command], check=True)
    assert (folder / "r" / "toys.md").read_text() == first


def test_what_was_made_from_other_predictions_or_another_version_is_made_again(folder: Path) -> None:
    leaderboard(folder)
    store = Store(folder / "r")
    _, record = ranking(store)[0]
    value = record.values["auroc@test"]
    newer = {**record.values, "auroc@test": value.model_copy(update={"version": value.version + 1})}
    assert read_replicates(store, record.model_copy(update={"values": newer})) == {}
    assert record.predictions is not None
    other = record.predictions.model_copy(update={"sha256": "0" * 64})
    assert read_replicates(store, record.model_copy(update={"predictions": other})) == {}
    before = read_replicates(store, record)
    replicates_path(store, record).write_bytes(b"junk")
    assert read_replicates(store, record) == {}
    leaderboard(folder)
    assert np.array_equal(read_replicates(store, record)["auroc@test"], before["auroc@test"])


AREA = """\
from sklearn.metrics import roc_auc_score
from latentbench import Metric, hookimpl

class Area(Metric):
    name, title, source = "area", "area", "here"
    capability, targets = "score", ("anomaly",)
    higher_is_better, bounds = True, (-100.0, 100.0)

    def compute(self, evaluation):
        found = roc_auc_score(evaluation.targets.anomaly, evaluation.output, sample_weight=evaluation.weights)
        return 1.0 * float(found)

@hookimpl
def latentbench_metrics():
    return [Area]
"""


def test_after_an_edit_of_a_metric_replicates_are_those_of_the_code_that_gave_the_value(folder: Path) -> None:
    (folder / "toys.yaml").write_text(BOARD.replace("rank: auroc@test\nbudget", "rank: area@test\nbudget"))
    store = Store(folder / "r")

    def edited(factor: float) -> Plugins:
        (folder / "area.py").write_text(AREA.replace("1.0 *", f"{factor} *"))
        return Plugins.load([folder / "area.py"], trial=False)

    def tabled(plugins: Plugins) -> list[npt.NDArray[np.float64] | None]:
        """The replicates that a table has of each run."""
        found = replicates_of([find_board(str(folder / "toys.yaml"), plugins)], dict(ranking(store)), store, plugins)
        return [found[record.key].get("area@test") for _, record in ranking(store)]

    for factor in (1.0, -50.0):
        plugins = edited(factor)
        for path, record in ranking(store):
            measured = evaluate_again(path, record, ["area"], store, plugins, folder, torch.device("cpu"))
            assert measured is not None
            store.save_record(measured)
        for (path, record), found in zip(ranking(store), kept := tabled(plugins), strict=True):
            scores = next(array for name, array in store.predictions(path, record).items() if "test/score" in name)
            anomaly = store.targets(path, record)["test/anomaly"]
            weights = list(image_weights(record.spec.split_hash, len(scores)))[:5]
            assert found is not None
            assert found[:5] == pytest.approx([factor * area(scores, anomaly, one) for one in weights], rel=1e-5)

    plugins = edited(7.0)  # no value is of this code: replicates are neither dropped nor made
    assert np.array_equal(np.array(tabled(plugins)), np.array(kept))
    for _, record in ranking(store):
        replicates_path(store, record).unlink()
    assert tabled(plugins) == [None, None]


def test_replicates_that_were_changed_are_named_by_check_records(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaderboard(folder)
    store = Store(folder / "r")
    _, record = ranking(store)[0]
    command = ["check-records", str(folder / "r"), "--jobs", "1"]
    assert main(command) == 0
    found = read_replicates(store, record)["auroc@test"]
    found[7] -= 0.01
    write_replicates(store, record, {"auroc@test": found})
    assert main(command) == 2
    assert "the replicates of value 'auroc@test' do not follow from its predictions" in capsys.readouterr().out


def test_predictions_that_are_not_the_record_s_are_named_and_the_row_has_no_interval(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(folder / "r")
    path, record = ranking(store)[0]
    assert record.predictions is not None
    (path.parent / record.predictions.file).write_bytes(b"junk")
    with caplog.at_level(logging.WARNING):
        leaderboard(folder)
    assert "what its test images add is not known" in caplog.text
    assert read_replicates(store, record) == {}


MAPS = """\
name: maps
title: Maps
datasets:
  - name: textures
    options: {kind: weave, image_size: 32, train_images: 20, normal_test_images: 12, defective_test_images: 12}
models: [ae, vae]
twins: false
seeds: 1
budget: {max_steps: 2}
rank: aupro30@test
"""


def test_values_of_maps_have_replicates_from_the_run_on_and_rank_by_test_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "maps.yaml").write_text(MAPS)
    results, board = str(tmp_path / "r"), str(tmp_path / "maps.yaml")
    assert main(["run", board, "--out", results, "--jobs", "1"]) == 0
    store = Store(tmp_path / "r")
    for _, record in store.records():
        found = read_replicates(store, record)
        assert set(found) == {"aupro30@test", "aupro5@test", "pixel-ap@test", "pixel-auroc@test"}
        for name, replicates in found.items():
            assert replicates.mean() == pytest.approx(record.values[name].value, abs=0.03)
            assert replicates.std() > 0
    assert main(["leaderboard", board, "--results", results, "--to", str(tmp_path)]) == 0
    text = (tmp_path / "maps.md").read_text()
    assert "ranked by test images alone" in text
    assert "is not known for any row" not in text

    assert main(["check-records", results, "--jobs", "1"]) == 0
    _, record = next(iter(store.records()))
    found = read_replicates(store, record)
    write_replicates(store, record, {**found, "aupro30@test": found["aupro30@test"] - 0.01})
    assert main(["check-records", results, "--jobs", "1"]) == 2
    assert "the replicates of value 'aupro30@test' do not follow from its predictions" in capsys.readouterr().out


def test_evaluate_makes_the_replicates_of_maps_again(tmp_path: Path) -> None:
    (tmp_path / "maps.yaml").write_text(MAPS.replace("ae, ", ""))
    results = str(tmp_path / "r")
    assert main(["run", str(tmp_path / "maps.yaml"), "--out", results, "--jobs", "1"]) == 0
    store = Store(tmp_path / "r")
    ((_, record),) = store.records()
    before = read_replicates(store, record)
    replicates_path(store, record).unlink()
    assert main(["evaluate", "--results", results, "--metrics", "aupro30"]) == 0
    again = read_replicates(store, record)
    assert np.array_equal(again["aupro30@test"], before["aupro30@test"])
