"""``latentbench total-correlation`` on a run of the model, and what it refuses."""

from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store

BOARD = """\
name: short
title: scenes, shortened
datasets:
  - name: scenes
    options: {{image_size: 16, train_images: 64, validation_images: 8, test_images: 32}}
models: [{model}]
seeds: 1
budget: {{max_steps: 4}}
twins: false
rank: mig@test
"""
SMALL = ("width=2", "widest=4", "continuous=1", "batch_size=8")
QUICK = ("--steps", "2", "--fakes", "60", "--device", "cpu")


def run(tmp_path: Path, model: str, *options: str) -> tuple[str, Path]:
    """Key and results of a run."""
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(BOARD.format(model=model))
    settings = [word for option in options for word in ("--set", f"{model}.{option}")]
    assert main(["run", str(board), "--out", str(results), "--device", "cpu", "--jobs", "1", *settings]) == 0
    (key,) = (record.key for _, record in Store(results).records())
    return key, results


def test_the_table_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, results = run(tmp_path, "infostylegan", "categorical=[2,3]", *SMALL)
    capsys.readouterr()
    assert main(["total-correlation", key, *QUICK, "--results", str(results)]) == 0
    first = capsys.readouterr().out
    lines = [line.strip("|").split("|") for line in first.splitlines()[2:6]]
    table = {code.strip(): float(bound) for code, bound, _ in lines}
    assert list(table) == ["categorical-1", "categorical-2", "sum", "all together"]
    assert table["sum"] == pytest.approx(table["categorical-1"] + table["categorical-2"], abs=2e-4)
    found = float(first.rsplit("given the image: ", 1)[1].split(" nats")[0])
    assert found == pytest.approx(table["all together"] - table["sum"], abs=2e-4)
    assert " 95 % interval over fakes" in first.replace("(", " ")

    assert main(["total-correlation", key, *QUICK, "--results", str(results)]) == 0
    assert capsys.readouterr().out == first
    assert main(["total-correlation", key, *QUICK, "--results", str(results), "--seed", "1"]) == 0
    assert capsys.readouterr().out != first


def test_one_categorical_code_is_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, results = run(tmp_path, "infostylegan", "categorical=[3]", *SMALL)
    assert main(["total-correlation", key, *QUICK, "--results", str(results)]) == 2
    assert f"takes two categorical codes, and run {key} has 1: train with --set" in capsys.readouterr().err


def test_another_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, results = run(tmp_path, "pca", "components=4")
    assert main(["total-correlation", key, *QUICK, "--results", str(results)]) == 2
    assert f"run {key} is of model 'pca', which has no codes of infostylegan: choose" in capsys.readouterr().err
