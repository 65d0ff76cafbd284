"""A board and the command line's overrides become exactly the runs that they mean."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from latentbench.boards.board import Board, load_board
from latentbench.boards.lineup import Lineup
from latentbench.data.splits import Data
from latentbench.errors import LatentbenchError
from latentbench.plugins.registry import Plugins
from latentbench.running.plan import Override, Planned, lineup_of, parse_override, plan, plan_series
from latentbench.spec import RunSpec

BOARD = Board.parse(
    {
        "name": "b",
        "title": "t",
        "datasets": [{"name": "toy-blobs", "options": {"size": 40}}],
        "models": ["centre-distance", "pca"],
        "seeds": 2,
        "budget": {"max_steps": 7},
        "twins": False,
        "rank": "auroc@test",
    },
    "board 'b'",
)


@pytest.fixture(scope="module")
def plugins(toys: Path) -> Plugins:
    return Plugins.load([toys])


def specs_of(*arguments: Any, **overrides: Any) -> list[RunSpec]:
    return [run.spec for run in plan(*arguments, **overrides)]


def test_every_model_runs_with_every_seed_under_the_boards_options_and_budget(plugins: Plugins, tmp_path: Path) -> None:
    specs = specs_of(BOARD, plugins, tmp_path)
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
    everything = {s.key for s in specs_of(BOARD, plugins, tmp_path)}
    (one,) = specs_of(BOARD, plugins, tmp_path, models=["pca"], seeds=1)
    assert one.key in everything


def test_a_setting_goes_to_its_owner_or_to_every_one_that_has_the_option(plugins: Plugins, tmp_path: Path) -> None:
    overrides = [Override("centre-distance", "latent_dim", 2), Override(None, "size", 44)]
    specs = specs_of(BOARD, plugins, tmp_path, seeds=1, overrides=overrides)
    assert specs[0].config["latent_dim"] == 2
    assert specs[1].options["size"] == 44
    assert len({s.split_hash for s in specs} - {specs_of(BOARD, plugins, tmp_path)[0].split_hash}) == 1


@pytest.mark.parametrize(
    ("text", "setting"),
    [
        ("latent_dim=3", Override(None, "latent_dim", 3)),
        ("vae.latent_dim=3", Override("vae", "latent_dim", 3)),
        ("digits-shift.classes=[3, 8]", Override("digits-shift", "classes", [3, 8])),
        ("a.score=kl", Override("a", "score", "kl")),
        ("patience=null", Override(None, "patience", None)),
        ('x="="', Override(None, "x", "=")),
    ],
)
def test_a_setting_is_read_as_yaml(text: str, setting: Override) -> None:
    assert parse_override(text) == setting


@pytest.mark.parametrize("text", ["latent_dim", "=3", "vae.=3", "x=[1"])
def test_what_is_no_setting_is_refused(text: str) -> None:
    with pytest.raises(LatentbenchError, match=r"cannot read --set"):
        parse_override(text)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"models": ["pac"]}, r"board 'b' has no model 'pac': did you mean 'pca'\? known: centre-distance, pca"),
        ({"datasets": ["toy-blob"]}, r"board 'b' has no dataset 'toy-blob': did you mean 'toy-blobs'\?"),
        ({"overrides": [Override("pcaa", "q", 1)]}, r"no selected .* is called 'pcaa': did you mean 'pca'\?"),
        (
            {"overrides": [Override(None, "laten_dim", 1)]},
            r"no selected .* has this option: did you mean 'latent_dim'\?",
        ),
        ({"overrides": [Override("pca", "latent", 1)]}, r"model 'pca' has no option 'latent': known: components"),
        ({"overrides": [Override("pca", "components", "many")]}, r"model 'pca': 'components': .*integer.*, got 'many'"),
        ({"overrides": [Override("toy-blobs", "size", 1.5)]}, r"dataset 'toy-blobs': 'size': .*, got 1.5"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_named_with_the_mend(
    plugins: Plugins, tmp_path: Path, overrides: dict[str, object], message: str
) -> None:
    with pytest.raises(LatentbenchError, match=message):
        plan(BOARD, plugins, tmp_path, **overrides)  # type: ignore[arg-type]


def test_an_unknown_model_of_a_board_is_named(plugins: Plugins, tmp_path: Path) -> None:
    board = BOARD.model_copy(update={"models": ["vea"]})
    with pytest.raises(LatentbenchError, match=r"unknown model 'vea': did you mean 'vae'\?"):
        plan(board, plugins, tmp_path)


# Several datasets


SEVERAL = Board.parse(
    {
        "name": "several",
        "title": "t",
        "datasets": [
            {"name": "toy-blobs", "label": "few", "options": {"size": 40}},
            {"name": "toy-blobs", "label": "many", "options": {"size": 48}},
            {"name": "toy-files", "label": "here", "optional": True},
            {"name": "toy-files", "label": "there", "options": {"file": "there"}, "optional": True},
        ],
        "models": ["pca"],
        "rank": "auroc@test",
    },
    "board 'several'",
)


@pytest.fixture
def file_plugins(toys: Path, tmp_path: Path) -> Plugins:
    """The toys, and a dataset that is there if a file of the data root is, and corrupt if that is empty."""
    path = tmp_path / "files.py"
    path.write_text(
        """
