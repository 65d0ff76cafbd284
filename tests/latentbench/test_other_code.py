"""Edited plugins: what other code made is named, not averaged with what today's made, not resumed, and made again."""

import csv
import itertools
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from latentbench.commands.cli import main
from latentbench.records.record import Record
from latentbench.records.store import Store
from latentbench.running import execute as module

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [edited]
twins: false
rank: auroc@test
"""

MODEL = """
import torch
from latentbench import Metric, Model, hookimpl

class Edited(Model):
    class Config(Model.Config):
        pass
    def build(self, info):
        self.noise = torch.nn.Parameter(torch.rand(1, *info.image_shape))
    def fit(self, train, validation, trainer):
        pass
    def score(self, images):
        return +(images.flatten(1)[:, self.noise.argmax()] + 1)

@hookimpl
def latentbench_models():
    return [Edited]
"""

METRIC = """
from latentbench import Metric, hookimpl

class Top(Metric):
    name, title, source = "top", "top score", "this file"
    capability, higher_is_better, bounds = "score", True, (-100.0, 100.0)
    def compute(self, evaluation):
        return float(evaluation.output.max()) * 1

@hookimpl
def latentbench_metrics():
    return [Top]
"""

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def cli(toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    (tmp_path / "toys.yaml").write_text(BOARD)
    monkeypatch.chdir(tmp_path)
    seconds = itertools.count()
    start = datetime(2026, 1, 1, tzinfo=UTC)
    monkeypatch.setattr(module, "_now", lambda: (start + timedelta(seconds=next(seconds))).isoformat())

    def call(*args: str) -> tuple[int, str, str]:
        code = main(["--plugin", str(toys), *args])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def run(cli: Cli, plugin: str, *options: str) -> str:
    """What the board's run prints, in this process; its exit code is 0."""
    code, out, err = cli("--plugin", plugin, "run", "toys.yaml", "--executor", "here", *options)
    assert code == 0, err
    return out


def by_seed() -> dict[int, tuple[Path, Record]]:
    found = {record.spec.seed: (path, record) for path, record in Store(Path("results")).records()}
    return dict(sorted(found.items()))


def aurocs() -> dict[int, float]:
    return {seed: record.values["auroc@test"].value for seed, (_, record) in by_seed().items()}


def expected(sign: int) -> dict[int, float]:
    """Area under the curve of the kept scores, with the sign that the plugin should give them."""
    store, truth = Store(Path("results")), np.arange(60) >= 45
    scores = {seed: store.predictions(path, record)["test/score"] for seed, (path, record) in by_seed().items()}
    assert all((np.sign(kept) == sign).all() for kept in scores.values())
    return {seed: roc_auc_score(truth, kept) for seed, kept in scores.items()}


def table() -> str:
    return " ".join(Path("results/toys.md").read_text().split())


def hash_of(record: Record) -> str:
    return record.environment.plugins["model"].removeprefix("edited ")


def test_an_edited_file_is_named_and_its_seeds_are_not_averaged_with_the_old_ones(
    cli: Cli, caplog: pytest.LogCaptureFixture
) -> None:
    plugin = Path("edited.py")
    plugin.write_text(MODEL)
    assert "other code" not in run(cli, "edited.py", "--seeds", "3")
    before = aurocs()
    assert before == expected(sign=1)
    old = hash_of(by_seed()[0][1])

    plugin.write_text(MODEL.replace("return +(", "return -("))  # of the same size, and within the same second
    out = run(cli, "edited.py", "--seeds", "4")
    assert "4 runs, 3 done before, 1 to do" in out
    new = hash_of(by_seed()[3][1])
    assert new != old
    named = f"edited {old}, now edited {new}"
    assert f"3 of 4 finished runs were made by other code: {named}; --rerun makes them again" in out
    assert "'version'" in out
    after = aurocs()
    assert {seed: after[seed] for seed in before} == before

    assert cli("--plugin", "edited.py", "leaderboard", "toys.yaml")[0] == 0
    assert f"3 finished runs have results of other code than is installed: {named}" in caplog.text
    (line,) = csv.DictReader(Path("results/toys.csv").read_text().splitlines())
    assert (line["n"], float(line["mean"])) == ("1", after[3])
    assert (
        f"Left out, for other code made the row's last run: 3 finished runs of `edited` by `edited {old}`." in table()
    )
    content = table()
    assert cli("leaderboard", "toys.yaml")[0] == 0, "the records alone decide"
    assert table() == content

    shown = cli("--plugin", "edited.py", "show", by_seed()[0][1].key)[1]
    assert f"made by other code than is installed now: {named}" in shown
    assert "other code" not in cli("--plugin", "edited.py", "show", by_seed()[3][1].key)[1]

    out = run(cli, "edited.py", "--seeds", "4", "--rerun")
    assert "4 runs, 1 done before, 3 to do" in out
    assert "other code" not in out
    assert aurocs() == expected(sign=-1)
    assert aurocs() == {**{seed: pytest.approx(1 - value) for seed, value in before.items()}, 3: after[3]}
    assert "4 runs, 4 done before, 0 to do" in run(cli, "edited.py", "--seeds", "4", "--rerun")
    caplog.clear()
    assert cli("--plugin", "edited.py", "leaderboard", "toys.yaml")[0] == 0
    assert not caplog.text
    assert "Left out" not in table()


