"""The committed tables and reports are what the committed records give, byte for byte."""

from pathlib import Path

import pytest

import latentbench_boards
from latentbench.boards.board import load_board
from latentbench.boards.render.leaderboard import render
from latentbench.commands.cli import main
from latentbench.records.store import Store

LEADERBOARDS = Path(__file__).parents[1] / "leaderboards"
RESULTS, TABLES, REPORTS = LEADERBOARDS / "results", LEADERBOARDS / "tables", LEADERBOARDS / "reports"
MEND = "run: latentbench leaderboard --results leaderboards/results --to leaderboards/tables"


def test_the_committed_tables_are_those_of_the_committed_records():
    files = sorted(RESULTS.rglob("*.json"))
    committed = {path.name: path.read_bytes() for path in TABLES.glob("*")}
    if not files and not committed:
        pytest.skip("no results are committed yet")
    found = list(Store(RESULTS).records())
    assert [path for path, _ in found] == files, "a committed record cannot be read"
    expected: dict[str, str] = {}
    for path in latentbench_boards.latentbench_boards():
        expected |= render(load_board(path), [record for _, record in found])
    assert sorted(committed) == sorted(expected), MEND
    assert [name for name, text in expected.items() if committed[name] != text.encode()] == [], MEND


def test_every_committed_record_is_of_some_board():
    boards = [load_board(path) for path in latentbench_boards.latentbench_boards()]
    stray = [path for path, record in Store(RESULTS).records() if not any(render(board, [record]) for board in boards)]
    assert stray == []


@pytest.mark.real
@pytest.mark.parametrize("verb", ["mechanism", "waic"])
def test_the_committed_reports_are_those_of_the_committed_records(
    verb: str, data_root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["holes", verb, "--results", str(RESULTS), "--data-root", str(data_root)]
    assert main(command) == 0
    mend = f"run: latentbench holes {verb} --results leaderboards/results > leaderboards/reports/holes-{verb}.md"
    assert capsys.readouterr().out == (REPORTS / f"holes-{verb}.md").read_text(), mend
