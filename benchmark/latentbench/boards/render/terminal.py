"""A leaderboard as lines of text: of each table as many columns as fit, and its best nulls."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap

from latentbench.boards.board import Board
from latentbench.boards.means import Means
from latentbench.boards.notes import Code, Note, Part, Title, about, heading, ranked_by, seeds_differ, unranked
from latentbench.boards.render.escaping import printable
from latentbench.boards.render.grids import Grid, grid, legend, nulls_of, there
from latentbench.boards.render.reading import IN_SHORT
from latentbench.boards.rows import Column
from latentbench.boards.standings import Table

__all__ = ["terminal"]

#: Nulls that are shown of each table.
_NULLS = 3
#: What stands for a sign that the encoding lacks.
_SIGNS = {"↑": "^", "↓": "v", "±": "+-", "†": "*", "‡": "#", "°": "~", "§": "!"}


def terminal(
    board: Board, tables: Sequence[Table | Means], width: int, encoding: str = "utf-8"
) -> Iterator[tuple[str, str]]:
    """The tables as lines of at most ``width`` characters, each with its style: "bold", "dim" or "".

    Of a board that has means these alone are shown. Rank, model and the value that ranks are there in any case, and
    lines are longer where these do not fit.

    Args:
        board: of the tables.
        tables: its tables.
        width: characters of a line.
        encoding: of what is written to. Other signs stand for those that it lacks.
    """
    page = _Page(width, encoding)
    shown = [table for table in tables if isinstance(table, Means)] or tables
    yield from page.paragraph([board.title], "bold")
    for table in shown:
        name: Part = "means" if isinstance(table, Means) else Code(table.label)
        yield from page.paragraph([name, ": ", *about(board, table)])
        for group in table.groups:
            if title := ranked_by(table, group):
                yield from page.paragraph(title)
            columns, nulls, seeds = there(group.columns, group.rows), nulls_of(table, group), seeds_differ(group.rows)
            rows, best = (grid(table, columns, some, seeds=seeds) for some in (group.rows, nulls[:_NULLS]))
            widths = page.widths(rows, best)
            if group.rows or nulls:
                yield from page.grid(widths, rows, best)
            if more := len(nulls[_NULLS:]):
                yield f"and {more} more null{'s' if more > 1 else ''}", "dim"
            yield "", ""
            cut = len(rows.headings) - len(widths)
            for told in (legend(group, columns[: len(columns) - cut]), unranked(table, group)):
                if told:
                    yield from page.paragraph(told)
    if rest := len(tables) - len(shown):
        yield from page.paragraph([f"The tables of {rest} datasets are not shown here."])
    yield from page.paragraph([IN_SHORT], "dim")


@dataclass(frozen=True)
class _Page:
    """What is written to."""

    width: int
    encoding: str

    def paragraph(self, note: Note, style: str = "") -> Iterator[tuple[str, str]]:
        """A note, and an empty line."""
        lines = wrap(self.sentence(note), self.width, break_on_hyphens=False)
        yield from ((line, style) for line in [*lines, ""])

    def sentence(self, note: Note) -> str:
        """A note in one line of what can be written, without what a terminal would obey."""
        return "".join(map(self._part, note))

    def _part(self, part: Part) -> str:
        match part:
            case Code() | Title():
                return printable(part.text)
            case Column():
                return self.sentence(heading(part))
            case str():
                return "".join(map(self._character, part))

    def _character(self, character: str) -> str:
        try:
            character.encode(self.encoding)
        except UnicodeEncodeError:
            return _SIGNS.get(character, ascii(character)[1:-1])
        return character if character.isprintable() else ascii(character)[1:-1]

    def widths(self, *grids: Grid) -> list[int]:
        """Those of the columns that fit, and of the first three in any case: of the model's what these leave."""
        columns = zip(grids[0].headings, *(line for one in grids for line in one.lines), strict=True)
        whole = [max(map(len, [*self.sentence(name).split(), *map(self.sentence, cells)])) for name, *cells in columns]
        whole[1] = max(min(whole[1], self.width - whole[0] - whole[2] - 4), len("model"))
        number = 3
        while number < len(whole) and sum(whole[: number + 1]) + 2 * number <= self.width:
            number += 1
        return whole[:number]

    def grid(self, widths: Sequence[int], rows: Grid, nulls: Grid) -> Iterator[tuple[str, str]]:
        """Headings and rows in columns of these widths, and the nulls below a rule."""
        rule = "  ".join("-" * width for width in widths)
        yield from ((line, "bold") for line in self._lines(rows.headings, widths, rows.text))
        for one, style in ((rows, ""), (nulls, "dim")):
            if one.lines:
                yield rule, "dim"
            yield from ((text, style) for line in one.lines for text in self._lines(line, widths, rows.text))

    def _lines(self, cells: Sequence[Note], widths: Sequence[int], text: Collection[int]) -> Iterator[str]:
        """Cells side by side, in as many lines as the longest takes, the others at the bottom."""
        wrapped = [
            wrap(self.sentence(cell), width, break_on_hyphens=False) for cell, width in zip(cells, widths, strict=False)
        ]
        height = max(map(len, wrapped))
        aligned = [
            [line.ljust(width) if place in text else line.rjust(width) for line in [""] * (height - len(lines)) + lines]
            for place, (lines, width) in enumerate(zip(wrapped, widths, strict=True))
        ]
        for line in zip(*aligned, strict=True):
            yield "  ".join(line).rstrip()
