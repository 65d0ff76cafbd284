"""``latentbench data``: what a dataset does and tells, in the folder that was asked for and with its options."""

import json
import re
import shutil
from pathlib import Path

import pytest

from latentbench.commands.cli import main

SOURCE = """
import torch
from latentbench import Data, DataInfo, Dataset, LatentbenchError, Options, Role, StoredSplit, hookimpl

class Mine(Dataset):
    name, title, licence, citation, source = "mine", "Mine", "CC0-1.0", "none", "https://example.org/mine"

    class Config(Options):
        size: int = 3

    def load(self, data_root):
        if not (data_root / "mine").is_dir():
            raise LatentbenchError(f"'mine' is not in {data_root}", "get it")
        if self.config.size > 8:
            raise LatentbenchError("there are 8 images", "ask for fewer")
        images = torch.zeros((self.config.size, 1, 2, 2), dtype=torch.uint8)
        return Data(DataInfo(1, 2, 2, self.config.size), {"train": StoredSplit(Role.TRAIN, images)})

    def prepare(self, data_root):
        if data_root.name == "forbidden":
            raise LatentbenchError("the server says no", "ask again")
        (data_root / "mine").mkdir(parents=True)

class Faulty(Mine):
    name = "faulty"

    def load(self, data_root):
        return 1 // 0

@hookimpl
def latentbench_datasets():
    return [Mine, Faulty]
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LATENTBENCH_DATA_ROOT", raising=False)
    path = tmp_path / "plugin.py"
    path.write_text(SOURCE)
    return ["--plugin", str(path)]


@pytest.mark.parametrize(
    ("arguments", "environment", "folder"),
    [
        ([], None, "data"),
        ([], "elsewhere", "elsewhere"),
        (["--data-root", "a/b"], "elsewhere", "a/b"),
    ],
)
def test_the_folder_is_the_options_then_the_environments_then_data(
    plugin, monkeypatch, tmp_path, capsys, arguments, environment, folder
):
    if environment:
        monkeypatch.setenv("LATENTBENCH_DATA_ROOT", environment)
    assert main([*plugin, "data", "prepare", "mine", *arguments]) == 0
    assert (tmp_path / folder / "mine").is_dir()
    assert capsys.readouterr().out == f"dataset 'mine' is ready in {folder} (train images: 3)\n"


def test_what_the_dataset_cannot_do_is_told_in_one_line(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mine", "--data-root", "forbidden"]) == 2
    told = (
        r"latentbench: error: plugin 'plugin sha256:\w+': dataset 'mine', prepare\(\): the server says no: ask again\n"
    )
    assert re.fullmatch(told, capsys.readouterr().err)


def test_what_cannot_be_loaded_afterwards_is_not_called_ready(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mine", "--set", "size=9"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(": dataset 'mine', load(): there are 8 images: ask for fewer\n")


@pytest.mark.parametrize("verb", ["prepare", "verify"])
def test_without_a_dataset_it_is_all_that_are_there_and_a_faulty_one_costs_no_other(plugin, tmp_path, capsys, verb):
    assert main([*plugin, "data", verb]) == 2
    out, err = capsys.readouterr()
    done = {"prepare": "is ready in data", "verify": "is what it should be"}[verb]
    assert f"dataset 'digits-shift' {done}" in out
    assert f"dataset 'textures' {done}" in out
    assert "dataset 'mine' is not there: latentbench data status mine --plugin " in out
    assert not (tmp_path / "data").exists()  # nothing is downloaded
    assert "dataset 'faulty': ZeroDivisionError" in err
    assert err.endswith("latentbench: error: not done for faulty: see the lines above\n")


def test_an_unknown_dataset_has_near_misses(plugin, capsys):
    assert main([*plugin, "data", "prepare", "minee"]) == 2
    assert capsys.readouterr().err.startswith(
        "latentbench: error: unknown dataset 'minee': did you mean 'mine'? known: "
    )


def test_a_file_in_place_of_the_folder_is_refused(plugin, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main([*plugin, "data", "prepare", "mine", "--data-root", "taken"]) == 2
    assert "'taken' is a file" in capsys.readouterr().err


def rows_of(capsys) -> dict[str, dict]:
    return {row["name"]: row for row in json.loads(capsys.readouterr().out)}


def test_the_status_of_a_dataset_says_what_is_there_its_licence_and_its_source(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mine"]) == 0
    capsys.readouterr()
    assert main([*plugin, "data", "status", "mine"]) == 0
    assert capsys.readouterr().out == (
        "mine: present\n  there    train images: 3\n  licence  CC0-1.0\n  source   https://example.org/mine\n"
    )


def test_the_status_of_a_missing_dataset_says_how_to_get_it(plugin, capsys):
    assert main([*plugin, "data", "status", "mine", "--json"]) == 0
    assert rows_of(capsys)["mine"] == {
        "name": "mine",
        "state": "missing",
        "folder": None,
        "facts": {},
        "note": "'mine' is not in data: get it",
        "prepared": [],
        "options": {"size": 3},
        "licence": "CC0-1.0",
        "source": "https://example.org/mine",
    }


def test_the_status_of_all_datasets_outlives_a_faulty_one(plugin, capsys):
    assert main([*plugin, "data", "status", "--json"]) == 0
    rows = rows_of(capsys)
    assert rows["faulty"]["state"] == "broken"
    assert "ZeroDivisionError" in rows["faulty"]["note"]
    assert rows["mine"]["state"] == "missing"
    assert rows["mvtec-ad"]["state"] == "missing"
    assert rows["mvtec-ad"]["licence"] == "CC BY-NC-SA 4.0"
    assert "accept its licence" in rows["mvtec-ad"]["note"]


def test_options_are_set_for_one_dataset(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mine"]) == 0
    assert main([*plugin, "data", "status", "mine", "--set", "size=5"]) == 0
    assert "train images: 5" in capsys.readouterr().out
    assert main([*plugin, "data", "status", "mine", "--set", "mine.size=6"]) == 0
    assert "train images: 6" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["status", "--set", "size=5"], "--set needs a DATASET"),
        (["prepare", "--set", "size=5"], "--set needs a DATASET"),
        (["verify", "--set", "size=5"], "--set needs a DATASET"),
        (["status", "mine", "--set", "sise=5"], "dataset 'mine' has no option 'sise': did you mean 'size'?"),
        (["verify", "mine", "--set", "size=big"], "dataset 'mine': 'size': "),
        (["prepare", "mine", "--set", "vae.size=5"], "--set vae.size=5: the dataset is 'mine': --set size=VALUE"),
        (["status", "minee"], "unknown dataset 'minee': did you mean 'mine'?"),
        (["verify", "mine"], "'mine' is not in data: get it"),
    ],
)
def test_a_mistake_is_one_line(plugin, capsys, arguments, told):
    assert main([*plugin, "data", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_verifying_tells_the_split_hash(plugin, tmp_path, capsys):
    assert main([*plugin, "data", "prepare", "mine"]) == 0
    capsys.readouterr()
    assert main([*plugin, "data", "verify", "mine"]) == 0
    first = capsys.readouterr().out
    assert first.startswith("dataset 'mine' is what it should be; split hash ")
    assert main([*plugin, "data", "verify", "mine", "--set", "size=4"]) == 0
    assert capsys.readouterr().out != first


def test_image_folders_are_prepared_found_and_verified(monkeypatch, tmp_path, capsys):
    from PIL import Image

    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data" / "parts"
    for number, part in enumerate(["train/good/0", "train/good/1", "test/good/0", "test/hole/0"]):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(folder / f"{part}.png")
    of_it = ["--set", "folder=parts", "--set", "image_size=8", "--data-root", str(tmp_path / "data")]

    assert main(["data", "prepare", "mvtec-like", *of_it]) == 0
    assert capsys.readouterr().out == (
        f"dataset 'mvtec-like' is ready in {tmp_path / 'data'} (train images: 2, validation images: 0, test images: 2, "
        "defective images: 1, masks missing: 1, masks all black: 0, masks lost by resizing: 0)\n"
    )
    assert main(["data", "status", "mvtec-like", *of_it]) == 0
    status = capsys.readouterr().out
    assert status.startswith(f"mvtec-like: prepared\n  folder   {folder}\n  there    train images: 2, ")
    assert "masks missing: 1" in status
    (cache,) = (tmp_path / "cache").glob("*/mvtec-like")
    size = sum(file.stat().st_size for file in cache.rglob("*") if file.is_file())
    assert f"\n  prepared {size / 1000:.1f} kB in {cache}\n" in status
    assert main(["data", "verify", "mvtec-like", *of_it]) == 0
    capsys.readouterr()

    for array in (tmp_path / "cache").rglob("test.npy"):
        content = bytearray(array.read_bytes())
        content[-1] ^= 1
        array.write_bytes(content)
    assert main(["data", "verify", "mvtec-like", *of_it]) == 2
    assert "has changed since it was prepared: delete it" in capsys.readouterr().err

    (folder / "test" / "hole" / "0.png").write_bytes(b"")
    assert main(["data", "status", "mvtec-like", *of_it]) == 0
    assert capsys.readouterr().out.startswith("mvtec-like: outdated\n")
    assert main(["data", "prepare", "mvtec-like", *of_it]) == 2
    error = capsys.readouterr().err
    assert f"latentbench: error: dataset 'mvtec-like', prepare(): image {folder}/test/hole/0.png is empty" in error
    assert "Traceback" not in error


def test_what_was_prepared_is_deleted_and_the_data_stays(monkeypatch, tmp_path, capsys):
    from PIL import Image

    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    for part in ("train/good/0", "train/good/1", "test/good/0", "test/hole/0"):
        path = tmp_path / "data" / "mvtec_like" / f"{part}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 100).save(path)
    shutil.copytree(tmp_path / "data", tmp_path / "other")
    Image.new("L", (8, 8), 50).save(tmp_path / "other" / "mvtec_like" / "train" / "good" / "0.png")
    data, other = (["--data-root", str(tmp_path / name)] for name in ("data", "other"))
    before = sorted((tmp_path / "data").rglob("*"))

    def prepared() -> int:
        for root in (data, other):
            assert main(["data", "prepare", "mvtec-like", *root]) == 0
        capsys.readouterr()
        return len(list((tmp_path / "cache").glob("*/mvtec-like")))

    for arguments, left in ((["mvtec-like", *data], 1), (data, 1), (["--all", *data], 0)):
        assert prepared() == 2
        assert main(["data", "clean", *arguments]) == 0
        told = capsys.readouterr().out.splitlines()
        deleted = rf"deleted \S+ \w+ of {tmp_path}/cache/[0-9a-f]{{8}}/mvtec-like"
        assert all(re.fullmatch(deleted, line) for line in told), told
        assert len(told) == 2 - left
        assert len(list((tmp_path / "cache").glob("*/mvtec-like"))) == left
        assert sorted((tmp_path / "data").rglob("*")) == before
    assert main(["data", "clean", "mvtec-like", *data]) == 0
    assert capsys.readouterr().out == "nothing is prepared of dataset 'mvtec-like'\n"
    assert main(["data", "clean", *data]) == 0
    assert capsys.readouterr().out == "nothing is prepared of any dataset\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["clean", "minee"], "unknown dataset 'minee': did you mean 'mine'?"),
        (["clean", "mine", "--all"], "--all needs no DATASET"),
    ],
)
def test_a_mistake_in_cleaning_is_one_line(plugin, capsys, arguments, told):
    assert main([*plugin, "data", *arguments]) == 2
    assert told in capsys.readouterr().err
