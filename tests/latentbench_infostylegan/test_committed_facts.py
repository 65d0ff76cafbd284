"""What the README says that readers recover of the codes: computed again from the committed records."""

from math import sqrt
from pathlib import Path
from statistics import mean, stdev

import pytest
from scipy.stats import t

from latentbench.records.store import Store

REPOSITORY = Path(__file__).parents[2]
README = " ".join((REPOSITORY / "plugins/latentbench_infostylegan/README.md").read_text().split())


def values(dataset: str, mi: float, untrained: bool, fact: str) -> list[float]:
    """The fact in each finished run, over seeds."""
    records = [record for _, record in Store(REPOSITORY / "leaderboards/results").records()]
    return [
        record.facts[fact]
        for record in records
        if (record.spec.dataset, record.spec.model) == (dataset, "infostylegan")
        and record.spec.config["mi"] == mi
        and record.spec.untrained is untrained
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
    found = values(dataset, mi, untrained, fact)
    assert len(found) == 3
    half = t.ppf(0.975, 2) * stdev(found) / sqrt(3)
    assert f"{mean(found):.2f} ± {half:.2f} nats" in README
