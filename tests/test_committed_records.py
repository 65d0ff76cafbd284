"""The committed records are to be believed: each is checked, and computed again where its predictions suffice."""

import re
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.record import Record
from latentbench.records.store import Store

RESULTS = Path(__file__).parents[1] / "leaderboards" / "results"


@pytest.mark.parametrize(
    ("beginnings", "values"),
    [
        pytest.param("0123", 3_000, id="a quarter"),
        pytest.param("456789abcdef", 9_000, id="the rest", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_the_committed_records_are_what_their_predictions_give(
    beginnings: str, values: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quarter of them, by their keys, in every run of the tests."""
    for path in RESULTS.rglob("*"):
        if path.is_file() and (len(path.relative_to(RESULTS).parts) < 3 or path.name[0] in beginnings):
            link = tmp_path / path.relative_to(RESULTS)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    assert main(["check-records", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    found = re.search(r"(\d+) records, ([\d,]+) values computed again", printed)
    assert found
    assert int(found[2].replace(",", "")) > values


def test_only_targets_that_a_licence_forbids_are_left_out() -> None:
    """Of CelebA and MVTec AD; a value of any other split is computed again, or check-records says why not."""
    without = {record.spec.dataset for path, record in Store(RESULTS).records() if not _has_targets(path, record)}
    assert without <= {"celeba-subset", "celeba-subset-novelty", "mvtec-ad"}


def _has_targets(path: Path, record: Record) -> bool:
    return record.targets is not None and (path.parent.parent / record.targets.file).is_file()


def test_the_committed_results_stay_small() -> None:
    files = [path for path in RESULTS.rglob("*") if path.is_file()]
    records = sum(path.suffix == ".json" for path in files)
    assert sum(path.stat().st_size for path in files) <= 150_000 * records
