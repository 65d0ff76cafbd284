"""``latentbench data``: the dataset prepares itself, in the folder that was asked for."""

from pathlib import Path

import pytest

from latentbench.cli import main

SOURCE = """
from latentbench import Dataset, LatentbenchError, hookimpl

class Mine(Dataset):
    name, title, licence, citation, source = "mine", "Mine", "none", "none", "here"

    def load(self, data_root):
        raise NotImplementedError

    def prepare(self, data_root):
        if data_root.name == "forbidden":
            raise LatentbenchError("the server says no", "ask again")
        (data_root / "mine").mkdir(parents=True)

@hookimpl
def latentbench_datasets():
    return [Mine]
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
    assert capsys.readouterr().out == f"dataset 'mine' is ready in {folder}\n"


def test_what_the_dataset_cannot_do_is_told_in_one_line(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mine", "--data-root", "forbidden"]) == 2
    assert capsys.readouterr().err == "latentbench: error: the server says no: ask again\n"


def test_an_unknown_dataset_has_near_misses(plugin, capsys):
    assert main([*plugin, "data", "prepare", "mnie"]) == 2
    assert capsys.readouterr().err.startswith(
        "latentbench: error: unknown dataset 'mnie': did you mean 'mine'? known: "
    )


def test_a_file_in_place_of_the_folder_is_refused(plugin, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    assert main([*plugin, "data", "prepare", "mine", "--data-root", "taken"]) == 2
    assert "'taken' is a file" in capsys.readouterr().err
