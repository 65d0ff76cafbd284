"""What the README says that readers recover of the codes: computed again from the committed records."""

from functools import cache
from pathlib import Path

import pytest

from latentbench.boards.significance import Summary
from latentbench.records.record import Record
from latentbench.records.store import read_record

REPOSITORY = Path(__file__).parents[2]
README = " ".join((REPOSITORY / "plugins/latentbench_infostylegan/README.md").read_text().split())


@cache
def committed(dataset: str) -> list[Record]:
    """The runs on a dataset."""
    return [read_record(path) for path in (REPOSITORY / f"leaderboards/results/{dataset}/infostylegan").glob("*.json")]


def values(dataset: str, mi: float, untrained: bool, fact: str) -> list[float]:
    """The fact in each run of one setting, over seeds."""
    return [
        record.facts[fact]
        for record in committed(dataset)
        if (record.spec.config["mi"], record.spec.untrained) == (mi, untrained)
    ]


@pytest.mark.parametrize(
    ("dataset", "mi", "untrained", "fact"),
    [
        ("digits", 0.1, False, "recovered_nats"),
        ("digits", 0.1, False, "recovered_nats_blurred"),
        ("digits", 0.0, False, "recovered_nats"),
        ("digits", 0.0, False, "recovered_nats_blurred"),
        ("digits", 0.0, True, "recovered_nats"),
        *(("scenes", mi, False, "recovered_nats") for mi in (0.0, 0.01, 0.1, 0.5, 1.0, 2.0)),
    ],
)
def test_the_readme_has_the_mean_of_three_seeds_and_its_interval(
    dataset: str, mi: float, untrained: bool, fact: str
) -> None:
    found = Summary.of(values(dataset, mi, untrained, fact))
    assert found.n == 3
    assert f"{found.mean:.2f} ± {found.half_width:.2f} nats" in README