import importlib.util, sys
from pathlib import Path
from latentbench import Data, Dataset, LatentbenchError, hookimpl
from latentbench.data.dataset import State, Status
from latentbench.plugins.registry import Plugins

class Files(Dataset):
    name = "toy-files"
    title, licence, citation, source = "Toy files", "CC0-1.0", "none", "this file"

    class Config(Dataset.Config):
        file: str = "here"

    def load(self, data_root):
        path = data_root / self.config.file
        if not path.exists():
            raise LatentbenchError(f"no file {path}", "write one, and read the long licence")
        if not path.read_bytes():
            raise LatentbenchError(f"{path} is corrupt", "put the published file back")
        blobs = Plugins.load([Path(TOYS)]).get("datasets", "toy-blobs").value
        return blobs(blobs.Config(size=len(path.read_bytes()))).load(data_root)

    def status(self, data_root):
        return Status(State.PRESENT if (data_root / self.config.file).exists() else State.MISSING)

@hookimpl
def latentbench_datasets():
    return [Files]
""".replace("TOYS", repr(str(toys)))
    )
    return Plugins.load([toys, path])


def labels(runs: list[Planned]) -> list[str]:
    return [run.entry.label for run in runs]


def put(folder: Path, *names: str, size: int = 60) -> None:
    for name in names:
        (folder / name).write_text("x" * size)


def test_a_board_may_name_one_dataset_many_times(file_plugins: Plugins, tmp_path: Path) -> None:
    put(tmp_path, "here", "there", size=44)
    runs = plan(SEVERAL, file_plugins, tmp_path)
    assert labels(runs) == ["few", "many", "here", "there"]
    assert [run.spec.options for run in runs] == [{"size": 40}, {"size": 48}, {"file": "here"}, {"file": "there"}]
    assert [str(run) for run in runs][:2] == ["pca on few, seed 0", "pca on many, seed 0"]
    assert len({run.spec.key for run in runs}) == 4


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (["many"], ["many"]),
        (["toy-blobs"], ["few", "many"]),
        (["here", "few"], ["few", "here"]),  # in the board's order
        (["toy-blobs", "few", "there"], ["few", "many", "there"]),
        (None, ["few", "many", "here", "there"]),
        ([], ["few", "many", "here", "there"]),
    ],
)
def test_datasets_are_chosen_by_label_or_all_of_a_name(
    file_plugins: Plugins, tmp_path: Path, wanted: list[str] | None, expected: list[str]
) -> None:
    put(tmp_path, "here", "there")
    assert labels(plan(SEVERAL, file_plugins, tmp_path, datasets=wanted)) == expected


def test_an_unknown_label_is_named_with_labels_and_names(file_plugins: Plugins, tmp_path: Path) -> None:
    message = r"board 'several' has no dataset 'fwe': did you mean 'few'\? known: few, here, many, there, toy-b"
    with pytest.raises(LatentbenchError, match=message):
        plan(SEVERAL, file_plugins, tmp_path, datasets=["fwe"])


@pytest.mark.parametrize(
    ("owner", "sizes"),
    [("few", [44, 48]), ("many", [40, 44]), ("toy-blobs", [44, 44]), (None, [44, 44])],
)
def test_a_setting_goes_to_the_dataset_of_that_label_or_to_all_of_that_name(
    file_plugins: Plugins, tmp_path: Path, owner: str | None, sizes: list[int]
) -> None:
    board = SEVERAL.model_copy(update={"datasets": SEVERAL.datasets[:2]})
    runs = plan(board, file_plugins, tmp_path, overrides=[Override(owner, "size", 44)])
    assert [run.spec.options["size"] for run in runs] == list(dict.fromkeys(sizes))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            [Override("fwe", "size", 44)],
            r"no selected model or dataset is called 'fwe': did you mean 'few'\? known",
        ),
        ([Override("few", "file", 44)], r"dataset 'few' has no option 'file': known: size"),
        ([Override("many", "size", "big")], r"dataset 'many': 'size': .*, got 'big'"),
    ],
)
def test_a_wrong_setting_of_a_label_is_named(
    file_plugins: Plugins, tmp_path: Path, overrides: list[Override], message: str
) -> None:
    board = SEVERAL.model_copy(update={"datasets": SEVERAL.datasets[:2]})
    with pytest.raises(LatentbenchError, match=message):
        plan(board, file_plugins, tmp_path, overrides=overrides)


def test_an_optional_dataset_that_is_not_there_is_left_out_with_a_line(
    file_plugins: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(tmp_path, "here")
    assert labels(plan(SEVERAL, file_plugins, tmp_path)) == ["few", "many", "here"]
    assert [record.getMessage() for record in caplog.records] == [f"left out 'there': no file {tmp_path / 'there'}"]


def test_an_optional_dataset_that_is_asked_for_has_to_be_there(file_plugins: Plugins, tmp_path: Path) -> None:
    put(tmp_path, "here")
    for wanted in (["there"], ["few", "there"], ["toy-files"]):
        with pytest.raises(LatentbenchError, match=r"no file .*there: write one, and read the long licence"):
            plan(SEVERAL, file_plugins, tmp_path, datasets=wanted)


def test_where_nothing_is_left_the_first_reason_is_told_in_full_and_alone(
    file_plugins: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    board = SEVERAL.model_copy(update={"datasets": SEVERAL.datasets[2:]})
    with pytest.raises(LatentbenchError, match=r"no file .*here: write one, and read the long licence"):
        plan(board, file_plugins, tmp_path)
    assert caplog.records == []


def test_a_dataset_that_is_not_optional_has_to_be_there(file_plugins: Plugins, tmp_path: Path) -> None:
    needed = SEVERAL.datasets[3].model_copy(update={"optional": False})
    board = SEVERAL.model_copy(update={"datasets": [SEVERAL.datasets[0], needed]})
    with pytest.raises(LatentbenchError, match=r"no file .*there: write one"):
        plan(board, file_plugins, tmp_path)


def test_an_optional_dataset_that_is_corrupt_is_an_error_all_the_same(file_plugins: Plugins, tmp_path: Path) -> None:
    put(tmp_path, "there", size=0)
    with pytest.raises(LatentbenchError, match=r"there is corrupt: put the published file back"):
        plan(SEVERAL, file_plugins, tmp_path)


def test_a_plan_over_many_datasets_holds_two_of_them_at_most(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Data]] = []
    most = 0

    def alive() -> int:
        gc.collect()
        return sum(data() is not None for data in made)

    class Watched(plugins.get("datasets", "toy-blobs").value):  # type: ignore[misc]
        def load(self, data_root: Path) -> Data:
            nonlocal most
            data: Data = super().load(data_root)
            made.append(weakref.ref(data))
            most = max(most, alive())
            return data

    offer = replace(plugins.get("datasets", "toy-blobs"), value=Watched)
    models = plugins.get
    monkeypatch.setattr(plugins, "get", lambda kind, name: offer if kind == "datasets" else models(kind, name))
    entries = [{"name": "toy-blobs", "label": str(size), "options": {"size": size}} for size in range(40, 55)]
    board = Board.parse({**BOARD.model_dump(), "datasets": entries}, "board 'b'")
    assert len(plan(board, plugins, tmp_path, models=["pca"], seeds=1)) == 15
    assert most <= 3  # the two that are kept, and the one that is being made
    assert alive() <= 2


#: A plugin of models that need attributes and many images, and of a dataset that has neither.
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


class Particular(Needy):
    needs = ()

    @classmethod
    def suits(cls, info):
        return f"{info.train_size} training images are too few" if info.train_size < 10 else None


class Bare(Dataset):
    name, title, licence, citation, source = "bare", "Bare", "CC0-1.0", "none", "this file"

    def load(self, data_root):
        images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
        return Data(DataInfo(1, 8, 8, 4), {"train": StoredSplit(Role.TRAIN, images)})


@hookimpl
def latentbench_models():
    return [Needy, Particular]


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
        {
            "name": "b",
            "title": "t",
            "datasets": datasets,
            "models": ["needy", "ae"],
            "seeds": 2,
            "twins": False,
            "rank": "auroc@test",
        },
        "board 'b'",
    )
    pairs = [(run.spec.dataset, run.spec.model) for run in plan(board, with_needy, tmp_path)]
    assert pairs == [*[("toy-blobs", "needy"), ("toy-blobs", "ae")] * 2, *[("bare", "ae")] * 2]
    assert [record.getMessage() for record in caplog.records] == ["left out 'needy' on 'bare': it needs attributes"]
    with pytest.raises(
        LatentbenchError, match=r"board 'b': nothing to run for needy: none of its datasets is suitable"
    ):
        plan(board, with_needy, tmp_path, models=["needy"], datasets=["bare"])


# Variants


VARIANTS = """\
name: b
title: t
datasets:
  - {name: toy-blobs, label: few, options: {size: 40}}
  - {name: toy-blobs, label: many, options: {size: 48}, seeds: 3, budget: {max_steps: 9}}
