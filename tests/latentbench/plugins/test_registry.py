"""The plugin manager: what is offered, by whom, and what becomes of plugins that are broken in every way."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

import latentbench_boards
from latentbench.commands import VERBS
from latentbench.errors import LatentbenchError
from latentbench.plugins.contracts import KINDS, KindName
from latentbench.plugins.discovery import Found
from latentbench.plugins.hookspecs import hookimpl
from latentbench.plugins.registry import PluginInfo, Plugins

COMMANDS = """
    import click
    from latentbench import hookimpl

    @hookimpl
    def latentbench_commands():
        return [click.Command(name) for name in {names}]
"""

MODEL = """
    import torch
    from latentbench import Model, hookimpl

    class {name}(Model):
        def build(self, info):
            self.weight = torch.nn.Parameter(torch.zeros(()))

        def optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.1)

        def training_step(self, batch):
            return self.weight.square()

        def score(self, images):
            return images.mean((1, 2, 3))

    @hookimpl
    def latentbench_models():
        return [{name}]
"""


def info_of(plugins: Plugins, name: str) -> PluginInfo:
    return next(info for info in plugins.infos() if info.name == name)


def by_third_parties(plugins: Plugins, kind: KindName) -> list[str]:
    return [name for name, offer in plugins.offers(kind).items() if not offer.plugin.builtin]


# What is offered


def test_every_built_in_plugin_is_sound_and_offers_something():
    plugins = Plugins.load()
    for kind in KINDS:
        plugins.offers(kind)
    assert {info.name: info.reason for info in plugins.infos() if info.builtin and info.reason} == {}
    assert all(info.offers for info in plugins.infos() if info.builtin)


def test_the_built_in_boards_are_the_yaml_files_of_their_folder():
    folder = Path(latentbench_boards.__file__).parent
    offers = Plugins.load().offers("boards")
    assert {name: offer.value for name, offer in offers.items()} == {path.stem: path for path in folder.glob("*.yaml")}
    assert {(offer.plugin.distribution, offer.plugin.builtin) for offer in offers.values()} == {("latentbench", True)}


def test_an_installed_model_is_offered_beside_the_built_in_ones_with_its_provider(install):
    install("sonar", MODEL.format(name="SonarNet"), version="0.7")
    offers = Plugins.load().offers("models")
    assert set(offers) > {"sonar-net"}
    offer = offers["sonar-net"]
    assert (offer.name, offer.value.__module__) == ("sonar-net", "sonar")
    assert (str(offer.plugin), offer.plugin.distribution, offer.plugin.status) == ("sonar 0.7", "sonar", "ok")
    assert offer.plugin.offers == {"models": ["sonar-net"]}


def test_an_object_can_be_a_plugin_and_an_executor_is_offered_by_its_name(install):
    source = """
        from latentbench import Executor, hookimpl

        class Nowhere(Executor):
            name = "nowhere"

            def run(self, tasks, jobs, progress):
                return iter(())

        class Plugin:
            @hookimpl
            def latentbench_executors(self):
                return (Nowhere,)

        plugin = Plugin()
    """
    install("nowhere", source, target="nowhere:plugin")
    assert Plugins.load().get("executors", "nowhere").value().name == "nowhere"


def test_offers_are_sorted_by_name(install):
    install("verbs", COMMANDS.format(names=["zoo", "ant", "mid"]))
    assert by_third_parties(Plugins.load(), "commands") == ["ant", "mid", "zoo"]


def test_asking_for_one_kind_calls_no_other_hook(install):
    install(
        "strict",
        "from latentbench import hookimpl\n@hookimpl\ndef latentbench_models():\n    raise RuntimeError('called')",
    )
    plugins = Plugins.load()
    plugins.offers("boards")
    plugins.offers("commands")
    assert info_of(plugins, "strict").status == "ok"
    plugins.offers("models")
    assert info_of(plugins, "strict").reason == "latentbench_models: RuntimeError: called"


# A broken plugin: what it loses, what is said of it, and that the others go on


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("def broken(:", r"SyntaxError: invalid syntax \(bad.py, line 1\)"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise ValueError('two\\n   lines')", "ValueError: two lines"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("class Stop(BaseException):\n    pass\nraise Stop('at once')", "Stop: at once"),
        ("raise GeneratorExit", "GeneratorExit"),
        (
            "class Mute(Exception):\n    def __str__(self):\n        raise self\nraise Mute",
            r"Mute: \(its message cannot be shown\)",
        ),
        ("", r"no function in it is marked @hookimpl"),
        (
            "from latentbench import hookimpl\n@hookimpl\ndef latentbench_model(): return []",
            "PluginValidationError: unknown hook 'latentbench_model' in plugin .*bad.*",
        ),
        (
            "from latentbench import hookimpl\n@hookimpl\ndef latentbench_models(config): return []",
            "PluginValidationError: .*latentbench_models\\(config\\).*{'config'} are declared in the hookimpl.*",
        ),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_listed_as_broken_and_the_others_go_on(install, source, reason):
    install("bad", source, version="9.9")
    install("good", COMMANDS.format(names=["zoo"]))
    plugins = Plugins.load()
    bad = info_of(plugins, "bad")
    assert (bad.distribution, bad.version, bad.status) == ("bad", "9.9", "broken")
    assert re.fullmatch(reason, bad.reason)
    assert by_third_parties(plugins, "commands") == ["zoo"]
    assert plugins.get("boards", "quick").plugin.status == "ok"


def test_a_plugin_of_a_missing_module_or_attribute_is_broken(install):
    install("one", "", target="no_such_module")
    install("two", "", target="two:plugin")
    plugins = Plugins.load()
    assert info_of(plugins, "one").reason == "ModuleNotFoundError: No module named 'no_such_module'"
    assert info_of(plugins, "two").reason == "AttributeError: module 'two' has no attribute 'plugin'"


def test_two_distributions_may_use_one_entry_point_name(install):
    install("dist-one", COMMANDS.format(names=["ant"]), entry="metrics")
    install("dist-two", COMMANDS.format(names=["zoo"]), entry="metrics")
    assert by_third_parties(Plugins.load(), "commands") == ["ant", "zoo"]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("raise RuntimeError('no licence server')", "RuntimeError: no licence server"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("raise GeneratorExit('later')", "GeneratorExit: later"),
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("return None", "returns no list"),
        ("return 'abc'", "returns no list"),
        ("return dict", "returns no list"),
    ],
)
def test_a_hook_that_raises_or_returns_no_list_loses_what_it_offers_and_no_other_hook_does(install, body, reason):
    install("half", COMMANDS.format(names=["zoo"]) + f"""
    @hookimpl
    def latentbench_boards():
        {body}
    """)  # fmt: skip
    plugins = Plugins.load()
    assert by_third_parties(plugins, "boards") == []
    assert "quick" in plugins.offers("boards")
    assert by_third_parties(plugins, "commands") == ["zoo"]
    assert info_of(plugins, "half").reason == f"latentbench_boards: {reason}"
    assert info_of(plugins, "half").offers == {"commands": ["zoo"]}


def test_of_several_objects_only_the_invalid_ones_are_left_out(install):
    install("mixed", """
        import click
        from latentbench import hookimpl

        @hookimpl
        def latentbench_commands():
            return [click.Command("ant"), "bee", click.Command("run"), click.Command("zoo")]
    """)  # fmt: skip
    plugins = Plugins.load(verbs=VERBS)
    assert by_third_parties(plugins, "commands") == ["ant", "zoo"]
    assert info_of(plugins, "mixed").reasons == [
        "command object of type str is not a click.Command",
        "command 'run' is a built-in verb, which no plugin replaces",
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_no_plugins_command_replaces_a_built_in_verb(install, verb):
    install("greedy", COMMANDS.format(names=[verb]))
    plugins = Plugins.load(verbs=VERBS)
    assert by_third_parties(plugins, "commands") == []
    assert info_of(plugins, "greedy").reason == f"command '{verb}' is a built-in verb, which no plugin replaces"


def test_a_model_of_a_taken_name_loses_to_the_built_in_one(install):
    install("aaa", MODEL.format(name="PCA"))
    plugins = Plugins.load()
    offer = plugins.get("models", "pca")
    assert (offer.plugin.distribution, offer.value.__module__) == ("latentbench", "latentbench_pca.model")
    assert info_of(plugins, "aaa").reason == "model 'pca' is already offered by plugin 'pca' of latentbench"


def test_of_two_third_parties_the_first_distribution_by_name_keeps_a_name(install):
    install("zeta", COMMANDS.format(names=["same", "other"]))
    install("alpha", COMMANDS.format(names=["same"]))
    plugins = Plugins.load()
    offers = plugins.offers("commands")
    offered = {name: offers[name].plugin.name for name in by_third_parties(plugins, "commands")}
    assert offered == {"other": "zeta", "same": "alpha"}
    assert info_of(plugins, "alpha").status == "ok"
    assert info_of(plugins, "zeta").reason == "command 'same' is already offered by plugin 'alpha' of alpha"


def offering(name: str, commands: Sequence[str]) -> Found:
    @hookimpl
    def latentbench_commands():
        return [click.Command(command) for command in commands]

    return Found(PluginInfo(name, "d", "1"), lambda: SimpleNamespace(latentbench_commands=latentbench_commands))


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), max_size=5))
def test_whatever_is_offered_twice_stays_with_the_first_and_is_a_reason_for_each_other(
    offered: Sequence[Sequence[str]],
):
    plugins = Plugins([offering(str(index), names) for index, names in enumerate(offered)])
    offers = plugins.offers("commands")

    first: dict[str, str] = {}
    for index, names in enumerate(offered):
        for name in names:
            first.setdefault(name, str(index))
    assert {name: offer.plugin.name for name, offer in offers.items()} == first
    assert list(offers) == sorted(first)
    repeats = sum(map(len, offered)) - len(first)
    assert sum(len(info.reasons) for info in plugins.infos()) == repeats


# Asking for what is not there


def test_an_unknown_name_is_an_error_with_near_misses():
    with pytest.raises(
        LatentbenchError, match=r"^unknown board 'quikc': did you mean 'quick'\? known: .*mnist-shift.*, quick$"
    ):
        Plugins.load().get("boards", "quikc")


def test_an_unknown_name_is_told_with_the_broken_plugins_and_their_reasons_before_the_known_names(install):
    install("bad", "import nothing_of_the_kind", version="1.2")
    reason = (
        r"perhaps a broken plugin offers it: bad 1\.2 \(ModuleNotFoundError: No module named 'nothing_of_the_kind'\)"
    )
    with pytest.raises(LatentbenchError, match=rf"^unknown board 'slow': {reason}; known: .*, quick$"):
        Plugins.load().get("boards", "slow")
    with pytest.raises(LatentbenchError, match=rf"^unknown board 'quikc': did you mean 'quick'\? {reason}; known: "):
        Plugins.load().get("boards", "quikc")


def test_the_reason_of_a_broken_plugin_beside_another_mistake_is_short(install):
    install("bad", f"raise ValueError('{'x' * 1000}')")
    with pytest.raises(LatentbenchError) as caught:
        Plugins.load().get("boards", "slow")
    assert "ValueError: xxx" in str(caught.value)
    assert len(str(caught.value).partition("; known")[0]) < 300


# Local files


def write(path: Path, source: str) -> Path:
    path.write_text(dedent(source))
    return path


def test_a_local_file_offers_like_any_plugin(tmp_path):
    path = write(tmp_path / "mine.py", MODEL.format(name="Mine"))
    offer = Plugins.load([path]).get("models", "mine")
    assert (offer.plugin.distribution, offer.plugin.builtin) == (str(path), False)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_the_kind", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
        ("def broken(:", r"SyntaxError: invalid syntax \(mine.py, line 1\)"),
        ("import sys\nsys.exit(1)", "SystemExit: 1"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("x = 1", "no function in it is marked @hookimpl"),
        (
            "from latentbench import hookimpl\n@hookimpl\ndef latentbench_bords(): return []",
            "PluginValidationError: unknown hook 'latentbench_bords'",
        ),
        (
            "from latentbench import hookimpl\n@hookimpl\ndef latentbench_boards(): return ['a.yaml']",
            "board object of type str is not the Path of a .yaml file: 'a.yaml'",
        ),
        (
            "from latentbench import hookimpl\n@hookimpl\ndef latentbench_boards(): raise OSError('gone')",
            "latentbench_boards: OSError: gone",
        ),
    ],
)
def test_a_file_that_the_user_named_is_never_passed_over_in_silence(tmp_path, source, message):
    path = write(tmp_path / "mine.py", source)
    with pytest.raises(LatentbenchError, match=rf"^plugin {re.escape(str(path))}: {message}"):
        Plugins.load([path]).offers("boards")


# Notices of runs

LISTENER = """
    from latentbench import hookimpl

    heard = []

    @hookimpl
    def latentbench_run_started(spec):
        heard.append(("started", spec))

    @hookimpl
    def latentbench_run_progress(step, losses):
        heard.append(("progress", step, losses))

    @hookimpl
    def latentbench_run_finished(spec, record):
        heard.append(("finished", spec, record))
