"""``latentbench verify``: what it prints, its exit codes, its mistakes; and rows that are made again with --own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.latentbench.boards.test_references import runs
from tests.latentbench.claims.given import claim, row, rows, write

from latentbench.commands.cli import main
from latentbench.records.store import Store

RECORDS = rows(m=[0.80, 0.801, 0.802], x=[0.5, 0.501, 0.502])
GOOD, BAD = claim("good"), claim("bad", selection=row("x"))


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def verify(*arguments: str) -> int:
    return main(["verify", "--claims", "claims", *arguments])


def error(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("latentbench: error: ")


def test_each_claim_is_told_in_lines_and_refuted_ones_in_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, RECORDS, [GOOD, claim("missing", selection=row("y"))])
    assert verify() == 0
    assert capsys.readouterr().out.splitlines() == [
        "p: P; v1",
        "  reproduced    good: 0.8 (table 1, good)",
        "                0.801 ± 0.0025 over 3 seeds, within 0.05 of it (p = 6.9e-05)",
        "  not run       missing: 0.8 (table 1, missing)",
        "                no record of y on d",
        "                latentbench run claims/../b.yaml --datasets d --models y",
        "1 reproduced, 1 not run",
    ]
    write(tmp_path, [], [GOOD, BAD])
    assert verify() == 1
    assert capsys.readouterr().out.endswith("1 reproduced, 1 refuted\n")


@pytest.mark.parametrize(
    ("name", "code", "claims"),
    [("p", 1, ["good", "bad"]), ("b", 1, ["good", "bad"]), ("p/good", 0, ["good"]), ("p/bad", 1, ["bad"])],
)
def test_a_claim_a_paper_or_a_board_can_be_named_and_the_verdicts_stay_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int, claims: list[str]
) -> None:
    write(tmp_path, RECORDS, [GOOD, BAD])
    assert verify(name, "--json") == code
    told = {one["claim"]: one for one in json.loads(capsys.readouterr().out)}
    assert [*told] == [f"p/{one}" for one in claims]
    verify("--json")
    everything = {one["claim"]: one for one in json.loads(capsys.readouterr().out)}
    assert all(everything[one] == told[one] for one in told)


def test_mistakes_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path, RECORDS, [GOOD])
    assert verify("p/god") == 2
    assert error(capsys) == "there is no claim, paper or board of claims 'p/god': did you mean 'p/good'? known: p/good"
    assert verify("q") == 2
    assert error(capsys).endswith("known: b, p")
    write(tmp_path, [], [GOOD, *(claim(f"claim-{number}") for number in range(100))])
    assert verify("p/other") == 2
    assert error(capsys).endswith("p/claim-62 and 41 more")
    write(tmp_path, [], [GOOD])
    assert main(["verify", "--claims", "nowhere"]) == 2
    assert error(capsys).startswith("no claims at nowhere")
    assert main(["verify"]) == 2
    assert error(capsys).startswith("no claims: there is no folder leaderboards/claims, and no plugin brings any")
    assert verify("--sample", "2") == 2
    assert error(capsys) == "--sample and --budget are for --own: give it, too"

    file.write_text(file.read_text().replace("board: ../b.yaml", "board: mnist-shfit"))
    assert verify() == 2
    assert "there is no board 'mnist-shfit': did you mean 'mnist-shift'" in error(capsys)
    file.write_text(file.read_text().replace("board: mnist-shfit", "board: ../c.yaml"))
    assert verify() == 2
    assert "p.yaml:16: claim 'good': there is no board claims/../c.yaml" in error(capsys)
    file.write_text(
        file.read_text().replace("board: ../c.yaml", "board: ../b.yaml").replace("dataset: d", "dataset: e")
    )
    assert verify() == 2
    assert "p.yaml:17: claim 'good': board '../b.yaml' has no dataset 'e': known: d" in error(capsys)


def test_two_papers_of_one_name_are_refused_and_one_file_named_twice_is_read_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, RECORDS, [GOOD])
    plugin = tmp_path / "bringing.py"
    plugin.write_text(
        "from pathlib import Path\nfrom latentbench import hookimpl\n\n@hookimpl\ndef latentbench_claims():\n"
        f"    return [Path({str(tmp_path / 'claims' / 'p.yaml')!r})]\n"
    )
    assert main(["--plugin", str(plugin), "verify", "--claims", "claims"]) == 0
    assert capsys.readouterr().out.endswith("1 reproduced\n")
    other = tmp_path / "elsewhere"
    write(other, [], [GOOD])
    assert main(["--plugin", str(plugin), "verify", "--claims", str(other / "claims")]) == 2
    assert "there is a paper 'p' already" in error(capsys)


def test_a_plugin_s_own_claims_are_verified_without_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "package", RECORDS, [GOOD])
    plugin = tmp_path / "bringing.py"
    plugin.write_text(
        "from pathlib import Path\nfrom latentbench import hookimpl\n\n@hookimpl\ndef latentbench_claims():\n"
        "    return [Path(__file__).with_name('package') / 'claims' / 'p.yaml']\n"
    )
    assert main(["--plugin", str(plugin), "verify", "--results", "package/results"]) == 0
    assert "reproduced    good" in capsys.readouterr().out


def test_nothing_of_it_needs_torch(tmp_path: Path) -> None:
    write(tmp_path, RECORDS, [GOOD, BAD])
    code = (
        "import sys; from latentbench.commands.cli import main; code = main(['verify', '--claims', 'claims']); "
        "sys.exit(10 + code if 'torch' in sys.modules else code)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.DEVNULL).returncode == 1


# Our own rows


@pytest.fixture
def made(tmp_path: Path, toys: Path) -> Path:
    """A folder of records of a tiny board: two seeds of two models."""
    board = {"name": "toys", "title": "T", "datasets": ["toy-blobs"], "models": ["centre-distance", "pca"], "seeds": 2}
    (tmp_path / "toys.yaml").write_text(yaml.safe_dump({**board, "rank": "auroc@test", "twins": False}))
    run = ["--plugin", str(toys), "run", str(tmp_path / "toys.yaml"), "--out", "results", "--jobs", "1"]
    assert main([*run, "--device", "cpu"]) == 0
    return tmp_path / "results"


def own(toys: Path, *arguments: str) -> int:
    return main(["--plugin", str(toys), "verify", "--own", "--results", "results", "--device", "cpu", *arguments])


def test_rows_come_out_again_bit_for_bit_and_one_that_was_altered_does_not(
    made: Path, toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    path = next(path for path in Store(made).paths() if path.parts[-2] == "centre-distance")
    assert own(toys, path.stem[:6]) == 0
    assert capsys.readouterr().out.startswith(f"identical   {path.stem}: centre-distance on toy-blobs, seed ")
    before = path.read_bytes()
    record = Store(made).find(path.stem)[1]
    value = record.values["auroc@test"].value
    path.write_text(path.read_text().replace(f'"auroc@test": {value}', f'"auroc@test": {value / 2}'))
    assert own(toys, path.stem) == 1
    assert "changed     " in capsys.readouterr().out
    path.write_bytes(before)

    assert own(toys, "--sample", "2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["outcome"] for one in told] == ["identical", "identical"]
    assert len({one["key"] for one in told}) == 2
    files = {path for path in made.rglob("*") if path.is_file()}
    assert len([path for path in files if path.suffix == ".json" and "lineup" not in path.name]) == 4


def test_mistakes_about_own_rows_are_one_line(made: Path, toys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert own(toys) == 2
    assert error(capsys) == "--own makes runs again: name their KEYs, or give --sample N or --budget SECONDS"
    assert own(toys, "zzz") == 2
    assert error(capsys).startswith("no run in results with a key that begins with 'zzz'")
    assert own(toys, "--budget", "0") == 2
    assert error(capsys).startswith("no finished run in results fits")


def test_a_run_of_an_older_version_is_told_and_not_made_again(
    made: Path, toys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    store = Store(made)
    record = next(record for _, record in store.records() if record.spec.model == "pca")
    older = record.spec.model_copy(update={"model_version": 0})
    files: dict[str, Any] = {"predictions": None, "targets": None, "weights": None, "artefacts": {}}
    store.save_record(record.model_copy(update={"spec": older, "key": older.key, **files}))
    assert own(toys, older.key) == 0
    assert f"outdated    {older.key}: pca on toy-blobs" in capsys.readouterr().out


def test_records_of_runs_that_do_not_matter_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with other datasets and a broken record among them is read as far as the claims need it."""
    write(tmp_path, [*RECORDS, *runs("m", [0.1], dataset="e")], [GOOD])
    broken = tmp_path / "results" / "e" / "m" / "0000.json"
    broken.write_text("{")
    assert verify() == 0
    assert "0000" not in capsys.readouterr().err
