"""What the README of a built-in plugin says: commands that the program takes, numbers that committed tables have."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from latentbench.commands.cli import main
from latentbench.plugins.registry import Plugins
from tests.readme_tables import NUMBER, cells, wrong, wrong_cells, wrong_prose

REPOSITORY = Path(__file__).parents[1]
PACKAGES = sorted(path.parent for path in (REPOSITORY / "plugins").glob("*/__init__.py"))
TABLES = REPOSITORY / "leaderboards" / "tables"


@pytest.fixture(params=PACKAGES, ids=lambda package: package.name)
def readme(request: pytest.FixtureRequest) -> Path:
    file: Path = request.param / "README.md"
    assert file.is_file(), f"{request.param.name} has no README.md"
    return file


def test_links_lead_somewhere(readme: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", readme.read_text()):
        assert (readme.parent / target).is_file(), target


def test_numbers_in_tables_are_those_of_the_leaderboard_for_their_row_and_column(readme: Path) -> None:
    assert wrong_cells(readme.read_text(), TABLES) == []


def test_numbers_in_prose_are_those_of_a_leaderboard_that_is_linked_there_or_last_above(readme: Path) -> None:
    assert wrong_prose(readme.read_text(), TABLES) == []


def test_of_two_neighbouring_cells_that_are_swapped_one_is_wrong(readme: Path) -> None:
    """Whichever cells they are, above or beside each other, unless they have the same numbers."""
    there = {(cell.line, cell.column): cell for cell in cells(readme.read_text())}
    unnoticed = []
    for (line, column), cell in there.items():
        for other in (there.get((line + 1, column)), there.get((line, column + 1))):
            if other is not None and NUMBER.findall(cell.text) != NUMBER.findall(other.text):
                swapped = replace(cell, text=other.text), replace(other, text=cell.text)
                if not any(wrong(each, TABLES) for each in swapped):
                    unnoticed.append(f"line {line + 1}: '{cell.text}' and '{other.text}'")
    assert unnoticed == []


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
