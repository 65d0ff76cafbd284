"""``score``, ``repeat``, ``latentbench.run`` and ``load_run``: a finished run's model, used and made again."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.documents import blocks
from tests.toys import Blobs

import latentbench
from latentbench.commands.cli import main
from latentbench.data.splits import Data
from latentbench.errors import LatentbenchError
from latentbench.records.record import Record
from latentbench.records.store import Store

BOARD = """\
name: toys
title: Toys
datasets: [toy-blobs]
models: [localizer, centre-distance]
twins: false
rank: auroc@test
"""

PLUGIN = """
from latentbench import hookimpl
from tests.toys import CentreDistance

class Localizer(CentreDistance):
    def localize(self, images):
        return images[:, 0]

@hookimpl
def latentbench_models():
    return [Localizer]
"""


@pytest.fixture(scope="module")
def made(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a board, a plugin, and two runs."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "toys.yaml").write_text(BOARD)
    (folder / "plugin.py").write_text(PLUGIN)
    plugins = ["--plugin", str(toys), "--plugin", str(folder / "plugin.py")]
    board, out = str(folder / "toys.yaml"), str(folder / "results")
    assert main([*plugins, "run", board, "--executor", "here", "--results", out]) == 0
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, and in ``pictures`` the test images of the dataset."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for number, image in enumerate(images()):
        Image.fromarray(image[0]).save(tmp_path / "pictures" / f"{number:02}.png")
    return tmp_path


def images() -> np.ndarray:
    test = Blobs().load(Path()).splits["test"]
    assert isinstance(test, latentbench.StoredSplit)
    return test.images.numpy()


@pytest.fixture
def cli(toys: Path, capsys: pytest.CaptureFixture[str]):
    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["--plugin", str(toys), "--plugin", "plugin.py", *arguments])
        return code, *capsys.readouterr()

    return call


def the_record(model: str) -> tuple[Path, Record]:
    return Store(Path("results")).find(f"{model}/toy-blobs/0")


def scores_of_the_run() -> np.ndarray:
    return Store(Path("results")).predictions(*the_record("localizer"))["test/score"].astype(np.float64)


def validation_scores(toys: Path) -> np.ndarray:
    run = latentbench.load_run("localizer/toy-blobs/0", device="cpu", plugins=[toys, "plugin.py"])
    split = run.data().validation
    assert split is not None
    batch = split.batch(torch.arange(len(split)), torch.Generator()).images
    with torch.inference_mode():
        return np.asarray(run.model.score(batch))  # type: ignore[operator]


# score


def test_the_images_of_a_dataset_get_the_scores_that_its_run_gave_them(folder: Path, cli, toys: Path) -> None:
    code, out, err = cli("score", "localizer/toy-blobs/0", "pictures", "--quantile", "0.9")
    assert code == 0
    assert err.startswith("16 of 60 pictures are darker or brighter than every validation image"), "the anomalies are"
    assert err.count("\n") == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["picture"] for row in rows] == [f"pictures/{number:02}.png" for number in range(60)]
    np.testing.assert_allclose(np.array([float(row["score"]) for row in rows]), scores_of_the_run(), rtol=1e-5)
    normal = validation_scores(toys)
    threshold = float(rows[0]["threshold"])
    assert threshold == pytest.approx(np.sort(normal)[int(np.ceil(0.9 * len(normal))) - 1], rel=1e-5)
    for row in rows:
        score = float(row["score"])
        assert float(row["normal_below"]) == pytest.approx(np.mean(normal < score), abs=1.01 / len(normal))
        assert row["above"] == str(int(score > threshold))
        assert float(row["threshold"]) == threshold


def test_heat_maps_are_written_beside_each_other_as_the_pictures_lie(folder: Path, cli) -> None:
    (folder / "pictures" / "sub").mkdir()
    Image.fromarray(images()[0, 0]).resize((30, 20)).save(folder / "pictures" / "sub" / "00.jpg")
    code, out, err = cli("score", "localizer/toy-blobs/0", "pictures", "--maps", "maps", "--to", "scores.csv")
    assert (code, out) == (0, "scores.csv\n")
    assert "1 of 61 pictures (30x20) are resized to 8x8, which changes their aspect\n" in err
    assert "61 heat maps are in maps, dark at " in err
    assert len(Path("scores.csv").read_text().splitlines()) == 62
    assert Image.open("maps/00.png.png").size == (8, 8)
    assert Image.open("maps/sub/00.jpg.png").size == (30, 20)
    assert len(list(Path("maps").rglob("*.png"))) == 61


def test_pictures_are_named_as_their_files_are_and_their_maps_stay_in_the_folder(folder: Path, cli) -> None:
    """Whatever their names: the CSV can be joined with the files, and is no formula and no order to a terminal."""
    Path("pictures/sub").mkdir()
    latin = os.fsdecode(b"n\xe4h.png")
    told = {
        "Größe.png": "Größe.png",
        "=1+1.png": "'=1+1.png",
        "x;=2.png": "x;'=2.png",
        "a\x1b[2Jb.png": "a\\u001b[2Jb.png",
        "l\u202eg.png": "l\\u202eg.png",
        latin: "n\\udce4h.png",
        "up.png": "pictures/sub/../../up.png",
    }
    for name in told:
        shutil.copy("pictures/00.png", name)
    given = [*[*told][:-1], "pictures/sub/../../up.png", "pictures/01.png"]
    code, _, err = cli("score", "localizer/toy-blobs/0", *given, "--maps", "maps", "--to", "s.csv")
    assert code == 0, err
    with Path("s.csv").open(encoding="utf-8", newline="") as lines:
        assert [row["picture"] for row in csv.DictReader(lines)] == [*told.values(), "pictures/01.png"]
    made = {os.fsencode(path.relative_to("maps")) for path in Path("maps").rglob("*.png")}
    assert made == {os.fsencode(f"{name}.png") for name in (*told, "pictures/01.png")}


def test_a_model_that_does_not_localize_gives_scores_and_no_maps(folder: Path, cli) -> None:
    code, out, err = cli("score", "centre-distance/toy-blobs/0", "pictures/00.png", "--maps", "maps")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert err.endswith("no heat maps, for model 'centre-distance' does not localize\n")
    assert not Path("maps").exists()


def test_a_picture_that_cannot_be_read_costs_no_other(folder: Path, cli) -> None:
    Path("pictures/bad.png").write_text("?")
    code, out, err = cli("score", "localizer/toy-blobs/0", "pictures/00.png", "pictures/bad.png")
    assert code == 2
    assert [line.split(",")[0] for line in out.splitlines()] == ["picture", "pictures/00.png"]
    assert err.splitlines() == [
        "picture pictures/bad.png is none of PNG, JPEG, BMP, TIFF, or is damaged",
        "latentbench: error: 1 of 2 pictures cannot be read: see the lines above",
    ]


def test_without_the_dataset_there_is_a_score_and_no_threshold(
    folder: Path, cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> Data:
        raise LatentbenchError("it is not there", "get it")

    monkeypatch.setattr("latentbench.evaluation.loading.load_run_data", gone)
    code, out, err = cli("score", "localizer/toy-blobs/0", "pictures/00.png")
    assert code == 0
    assert out.splitlines()[1].endswith(",,,")
    assert err == "no threshold, for the dataset of the run is not there: it is not there: get it\n"


def test_a_name_that_a_spreadsheet_would_compute_is_escaped(folder: Path, cli) -> None:
    shutil.copy("pictures/00.png", "=1+1.png")
    out = cli("score", "localizer/toy-blobs/0", "=1+1.png")[1]
    assert out.splitlines()[1].startswith("'=1+1.png,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing", "pictures"], "no run in results with a key that begins with 'nothing'"),
        (["last", "none.png"], "there is no picture none.png"),
        (["localizer/toy-blobs/0", "plugin.py"], "none of 1 pictures can be read: picture plugin.py is none of PNG"),
        (["localizer/toy-blobs/0", "pictures", "--score", "mean"], "the model has no score 'mean'"),
        (["localizer/toy-blobs/0", "pictures", "--quantile", "2"], "Invalid value for '--quantile'"),
        (["localizer/toy-blobs/0", "pictures", "--device", "cuda:9"], "--device cuda:9: this machine's PyTorch finds"),
        (["localizer/toy-blobs/0"], "Missing argument 'IMAGES...'"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, cli, arguments: list[str], message: str) -> None:
    code, out, err = cli("score", *arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"latentbench: error: {message}")


# Weights that were not kept, and making a run again


def test_weights_that_are_gone_are_made_again_by_the_command_that_is_told(folder: Path, cli, toys: Path) -> None:
    path, record = the_record("localizer")
    before = path.with_suffix(".safetensors").read_bytes()
    path.with_suffix(".safetensors").unlink()
    code, _, err = cli("score", record.key, "pictures/00.png")
    assert code == 2
    command = f"latentbench repeat {record.key} --results results --out repeated"
    assert f"the weights of run {record.key} (localizer on toy-blobs, seed 0) are not beside its record" in err
    assert err.strip().endswith(f"make them again with: {command}")

    code, out, _ = cli(*command.split()[1:], "--executor", "here")
    assert code == 0
    assert "weights, predictions and values are the same as before, bit for bit" in out
    assert Path("repeated", *path.with_suffix(".safetensors").parts[1:]).read_bytes() == before
    assert cli("score", record.key, "pictures/00.png", "--results", "repeated")[0] == 0
    assert "1 done before, 0 to do" in cli("repeat", record.key, "--out", "repeated")[1]


def test_a_repeated_run_that_differs_is_told_with_the_comparison(folder: Path, cli) -> None:
    record = the_record("localizer")[1]
    values = {
        name: value.model_copy(update={"value": 0.0}) if name == "auroc@test" else value
        for name, value in record.values.items()
    }
    Store(Path("results")).save_record(record.model_copy(update={"values": values}))
    code, out, _ = cli("repeat", record.key, "--executor", "here")
    assert code == 0
    told = out.splitlines()[-1]
    assert told.startswith(f"1 of {len(values)} values differ: latentbench compare {record.key} {record.key} ")
    assert cli(*told.partition(": latentbench ")[2].split())[0] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["last", "--out", "results"], "results has the record of "),
        (["last", "--executor", "silent"], "executor 'silent' told nothing of "),
        (["nothing"], "no run in results"),
    ],
)
def test_a_run_that_cannot_be_repeated_is_told(folder: Path, cli, arguments: list[str], message: str) -> None:
    code, _, err = cli("repeat", *arguments)
    assert code == 2
    assert err.startswith(f"latentbench: error: {message}")


def test_a_record_of_another_version_is_not_repeated(folder: Path, cli) -> None:
    Path("plugin.py").write_text(PLUGIN.replace("(CentreDistance):", "(CentreDistance):\n    version = 2"))
    code, _, err = cli("repeat", "localizer/toy-blobs/0")
    assert code == 2
    assert "cannot be made again: model 'localizer' was of version 1, and is of 2: install what made it" in err


# From Python


def test_a_loaded_run_is_the_record_and_its_model(folder: Path, toys: Path) -> None:
    run = latentbench.load_run("localizer/toy-blobs/0", device="cpu", plugins=[toys, "plugin.py"])
    assert run.record == the_record("localizer")[1]
    assert run.info.image_shape == (1, 8, 8)
    assert not run.model.training
    test = run.data().splits["test"]
    batch = test.batch(torch.arange(60), torch.Generator()).images
    with torch.inference_mode():
        scores = run.model.score(batch)  # type: ignore[operator]
    np.testing.assert_allclose(scores, scores_of_the_run(), rtol=1e-5)


def test_without_kept_targets_the_dataset_tells_the_shape_of_images(folder: Path, toys: Path) -> None:
    for targets in Path("results/toy-blobs").glob("*.npz.xz"):
        targets.unlink()
    run = latentbench.load_run("localizer/toy-blobs/0", device="cpu", plugins=[toys, "plugin.py"])
    assert run.info.image_shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.with_suffix(".safetensors").write_bytes(b"other"), "its record expects "),
        (lambda path: path.with_suffix(".safetensors").unlink(), "make them again with: latentbench repeat "),
        (lambda path: Path("plugin.py").write_text(PLUGIN + "\n"), "its weights were made by other code"),
    ],
)
def test_weights_that_are_not_the_runs_are_refused(folder: Path, toys: Path, change, message: str) -> None:
    change(the_record("localizer")[0])
    with pytest.raises(LatentbenchError, match=message):
        latentbench.load_run("localizer/toy-blobs/0", device="cpu", plugins=[toys, "plugin.py"])


def test_a_board_is_run_from_python_as_by_the_command(folder: Path, toys: Path, capsys) -> None:
    options: dict[str, Any] = {"plugins": [toys, "plugin.py"], "executor": "here", "device": "cpu"}
    records = latentbench.run("toys.yaml", **options)
    assert [record.spec.model for record in records] == ["localizer", "centre-distance"]
    assert records == [the_record("localizer")[1], the_record("centre-distance")[1]], "what is finished is kept"
    assert "2 runs, 2 done before, 0 to do" in capsys.readouterr().out

    (record,) = latentbench.run(
        "toys.yaml", models="localizer", seeds=1, options={"localizer.latent_dim": 2}, results="own", **options
    )
    assert record.spec.config["latent_dim"] == 2
    assert "localizer on toy-blobs, seed 0: finished" in capsys.readouterr().out
    latentbench.run("toys.yaml", models=["centre-distance"], results="own", progress=False, **options)
    assert capsys.readouterr().out == ""


def test_a_failed_run_is_returned_and_warned_of_and_a_lost_one_is_an_error(
    folder: Path, toys: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Path("toys.yaml").write_text(BOARD.replace("localizer", "divides-by-zero"))
    records = latentbench.run("toys.yaml", plugins=[toys], executor="here", device="cpu", progress=False)
    assert [record.status for record in records] == ["failed", "finished"]
    assert re.search(r"divides-by-zero on toy-blobs, seed 0 failed: .*ZeroDivisionError", caplog.text)
    with pytest.raises(LatentbenchError, match="1 of 1 runs did not end: executor 'silent' told nothing of"):
        latentbench.run(
            "toys.yaml",
            models="centre-distance",
            results="x",
            plugins=[toys],
            executor="silent",
            device="cpu",
            progress=False,
        )
    with pytest.raises(LatentbenchError, match="board 'toys' has no model 'vea'"):
        latentbench.run("toys.yaml", models="vea", plugins=[toys], device="cpu")


def test_importing_latentbench_imports_no_torch_until_it_is_needed() -> None:
    code = "import sys, latentbench; print('torch' in sys.modules); latentbench.run; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "True"]


@pytest.mark.slow
def test_the_tutorial_runs_as_a_plain_script(tmp_path: Path) -> None:
    """A script without a guard: its runs have processes of their own, which do not run the script again.

    It is all the Python code of README.md: code that is added there has to be run, too.
    """
    (tutorial,) = blocks("README.md", "python")
    (tmp_path / "tutorial.py").write_text(tutorial.text)
    result = subprocess.run([sys.executable, "tutorial.py"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    *told, last = result.stdout.splitlines()
    assert sum(": finished, " in line for line in told) == 3
    assert last.endswith("tensor(True)")