models: [centre-distance, pca]
variants:
  - model: centre-distance
    label: narrow
    options: {latent_dim: 2}
  - {model: ae, label: ae-short, options: {epochs: 1}, datasets: [many], seeds: 1, budget: {max_steps: 3}}
seeds: 2
twins: false
rank: auroc@test
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Board]:
    def load(text: str) -> Board:
        (tmp_path / "b.yaml").write_text(text)
        return load_board(tmp_path / "b.yaml")

    return load


def test_variants_run_under_their_labels_with_their_options_seeds_and_budget(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    runs = plan(write(VARIANTS), plugins, tmp_path)
    few, many = ([run for run in runs if run.entry.label == label] for label in ("few", "many"))
    assert [str(run) for run in few] == [
        f"{label} on few, seed {seed}" for seed in range(2) for label in ("centre-distance", "pca", "narrow")
    ]
    assert [(run.label, run.spec.seed) for run in many] == [
        ("centre-distance", 0), ("pca", 0), ("narrow", 0), ("ae-short", 0),
        *((label, seed) for seed in (1, 2) for label in ("centre-distance", "pca", "narrow")),
    ]  # fmt: skip
    assert {run.spec.config["latent_dim"] for run in runs if run.spec.model == "centre-distance"} == {2, 4}
    assert {run.label for run in runs if run.spec.config.get("latent_dim") == 2} == {"narrow"}
    assert {run.label: run.spec.budget.max_steps for run in many} == {
        "centre-distance": 9, "pca": 9, "narrow": 9, "ae-short": 3
    }  # fmt: skip
    assert len({run.spec.key for run in runs}) == len(runs) == 6 + 10


def test_a_variant_has_the_key_that_its_options_give_by_set(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    board = write(VARIANTS)
    by_variant = plan(board, plugins, tmp_path, models=["narrow"], datasets=["few"])
    overrides = [Override("centre-distance", "latent_dim", 2)]
    by_set = plan(board, plugins, tmp_path, models=["centre-distance"], datasets=["few"], overrides=overrides)
    assert [run.spec.key for run in by_variant] == [run.spec.key for run in by_set]


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        (["centre-distance"], ["centre-distance"]),  # the plain model alone
        (["narrow"], ["narrow"]),
        (["ae-short", "pca"], ["pca", "ae-short"]),
    ],
)
def test_models_are_chosen_by_label(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board], wanted: list[str], labels: list[str]
) -> None:
    runs = plan(write(VARIANTS), plugins, tmp_path, models=wanted)
    assert set(labels) == {run.label for run in runs}


