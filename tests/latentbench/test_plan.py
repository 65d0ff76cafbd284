"""A board and the command line's wishes become exactly the runs that they mean."""

from pathlib import Path

import pytest

from latentbench.board import Board
from latentbench.errors import LatentbenchError
from latentbench.plan import Setting, parse_setting, plan
from latentbench.plugins import Plugins

BOARD = Board.parse(
    {
        "name": "b",
        "title": "t",
        "datasets": [{"name": "toy-blobs", "options": {"size": 40}}],
        "models": ["centre-distance", "pca"],
        "seeds": 2,
        "budget": {"max_steps": 7},
        "rank": "auroc@test",
    },
    "board 'b'",
)


@pytest.fixture(scope="module")
def plugins(toys: Path) -> Plugins:
    return Plugins.load([toys])


def test_every_model_runs_with_every_seed_under_the_boards_options_and_budget(plugins: Plugins, tmp_path: Path) -> None:
    specs = plan(BOARD, plugins, tmp_path)
    assert [(s.model, s.seed) for s in specs] == [
        ("centre-distance", 0), ("pca", 0), ("centre-distance", 1), ("pca", 1)
    ]  # fmt: skip
    assert {s.options["size"] for s in specs} == {40}
    assert {s.budget.max_steps for s in specs} == {7}
    assert specs[0].config == {
        "epochs": 3, "batch_size": 16, "patience": None, "precision": "float32", "latent_dim": 4, "learning_rate": 1e-3
    }  # fmt: skip
    assert len({s.key for s in specs}) == 4


def test_a_selection_leaves_the_keys_as_they_are(plugins: Plugins, tmp_path: Path) -> None:
    everything = {s.key for s in plan(BOARD, plugins, tmp_path)}
    (one,) = plan(BOARD, plugins, tmp_path, models=["pca"], seeds=1)
    assert one.key in everything


def test_a_setting_goes_to_its_owner_or_to_every_one_that_has_the_option(plugins: Plugins, tmp_path: Path) -> None:
    wishes = [Setting("centre-distance", "latent_dim", 2), Setting(None, "size", 44)]
    specs = plan(BOARD, plugins, tmp_path, seeds=1, settings=wishes)
    assert specs[0].config["latent_dim"] == 2
    assert specs[1].options["size"] == 44
    assert len({s.split_hash for s in specs} - {plan(BOARD, plugins, tmp_path)[0].split_hash}) == 1


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("latent_dim=3", Setting(None, "latent_dim", 3)),
        ("vae.latent_dim=3", Setting("vae", "latent_dim", 3)),
        ("digits-shift.classes=[3, 8]", Setting("digits-shift", "classes", [3, 8])),
        ("a.score=kl", Setting("a", "score", "kl")),
        ("patience=null", Setting(None, "patience", None)),
        ('x="="', Setting(None, "x", "=")),
    ],
)
def test_a_setting_is_read_as_yaml(text: str, setting: Setting) -> None:
    assert parse_setting(text) == setting


@pytest.mark.parametrize("text", ["latent_dim", "=3", "vae.=3", "x=[1"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(LatentbenchError, match=r"cannot read --set"):
        parse_setting(text)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"models": ["pac"]}, r"board 'b' has no model 'pac': did you mean 'pca'\? known: centre-distance, pca"),
        ({"datasets": ["toy-blob"]}, r"board 'b' has no dataset 'toy-blob': did you mean 'toy-blobs'\?"),
        ({"settings": [Setting("pcaa", "q", 1)]}, r"no selected .* is called 'pcaa': did you mean 'pca'\?"),
        ({"settings": [Setting(None, "laten_dim", 1)]}, r"no selected .* has this option: did you mean 'latent_dim'\?"),
        ({"settings": [Setting("pca", "latent", 1)]}, r"model 'pca' has no option 'latent': known: components"),
        ({"settings": [Setting("pca", "components", "many")]}, r"model 'pca': 'components': .*integer.*, got 'many'"),
        ({"settings": [Setting("toy-blobs", "size", 1.5)]}, r"dataset 'toy-blobs': 'size': .*, got 1.5"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_named_with_the_mend(
    plugins: Plugins, tmp_path: Path, wishes: dict[str, object], message: str
) -> None:
    with pytest.raises(LatentbenchError, match=message):
        plan(BOARD, plugins, tmp_path, **wishes)  # type: ignore[arg-type]


def test_an_unknown_model_of_a_board_is_named(plugins: Plugins, tmp_path: Path) -> None:
    board = BOARD.model_copy(update={"models": ["vea"]})
    with pytest.raises(LatentbenchError, match=r"unknown model 'vea': did you mean 'vae'\?"):
        plan(board, plugins, tmp_path)


#: A plugin of a model that needs attributes, and of a dataset that has none.
NEEDY = """
import numpy as np
import torch
from latentbench import Data, DataInfo, Dataset, Model, Options, Role, StoredSplit, hookimpl


class Needy(Model):
    needs = ("attributes",)

    class Config(Options):
        pass

    def fit(self, train, validation, trainer):
        pass

    def score(self, images):
        return images.mean((1, 2, 3))


class Bare(Dataset):
    name, title, licence, citation, source = "bare", "Bare", "CC0-1.0", "none", "this file"

    def load(self, data_root):
        images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        return Data(DataInfo(1, 8, 8, 4), {"train": StoredSplit(Role.TRAIN, images)})


@hookimpl
def latentbench_models():
    return [Needy]


@hookimpl
def latentbench_datasets():
    return [Bare]
"""


@pytest.fixture
def with_needy(toys: Path, tmp_path: Path) -> Plugins:
    (tmp_path / "needy.py").write_text(NEEDY)
    return Plugins.load([toys, tmp_path / "needy.py"])


def test_a_model_is_left_out_where_the_dataset_has_not_what_it_needs(
    with_needy: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datasets = [{"name": "toy-blobs"}, {"name": "bare"}]
    board = Board.parse(
        {"name": "b", "title": "t", "datasets": datasets, "models": ["needy", "ae"], "seeds": 2, "rank": "auroc@test"},
        "board 'b'",
    )
    pairs = [(spec.dataset, spec.model) for spec in plan(board, with_needy, tmp_path)]
    assert pairs == [*[("toy-blobs", "needy"), ("toy-blobs", "ae")] * 2, *[("bare", "ae")] * 2]
    assert [record.getMessage() for record in caplog.records] == ["needy is left out on bare: it needs attributes"]
    with pytest.raises(LatentbenchError, match=r"board 'b': nothing to run for needy: its datasets have not what they"):
        plan(board, with_needy, tmp_path, models=["needy"], datasets=["bare"])
