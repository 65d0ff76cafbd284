"""The committed records are to be believed: each is checked, and computed again where its predictions suffice."""

import re
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.record import Record
from latentbench.records.store import Store

RESULTS = Path(__file__).parents[1] / "leaderboards" / "results"


def test_the_committed_records_are_what_their_predictions_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-records", str(RESULTS)]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"(\d+) records, ([\d,]+) values computed again", printed)
    assert found
    assert int(found[2].replace(",", "")) > 10_000
    # Only CelebA's targets are not here, for their licence; a value of any other split is computed again or says why.
    without = {record.spec.dataset for path, record in Store(RESULTS).records() if not _has_targets(path, record)}
    assert without <= {"celeba-subset", "celeba-subset-novelty", "mvtec-ad"}


def _has_targets(path: Path, record: Record) -> bool:
    return record.targets is not None and (path.parent.parent / record.targets.file).is_file()


def test_the_committed_results_stay_small() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    records = sum(path.suffix == ".json" for path in files)
    assert sum(path.stat().st_size for path in files) <= 150_000 * records
