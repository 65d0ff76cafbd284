"""The tables of a README against the committed leaderboards: each number is looked up by what stands beside it."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["NUMBER", "Cell", "Line", "cells", "lines_of", "linked", "paragraphs", "wrong", "wrong_cells", "wrong_prose"]

#: A number as a leaderboard prints it, with its interval or without.
NUMBER = re.compile(r"(?<![\w.])(\d+\.\d{3})(?!\w|\.\d)(?: ± (\d+\.\d{3}))?(?: \((\d+\.\d{3}) to (\d+\.\d{3})\))?")
#: The mean of the untrained twin, in brackets behind the number of the model.
_TWIN = re.compile(r" \((\d+\.\d{3})\)")
#: What a README calls the values of a leaderboard; of names that begin alike, the longer ones stand first.
_VALUES = {
    "accuracy, uncorrelated test": "accuracy@test/uncorrelated",
    "accuracy, validation": "accuracy@validation",
    "worst-case accuracy": "worst-case-accuracy@test",
    "AUROC of the hole indicator": "auroc[hole_indicator]@test",
    "hole indicator": "auroc[hole_indicator]@test",
    "AUPRO@5%": "aupro5@test",
    "AUPRO": "aupro30@test",
    "pixel AUROC": "pixel-auroc@test",
    "pixel average precision": "pixel-ap@test",
    "pixel AP": "pixel-ap@test",
    "AUROC": "auroc@test",
    "held_out_ap": "fact:held_out_ap",
}
_VALUE = re.compile("|".join(map(re.escape, _VALUES)))
#: A heading that says how many times as bright the anomalies are; each has a test split of its own.
_BRIGHTER = re.compile(r"(\d+)x")

Line = Mapping[str, str]
"""Of a leaderboard's CSV file, with a mean."""


@dataclass(frozen=True)
class Cell:
    """A cell with numbers, and what stands beside it."""

    line: int
    """In the README, from 0."""
    column: int
    text: str
    row: str
    """The cells of its row that have no number."""
    heading: str
    before: Sequence[str]
    """The paragraphs of its section above the table, the nearest first."""


def linked(text: str) -> list[str]:
    """The names of the leaderboards that are linked in a text."""
    return re.findall(r"/tables/([\w-]+)\.md\)", text)


def cells(text: str) -> Iterator[Cell]:
    """The cells with numbers of all tables below a heading."""
    before: list[str] = [""]
    heading: list[str] = []
    for number, line in enumerate(text.splitlines()):
        if line.startswith("#"):
            before = [""]
        if not line.lstrip().startswith("|"):
            heading = []
            if not line.strip() or line.startswith("- "):
                before.insert(0, "")
            before[0] = f"{before[0]} {line.strip()}".strip()
            continue
        row = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not heading:
            # "untrained" alone is that of the model to the left
            heading = [
                f"{left} {own}" if own == "untrained" else own for left, own in zip(["", *row], row, strict=False)
            ]
        names = " ".join(cell for cell in row if not NUMBER.search(cell))
        for column, cell in enumerate(row):
            if NUMBER.search(cell):
                yield Cell(number, column, cell, names, heading[column], tuple(before))


def wrong_cells(text: str, tables: Path) -> list[str]:
    """One line for each cell of a README's tables whose numbers the leaderboards do not have."""
    return [fault for cell in cells(text) if (fault := wrong(cell, tables))]


def wrong(cell: Cell, tables: Path) -> str | None:
    """What is wrong with a cell: it has other numbers than the leaderboard, or it is not told what they are."""
    where = f"line {cell.line + 1}, '{cell.text}'"
    numbers, twins = NUMBER.findall(_TWIN.sub("", cell.text)), _TWIN.findall(cell.text)
    try:
        board, values = _Board(cell, tables), _values(cell)
        printed = [_printed(board.line(value), shown) for value, shown in zip(values, numbers, strict=True)]
        of_first = [_printed(board.line(values[0], untrained=True), (twin,))[0] for twin in twins]
    except LookupError as error:
        return f"{where}: {error}"
    if (numbers, twins) == (printed, of_first):
        return None
    return f"{where}: the leaderboard has {' / '.join(map(_as_printed, printed))} {' '.join(of_first)}".strip()


def wrong_prose(text: str, tables: Path) -> list[str]:
    """The numbers in a README's paragraphs that no line has of the leaderboards linked there, or else last above.

    A mean and its interval have to be of one line. Which dataset and model a number is of is not checked.
    """
    names, found = linked(text), []
    for paragraph in paragraphs(text):
        names = linked(paragraph) or names
        known = [numbers for name in names for numbers in _numbers_of(tables / f"{name}.csv")]
        for shown in NUMBER.findall(paragraph):
            if not any(line.issuperset(filter(None, shown)) for line in known):
                found.append(f"'{_as_printed(shown)}' in '{paragraph[:60]}...'")
    return found


