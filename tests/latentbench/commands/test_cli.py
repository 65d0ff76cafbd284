"""The command line: its verbs, how little it imports, and one line and an exit code for whatever goes wrong."""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from textwrap import dedent, indent

import pytest

from latentbench.commands import VERBS
from latentbench.commands.cli import main

REPOSITORY = Path(__file__).parents[3]
HEAVY = {"torch", "torchvision", "pandas", "sklearn", "scipy", "rich", "matplotlib"}


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    logging.getLogger("latentbench").setLevel(logging.NOTSET)


def command_file(folder: Path, body: str, name: str = "act", decorators: str = "") -> Path:
    """A plugin with one command."""
    path = folder / f"{name}_plugin.py"
    path.write_text(
        "import click\nfrom latentbench import LatentbenchError, hookimpl\n"
        "from latentbench.commands.common import common_options\n\n"
        f"@click.command('{name}')\n{decorators}\ndef act():\n    'Act.'\n{indent(dedent(body), '    ')}\n\n"
        "@hookimpl\ndef latentbench_commands():\n    return [act]\n"
    )
    return path


def process(arguments: Sequence[str], **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "latentbench", *arguments], capture_output=True, text=True, **options)


# The verbs


@pytest.mark.parametrize("verb", VERBS)
def test_the_short_help_of_a_verb_is_its_own(verb):
    command = import_module(f"latentbench.commands.{verb.replace('-', '_')}").command
    assert command.name == verb
    assert command.get_short_help_str(limit=1000) == VERBS[verb]


def test_the_help_lists_every_verb_and_the_commands_of_plugins(tmp_path, capsys):
    path = command_file(tmp_path, "pass")
    assert main(["--plugin", str(path), "--help"]) == 0
    words = capsys.readouterr().out.split()
    for verb, help_ in {**VERBS, "act": "Act."}.items():
        assert " ".join(words).count(f" {verb} {help_}") == 1


def test_called_bare_it_shows_the_help_and_exits_with_2(capsys):
    assert main([]) == 2
    assert "Usage: latentbench [OPTIONS] COMMAND" in capsys.readouterr().err


def test_the_version_is_the_distributions(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"latentbench, version {version('latentbench')}\n"


def test_the_installed_script_and_the_module_are_the_same_command_line():
    (script,) = entry_points(group="console_scripts", name="latentbench")
    assert script.load() is main
    result = process(["--version"])
    assert (result.returncode, result.stdout) == (0, f"latentbench, version {version('latentbench')}\n")


def test_verbs_that_train_nothing_import_nothing_heavy():
    """One after the other in one process: what has been imported by any of them is still there after it."""
    verbs = ["--help", "--version", "list boards", "list boards --json", "runs", "show last", "rm last"]
    code = (
        "import sys; from latentbench.commands.cli import main\n"
        "for verb in sys.argv[1:]: main(verb.split()); print('\\nAfter', verb, *sys.modules, sep='\\t')"
    )
    where = {**os.environ, "LATENTBENCH_RESULTS": str(REPOSITORY / "leaderboards" / "results")}
    program = [sys.executable, "-c", code, *verbs]
    result = subprocess.run(program, capture_output=True, text=True, check=True, env=where, stdin=subprocess.DEVNULL)
    lines = [line.split("\t")[1:] for line in result.stdout.splitlines() if line.startswith("After\t")]
    assert [verb for verb, *_ in lines] == verbs
    for verb, *names in lines:
        modules = {name.split(".")[0] for name in names}
        assert "latentbench" in modules
        assert modules & HEAVY == set(), verb


def test_the_help_imports_no_verb():
    code = "import sys; from latentbench.commands.cli import main; main(['--help']); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = result.stdout.splitlines()[-1].split()
    assert {f"latentbench.commands.{verb}" for verb in VERBS}.isdisjoint(modules)


@pytest.mark.parametrize("command", [[], ["run"], ["data", "prepare"], ["holes", "waic"]])
def test_h_is_short_for_help(command, capsys):
    assert main([*command, "--help"]) == 0
    help_ = capsys.readouterr().out
    assert main([*command, "-h"]) == 0
    assert capsys.readouterr().out == help_
    assert "-h, --help" in help_


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([], ["warning", "quiet: False"]),
        (["-v"], ["info", "warning", "quiet: False"]),
        (["--verbose"], ["info", "warning", "quiet: False"]),
        (["-q"], ["warning", "quiet: True"]),
        (["--quiet"], ["warning", "quiet: True"]),
        (["-v", "-q"], ["info", "warning", "quiet: True"]),
        (["--debug", "-v"], ["debug", "info", "warning", "quiet: False"]),
    ],
)
def test_verbose_says_more_and_quiet_leaves_out_progress(tmp_path, place, flags, told):
    body = """
        import logging
        log = logging.getLogger("latentbench")
        log.debug("debug"), log.info("info"), log.warning("warning")
        click.echo(f"quiet: {click.get_current_context().obj.quiet}", err=True)
    """
    plugin = ["--plugin", str(command_file(tmp_path, body, decorators="@common_options"))]
    result = process([*plugin, *flags, "act"] if place == "before" else [*plugin, "act", *flags])
    assert [line.removeprefix("latentbench: ") for line in result.stderr.splitlines()] == told


