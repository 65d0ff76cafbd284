"""The files that ``leaderboard`` writes of hand-made records, and what it says of records that it cannot use."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.latentbench.boards.render.given import BOARD, record, runs

from latentbench.boards.render.leaderboard import render
from latentbench.commands.leaderboard import command
from latentbench.records.store import Store


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = Store(tmp_path / "results")
    for one in [*runs("vae", [0.8, 0.9]), record("ae", 0, 0.5)]:
        store.save_record(one)
    board = {**BOARD.model_dump(exclude_defaults=True), "name": "mine"}
    (tmp_path / "mine.yaml").write_text(json.dumps(board))  # JSON is YAML
    return store.root


def test_the_command_writes_both_files_of_a_board_file_and_says_where(results, tmp_path):
    done = CliRunner().invoke(
        command, [str(tmp_path / "mine.yaml"), "--results", str(results), "--to", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    board = BOARD.model_copy(update={"name": "mine"})
    expected = render(board, [*runs("vae", [0.8, 0.9]), record("ae", 0, 0.5)])
    assert {path.name: path.read_bytes().decode() for path in (tmp_path / "out").iterdir()} == expected
    assert done.output.splitlines()[-2:] == [f"in full: {tmp_path / 'out' / name}" for name in ("mine.md", "mine.csv")]


def test_the_command_writes_the_formats_that_it_is_asked_for(results, tmp_path):
    call = [str(tmp_path / "mine.yaml"), "--results", str(results), "--to", str(tmp_path / "out")]
    done = CliRunner().invoke(command, [*call, "--format", "latex", "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["mine.csv", "mine.tex"]
    refused = CliRunner().invoke(command, [*call, "--format", "html"])
    assert refused.exit_code == 2
    assert "there is no 'html': known: csv, latex, markdown" in refused.output
    for together in ("latex,csv", " latex , csv "):
        assert CliRunner().invoke(command, [*call, "--format", together]).exit_code == 0
    assert CliRunner().invoke(command, [*call, "--format", ""]).exit_code == 2


def test_tables_go_beside_the_records_by_default(results, tmp_path):
    assert CliRunner().invoke(command, [str(tmp_path / "mine.yaml"), "--results", str(results)]).exit_code == 0
    assert sorted(path.name for path in results.glob("mine.*")) == ["mine.csv", "mine.md"]


def test_a_file_that_is_no_record_is_named_in_one_line_and_left_out(results, tmp_path):
    call = [str(tmp_path / "mine.yaml"), "--results", str(results)]
    CliRunner().invoke(command, call)
    before = (results / "mine.md").read_bytes()
    good = next(results.glob("pairs/vae/*.json"))
    for name, text in {
        "junk": "{",
        "empty": "",
        "nan": re.sub(r'": 0\.[89]\d*', '": NaN', good.read_text()),
        "more": json.dumps({**json.loads(good.read_text()), "unknown": 1}),
    }.items():
        (results / "pairs" / "vae" / f"{name}.json").write_text(text)
    process = subprocess.run(
        [sys.executable, "-m", "latentbench", "leaderboard", *call], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    told = process.stderr.splitlines()
    assert len(told) == 4
    for name in ("empty", "junk", "more", "nan"):
        assert sum(f"{name}.json is not a record" in line for line in told) == 1
    assert (results / "mine.md").read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["mine.yaml"]])
def test_without_records_the_error_names_the_folder_and_the_command_that_makes_them(results, tmp_path, arguments):
    empty = tmp_path / "nothing"
    arguments = [str(tmp_path / name) for name in arguments]
    process = subprocess.run(
        [sys.executable, "-m", "latentbench", "leaderboard", *arguments, "--results", str(empty)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 2
    assert len(process.stderr.splitlines()) == 1
    name = arguments[0] if arguments else "BOARD"
    assert f"in {empty}: make them with: latentbench run {name} --out {empty}" in process.stderr


def test_the_command_needs_no_torch_and_writes_the_same_bytes_in_any_locale(results, tmp_path):
    program = (
        "import sys; from latentbench.commands.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or (3 if 'torch' in sys.modules else 0))"
    )
    written = set()
    for locale in ("C", "C.UTF-8", "tr_TR.UTF-8"):
        arguments = [
            "leaderboard",
            str(tmp_path / "mine.yaml"),
            "--results",
            str(results),
            "--to",
            str(tmp_path / locale),
        ]
        process = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={"PATH": "", "LC_ALL": locale, "LANG": locale},
            capture_output=True,
        )
        assert process.returncode == 0, process.stderr
        written.add((tmp_path / locale / "mine.md").read_bytes())
    assert len(written) == 1
