"""What the README says of progressive training's stability: computed again from the committed records."""

from pathlib import Path
from statistics import stdev

import pytest
from scipy.stats import levene

from latentbench.records.store import read_record

REPOSITORY = Path(__file__).parents[2]
README = " ".join((REPOSITORY / "plugins/latentbench_mfcvae/README.md").read_text().split())
VALUE = "cluster-majority-accuracy@test"


@pytest.fixture(scope="module")
def accuracies() -> dict[str, list[float]]:
    """On the digits, by how facets are introduced, over seeds."""
    found: dict[str, list[float]] = {"progressive": [], "both at once": [], "one facet": []}
    for path in (REPOSITORY / "leaderboards/results/digits/mfcvae").glob("*.json"):
        record = read_record(path)
        if record.spec.untrained or VALUE not in record.values:
            continue
        config = record.spec.config
        several = "progressive" if config.get("progressive") else "both at once"
        found["one facet" if len(config["clusters"]) == 1 else several].append(record.values[VALUE].value)
    return found


def test_the_spreads_over_ten_seeds_and_their_comparison_are_as_told(accuracies: dict[str, list[float]]) -> None:
    assert [len(values) for values in accuracies.values()] == [10, 10, 10]
    one, both, single = (f"{stdev(values):.3f}" for values in accuracies.values())
    assert f"standard deviations over seeds are {one}, {both} and {single}" in README
    p = levene(accuracies["progressive"], accuracies["both at once"], center="median").pvalue
    assert f"(Brown-Forsythe test, p = {p:.2f})" in README
