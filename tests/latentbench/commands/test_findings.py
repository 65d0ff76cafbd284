"""``findings`` on the command line: printed or written, from the records of a folder."""

from pathlib import Path

import pytest

from latentbench.commands.cli import main

FILE = """\
title: F
papers:
  - title: P
    reference: R
    findings:
      - title: T
        headline: H
        board: quick
        row: ae
        places:
          - {dataset: digits-shift, value: auroc@test/correlated}
        against: [pca]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "f.yaml"
    path.write_text(FILE)
    return path


def test_without_records_the_command_that_makes_them_is_told(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["findings", str(file), "--results", str(file.parent / "none")]) == 0
    printed = capsys.readouterr().out
    assert "No record yet of `ae`, the nulls, its untrained twin and `pca`: " in printed
    assert "`latentbench run quick --datasets digits-shift` makes them." in printed


def test_a_board_can_be_a_file_that_is_found_from_the_folder_of_the_findings(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.replace("board: quick", "board: boards/mini.yaml"))
    assert main(["findings", str(file)]) == 2
    path = file.parent / "boards" / "mini.yaml"
    assert f"{file}:8: there is no board {path}: give its path from the folder" in capsys.readouterr().err
    path.parent.mkdir()
    path.write_text(
        "name: mini\ntitle: M\ndatasets: [{name: digits-shift, options: {correlation: 0.9}}]\n"
        "models: [ae, pca]\nrank: auroc@test/correlated\n"
    )
    assert main(["findings", str(file), "--results", str(file.parent / "none")]) == 0
    printed = capsys.readouterr().out
    assert "on the board `mini`" in printed
    assert f"`latentbench run {path} --datasets digits-shift` makes them." in printed


def test_what_a_run_has_left_is_written_and_is_what_would_be_printed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(file.parent / "r")
    assert main(["run", "quick", "--datasets", "digits-shift", "--models", "pca", "--out", out, "--jobs", "1"]) == 0
    assert main(["leaderboard", "quick", "--results", out]) == 0
    capsys.readouterr()
    assert main(["findings", str(file), "--results", out]) == 0
    printed = capsys.readouterr().out
    assert main(["findings", str(file), "--results", out, "--to", str(file.parent / "F.md")]) == 0
    written = (file.parent / "F.md").read_text()
    assert written == printed
    line = next(line for line in written.splitlines() if line.startswith("| `digits-shift`"))
    assert "no record" in line
    assert line.rstrip(" |").endswith(", 1 seed")


def test_a_mistake_is_one_line_with_file_and_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(FILE.replace("row: ae", "row: ea"))
    assert main(["findings", str(file)]) == 2
    assert f"{file}:9: board 'quick' has no row 'ea'" in capsys.readouterr().err
    assert main(["findings", str(file.parent / "absent.yaml")]) == 2
    assert "cannot read findings" in capsys.readouterr().err
