"""Trials of third-party plugins: what ends the process that imports it is left out and named, and is tried once."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.plugins import trial
from latentbench.plugins.registry import Plugins

pytestmark = pytest.mark.usefixtures("_tried")


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plugins"


def reason_of(name: str) -> str:
    plugins = Plugins.load()
    plugins.offers("commands")
    return next(info.reason for info in plugins.infos() if info.name == name)


HOOK = "import os\nfrom latentbench import hookimpl\n@hookimpl\ndef latentbench_models():\n    "
COUNTED = """
    from pathlib import Path
    from latentbench import hookimpl

    with Path({log!r}).open("a") as log:
        log.write("imported ")

    @hookimpl
    def latentbench_boards():
        return []
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os\nos._exit(3)", "ends the process with exit code 3 in its import"),
        ("import os\nos._exit(0)", "ends the process with exit code 0 in its import"),
        ("import os\nos.abort()", "ends the process by signal 6 in its import"),
        ("raise KeyboardInterrupt", "ends the process by signal 2 in its import"),
        (HOOK + "os._exit(0x21)", "ends the process with exit code 33 in latentbench_models()"),
    ],
)
def test_a_plugin_that_would_end_every_command_is_broken_and_the_command_goes_on(install, source, reason, capsys):
    install("fatal", source)
    assert main(["list", "boards"]) == 0
    printed = capsys.readouterr()
    assert "quick" in printed.out
    assert "broken plugins: fatal (fatal 1.0)" in printed.err
    assert reason_of("fatal") == reason


def test_a_plugin_that_never_returns_is_broken(install, monkeypatch):
    monkeypatch.setattr(trial, "PATIENCE", 3.0)
    install("endless", "import time\ntime.sleep(600)")
    assert reason_of("endless") == "does not return from its import within 3 seconds"


def test_a_plugin_that_raises_is_broken_by_what_it_raises(install):
    install("raising", "class Stop(BaseException):\n    pass\nraise Stop('here')")
    assert reason_of("raising") == "Stop: here"


def test_it_is_tried_once_and_again_when_its_code_changes(install, tmp_path):
    log = tmp_path / "log"
    site = install("counted", COUNTED.format(log=str(log)))
    sys.modules.pop("counted", None)
    for _ in range(2):
        assert reason_of("counted") == ""
    assert log.read_text().split() == ["imported"] * 2, "once in the trial, once here"
    (site / "counted.py").write_text("import os\nos._exit(1)\n")
    assert reason_of("counted").startswith("ends the process")


def test_what_was_fatal_is_tried_again_after_a_while(install, tmp_path, notes):
    install("moody", f"import os\nif os.path.exists({str(tmp_path / 'bad')!r}):\n    os._exit(1)")
    (tmp_path / "bad").touch()
    assert reason_of("moody").startswith("ends the process")
    (tmp_path / "bad").unlink()
    assert reason_of("moody").startswith("ends the process"), "as remembered"
    (note,) = notes.iterdir()
    note.write_text(json.dumps({**json.loads(note.read_text()), "time": time.time() - 4000}))
    assert reason_of("moody") == "no function in it is marked @hookimpl"


@pytest.mark.parametrize("content", ["", "[]", '{"fatal": 3, "time": 0}'])
def test_a_note_that_cannot_be_read_counts_for_nothing(install, notes, content):
    install("sound", COUNTED.format(log="/dev/null"))
    assert reason_of("sound") == ""
    (note,) = notes.iterdir()
    note.write_text(content)
    assert reason_of("sound") == ""


def test_where_no_note_can_be_kept_it_is_tried_each_time(install, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LATENTBENCH_CACHE", str(tmp_path / "file"))
    install("fatal", "import os\nos._exit(3)")
    assert reason_of("fatal") == reason_of("fatal") != ""


def test_what_a_plugin_prints_is_no_part_of_the_output(install):
    printing = "print('hello from the import')\nfrom latentbench import hookimpl\n@hookimpl\n"
    site = install("loud", printing + "def latentbench_boards():\n    print('hello from the hook')\n    return []")
    done = subprocess.run(
        [sys.executable, "-m", "latentbench", "list", "boards", "--json"],
        env={**os.environ, "PYTHONPATH": str(site)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "quick" in [row["name"] for row in json.loads(done.stdout)]
    assert done.stderr == "hello from the import\nhello from the hook\n"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os\nos._exit(0)", "ends the process with exit code 0 in its import"),
        (HOOK + "os._exit(0)", "ends the process with exit code 0 in latentbench_models()"),
        ("raise KeyboardInterrupt", "ends the process by signal 2 in its import"),
    ],
)
def test_a_named_file_that_would_end_the_command_is_an_error_in_one_line(tmp_path, monkeypatch, capsys, source, reason):
    monkeypatch.chdir(tmp_path)
    Path("ends.py").write_text(source)
    assert main(["--plugin", "ends.py", "list", "models"]) == 2
    assert capsys.readouterr().err == f"latentbench: error: plugin ends.py: {reason}\n"


def test_a_named_file_is_tried_with_what_lies_beside_it_and_again_when_that_changes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("named.py").write_text(
        "import beside_it\nfrom latentbench import hookimpl\n@hookimpl\ndef latentbench_boards():\n    return []\n"
    )
    Path("beside_it.py").write_text("")
    assert main(["--plugin", "named.py", "list", "boards"]) == 0
    Path("beside_it.py").write_text("import os\nos._exit(1)\n")
    assert main(["--plugin", "named.py", "list", "boards"]) == 2
    assert "named.py: ends the process with exit code 1 in its import" in capsys.readouterr().err
