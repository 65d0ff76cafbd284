"""From nothing to a ranked row: the wheel is installed, and CONTRIBUTING.md followed to the letter in an empty folder.

Whoever reads only that has a detector and a metric on a leaderboard at the first try: files are written as they are
printed, under the names that the commands have, and each command is typed once.
"""

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.documents import REPOSITORY, Block, blocks

DOCUMENT = "CONTRIBUTING.md"

pytestmark = pytest.mark.slow

#: The environment variables, but for those that say where code and data are.
OTHERS = {name: value for name, value in os.environ.items() if not name.startswith(("LATENTBENCH", "PYTHON"))}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, and what it depends on, but not this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", str(REPOSITORY)]
    subprocess.run([*build, "--wheel-dir", str(folder)], check=True)
    (wheel,) = folder.glob("latentbench-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel],
        check=True,
    )
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    # A folder that a .pth file names is searched, and its own .pth files, one of which leads to this checkout, are not.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    found = subprocess.run(
        [python, "-c", "import latentbench, latentbench_pca; print(latentbench.__file__, latentbench_pca.__file__)"],
        cwd=folder, env=OTHERS, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert all(Path(path).is_relative_to(site) for path in found.stdout.split())
    return folder / "env"


class Reader:
    """Somebody with an empty folder, who types what the document prints.

    Args:
        folder: the folder.
        environment: the virtual environment, activated.
    """

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder = folder
        path = f"{environment / 'bin'}{os.pathsep}{OTHERS['PATH']}"
        self._variables = {**OTHERS, "PATH": path, "XDG_CACHE_HOME": str(folder / ".cache"), "OMP_NUM_THREADS": "1"}

    def writes(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def types(self, command: str) -> str:
        """What the command prints; it has to succeed."""
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self._variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout


@pytest.fixture
def reader(tmp_path: Path, environment: Path) -> Reader:
    assert shutil.which("sh")
    return Reader(tmp_path, environment)


def section(heading: str) -> list[Block]:
    found = [block for block in blocks(DOCUMENT) if block.heading == heading]
    assert found, f"{DOCUMENT} has no section '{heading}'"
    return found


def plugin_of(commands: list[str]) -> str:
    """The plugin file that the commands name."""
    (name,) = {name for command in commands for name in re.findall(r"--plugin (\S+)", command)}
    return str(name)


def ranked(file: Path, row: str, value: str | None = None) -> list[str]:
    """Datasets of a board's CSV on which a row has a rank, by the value that ranks there."""
    with file.open(newline="") as lines:
        return [
            line["label"]
            for line in csv.DictReader(lines)
            if (line["variant"], line["group"]) == (row, "model")
            and line["value"] == line["ranked_by"]
            and line["value"] == (value or line["value"])
            and line["mean"]
            and line["rank_first"]
        ]


def test_a_detector_from_its_file_to_a_ranked_row(reader: Reader) -> None:
    plugin, check, console, *_ = section("A method, from file to row")
    name = plugin_of(console.commands)
    reader.writes(name, plugin.text)
    reader.writes(f"test_{name}", f"{plugin.text}\n\n{check.text}")
    reader.types(f"python -m pytest -q -p no:cacheprovider test_{name}")
    for command in console.commands:
        reader.types(command)
    assert {"digits-shift", "textures"} <= set(ranked(reader.folder / "results" / "quick.csv", "centre-distance"))


def test_a_metric_from_its_file_to_a_row_that_is_ranked_by_it(reader: Reader) -> None:
    plugin, check, board, *consoles = section("A metric, from file to row")
    commands = [command for console in consoles for command in console.commands]
    name = plugin_of(commands)
    (board_file,) = {word for command in commands for word in command.split() if word.endswith(".yaml")}
    reader.writes(name, plugin.text)
    reader.writes(f"test_{name}", f"{plugin.text}\n\n{check.text}")
    reader.writes(board_file, board.text)
    reader.types(f"python -m pytest -q -p no:cacheprovider test_{name}")
    for command in commands:
        reader.types(command)
    assert ranked(reader.folder / "results" / "clean.csv", "pca", "clean-recall@test") == ["textures"]
