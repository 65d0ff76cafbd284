"""Records that contradict the installed metrics stand in no table, as if they were not there, and are named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.latentbench.boards.render.given import BOARD, RANK, record, runs

from latentbench.commands.cli import main
from latentbench.records.store import Store

FINDINGS = f"""
title: F
papers:
- title: P
  reference: R
  findings:
  - {{title: T, headline: H, board: mine.yaml, row: vae, places: [{{dataset: pairs, value: {RANK}}}], against: [ae]}}
"""
#: By what is edited: the number, what is stated of the metric, and what is told of it.
EDITS: dict[str, tuple[float, dict[str, Any], str]] = {
    "number and bounds": (8.0, {"bounds": [0.0, 10.0]}, "is 8.0, its metric's bounds are [0.0, 1.0]"),
    "number without bounds": (8.0, {}, "is 8.0, its metric's bounds are [0.0, 1.0]"),
    "bounds": (0.7, {"bounds": [0.0, 10.0]}, "states bounds (0.0, 10.0), its metric has (0.0, 1.0)"),
    "direction": (0.7, {"higher_is_better": False}, "states higher_is_better False, its metric has True"),
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(json.dumps({**BOARD.model_dump(exclude_defaults=True), "name": "mine"}))
    Path("said.yaml").write_text(FINDINGS)
    store = Store(Path("results"))
    for one in [*runs("vae", [0.8, 0.9]), *runs("ae", [0.5, 0.6, 0.7])]:
        store.save_record(one)
    return store


def leaderboard() -> str:
    assert main(["leaderboard", "mine.yaml", "--results", "results", "--to", "t"]) == 0
    return Path("t/mine.csv").read_text()


def plot() -> str:
    assert main(["plot", "mine.yaml", "--x", RANK, "--y", RANK, "--results", "results", "--to", "p.svg"]) == 0
    return Path("p.svg").read_text()


def findings() -> str:
    assert main(["findings", "said.yaml", "--results", "results", "--to", "f.md"]) == 0
    return Path("f.md").read_text()


def compare() -> str:
    assert main(["compare", "vae", "ae", "--board", "mine.yaml", "--results", "results", "--json"]) == 0
    return ""


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("told", [leaderboard, plot, findings, compare])
def test_a_record_that_contradicts_its_metric_is_named_and_stands_nowhere(
    store: Store,
    told: Callable[[], str],
    edit: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = store.path(record("ae", 2).spec)
    honest = path.read_text()
    path.unlink()
    without = told(), capsys.readouterr().out
    path.write_text(honest)
    assert (told(), capsys.readouterr().out) != without

    number, stated, why = EDITS[edit]
    content = json.loads(honest)
    content["values"][RANK] = number
    content["metrics"]["accuracy"] |= stated
    path.write_text(json.dumps(content))
    caplog.clear()
    assert (told(), capsys.readouterr().out) == without
    (line,) = {line for line in caplog.messages if "not believed" in line}
    assert line.startswith(f"{path} is not believed: value '{RANK}' {why}: remove it with `latentbench rm`")

    assert main(["compare", record("ae", 2).key, record("vae", 0).key, "--results", "results"]) == 2
    assert f"{path} is not believed" in capsys.readouterr().err