# What goes wrong


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["lst"],
            "unknown command 'lst': did you mean 'list'? "
            "known: check-records, claims, compare, data, evaluate, extractor, findings, holes, leaderboard, list, ",
        ),
        (["list", "--jsn"], "No such option '--jsn'. Did you mean '--json'? (see latentbench list --help)"),
        (["--plugn", "x.py"], "No such option '--plugn'. Did you mean '--plugin'? (see latentbench --help)"),
        (["list", "boats"], "Invalid value for '[plugins|models|datasets|metrics|boards]': 'boats' is not one of"),
        (["run"], "Missing argument 'BOARD'. (see latentbench run --help)"),
        (["--plugin", "none.py", "list"], "cannot read plugin none.py: No such file or directory"),
    ],
)
def test_a_mistake_in_the_command_is_one_line_and_exit_code_2(capsys, arguments, message):
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"latentbench: error: {message}")
    assert err.count("\n") == 1


def test_the_near_misses_of_an_unknown_command_include_those_of_plugins(tmp_path, capsys):
    path = command_file(tmp_path, "pass", name="upload")
    assert main(["--plugin", str(path), "uplaod"]) == 2
    assert "unknown command 'uplaod': did you mean 'upload'" in capsys.readouterr().err


AGAIN = " (run again with --debug to see the traceback)"
FAULTS = [
    ("raise LatentbenchError('no water', 'open the tap')", 2, "error: no water: open the tap"),
    ("raise LatentbenchError('two\\nlines')", 2, "error: two lines"),
    ("raise click.ClickException('stop')", 2, "error: stop"),
    ("1 / 0", 2, f"error: ZeroDivisionError: division by zero{AGAIN}"),
    ("raise ValueError('a\\nb')", 2, f"error: ValueError: a b{AGAIN}"),
    ("open('/no/such/folder')", 2, "error: /no/such/folder: No such file or directory"),
    ("with open('/dev/full', 'w') as full:\n    full.write('x')", 2, "error: No space left on device"),
    ("raise EOFError('cut short')", 2, f"error: EOFError: cut short{AGAIN}"),
    ("raise KeyboardInterrupt", 130, "error: interrupted: what is finished is kept"),
]


@pytest.mark.parametrize(("body", "code", "message"), FAULTS)
def test_whatever_a_command_raises_is_one_line_and_no_traceback(tmp_path, capsys, body, code, message):
    assert main(["--plugin", str(command_file(tmp_path, body)), "act"]) == code
    err = capsys.readouterr().err.strip()  # click closes the terminal's ^C with an empty line
    assert err.startswith(f"latentbench: {message}")
    assert err.count("\n") == 0


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize("body", ["1 / 0", "raise EOFError", "raise LatentbenchError('no water')"])
def test_debug_shows_the_traceback_of_any_error(tmp_path, capsys, body, place):
    plugin = ["--plugin", str(command_file(tmp_path, body, decorators="@common_options"))]
    assert main([*plugin, "--debug", "act"] if place == "before" else [*plugin, "act", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert body in err
    assert AGAIN not in err


@pytest.mark.parametrize(("body", "code"), [("return 3", 0), ("click.get_current_context().exit(3)", 3)])
def test_a_command_sets_the_exit_code_by_exit_and_not_by_what_it_returns(tmp_path, body, code):
    assert main(["--plugin", str(command_file(tmp_path, body)), "act"]) == code


def test_what_exits_with_0_in_a_built_in_command_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr("latentbench.boards.board.find_board", lambda *_: sys.exit(0))
    assert main(["run", "toys"]) == 2
    assert capsys.readouterr().err == "latentbench: error: SystemExit: 0: a plugin must not end the process\n"


def test_the_command_of_a_plugin_may_end_the_process_with_a_code_of_its_own(tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["--plugin", str(command_file(tmp_path, "raise SystemExit(3)")), "act"])
    assert ended.value.code == 3


@pytest.mark.parametrize(
    ("number", "ignored", "code", "word"),
    [
        (signal.SIGINT, False, 130, "interrupted"),
        (signal.SIGTERM, False, 143, "terminated"),
        (signal.SIGTERM, True, 143, "terminated"),
    ],
    ids=["interrupt", "terminate", "terminate where interrupts are ignored"],
)
def test_a_signal_from_outside_ends_it_in_order(tmp_path, number, ignored, code, word):
    """Interrupts are ignored by what a script starts in the background, which these tests may be, too."""
    path = command_file(tmp_path, "import time\nprint('ready', flush=True)\ntime.sleep(60)")
    command = [sys.executable, "-m", "latentbench", "--plugin", str(path), "act"]
    start = f"import os, signal; signal.signal(signal.SIGINT, signal.SIG_{'IGN' if ignored else 'DFL'}); "
    start += f"os.execv({sys.executable!r}, {command!r})"
    with subprocess.Popen(
        [sys.executable, "-c", start], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == "ready\n"
        if ignored:
            child.send_signal(signal.SIGINT)
        child.send_signal(number)
        assert child.wait(timeout=60) == code
        assert child.stderr.read().strip().startswith(f"latentbench: error: {word}: what is finished is kept")


def test_a_handler_of_the_caller_is_left_and_the_default_put_back(capsys):
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    own = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        assert main(["--version"]) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, own)


@pytest.mark.parametrize("body", ["click.echo('x' * 100_000)", "print('x')"], ids=["at once", "at the end"])
def test_a_pipe_whose_reader_has_gone_is_no_matter_of_words(tmp_path, body):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "latentbench", "--plugin", str(command_file(tmp_path, body)), "act"]
    result = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (1, "")


# Plugins


@pytest.mark.parametrize(("redirection", "code"), [(">/dev/full", 2), (">&-", 0)])
def test_a_full_disk_and_a_closed_output_give_no_traceback(redirection, code):
    command = f"exec {sys.executable} -m latentbench --version {redirection}"
    result = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True, check=False)
    assert (result.returncode, result.stderr) == (code, "latentbench: error: No space left on device\n" if code else "")


