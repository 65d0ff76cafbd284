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


@pytest.fixture
def board(tmp_path: Path) -> Path:
    """A folder with a leaderboard ``b`` of one dataset, on which a model has 0.500 ± 0.100, untrained 0.250."""
    names = (
        "label variant group value higher_is_better mean half_width low high std min max untrained_mean best_null_mean"
    )
    lines = [
        "nuts,ae,model,auroc@test,true,0.5,0.1,0.4,0.6,,,,0.25,0.7",
        "nuts,ae,untrained,auroc@test,true,0.25,,,,,,,,",
    ]
    (tmp_path / "b.csv").write_text("\n".join([names.replace(" ", ","), *lines]))
    return tmp_path


LINK = "Of [b](../tables/b.md)"


@pytest.mark.parametrize(
    ("before", "row", "fault"),
    [
        (f"{LINK}, AUROC on nuts:", "| `ae` | 0.500 ± 0.100 |", None),
        (f"{LINK}, AUROC on nuts:", "| `ae` | 0.500 (0.400 to 0.600) |", None),
        (f"{LINK}, AUROC on nuts, in brackets untrained:", "| `ae` | 0.500 (0.250) |", None),
        (f"{LINK}, AUROC on nuts:", "| `ae`, untrained | 0.250 |", None),
        (f"{LINK}, AUROC on nuts:", "| `ae` | 0.250 |", "the leaderboard has 0.500"),
        (f"{LINK}, AUROC on nuts:", "| `ae` | 0.500 ± 0.200 |", "the leaderboard has 0.500 ± 0.100"),
        (f"{LINK}, AUROC on nuts:", "| `ae` | 0.500 (0.300) |", "the leaderboard has 0.500 0.250"),
        (f"{LINK}, AUROC on nuts:", "| `vae` | 0.500 |", "no model of the leaderboard b is named beside it"),
        (f"{LINK}, AUROC:", "| `ae` | 0.500 |", "no dataset of the leaderboard b is named beside it"),
        (f"{LINK}, on nuts:", "| `ae` | 0.500 |", "no name of 1 values is beside it"),
        (f"{LINK}, pixel AUROC on nuts:", "| `ae` | 0.500 |", "has no pixel-auroc@test of `ae` on nuts (model)"),
        ("AUROC on nuts:", "| `ae` | 0.500 |", "no leaderboard is linked above the table"),
    ],
)
def test_a_cell_is_what_the_words_beside_it_say(board: Path, before: str, row: str, fault: str | None) -> None:
    found = wrong_cells(f"## What came out\n\n{before}\n\n| model | value |\n|---|---|\n{row}\n", board)
    assert (not found) if fault is None else (len(found) == 1 and fault in found[0])


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        (f"{LINK} `ae` has 0.500 ± 0.100, 0.250 untrained.", []),
        (f"{LINK} `ae` has 0.500 ± 0.250.", []),
        (f"{LINK} `ae` has 0.501.", ["'0.501'"]),
        (f"{LINK} `ae` has 0.500 ± 0.900.", ["'0.500 ± 0.900'"]),
        ("`ae` has 0.123.", ["'0.123'"]),
    ],
)
def test_a_number_in_prose_is_of_a_line_of_a_linked_leaderboard(board: Path, text: str, faults: list[str]) -> None:
    found = wrong_prose(text, board)
    assert [fault.partition(" in ")[0] for fault in found] == faults