def test_what_no_line_is_called_is_named_with_the_labels_and_a_variant_off_its_datasets_too(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    with pytest.raises(
        LatentbenchError, match=r"board 'b' has no model 'narow': did you mean 'narrow'\? known: ae-short"
    ):
        plan(write(VARIANTS), plugins, tmp_path, models=["narow"])
    with pytest.raises(LatentbenchError, match=r"board 'b' has no model 'ae': known: ae-short, centre-distance, "):
        plan(write(VARIANTS), plugins, tmp_path, models=["ae"])  # only its variant is on the board
    with pytest.raises(LatentbenchError, match=r"nothing to run for ae-short: it runs on other datasets of the board"):
        plan(write(VARIANTS), plugins, tmp_path, models=["ae-short"], datasets=["few"])


@pytest.mark.parametrize(
    ("owner", "rates"),
    [("narrow", [1e-3, 0.5]), ("centre-distance", [0.5, 0.5]), (None, [0.5, 0.5])],
)
def test_a_setting_goes_to_a_variant_by_label_or_to_all_lines_of_a_model(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board], owner: str | None, rates: list[float]
) -> None:
    overrides = [Override(owner, "learning_rate", 0.5)]
    chosen: dict[str, Any] = {"models": ["centre-distance", "narrow"], "datasets": ["few"], "seeds": 1}
    runs = plan(write(VARIANTS), plugins, tmp_path, **chosen, overrides=overrides)
    assert [run.spec.config["learning_rate"] for run in runs] == rates


