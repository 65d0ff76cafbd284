"""What the README of a built-in plugin says: commands that the program takes, numbers that committed tables have."""

import re
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins

REPOSITORY = Path(__file__).parents[1]
PACKAGES = sorted(path.parent for path in (REPOSITORY / "plugins").glob("*/__init__.py"))
#: A number as a leaderboard prints it, with its interval or without.
NUMBER = re.compile(r"\d\.\d{3}(?: ± \d\.\d{3})?")


@pytest.fixture(params=PACKAGES, ids=lambda package: package.name)
def readme(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param / "README.md"
    assert file.is_file(), f"{request.param.name} has no README.md"
    return file


def test_links_lead_somewhere(readme: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text()):
        assert (readme.parent / target).is_file(), target


def test_numbers_are_those_of_the_tables_that_it_links(readme: Path) -> None:
    text = readme.read_text()
    found = NUMBER.findall(text)
    linked = [readme.parent / target for target in re.findall(r"\]\(([^)#]+/tables/[^)#]+)\)", text)]
    tables = " ".join(file.read_text() for file in linked)
    assert [number for number in found if number not in tables] == []


def test_commands_are_ones_that_the_program_takes(readme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offered = Plugins.load().offers("commands")
    shown = re.findall(r"^\$ latentbench (.+)$", readme.read_text(), re.MULTILINE)
    assert shown
    for line in shown:
        verb, *words = line.split()
        subcommand = words[:1] if verb == "data" or verb in offered else []
        assert main([verb, *(word for word in subcommand if not word.startswith("--")), "--help"]) == 0
        options = {word for word in words if word.startswith("--")}
        assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out)), line


def test_every_model_has_a_readme_that_names_it_and_has_all_sections() -> None:
    plugins = Plugins.load()
    for name, offer in plugins.offers("models").items():
        package = offer.value.__module__.partition(".")[0]
        text = (REPOSITORY / "plugins" / package / "README.md").read_text()
        assert f"`{name}`" in text.splitlines()[0], name
        headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert headings in (
            ["What the paper says", "What is ours", "How to run", "What came out"],
            ["What the papers say", "What is ours", "How to run", "What came out"],
        ), name
