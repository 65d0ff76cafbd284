"""Clusters of real MNIST, from the published files to a leaderboard: k-means finds what it is known to find."""

from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

BOARD = """\
name: short
title: clusters of digits
datasets: [mnist]
models: [pca]
seeds: 1
rank: cluster-accuracy@test
columns: [nmi@test, "cluster-accuracy[digit]@test", facets@test]
"""


def test_k_means_on_principal_components_is_as_good_as_k_means_on_pixels_is_known_to_be(
    tmp_path: Path, data_root: Path
) -> None:
    """On pixels it has an accuracy of about 0.53 and an NMI of about 0.50."""
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(BOARD)

    assert main(["run", str(board), "--data-root", str(data_root), "--out", str(results), "--device", "cpu"]) == 0
    assert main(["leaderboard", str(board), "--results", str(results)]) == 0

    ((_, record),) = Store(results).records()
    values = {name: value.value for name, value in record.values.items()}
    assert record.kmeans == {"k10": 10}
    assert values["cluster-accuracy@test"] == pytest.approx(0.53, abs=0.03)
    assert values["nmi@test"] == pytest.approx(0.50, abs=0.02)
    assert values["cluster-accuracy@test"] == values["cluster-accuracy[digit]@test"]
    assert values["facets@test"] == 1
    table = (results / "short.md").read_text()
    assert "Read by the harness's k-means from the codes of `pca`:" in table
    assert "cluster accuracy (one-to-one)" in table
