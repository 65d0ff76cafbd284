"""``check-records`` on real runs: it is content with what they left, and names whatever was changed afterwards."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentbench.commands.cli import main
from latentbench.records.arrays import pack, unpack
from latentbench.records.store import Store, read_record

BOARD = """\
name: toys
title: Toys
datasets:
  - toy-blobs
  - name: textures
    options: {kind: weave, train_images: 80, image_size: 32, normal_test_images: 12, defective_test_images: 3}
models: [pca]
rank: auroc@test
"""


@pytest.fixture(scope="module")
def made(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    (folder / "toys.yaml").write_text(BOARD)
    assert (
        main(["--plugin", str(toys), "run", str(folder / "toys.yaml"), "--out", str(folder / "r"), "--jobs", "1"]) == 0
    )
    return folder / "r"


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results"))


def check(results: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["check-records", str(results), "--jobs", "1"])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_without_a_folder_the_records_in_the_results_folder_are_checked(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, told, _ = check(results, capsys)
    for named in (["--results", str(results)], []):  # the fixture's folder has the default's name
        assert main(["check-records", *named, "--jobs", "1"]) == 0
        assert capsys.readouterr().out == told
    results.rename("elsewhere")
    monkeypatch.setenv("LATENTBENCH_RESULTS", "elsewhere")
    assert main(["check-records", "--jobs", "1"]) == 0
    assert main(["check-records", "results", "--jobs", "1"]) == 2
    assert "no records in results" in capsys.readouterr().err


def path_of(results: Path, dataset: str) -> Path:
    (path,) = results.glob(f"{dataset}/pca/*.json")
    return path


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_what_runs_left_is_computed_again(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(results, capsys)
    assert code == 0
    records = [record for _, record in Store(results).records()]
    values = sum(len(record.values) for record in records)
    capabilities = [value.capability for record in records for value in record.values.values()]
    codes = capabilities.count("encode")
    assert "pixel-auroc@test" in next(record for record in records if record.spec.dataset == "textures").values
    assert f"2 records, {values - codes} values computed again from predictions" in out
    assert f"{codes} values not computed again: needs codes" in out


@pytest.mark.parametrize(
    ("dataset", "name", "by"),
    [("toy-blobs", "auroc@test", 1e-6), ("textures", "fpr95@test", -0.05), ("textures", "aupro30@test", 0.01)],
)
def test_a_value_changed_by_hand_is_named(
    results: Path, dataset: str, name: str, by: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_of(results, dataset)
    before = read_record(path).values[name].value
    changed = before - by if before + by > 1 else before + by
    edit(path, lambda document: document["values"].update({name: changed}))
    code, out, err = check(results, capsys)
    assert code == 2
    (line,) = [line for line in out.splitlines() if line.startswith(f"{path}: ")]
    assert line.startswith(f"{path}: value '{name}' is {changed}, its predictions give {before!s:.6}")
    assert "1 of 2 records" in err


def _other_seed(document: dict[str, Any]) -> None:
    document["spec"]["seed"] = 5


def _wider(document: dict[str, Any]) -> None:
    document["metrics"]["auroc"]["bounds"] = [0.0, 9.0]
    document["values"]["auroc@test"] = 8.0


def _reversed(document: dict[str, Any]) -> None:
    document["metrics"]["auroc"]["higher_is_better"] = False


def _unbounded(document: dict[str, Any]) -> None:
    del document["metrics"]["auroc"]["bounds"]
    document["values"]["auroc@test"] = 8.0


def _invented(document: dict[str, Any]) -> None:
    document["values"]["auroc@validation"] = 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_seed, "is not believed: its key is"),
        (lambda document: document["values"].update({"auroc@test": 8.0}), "not within the bounds 0.0 to 1.0"),
        (_wider, "value 'auroc@test' is 8.0, its metric's bounds are [0.0, 1.0]"),
        (_unbounded, "value 'auroc@test' is 8.0, its metric's bounds are [0.0, 1.0]"),
        (_reversed, "states higher_is_better False"),
        (lambda document: document.update(null=True), "it states null True, its model has False"),
        (lambda document: document.update(deterministic=True), "it states deterministic True, its model has False"),
        (lambda document: document["values"].update({"auroc@nowhere": 0.5}), "the data has no split 'nowhere'"),
        (lambda document: document["predictions"].update({"sha256": "0" * 64}), "its record expects 000"),
        (lambda document: document["targets"].update({"sha256": "0" * 64}), "its record expects 000"),
    ],
    ids=[
        "key",
        "bounds",
        "wider",
        "unbounded",
        "direction",
        "null",
        "deterministic",
        "split",
        "predictions",
        "targets",
    ],
)
def test_whatever_else_was_changed_is_named(
    results: Path, change: Callable[[dict[str, Any]], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_of(results, "toy-blobs")
    edit(path, change)
    code, out, _ = check(results, capsys)
    assert code == 2
    assert any(line.startswith(f"{path}: ") and message in line for line in out.splitlines())


@pytest.mark.parametrize("change", [_wider, _unbounded, _reversed])
def test_a_record_that_vouches_for_its_own_bounds_is_neither_shown_nor_taken_for_done(
    change: Callable[[dict[str, Any]], None],
    results: Path,
    toys: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = path_of(results, "toy-blobs")
    (tmp_path / "toys.yaml").write_text(BOARD)
    run = ["--plugin", str(toys), "run", str(tmp_path / "toys.yaml"), "--out", str(results), "--dry-run"]
    show = ["show", path.stem, "--results", str(results)]
    assert (main(run), main(show)) == (0, 0)
    edit(path, change)
    for command in (run, show):
        capsys.readouterr()
        assert main(command) == 2
        told = capsys.readouterr().err
        assert f"{path} is not believed: value 'auroc@test' " in told
        assert "remove it with `latentbench rm`" in told


def test_predictions_that_were_changed_with_their_hash_no_longer_give_the_values(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = path_of(results, "toy-blobs")
    record, store = read_record(path), Store(results)
    arrays = store.predictions(path, record)
    arrays["test/score"] = -np.asarray(arrays["test/score"], np.float32)
    store.save_record(record.model_copy(update={"predictions": store.save_predictions(record.spec, arrays)}))
    code, out, _ = check(results, capsys)
    assert code == 2
    assert f"{path}: value 'auroc@test' is " in out


@pytest.mark.parametrize("to", ["toy-blobs/vae/{key}.json", "textures/pca/{key}.json", "toy-blobs/pca/again.json"])
def test_a_record_out_of_its_place_is_refused_by_name(
    results: Path, to: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = path_of(results, "toy-blobs")
    copy = results / to.format(key=path.stem)
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(path, copy)
    code, out, _ = check(results, capsys)
    assert code == 2
    assert f"{copy}: is not believed: its place is" in out
    assert [found for found, _ in Store(results).records()].count(path) == 1
    assert copy not in [found for found, _ in Store(results).records()]
    assert caplog.text.count(str(copy)) == 2


def test_what_is_not_kept_is_counted_by_reason(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blobs, textures = path_of(results, "toy-blobs"), path_of(results, "textures")
    blobs.with_suffix(".npz.xz").unlink()
    edit(textures, lambda document: document.pop("targets"))
    code, out, _ = check(results, capsys)
    assert code == 0
    assert "0 values computed again" in out
    assert "predictions not here" in out
    assert "targets not kept" in out


def test_a_folder_without_records_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = check(tmp_path, capsys)
    assert code == 2
    assert f"no records in {tmp_path}" in err


def test_targets_hold_no_images_and_no_masks(results: Path) -> None:
    (file,) = results.glob("textures/*.npz.xz")
    arrays = unpack(file.read_bytes())
    assert set(arrays) == {"facts", "test/anomaly", "validation/anomaly"} & set(arrays) | {"facts", "test/anomaly"}
    assert all(array.ndim <= 1 for array in arrays.values())
    assert pack(arrays) == file.read_bytes()