def test_an_installed_plugin_in_another_version_is_other_code(
    cli: Cli, install: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    site = install("acme-edited", MODEL, version="1.0", entry="edited")
    code, out, err = cli("run", "toys.yaml", "--executor", "here")
    assert (code, "other code" in out) == (0, False), err

    shutil.rmtree(site / "acme_edited-1.0.dist-info")
    (site / "acme_edited.py").unlink()
    del sys.modules["acme_edited"]
    install("acme-edited", MODEL.replace("return +(", "return  - ("), version="1.1", entry="edited")
    out = cli("run", "toys.yaml", "--executor", "here")[1]
    assert "1 of 1 finished runs were made by other code: edited 1.0, now edited 1.1;" in out
    assert "edited 1.0, now edited 1.1" in cli("show", by_seed()[0][1].key)[1]
    assert cli("leaderboard", "toys.yaml")[0] == 0
    assert "edited 1.0, now edited 1.1" in caplog.text
    assert cli("run", "toys.yaml", "--executor", "here", "--rerun")[0] == 0
    assert aurocs() == expected(sign=-1)


def test_a_metric_in_other_code_is_measured_again_and_its_values_are_not_mixed(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "toys.yaml").write_text(BOARD.replace("auroc@test", "top@test").replace("edited", "pca"))
    plugin = Path("top.py")
    plugin.write_text(METRIC)
    run(cli, "top.py", "--seeds", "2")
    first = {seed: record.values["top@test"].value for seed, (_, record) in by_seed().items()}

    plugin.write_text(METRIC.replace("* 1", "* 2"))
    out = run(cli, "top.py", "--seeds", "3")
    assert "2 finished runs lack a value that the board shows: latentbench evaluate toys.yaml" in out
    assert cli("--plugin", "top.py", "leaderboard", "toys.yaml")[0] == 0
    plugins = [record.values["top@test"].plugin for _, record in by_seed().values()]
    assert plugins[0] == plugins[1] != plugins[2]
    assert f"Left out, for the metric's code is now `{plugins[2]}`: 2 values of top score" in table()

    assert cli("--plugin", "top.py", "evaluate", "toys.yaml")[0] == 0
    values = {seed: record.values["top@test"].value for seed, (_, record) in by_seed().items()}
    assert {seed: values[seed] for seed in first} == {seed: 2 * value for seed, value in first.items()}
    assert {record.values["top@test"].plugin for _, record in by_seed().values()} == {plugins[2]}
    assert "lack a value" not in run(cli, "top.py", "--seeds", "3")


TRAINED = """
from toys import CentreDistance
from latentbench import hookimpl

class Edited(CentreDistance):
    def training_step(self, batch):
        if {fails}:
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps > 6:
                raise KeyboardInterrupt
        return super().training_step(batch)

@hookimpl
def latentbench_models():
    return [Edited]
"""


def test_a_checkpoint_of_other_code_is_not_resumed_from(
    cli: Cli, toys: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(toys.parent))
    Path("edited.py").write_text(TRAINED.format(fails=True))
    args = ("--plugin", "edited.py", "run", "toys.yaml", "--executor", "here", "--checkpoint-seconds", "0")
    cli(*args)
    assert list(Path("results/.work").glob("*/checkpoint.pt"))
    Path("edited.py").write_text(TRAINED.format(fails=False))
    assert cli(*args)[0] == 0
    assert "made by other code: training starts afresh" in caplog.text
    assert by_seed()[0][1].resumed == 0
