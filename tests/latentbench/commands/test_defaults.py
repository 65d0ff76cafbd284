"""Defaults from a file: which file, which options, and the order of precedence; a mistake in it names it."""

from pathlib import Path

import click
import pytest

from latentbench.commands.cli import main

COMMAND = """
from pathlib import Path
import click
from latentbench import common_options, data_root_option, device_option, hookimpl, results_option

@click.command("act")
@click.option("--count", type=int, default=1)
@click.option("--names", multiple=True)
@click.option("--really/--not", default=False)
@device_option
@results_option("--out")
@data_root_option
@common_options
def act(**values):
    for name, value in sorted(values.items()):
        click.echo(f"{name}={value}")

@click.group("outer")
def outer():
    pass

@outer.command("inner")
@click.option("--count", type=int, default=1)
def inner(count):
    click.echo(f"count={count}")

@hookimpl
def latentbench_commands():
    return [act, outer]
"""


@pytest.fixture
def act(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Calls ``act`` with a file of this content; returns what its parameters are, or the error."""
    for variable in ("LATENTBENCH_CONFIG", "LATENTBENCH_RESULTS", "LATENTBENCH_DATA_ROOT", "LATENTBENCH_DEVICE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugin.py").write_text(COMMAND)

    def call(content: str | None, *arguments: str, file: str = "latentbench.toml", command: str = "act"):
        if content is not None:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(content)
        code = main(["--plugin", "plugin.py", *command.split(), *arguments])
        out, err = capsys.readouterr()
        assert code == (2 if err else 0)
        return err or dict(line.split("=", 1) for line in out.splitlines())

    return call


PLAIN = {"count": "1", "names": "()", "really": "False", "device": "auto", "out": "results", "data_root": "data"}


def test_without_a_file_the_program_has_its_own(act):
    assert act(None) == PLAIN


def test_an_options_value_is_the_command_lines_then_the_environments_then_the_files_then_the_programs(act, monkeypatch):
    assert act(None)["device"] == "auto"
    assert act('device = "a"')["device"] == "a"
    monkeypatch.setenv("LATENTBENCH_DEVICE", "b")
    assert act(None)["device"] == "b"
    assert act(None, "--device", "c")["device"] == "c"


def test_the_file_is_the_variables_then_the_folders_then_the_users(act, monkeypatch):
    assert act("count = 2", file="user/latentbench/latentbench.toml")["count"] == "2"
    assert act("count = 3")["count"] == "3"
    monkeypatch.setenv("LATENTBENCH_CONFIG", "other.toml")
    assert act("count = 4", file="other.toml")["count"] == "4"


def test_a_table_is_for_its_command_and_stands_before_what_is_for_all(act):
    content = 'device = "a"\ncount = 2\n[act]\ncount = 3\n[list]\njson = true\n[outer.inner]\ncount = 4\n'
    assert act(content) == {**PLAIN, "device": "a", "count": "3"}
    assert act(None, command="outer inner") == {"count": "4"}
    assert act("count = 2\n", command="outer inner") == {"count": "2"}


def test_lists_flags_and_paths_are_what_the_command_takes(act, tmp_path):
    content = 'names = ["x", "y"]\nreally = true\ndata-root = "here"\nresults = "/r"\n'
    expected = {"names": "('x', 'y')", "really": "True", "data_root": str(Path("here")), "out": "/r"}
    assert act(content) == {**PLAIN, **expected}
    assert act('names = "x"')["names"] == "('x',)"
    assert act(None, "--names", "z", "--not")["names"] == "('z',)"


def test_paths_are_relative_to_the_file(act, monkeypatch, tmp_path):
    monkeypatch.setenv("LATENTBENCH_CONFIG", str(tmp_path / "far" / "c.toml"))
    assert act('data-root = "here"', file="far/c.toml")["data_root"] == str(tmp_path / "far" / "here")


def test_plugins_may_be_named_in_it(tmp_path, act, capsys):
    Path("latentbench.toml").write_text('plugin = ["plugin.py"]\n')
    assert main(["act", "--count", "5"]) == 0
    assert "count=5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("count = [", "latentbench.toml is no TOML file: "),
        ('cuont = 1\n', "latentbench.toml: unknown key 'cuont': did you mean 'count'? known: "),
        ("[atc]\ncount = 1\n", "latentbench.toml: unknown key 'atc': did you mean 'act'? known: "),
        ("[act]\ncuont = 1\n", "latentbench.toml: [act] has an unknown key 'cuont': did you mean 'count'? known: "),
        ("[act]\nplugin = ['a.py']\n", "latentbench.toml: [act] has an unknown key 'plugin'"),
        ('count = "many"\n', "latentbench.toml: 'count': 'many' is not a valid integer."),
        ("act = 1\n", "latentbench.toml: 'act' is a command: write its options below [act]"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_one_line_that_names_it(act, content, message):
    error = act(content)
    assert error.startswith(f"latentbench: error: {message}")
    assert error.count("\n") == 1


def test_a_file_that_the_variable_names_has_to_be_there(act, monkeypatch):
    monkeypatch.setenv("LATENTBENCH_CONFIG", "none.toml")
    assert act(None) == (
        "latentbench: error: cannot read none.toml (from LATENTBENCH_CONFIG): No such file or directory\n"
    )


def test_a_file_that_is_no_text_is_named(act):
    Path("latentbench.toml").write_bytes(b"\xff")
    assert act(None).startswith("latentbench: error: latentbench.toml is no TOML file: ")


def test_the_help_shows_the_default_that_holds(act, capsys):
    Path("latentbench.toml").write_text('device = "cuda:1"\n')
    assert main(["run", "--help"]) == 0
    assert "default: cuda:1" in click.unstyle(capsys.readouterr().out)
