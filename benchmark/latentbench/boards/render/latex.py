"""A leaderboard as tables of LaTeX, for a paper: what a page of Markdown shows at once, with the rules of booktabs."""

import re
from collections.abc import Iterable, Sequence

from latentbench.boards.board import Board
from latentbench.boards.means import Means
from latentbench.boards.notes import (
    Code,
    Note,
    Part,
    Title,
    about,
    heading,
    heading_lines,
    ranked_by,
    seeds_differ,
    unranked,
)
from latentbench.boards.render.escaping import TEX, latex_text, printable
from latentbench.boards.render.grids import grid, legend, nulls_of, page_columns
from latentbench.boards.render.reading import IN_SHORT
from latentbench.boards.rows import Column, Row
from latentbench.boards.standings import Group, Table

__all__ = ["latex"]

#: The signs in the harness's own words, beside what means something to TeX.
_SIGNS = TEX | str.maketrans(
    {
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "±": r"$\pm$",
        "†": r"$^\dagger$",
        "‡": r"$^\ddagger$",
        "°": r"$^\circ$",
        "§": r"\S{}",
    }
    | {"\N{MINUS SIGN}": "$-$"}
)


def latex(board: Board, tables: Sequence[Table | Means]) -> str:
    """The tables as one LaTeX text to be included: an environment ``table`` for each value that ranks."""
    head = f"% {printable(board.title)}: needs \\usepackage{{booktabs}}"
    groups = [(table, group) for table in tables for group in table.groups if group.rows or nulls_of(table, group)]
    return "\n\n".join([head, *(_float(board, table, group) for table, group in groups)]) + "\n"


def _float(board: Board, table: Table | Means, group: Group[Row]) -> str:
    """The rows of a group and its nulls, what the marks say, and who has no rank and why."""
    columns, seeds = page_columns(group), seeds_differ(group.rows)
    rows, nulls = (grid(table, columns, some, seeds=seeds) for some in (group.rows, nulls_of(table, group)))
    name: Part = "Means" if isinstance(table, Means) else Code(table.label)
    title = ranked_by(table, group)
    caption = [name, ": ", *about(board, table), ".", *([" ", *title, "."] if title else [])]
    align = "".join("l" if place in rows.text else "r" for place in range(len(rows.headings)))
    told = [note for note in (legend(group, columns), unranked(table, group), [IN_SHORT]) if note]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_sentence(caption)}}}",
        rf"\begin{{tabular}}{{{align}}}",
        r"\toprule",
        _line(map(_stacked, rows.headings)),
        r"\midrule",
        *(_line(map(_sentence, line)) for line in rows.lines),
        *([r"\midrule"] if nulls.lines else []),
        *(_line(map(_sentence, line)) for line in nulls.lines),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\smallskip\footnotesize {_sentence(note)}" for note in told),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _stacked(name: Note) -> str:
    """A heading; that of a value in lines, so that its column is narrow."""
    column, *rest = name
    if not isinstance(column, Column):
        return _sentence(name)
    *lines, last = heading_lines(column)
    stack = r" \\ ".join(map(_sentence, [*lines, [*last, *rest]]))
    return rf"\shortstack[r]{{{stack}}}"


def _sentence(note: Note) -> str:
    """A note in LaTeX, with what comes from records and boards made harmless."""
    return "".join(map(_part, note))


def _part(part: Part) -> str:
    match part:
        case Code():
            return rf"\texttt{{{latex_text(part.text)}}}"
        case Title():
            return latex_text(part.text)
        case Column():
            return _sentence(heading(part))
        case str():
            ranges = re.sub(r"(?<=\d)-(?=\d)", "--", part)
            return re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", ranges).translate(_SIGNS)
