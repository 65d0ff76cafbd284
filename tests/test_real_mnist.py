"""A shortened pass over real MNIST: every model of the board, from the published files to a leaderboard."""

from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store

pytestmark = [pytest.mark.real, pytest.mark.slow]

BOARD = """\
name: short
title: mnist-shift, shortened
datasets:
  - name: mnist-shift
    options: {correlation: 0.9, noise: 0.2, test_pairs: 200, validation_pairs: 400}
models: all
seeds: 1
budget: {max_steps: 150}
twins: false
rank: accuracy@test/uncorrelated
columns: [accuracy@validation, accuracy@test/anticorrelated, auroc@test/correlated]
"""


def test_every_model_runs_on_real_digits_and_stands_on_the_leaderboard(tmp_path: Path, data_root: Path) -> None:
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(BOARD)

    assert main(["run", str(board), "--data-root", str(data_root), "--out", str(results), "--device", "cpu"]) == 0
    assert main(["leaderboard", str(board), "--results", str(results)]) == 0

    records = {record.spec.model: record for _, record in Store(results).records()}
    assert {"ae", "vae", "beta-vae", "pca"} <= set(records)
    table = (results / "short.md").read_text()
    for model, record in records.items():
        assert f"`{model}`" in table
        if record.null:
            continue
        correlated, anticorrelated = (
            record.values[f"accuracy@test/{condition}"].value for condition in ("correlated", "anticorrelated")
        )
        if record.probe:
            # Fitted at c = 0.9 it leans on the correlation, so it loses when the correlation turns round.
            assert correlated > 0.7
            assert anticorrelated < correlated

    # At this noise a linear code shows both digits, and what it leaves over tells foreign ones: far from chance, 1/2.
    pca = records["pca"].values
    assert pca["accuracy@test/uncorrelated"].value > 0.7
    assert pca["auroc@test/correlated"].value > 0.6