def test_a_plugin_file_may_come_before_the_verb_or_after_it(tmp_path, capsys):
    path = tmp_path / "mine.py"
    path.write_text(
        "from pathlib import Path\nfrom latentbench import hookimpl\n@hookimpl\ndef latentbench_boards():\n"
        "    return [Path(__file__).with_name('mine.yaml')]\n"
    )
    (tmp_path / "mine.yaml").write_text("name: mine\ntitle: Mine\ndatasets: [d]\nrank: auroc@test\n")
    for arguments in (["--plugin", str(path), "list", "boards"], ["list", "boards", "--plugin", str(path)]):
        assert main(arguments) == 0
        assert "\nmine " in capsys.readouterr().out


def test_a_plugin_file_after_a_plugins_verb_is_refused_because_it_would_come_too_late(tmp_path, capsys):
    path = str(command_file(tmp_path, "pass", decorators="@common_options"))
    assert main(["--plugin", path, "act", "--plugin", path]) == 2
    assert "--plugin has to come before a command that a plugin offers" in capsys.readouterr().err


def test_broken_plugins_are_mentioned_in_one_line_and_spoil_nothing(install, capsys):
    install("bad-one", "import nothing_of_the_kind", version="1.2")
    install("bad-two", "1 / 0", version="3.4")
    assert main(["list", "boards"]) == 0
    out, err = capsys.readouterr()
    assert "quick" in out
    assert err == (
        "latentbench: warning: broken plugins: bad-one (bad-one 1.2), bad-two (bad-two 3.4); "
        "see `latentbench list plugins`\n"
    )


@pytest.mark.parametrize("content", [b"[console_scripts]\nname\n", b"[console_scripts]\nd\xe9 = other\n"])
def test_entry_points_of_any_distribution_that_cannot_be_read_stop_nothing(install, monkeypatch, content):
    """Pydantic and torch look for plugins of their own among the entry points of all distributions."""
    site = install("unrelated", "")
    (site / "unrelated-1.0.dist-info" / "entry_points.txt").write_bytes(content)
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS", raising=False)  # which main() has set in this process
    monkeypatch.delenv("TORCH_DEVICE_BACKEND_AUTOLOAD", raising=False)
    result = process(["list", "models", "--quiet"])
    assert (result.returncode, result.stdout.count("pca\n")) == (0, 1), result.stderr
    assert result.stderr == (
        "latentbench: warning: broken plugins: unrelated (unrelated 1.0); see `latentbench list plugins`\n"
    )


def test_debug_shows_why_an_installed_plugin_is_broken(install):
    site = install("bad-one", "import nothing_of_the_kind")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    quiet, loud = process(["list", "boards"], env=environment), process(["--debug", "list", "boards"], env=environment)
    assert (quiet.returncode, loud.returncode) == (0, 0)
    assert quiet.stdout == loud.stdout
    assert "Traceback" not in quiet.stderr
    assert "No module named 'nothing_of_the_kind'" in loud.stderr
    assert "Traceback" in loud.stderr


def test_an_unknown_name_in_the_environment_variable_is_a_mistake_of_the_user(monkeypatch, capsys):
    monkeypatch.setenv("LATENTBENCH_PLUGINS", "sonar")
    assert main(["list", "boards"]) == 2
    assert capsys.readouterr().err.startswith(
        "latentbench: error: LATENTBENCH_PLUGINS names the unknown plugin 'sonar'"
    )
