"""The linear floor on the real pairs of ood, from the published files to a record."""

from pathlib import Path

import pytest

from latentbench.cli import main
from latentbench.store import Store
from latentbench_datasets import fashion_mnist

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
