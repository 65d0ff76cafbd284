"""``compare``: what A and B may be, and what is told of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score
from tests.latentbench.boards.test_side_by_side import record
from tests.toys import Blobs

from latentbench.commands.cli import main
from latentbench.evaluation.bootstrap import image_weights
from latentbench.evaluation.kept import kept_targets
from latentbench.records.record import Record
from latentbench.records.store import Store

BOARD = """\
name: mine
title: Mine
datasets: [d]
models: [vae]
variants: [{model: vae, label: vae-4, options: {beta: 4}}]
seeds: 3
twins: false
rank: auroc@test
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(BOARD)
    store = Store(Path("results"))
    for seed, (one, other) in enumerate([(0.8, 0.7), (0.82, 0.71), (0.81, 0.75)]):
        store.save_record(record(seed, one))
        store.save_record(record(seed, other, beta=4))
    return store


def compared(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["compare", *arguments, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    return found


def test_two_rows_of_a_board_are_compared_over_seeds(store: Store, capsys) -> None:
    found = compared(capsys, "vae", "vae-4", "--board", "mine.yaml")
    assert found["settings"] == {"model.beta": [1, 4]}
    (value,) = found["values"]
    expected = stats.ttest_rel([0.8, 0.82, 0.81], [0.7, 0.71, 0.75]).confidence_interval(0.95)
    assert (value["low"], value["high"]) == pytest.approx((expected.low, expected.high))
    assert (value["paired_seeds"], value["covers"], value["better"]) == (3, ["seeds"], "a")

    assert main(["compare", "vae", "vae-4", "--board", "mine.yaml"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "d (pair=a)"
    assert out[1] == "A: vae, 3 runs, seeds 0, 1, 2"
    assert out[2] == "B: vae-4, 3 runs, seeds 0, 1, 2"
    assert "model.beta" in out[5]
    row = f"auroc@test ↑  0.8100  0.7200  +0.0900  {expected.low:+.4f} to {expected.high:+.4f}  seeds  A"
    assert out[-1].split() == row.split()


def test_two_runs_and_a_run_and_a_row_are_compared_where_they_have_the_same_seed(store: Store, capsys) -> None:
    a, b = record(1, 0.82), record(2, 0.75, beta=4)
    found = compared(capsys, a.key[:8], b.key)
    assert (found["a"], found["b"]) == ([a.key], [b.key])
    assert found["settings"] == {"model.beta": [1, 4], "seed": [1, 2]}
    (value,) = compared(capsys, a.key, "vae-4", "--board", "mine.yaml")["values"]
    assert (value["paired_seeds"], value["difference"]) == (1, pytest.approx(0.82 - 0.71))


def test_the_same_run_of_two_folders_is_compared(store: Store, capsys) -> None:
    Store(Path("older")).save_record(record(0, 0.6, package="0.9"))
    key = record(0, 0.8).key
    found = compared(capsys, key, key, "--against", "older")
    assert (found["a"], found["b"], found["settings"]) == ([key], [key], {})
    assert found["made"] == {"torch": ["1.0", "0.9"]}
    assert found["values"][0]["difference"] == pytest.approx(0.2)


def with_predictions(store: Store, one: Record, scores: np.ndarray) -> Record:
    """The record with predictions and targets beside it, and the value that they give."""
    truth = np.arange(60) >= 45
    value = one.values["auroc@test"].model_copy(update={"value": roc_auc_score(truth, scores), "capability": "score"})
    predictions = store.save_predictions(one.spec, {"test/score": scores})
    targets = store.save_targets(one.spec, kept_targets(Blobs().load(Path())))
    full = one.model_copy(update={"values": {"auroc@test": value}, "predictions": predictions, "targets": targets})
    store.save_record(full)
    return full


def test_bootstrap_adds_what_the_test_images_do(store: Store, capsys) -> None:
    rng, truth = np.random.default_rng(0), np.arange(60) >= 45
    scores = [truth + rng.normal(0, spread, 60) for spread in (0.8, 1.2)]
    a, b = (
        with_predictions(store, record(0, 0.5, beta=beta), of)
        for beta, of in zip((1, 4), scores, strict=True)
    )  # fmt: skip
    assert compared(capsys, a.key, b.key)["values"][0]["low"] is None
    (value,) = compared(capsys, a.key, b.key, "--bootstrap")["values"]
    replicates = [
        [roc_auc_score(truth, of, sample_weight=weights) for weights in image_weights("00", 60)] for of in scores
    ]
    difference = np.array(replicates[0]) - replicates[1]
    half = stats.t.ppf(0.975, len(difference) - 1) * np.std(difference, ddof=1)
    assert value["covers"] == ["test images"]
    assert (value["low"], value["high"]) == pytest.approx(
        (value["difference"] - half, value["difference"] + half), abs=1e-6
    )
    assert not list(store.root.rglob("*.replicates.npz.xz")), "what the tables do not need is not kept"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vae", "vea"], "'vea' is no run, model or variant in results: did you mean 'vae'?"),
        (["vae", "ffff"], "no run in results with a key that begins with 'ffff'"),
        (["vae", "vae-4@x"], "'vae-4@x' names no version: vae-4@2 is version 2 of vae-4"),
        (["vae", "vae-4@7"], "no board has a finished run of 'vae-4@7' in results"),
        (["vae", "vae"], "vae and vae are the same runs: --against names another folder for B"),
        (["vae", "vae-4", "--values", "auroc@tset"], "neither vae nor vae-4 has a value 'auroc@tset': did you mean"),
        (["vae", "vae-4", "--values", ""], "Invalid value for '--values': it names nothing"),
        (["vae", "vae-4", "--against", "empty"], "no board has a finished run of 'vae-4' in empty"),
    ],
)
def test_a_mistake_is_one_line(store: Store, capsys, arguments: list[str], message: str) -> None:
    assert main(["compare", "--board", "mine.yaml", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"latentbench: error: {message}")


def test_it_imports_no_torch_where_nothing_is_bootstrapped(store: Store) -> None:
    import subprocess
    import sys

    code = "import sys; from latentbench.commands.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    program = [sys.executable, "-c", code, "compare", "vae", "vae-4", "--board", "mine.yaml"]
    result = subprocess.run(program, capture_output=True, text=True, check=True)
    assert "torch" not in result.stdout.splitlines()[-1].split()