def paragraphs(text: str) -> list[str]:
    """The paragraphs and bullets of a text without its tables and blocks of code."""
    prose = re.sub(r"^```.*?^```$|^ *\|.*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    return [" ".join(each.split()) for each in re.split(r"\n\s*\n|\n(?=- |#)", prose) if each.strip()]


@cache
def _numbers_of(path: Path) -> list[set[str]]:
    """The numbers of each line of a leaderboard that a README may quote."""
    names = ("mean", "half_width", "low", "high", "std", "min", "max", "untrained_mean", "best_null_mean")
    return [{f"{float(line[name]):.3f}" for name in names if line[name]} for line in lines_of(path)]


def _as_printed(shown: Sequence[str]) -> str:
    """A mean, with its interval if there is one."""
    mean, half_width, low, high = shown
    return mean + (f" ± {half_width}" if half_width else "") + (f" ({low} to {high})" if low else "")


class _Board:
    """The lines of the leaderboard that a cell is of.

    Raises:
        LookupError: the words beside the cell do not tell the leaderboard, the dataset or the model.
    """

    def __init__(self, cell: Cell, tables: Path) -> None:
        names = next((found for text in cell.before if (found := linked(text))), [])
        if not names:
            raise LookupError("no leaderboard is linked above the table")
        self._names = ", ".join(names)
        lines = [line for name in names for line in lines_of(tables / f"{name}.csv")]
        beside = (cell.text, cell.row, cell.heading)
        label = _last_named({line["label"] for line in lines}, (*beside, *cell.before))
        if label is None:
            raise LookupError(f"no dataset of the leaderboard {self._names} is named beside it")
        variant = _last_named({f"`{line['variant']}`" for line in lines if line["variant"]}, beside)
        self._group = "untrained" if "untrained" in f"{cell.row} {cell.heading}" else "model"
        if "null" in (variant or cell.heading):
            self._group = "null"
        elif variant is None:
            raise LookupError(f"no model of the leaderboard {self._names} is named beside it")
        self._whose = f"{variant or 'a null'} on {label}"
        self._lines = [line for line in lines if line["label"] == label and variant in (None, f"`{line['variant']}`")]

    def line(self, value: str, *, untrained: bool = False) -> Line:
        """The line of a value; of nulls, where none is named, that of the best.

        Raises:
            LookupError: there is none.
        """
        group = "untrained" if untrained else self._group
        lines = [line for line in self._lines if (line["group"], line["value"]) == (group, value)]
        if not lines:
            raise LookupError(f"the leaderboard {self._names} has no {value} of {self._whose} ({group})")
        sign = 1 if lines[0]["higher_is_better"] == "true" else -1
        return max(lines, key=lambda line: sign * float(line["mean"]))


def _printed(line: Line, shown: Sequence[str]) -> tuple[str, ...]:
    """The numbers of a line: mean, half width, and both ends of the interval, as far as such are shown."""
    values = (line[name] for name in ("mean", "half_width", "low", "high"))
    return tuple(own and f"{float(value or 'nan'):.3f}" for own, value in zip(shown, values, strict=False))


def _values(cell: Cell) -> list[str]:
    """The value of each number: those of the heading, or else of the nearest words above the table."""
    count = cell.text.count(" / ") + 1
    for text in (cell.heading, *cell.before):
        if count > 1:
            text = next((run for run in _slashed(text) if len(_VALUE.findall(run)) == count), "")
        if phrases := _VALUE.findall(text):
            values = [_VALUES[phrase] for phrase in phrases[:count]]
            brighter = _BRIGHTER.fullmatch(cell.heading)
            return [f"{value}-x{brighter[1]}" if brighter and brighter[1] != "1" else value for value in values]
    raise LookupError(f"no name of {count} values is beside it")


def _slashed(text: str) -> Iterator[str]:
    """The parts of a text that list several values, as in "AUPRO / pixel AUROC"."""
    phrase = rf"(?:{_VALUE.pattern})(?:@30%)?"
    return (match[0] for match in re.finditer(rf"{phrase}(?: / {phrase})+", text))


def _last_named(names: set[str], texts: Sequence[str]) -> str | None:
    """Of the names, the last one in the first text that has any."""
    for text in texts:
        found = [
            (text.rindex(name), name)
            for name in names
            if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-]|\.\w)", text)
        ]
        if found:
            return max(found)[1]
    return None


@cache
def lines_of(path: Path) -> list[Line]:
    """The lines of a leaderboard's CSV file that have a mean."""
    with path.open(encoding="utf-8") as file:
        return [line for line in csv.DictReader(file) if line["mean"]]