def test_a_setting_may_make_a_variant_and_its_model_the_same_run(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    overrides = [Override(None, "latent_dim", 7)]
    chosen: dict[str, Any] = {"models": ["centre-distance", "narrow"], "datasets": ["few"], "seeds": 1}
    assert len(plan(write(VARIANTS), plugins, tmp_path, **chosen, overrides=overrides)) == 1


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("- model: centre-distance", "- model: centre-distence", 8,
         "variant 'narrow': unknown model 'centre-distence': did you mean 'centre-distance'? known: ae, "),
        ("{latent_dim: 2}", "{laten_dim: 2}", 10,
         "variant 'narrow': model 'centre-distance' has no option 'laten_dim': did you mean 'latent_dim'? known: "),
        ("{latent_dim: 2}", "\n      learning_rate: 0.1\n      laten_dim: 2", 12, "variant 'narrow': model 'centre-"),
        ("{latent_dim: 2}", "{latent_dim: two}", 10,
         "variant 'narrow': model 'centre-distance': 'latent_dim': Input should be a valid integer"),
        ("{latent_dim: 2}", "{latent_dim: 4}", 8, "variant 'narrow' is the same as 'centre-distance' on 'few'"),
        ("label: narrow", "label: vae", 9, "variant 'vae' is called as a model is: give it another label"),
        ("[many]", "[mony]", 11, "variants.1 runs on 'mony', which no dataset of the board is called: did you mean 'm"),
        ("label: narrow", "label: ae-short", 11, "variants.1 is called 'ae-short' as variants.0 is: give it another"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_variant_is_told_with_file_line_and_mend_before_anything_is_loaded(
    plugins: Plugins,
    tmp_path: Path,
    write: Callable[[str], Board],
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    line: int,
    message: str,
) -> None:
    def load(*_: Any) -> None:
        raise AssertionError("data was loaded")

    assert old in VARIANTS
    monkeypatch.setattr("latentbench.running.plan.load_data", load)
    for planned in (lambda board: plan(board, plugins, tmp_path), lambda board: lineup_of(board, plugins)):
        with pytest.raises(LatentbenchError) as caught:
            planned(write(VARIANTS.replace(old, new)))
        assert str(caught.value).startswith(f"{tmp_path}/b.yaml:{line}: {message}")
        assert "\n" not in str(caught.value)


def test_a_variant_of_no_model_is_a_mistake_of_the_board_whatever_is_chosen_of_it(
    plugins: Plugins, write: Callable[[str], Board]
) -> None:
    board = write(VARIANTS.replace("model: ae,", "model: ea,"))
    with pytest.raises(LatentbenchError, match=r"b.yaml:11: variant 'ae-short': unknown model 'ea': known: ae, "):
        plan_series(board, plugins, models=["pca"], datasets=["few"])


def test_a_model_that_cannot_learn_there_is_told_by_its_variants_label(
    with_needy: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    variants = [{"model": "needy", "label": "needy-too", "budget": {"max_steps": 1}}]
    board = Board.model_validate(
        {"name": "b", "title": "t", "datasets": ["bare"], "models": ["ae"], "variants": variants, "rank": "auroc@test"}
    )
    assert [str(run) for run in plan(board, with_needy, tmp_path)] == [
        "ae on bare, seed 0",
        "untrained ae on bare, seed 0",
    ]
    assert [record.getMessage() for record in caplog.records] == ["left out 'needy-too' on 'bare': it needs attributes"]


# Without data


def test_what_is_planned_without_data_is_the_plan_but_for_the_split_hash(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    board = write(VARIANTS)
    planned = {
        (run.entry.label, run.label, run.spec.model_copy(update={"split_hash": ""}).key)
        for run in plan(board, plugins, tmp_path)
    }
    series = plan_series(board, plugins)
    assert planned == {
        (one.entry.label, one.label, one.spec(seed, "").key) for one in series for seed in range(one.seeds)
    }


def test_a_lineup_has_the_configuration_of_every_line_and_the_preset_of_every_variants_model(
    plugins: Plugins, tmp_path: Path, write: Callable[[str], Board]
) -> None:
    board = write(VARIANTS)
    lineup = lineup_of(board, plugins)
    assert {label: list(rows) for label, rows in lineup.rows.items()} == {
        "few": ["centre-distance", "pca", "narrow"],
        "many": ["centre-distance", "pca", "narrow", "ae-short", "ae"],
    }
    for run in plan(board, plugins, tmp_path):
        assert lineup.rows[run.entry.label][run.label] == run.spec.config
    assert lineup.rows["many"]["ae"] == {**lineup.rows["many"]["ae-short"], "epochs": 20}


def test_a_lineup_leaves_out_what_is_not_installed(plugins: Plugins, write: Callable[[str], Board]) -> None:
    text = VARIANTS.replace("[centre-distance, pca]", "[centre-distance, theirs]").replace("many, o", "many, o")
    board = write(text.replace("models:", "  - theirs-too\nmodels:"))
    assert {label: sorted(rows) for label, rows in lineup_of(board, plugins).rows.items()} == {
        "few": ["centre-distance", "narrow"], "many": ["ae", "ae-short", "centre-distance", "narrow"]
    }  # fmt: skip
    nothing = board.model_copy(update={"models": ["theirs"], "variants": []})
    assert lineup_of(nothing, plugins) == Lineup()


def test_presets_that_ask_for_options_of_the_data_know_them_as_the_board_and_the_command_line_give_them(
    toys: Path, tmp_path: Path
) -> None:
    (tmp_path / "careful.py").write_text(
        """
from latentbench import Model, Options, Where, hookimpl

class Careful(Model):
    presets = {"toy-blobs": {"depth": 2}, Where("toy-blobs", size=44): {"depth": 3}}

    class Config(Options):
        depth: int = 1

    def fit(self, train, validation, trainer):
        pass

    def score(self, images):
        return images.mean((1, 2, 3))

@hookimpl
def latentbench_models():
    return [Careful]
"""
    )
    plugins = Plugins.load([toys, tmp_path / "careful.py"])
    datasets = [{"name": "toy-blobs", "label": str(size), "options": {"size": size}} for size in (40, 44)]
    board = Board.model_validate(
        {"name": "b", "title": "t", "datasets": datasets, "models": ["careful"], "rank": "auroc@test"}
    )
    assert [one.config.model_dump() for one in plan_series(board, plugins)] == [{"depth": 2}, {"depth": 3}]
    overrides = [Override("40", "size", 44)]
    assert [one.config.model_dump() for one in plan_series(board, plugins, overrides=overrides)] == [{"depth": 3}] * 2


def test_a_model_is_left_out_with_its_own_sentence_where_it_does_not_suit_the_dataset(
    with_needy: Plugins, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = {"datasets": ["toy-blobs", "bare"], "models": ["particular"], "rank": "auroc@test"}
    runs = plan(Board.parse({"name": "b", "title": "t", **values}, "board 'b'"), with_needy, tmp_path)
    assert [run.spec.dataset for run in runs] == ["toy-blobs"]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["left out 'particular' on 'bare': 4 training images are too few"]
