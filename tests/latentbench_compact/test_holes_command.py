"""What several runs of VAEs tell together, from their records to a table."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from latentbench.commands.cli import main
from latentbench.records.store import Store
from latentbench_compact import holes
from latentbench_compact.holes import MECHANISM, waic
from latentbench_datasets.synthetic.textures import Textures

BOARD = """\
name: short
title: anomalous textures, shortened
datasets:
  - name: textures
    options: {{kind: weave, train_images: 24, image_size: 32, normal_test_images: 12, defective_test_images: 3}}
models: [vae]
seeds: {seeds}
budget: {{max_steps: 4}}
rank: auroc@test
"""


def _run(tmp_path: Path, *, seeds: int, scores: str) -> Path:
    board, results = tmp_path / "short.yaml", tmp_path / "results"
    board.write_text(BOARD.format(seeds=seeds))
    options = ["--set", f"vae.scores={scores}", "--set", "vae.importance_samples=5"]
    assert main(["run", str(board), "--out", str(results), "--device", "cpu", "--jobs", "1", *options]) == 0
    return results


def _anomaly(store: Store) -> npt.NDArray[np.uint8]:
    options = next(iter(store.records()))[1].spec.options
    anomaly = Textures(Textures.Config(**options)).load(store.root).splits["test"].targets.anomaly
    assert anomaly is not None
    return anomaly


def test_waic_is_the_mean_less_the_unbiased_variance() -> None:
    log_p = np.array([[-1.0, -5.0], [-3.0, -5.0], [-2.0, -8.0]])
    np.testing.assert_allclose(waic(log_p), [-2 - 1, -6 - 3])


def test_the_table_is_what_the_kept_likelihoods_give(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = _run(tmp_path, seeds=3, scores='["negative_log_likelihood"]')
    capsys.readouterr()
    assert main(["holes", "waic", "--results", str(results)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| textures")]
    dataset, model, seeds, split, auroc, auprc, *_ = [cell.strip() for cell in line.strip("|").split("|")]
    assert (dataset, model, seeds, split) == ("textures", "vae", "3", "test")

    store = Store(results)
    kept = [store.predictions(path, record) for path, record in store.records() if not record.spec.untrained]
    nll = np.stack([arrays["test/score/negative_log_likelihood"] for arrays in kept]).astype(np.float64)
    score = nll.mean(0) + nll.var(0, ddof=1)
    anomaly = _anomaly(store)
    assert float(auroc) == pytest.approx(roc_auc_score(anomaly, score), abs=6e-4)
    assert float(auprc) == pytest.approx(average_precision_score(anomaly, score), abs=6e-4)


def test_without_two_seeds_that_have_the_score_it_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = _run(tmp_path, seeds=2, scores='["kl"]')
    assert main(["holes", "waic", "--results", str(results)]) == 2
    assert "no two seeds of one configuration" in capsys.readouterr().err


def test_the_mechanism_is_followed_by_means_over_seeds_and_anomalies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = _run(tmp_path, seeds=2, scores=json.dumps(MECHANISM))
    capsys.readouterr()
    assert main(["holes", "mechanism", "--results", str(results)]) == 0
    lines = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    store = Store(results)
    kept = [store.predictions(path, record) for path, record in store.records() if not record.spec.untrained]
    anomaly = _anomaly(store)
    assert [line[3].strip() for line in lines] == ["test, normal", "test, anomalies"]
    for value, line in enumerate(lines):
        for name, cell in zip(MECHANISM, line[4:], strict=True):
            expected = np.mean([arrays[f"test/score/{name}"][anomaly == value] for arrays in kept])
            assert float(cell) == pytest.approx(expected, rel=5.1e-4)


def test_the_indicator_converges_with_the_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = _run(tmp_path, seeds=1, scores='["hole_indicator"]')
    monkeypatch.setattr(holes, "NUMBERS", (4, 8, 64))
    (path,) = (path for path, record in Store(results).records() if not record.spec.untrained)
    capsys.readouterr()
    assert main(["holes", "convergence", path.stem, "--results", str(results)]) == 0
    lines = [line.strip("|").split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [int(line[0]) for line in lines] == [4, 8, 64]
    correlations, differences = ([float(line[column]) for line in lines] for column in (1, 2))
    assert differences[0] > differences[1] > differences[2] == 0
    assert correlations[0] < correlations[2] == 1

    path.with_suffix(".safetensors").unlink()
    assert main(["holes", "convergence", path.stem, "--results", str(results)]) == 2
    assert "weights" in capsys.readouterr().err


def test_what_draws_nothing_does_not_converge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    board = tmp_path / "short.yaml"
    board.write_text(BOARD.format(seeds=1).replace("[vae]", "[pca]"))
    options = ["--out", str(tmp_path / "results"), "--device", "cpu", "--jobs", "1", "--set", "pca.components=4"]
    assert main(["run", str(board), *options]) == 0
    (path,) = (tmp_path / "results").glob("*/*/*.json")
    assert main(["holes", "convergence", path.stem, "--results", str(tmp_path / "results")]) == 2
    assert f"run {path.stem} is of model 'pca', which is no VAE" in capsys.readouterr().err


def test_settings_are_told_apart_by_the_options_that_it_takes() -> None:
    named = [("vae", {"k": 1, "m": 1, "n": 1}), ("vae", {"k": 1, "m": 2, "n": 2}), ("ae", {"k": 3})]
    assert holes._labels(named) == ["vae (m=1)", "vae (m=2)", "ae"]
