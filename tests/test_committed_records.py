"""The committed records are to be believed: each is checked, and computed again where its predictions suffice."""

import re
from pathlib import Path

import pytest

from latentbench.commands.cli import main

RESULTS = Path(__file__).parents[1] / "leaderboards" / "results"


def test_the_committed_records_are_what_their_predictions_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-records", str(RESULTS)]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"(\d+) records, ([\d,]+) values computed again", printed)
    assert found
    again, left = int(found[2].replace(",", "")), re.findall(r"^([\d,]+) values not", printed, re.MULTILINE)
    assert again > sum(int(count.replace(",", "")) for count in left)


def test_the_committed_results_stay_small() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    records = sum(path.suffix == ".json" for path in files)
    assert sum(path.stat().st_size for path in files) <= 150_000 * records