"""
SABOTEUR = """
    from latentbench import hookimpl

    @hookimpl
    def latentbench_run_started(spec):
        raise ConnectionError("no tracker")

    @hookimpl
    def latentbench_run_progress(step):
        raise SystemExit(f"step {step}")
"""


def test_every_plugin_hears_of_a_run_though_another_fails_which_is_logged_once_for_each_hook(install, caplog):
    install("a-saboteur", SABOTEUR)
    install("listener", LISTENER)
    plugins = Plugins.load()
    with caplog.at_level(logging.WARNING, logger="latentbench"):
        plugins.notify("latentbench_run_started", spec="the spec")
        for step in (1, 2):
            plugins.notify("latentbench_run_progress", spec="the spec", step=step, total=2, losses={"loss": 0.5})
        plugins.notify("latentbench_run_finished", spec="the spec", record="the record")

    import listener  # type: ignore[import-not-found]

    assert listener.heard == [
        ("started", "the spec"),
        ("progress", 1, {"loss": 0.5}),
        ("progress", 2, {"loss": 0.5}),
        ("finished", "the spec", "the record"),
    ]
    reasons = ["latentbench_run_started: ConnectionError: no tracker", "latentbench_run_progress: SystemExit: step 1"]
    assert caplog.messages == [f"plugin a-saboteur 1.0 of a-saboteur: {reason}" for reason in reasons]
    assert info_of(plugins, "a-saboteur").reasons == reasons
    assert info_of(plugins, "listener").status == "ok"


def test_a_named_file_that_fails_in_a_notice_does_not_stop_the_run(tmp_path, caplog):
    plugins = Plugins.load([write(tmp_path / "mine.py", SABOTEUR)])
    plugins.notify("latentbench_run_started", spec="the spec")
    assert info_of(plugins, "mine").reason == "latentbench_run_started: ConnectionError: no tracker"


def test_a_function_is_one_of_a_plugin_s_package(install, tmp_path):
    install(
        "pack-age",
        """
        from latentbench import hookimpl
        def double(x):
            return 2 * x
        @hookimpl
        def latentbench_models():
            return []
        """,
    )
    file = tmp_path / "local_file.py"
    file.write_text(
        "from latentbench import hookimpl\ndef one():\n    return 1\n@hookimpl\ndef latentbench_models(): return []\n"
    )
    plugins = Plugins.load([file])
    assert plugins.function("pack_age:double")(4) == 8
    assert plugins.function("local_file:one")() == 1
    assert plugins.function("latentbench_cmi.theory:toy_accuracy")(1.0) == pytest.approx(0.841, abs=1e-3)
    for name, said in {
        "packige:double": "no plugin is in a package 'packige': did you mean 'pack_age'",
        "pack_age:treble": "there is no function 'pack_age:treble': module 'pack_age' has no attribute 'treble'",
        "pack_age.more:f": "there is no function 'pack_age.more:f': No module named",
        "latentbench:__version__": "no plugin is in a package 'latentbench'",
        "latentbench_cmi:TYPE_CHECKING": "'latentbench_cmi:TYPE_CHECKING' is no function",
    }.items():
        with pytest.raises(LatentbenchError) as caught:
            plugins.function(name)
        assert said in str(caught.value)


def test_papers_are_offered_by_the_name_of_their_file(install, tmp_path):
    (tmp_path / "who-2020.yaml").write_text("")
    install(
        "bringing",
        f"""
        from pathlib import Path
        from latentbench import hookimpl
        @hookimpl
        def latentbench_claims():
            return [Path({str(tmp_path / "who-2020.yaml")!r})]
        """,
    )
    plugins = Plugins.load()
    assert list(plugins.offers("claims")) == ["who-2020"]
    assert info_of(plugins, "bringing").offers == {"claims": ["who-2020"]}
