"""``latentbench claims``: lint, schema and render on the command line."""

from pathlib import Path

import pytest
from tests.latentbench.claims.given import claim, rows, write

from latentbench.claims.schema import json_schema
from latentbench.commands.cli import main

SHIFT = {"board": "mnist-shift", "dataset": "c0.9", "row": "shift-cmi", "value": "accuracy@test"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))


def test_lint_tells_every_fault_in_a_line_and_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, [], [claim("a", 80, selection=SHIFT), claim("b", selection={**SHIFT, "row": "cmi"})])
    assert main(["claims", "lint", "--claims", str(file)]) == 2
    printed = capsys.readouterr()
    assert [line.partition(": claim ")[0] for line in printed.out.splitlines()] == [f"{file}:11", f"{file}:35"]
    assert printed.err == "latentbench: error: 2 faults in 2 claims: see the lines above\n"
    write(tmp_path, [], [claim("a", selection=SHIFT)])
    assert main(["claims", "lint", "--claims", str(file.parent)]) == 0
    assert capsys.readouterr().out == "1 claims of 1 papers, nothing wrong\n"


def test_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["claims", "schema"]) == 0
    assert capsys.readouterr().out == json_schema()


def test_verdicts_are_rendered_into_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, rows(m=[0.80, 0.801, 0.802]), [claim("a")])
    assert main(["claims", "render", "--claims", str(file), "--to", str(tmp_path / "C.md")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'C.md'}\n"
    text = (tmp_path / "C.md").read_text()
    assert main(["claims", "render", "--claims", str(file), "--results", str(tmp_path / "results")]) == 0
    assert capsys.readouterr().out == text
    assert "| **reproduced** | `a`" in text


def test_leaderboards_show_the_claims_that_are_named_or_lie_beside_the_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "leaderboards", rows(m=[0.80, 0.801, 0.802]), [claim("a")])
    board = ["leaderboard", "leaderboards/b.yaml", "--to", "tables"]
    assert main([*board, "--results", "leaderboards/results"]) == 0
    assert "Published numbers</summary>" in Path("tables/b.md").read_text()
    inside = Path("tables/b.md").read_bytes()
    Path("outside").mkdir()
    with monkeypatch.context() as outside:
        outside.chdir("outside")
        there = ["leaderboard", "../leaderboards/b.yaml", "--to", "tables", "--results", "../leaderboards/results"]
        assert main(there) == 0
        assert Path("tables/b.md").read_bytes() == inside
        assert main(["verify", "--results", "../leaderboards/results"]) == 0
        assert capsys.readouterr().out.endswith("1 reproduced\n")
    Path("leaderboards/results").rename("elsewhere")
    assert main([*board, "--results", "elsewhere"]) == 0
    assert "Published numbers</summary>" not in Path("tables/b.md").read_text()
    assert main([*board, "--results", "elsewhere", "--claims", "leaderboards/claims"]) == 0
    assert "`p/a`: table 1, a" in Path("tables/b.md").read_text()


def test_verdicts_are_filled_into_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, rows(m=[0.80, 0.801, 0.802]), [claim("a")])
    template, to = tmp_path / "in.md", tmp_path / "out.md"
    template.write_text("- {{ p/a }} A sentence.\n")
    fill = ["claims", "fill", str(template), "--claims", str(file), "--to", str(to)]
    assert main(fill) == 0
    assert "- **reproduced** `p/a` (table 1, a): published 0.8; 0.801" in to.read_text()
    capsys.readouterr()
    template.write_text("{{ p/b }}\n")
    assert main(fill) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "in.md:1: there is no claim, paper or board of claims 'p/b': did you mean 'p/a'" in line
    assert main(["claims", "fill", str(tmp_path / "none.md"), "--claims", str(file)]) == 2
    assert "cannot read" in capsys.readouterr().err
