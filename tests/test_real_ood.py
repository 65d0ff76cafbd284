"""The linear floor on the real pairs of ood, from the published files to a record."""

from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.records.store import Store
from latentbench_datasets.digits import fashion_mnist_files as fashion_mnist

pytestmark = [pytest.mark.real, pytest.mark.slow]

BOARD = """\
name: short
title: one pair of ood, shortened
datasets:
  - name: ood
    options: {{pair: {pair}, test_images: 1000, intensities: [1, 3, 15]}}
models: [pca]
rank: auroc@test
"""


@pytest.mark.parametrize("pair", ["mnist-fashion", "fashion-mnist", "mnist-held-out"])
def test_the_distance_to_the_principal_subspace_tells_the_anomalies_and_brighter_ones_still_better(
    tmp_path: Path, data_root: Path, pair: str
) -> None:
    if not (data_root / fashion_mnist.FILES.torchvision_name / "raw").is_dir():
        pytest.skip("no real Fashion-MNIST")
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(BOARD.format(pair=pair))
    assert main(["run", str(board), "--data-root", str(data_root), "--out", str(results), "--device", "cpu"]) == 0

    ((_, record),) = Store(results).records()
    auroc = {split: record.values[f"auroc@{split}"].value for split in ("test", "test-x3", "test-x15")}
    assert 0.8 < auroc["test"] < auroc["test-x3"]  # chance is 1/2
    assert auroc["test-x15"] > 0.9999  # the distance grows with the square of the factor
    assert record.values["f1-max@test"].value > 0.75  # to call all images anomalous has 2/3
    assert not any(name.endswith(("@train", "@validation")) for name in record.values)  # no anomalies there


def _values(tmp_path: Path, data_root: Path, dataset: str, model: str, *options: str) -> dict[str, float]:
    """What one short run measures."""
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(
        f"name: short\ntitle: short\ndatasets: [{{name: ood, options: {dataset}}}]\nrank: auroc@test\ntwins: false\n"
    )
    set_to = [word for option in options for word in ("--set", f"{model}.{option}")]
    command = ["run", str(board), "--models", model, "--data-root", str(data_root), "--out", str(results)]
    assert main([*command, "--device", "cpu", "--jobs", "1", *set_to]) == 0
    ((_, record),) = Store(results).records()
    return {name: value.value for name, value in record.values.items()}


def test_on_the_sphere_held_out_digits_spread_the_likelihood_of_their_draws(tmp_path: Path, data_root: Path) -> None:
    dataset = "{pair: mnist-held-out, test_images: 300}"
    found = _values(tmp_path, data_root, dataset, "vae-sphere", "epochs=8", "importance_samples=50")
    assert found["auroc@test"] == found["auroc[hole_indicator]@test"] > 0.8
    assert found["auroc[negative_log_likelihood]@test"] > 0.8
    assert found["auroc[input_complexity]@test"] < 0.6  # strokes of a 1 compress too well


@pytest.mark.parametrize(("rows", "low", "high"), [("simplex", 0.95, 1.0), ("sphere", 0.0, 0.5)])
def test_after_an_epoch_brighter_outliers_stay_outliers_only_where_no_weight_of_the_encoder_is_negative(
    tmp_path: Path, data_root: Path, rows: str, low: float, high: float
) -> None:
    dataset = "{pair: mnist-fashion, test_images: 200, intensities: [1, 15]}"
    options = (f"rows={rows}", "epochs=1", "importance_samples=50")
    found = _values(tmp_path, data_root, dataset, "vae-lipschitz", *options)
    assert found["auroc@test"] > 0.9
    assert low <= found["auroc@test-x15"] <= high
