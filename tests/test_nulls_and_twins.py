"""The quick board for real, with untrained twins and a null of one's own: from runs to tables."""

import csv
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.record import Record
from latentbench.records.store import Store

NULL = """
import torch
from latentbench import Model, Options, hookimpl


class NullConstant(Model):
    '''The same answer for every image, and mean brightness for a score.'''

    null, deterministic = True, True

    class Config(Options):
        pass

    def fit(self, train, validation, trainer):
        pass

    def predict(self, images):
        return {name: torch.eye(count)[0].expand(len(images), -1) for name, count in self.info.attributes.items()}

    def score(self, images):
        return images.mean((1, 2, 3))


@hookimpl
def latentbench_models():
    return [NullConstant]
"""
RANK, AUROC = "accuracy@test/uncorrelated", "auroc@test/correlated"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quick")
    (folder / "null.py").write_text(NULL)
    assert run(folder) == 0
    return folder


def run(folder: Path, *more: str) -> int:
    """The first dataset of the board ``quick`` with two of its models and the null."""
    chosen = ["--models", "ae,pca,null-constant", "--datasets", "digits-shift", "--jobs", "1", "--device", "cpu"]
    return main(["--plugin", str(folder / "null.py"), "run", "quick", "--out", str(folder / "r"), *chosen, *more])


def records(folder: Path) -> dict[str, Record]:
    return {str(record.spec).partition(" on ")[0]: record for _, record in Store(folder / "r").records()}


def lines(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    assert main(["--plugin", str(folder / "null.py"), "leaderboard", "quick", "--results", str(folder / "r")]) == 0
    with (folder / "r" / "quick.csv").open(newline="") as file:
        return {(line["variant"], line["group"], line["value"]): line for line in csv.DictReader(file)}


def test_each_trained_model_has_a_twin_with_all_of_its_values(folder: Path) -> None:
    made = records(folder)
    assert sorted(made) == ["ae", "null-constant", "pca", "untrained ae"]
    assert {record.status for record in made.values()} == {"finished"}
    assert made["untrained ae"].values.keys() == made["ae"].values.keys()
    assert made["untrained ae"].key != made["ae"].key


def test_the_tables_say_what_training_adds_and_who_is_not_ahead_of_the_null(folder: Path) -> None:
    found, made = lines(folder), records(folder)
    ae, twin, null = (
        found[who, group, RANK] for who, group in (("ae", "model"), ("ae", "untrained"), ("null-constant", "null"))
    )
    assert float(twin["mean"]) == made["untrained ae"].values[RANK].value
    assert float(ae["training_adds"]) == pytest.approx(float(ae["mean"]) - float(twin["mean"]), abs=1e-12)
    assert (ae["best_null"], ae["best_null_mean"]) == ("null-constant", null["mean"])
    assert ae["beside_best_null"] == "ahead"  # ten digits are told apart by more than one answer for all
    assert null["rank_first"] == twin["rank_first"] == ""
    assert {found[who, "model", RANK]["rank_last"] for who in ("ae", "pca")} <= {"1", "2"}
    assert found["pca", "model", RANK]["untrained_mean"] == ""
    assert float(found["null-constant", "null", AUROC]["mean"]) == made["null-constant"].values[AUROC].value
    text = (folder / "r" / "quick.md").read_text()
    assert "| null " in text
    assert "<summary>Untrained twins" in text


def test_what_is_made_is_checked_kept_and_not_made_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--plugin", str(folder / "null.py"), "check-records", str(folder / "r"), "--jobs", "1"]) == 0
    assert run(folder, "--rerun") == 0
    assert "4 runs, 4 done before, 0 to do" in capsys.readouterr().out
