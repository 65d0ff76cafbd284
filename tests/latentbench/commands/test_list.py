"""``latentbench list``: every fact of what is installed, for people and for programs."""

import json
import re

import pytest
from pydantic_core import to_jsonable_python

from latentbench.capabilities import CAPABILITIES
from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    assert main(["list", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("what", ["plugins", "models", "datasets", "metrics", "boards"])
def test_the_table_has_a_line_for_each_object_of_the_json(capsys, what):
    names = [row["name"] for row in listed(capsys, what)]
    assert main(["list", what]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split()[0] == "name"
    assert [line.split()[0] for line in lines] == names
    assert len(names) > 0


def test_without_a_word_it_lists_the_plugins(capsys):
    assert listed(capsys) == listed(capsys, "plugins")


def test_a_plugin_is_listed_with_all_that_it_offers(capsys):
    plugins = Plugins.load()
    rows = {row["name"]: row for row in listed(capsys, "plugins")}
    assert list(rows) == [info.name for info in plugins.infos()]
    for kind in ("models", "datasets", "metrics", "boards", "executors"):
        offered = {name for row in rows.values() for name in row["offers"].get(kind, [])}
        assert offered == set(plugins.offers(kind))


def test_a_broken_plugin_is_listed_with_distribution_version_and_reason(install, capsys):
    install("bad-metrics", """
        from latentbench import hookimpl

        @hookimpl
        def latentbench_metrics():
            return [int]
    """, version="0.3.1")  # fmt: skip
    (row,) = (row for row in listed(capsys, "plugins") if row["name"] == "bad-metrics")
    reason = "metric int is not a subclass of latentbench.Metric"
    assert row == {
        "name": "bad-metrics",
        "distribution": "bad-metrics",
        "version": "0.3.1",
        "builtin": False,
        "status": "broken",
        "reason": reason,
        "offers": {},
    }
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert re.search(r"^bad-metrics +bad-metrics +0\.3\.1 +broken +-$", out, re.MULTILINE)
    assert out.endswith(f"\n\nbad-metrics (bad-metrics 0.3.1) is broken: {reason}\n")
    assert max(len(line) for line in out.splitlines()) <= 110, "no reason is out of a terminal's sight"
    assert err.startswith("latentbench: warning: broken plugins: bad-metrics (bad-metrics 0.3.1);")


def test_a_models_options_are_its_configs_with_types_and_defaults(capsys):
    rows = {row["name"]: row for row in listed(capsys, "models")}
    for name, offer in Plugins.load().offers("models").items():
        options = {option["name"]: option for option in rows[name]["options"]}
        config = offer.value.Config()
        defaults = {field: to_jsonable_python(getattr(config, field)) for field in type(config).model_fields}
        assert {key: option["default"] for key, option in options.items()} == defaults
        assert all(option["type"] and "typing" not in option["type"] for option in options.values())
        assert rows[name]["version"] == offer.value.version
        assert set(rows[name]["capabilities"]) == {name for name in CAPABILITIES if hasattr(offer.value, name)}
        assert (rows[name]["plugin"], rows[name]["distribution"]) == (offer.plugin.name, offer.plugin.distribution)


def test_an_option_has_its_type_as_python_writes_it(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("""
from typing import Literal
from latentbench import Dataset, Options, hookimpl

class Mine(Dataset):
    name, title, licence, citation, source = "mine", "1.10", "none", "none", "here"

    class Config(Options):
        sizes: tuple[int, ...] = (1, 2)
        mode: Literal["a", "b"] | None = None
        rate: float = 0.5

    def load(self, data_root):
        raise NotImplementedError

@hookimpl
def latentbench_datasets():
    return [Mine]
""")
    (row,) = (row for row in listed(capsys, "datasets", "--plugin", str(path)) if row["name"] == "mine")
    assert [(option["name"], option["type"], option["default"]) for option in row["options"]] == [
        ("sizes", "tuple[int, ...]", [1, 2]),
        ("mode", "Optional[Literal['a', 'b']]", None),
        ("rate", "float", 0.5),
    ]
    assert {key: row[key] for key in ("title", "licence", "citation", "source", "version")} == {
        "title": "1.10", "licence": "none", "citation": "none", "source": "here", "version": 1,
    }  # fmt: skip
    assert main(["list", "datasets", "--plugin", str(path)]) == 0
    assert " 1.10 " in capsys.readouterr().out, "a title that looks like a number stays as it is"


def test_a_metric_without_an_upper_bound_is_valid_json(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text("""
from latentbench import Metric, hookimpl

class Mine(Metric):
    name, title, source, capability = "mine", "Mine", "here", "score"
    higher_is_better = False
    bounds = (0.0, float("inf"))

    def compute(self, evaluation):
        return 0.0

@hookimpl
def latentbench_metrics():
    return [Mine]
""")
    (row,) = (row for row in listed(capsys, "metrics", "--plugin", str(path)) if row["name"] == "mine")
    assert row["bounds"] == [0.0, None]
    assert row["direction"] == "lower is better"


def test_a_board_is_listed_with_what_it_calls_its_datasets_and_what_ranks_on_them(install, capsys):
    site = install("a-board", """
        from pathlib import Path
        from latentbench import hookimpl

        @hookimpl
        def latentbench_boards():
            return [Path(__file__).with_name("mine.yaml")]
    """)  # fmt: skip
    entries = "[{name: d, rank: mig@test}, {name: d, label: other, options: {a: 1}}, {name: e, rank: mig@test}]"
    (site / "mine.yaml").write_text(f"name: mine\ntitle: Mine\nrank: auroc@test\ndatasets: {entries}\n")
    (row,) = (row for row in listed(capsys, "boards") if row["name"] == "mine")
    assert (row["datasets"], row["labels"]) == (["d", "e"], ["d", "other", "e"])
    assert row["rank"] == ["mig@test", "auroc@test"]


def test_a_board_with_a_mistake_is_left_out_with_its_line_and_the_others_stay(install, capsys, caplog):
    site = install("bad-board", """
        from pathlib import Path
        from latentbench import hookimpl

        @hookimpl
        def latentbench_boards():
            return [Path(__file__).with_name("mine.yaml")]
    """)  # fmt: skip
    (site / "mine.yaml").write_text("name: mine\nsedes: 3\n")
    assert main(["list", "boards"]) == 0
    out = capsys.readouterr().out
    assert "quick" in out
    assert "mine" not in [line.split()[0] for line in out.splitlines()]
    path = site / "mine.yaml"
    assert caplog.messages[0].startswith(f"{path}:2: unknown key 'sedes': did you mean 'seeds'?")
    assert caplog.messages[0].endswith("; left out")


def test_the_table_of_models_shows_their_own_options(capsys):
    assert main(["list", "models"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("pca ")]
    config = Plugins.load().offers("models")["pca"].value.Config
    assert all(f"{name}=" in line for name in config.model_fields)
    (line,) = [line for line in _printed(capsys, "list", "models") if line.startswith("vae ")]
    assert "latent_dim=32" in line
    assert "batch_size" not in line, "which every trained model has"


def _printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert main([*arguments]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("what", ["plugins", "models", "datasets", "metrics", "boards"])
def test_each_object_is_told_in_detail(capsys, what):
    for row in listed(capsys, what):
        text = "\n".join(_printed(capsys, "list", what, row["name"]))
        assert text.startswith(f"{what[:-1]} {row['name']}\n")
        for option in row.get("options", ()):
            assert re.search(rf"^{option['name']} ", text, re.MULTILINE)
        for label, preset in row.get("presets", {}).items():
            assert f"preset for {label}: " in text
            assert all(f"{name}=" in text for name in preset)
        for label in [*row.get("labels", ()), *row.get("variants", ())]:
            assert label in text
        for fact in ("title", "licence", "source", "reason"):
            assert " ".join(row.get(fact, "").split()) in text
        assert listed(capsys, what, row["name"]) == [row]


def test_a_boards_datasets_and_variants_are_told_with_what_ranks(capsys):
    text = "\n".join(_printed(capsys, "list", "boards", "mnist-shift"))
    assert "c0.9: dataset mnist-shift (correlation=0.9, noise=0.6)\n  ranked by accuracy@test/uncorrelated\n" in text
    assert "variant beta-vae-beta1: model=beta-vae, beta=1" in text
    text = "\n".join(_printed(capsys, "list", "boards", "quick"))
    assert "textures: dataset textures\n  ranked by aupro30@test, else by auroc@test\n" in text
    assert "aupro30@test, auroc@test" in text.partition("\n\n")[0]


def test_an_object_that_is_not_there_has_near_misses(capsys):
    assert main(["list", "models", "vea"]) == 2
    assert capsys.readouterr().err.startswith("latentbench: error: unknown model 'vea': did you mean 'vae'")


def test_quiet_lists_the_names_alone(capsys):
    assert _printed(capsys, "list", "boards", "-q") == [row["name"] for row in listed(capsys, "boards")]


def test_on_a_terminal_a_table_is_cut_to_the_window(capsys, monkeypatch):
    wide = _printed(capsys, "list", "metrics")
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = _printed(capsys, "list", "metrics")
    assert max(map(len, narrow)) == 60
    assert [line if len(line) <= 60 else f"{line[:57]}..." for line in wide] == narrow
