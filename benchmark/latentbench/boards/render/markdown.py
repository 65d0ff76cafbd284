"""A leaderboard as a page of Markdown: tables of a page's width, and folded under them what explains them."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from textwrap import indent
from typing import TypeVar

from tabulate import tabulate

from latentbench.boards.board import Board
from latentbench.boards.gathering import grouped
from latentbench.boards.means import Means
from latentbench.boards.notes import (
    Code,
    Note,
    Part,
    Title,
    about,
    class_split,
    failures,
    heading,
    notes,
    provenance,
    ranked_by,
    seeds_differ,
    unranked,
)
from latentbench.boards.published import MEANS, Published
from latentbench.boards.render.escaping import code_span, plain_markdown
from latentbench.boards.render.grids import (
    Grid,
    cost_grid,
    facts_grids,
    further_grids,
    grid,
    legend,
    nulls_grid,
    nulls_of,
    page_columns,
    spread_grid,
    there,
    twins_grids,
)
from latentbench.boards.render.reading import introduction, reading
from latentbench.boards.rows import Column, Row
from latentbench.boards.standings import Group, Table

__all__ = ["markdown", "sentence"]

AnyTable = TypeVar("AnyTable", Table, Table | Means)

#: Characters of a line of running text.
_WIDTH = 120
#: A word that may begin a line, because no line that begins so is a list, a heading or a rule.
_OPENING = re.compile(r"[A-Za-z(`†‡°§±.]|[-+]?\d(?!\d*[.)]$)")


def markdown(board: Board, tables: Sequence[Table | Means], published: Sequence[Published] = ()) -> str:
    """The tables as one Markdown text: first what ranks, then in folds what it is made of and how it came about.

    Args:
        board: whose tables they are.
        tables: in the order of the page.
        published: what papers have of the board's rows.
    """
    blocks = [f"# {board.title}"]
    if board.description:
        blocks.append(_text(board.description))
    blocks += [_text(" ".join(map(sentence, introduction(board))))]
    for table in tables:
        blocks += [f"## {_name(table, tables)}", *_table(board, table)]
    data = [table for table in tables if isinstance(table, Table)]
    folds = {
        "Published numbers": _published(board, tables, published),
        "How to read the tables": _items(map(sentence, reading(board, tables))),
        "Further values": _each(tables, further_grids),
        "Spread": _each(tables, lambda *one: [spread_grid(*one)]),
        "Size, steps, time and hardware": _each(tables, lambda *one: [cost_grid(*one)]),
        "Untrained twins: the mean over their seeds and, in brackets, what training adds": _each(tables, twins_grids),
        "What the fitted models tell of themselves": _each(
            tables, lambda table, group: facts_grids(table, group, board.facts)
        ),
        "Notes": _merged(tables, lambda table: notes(board, table)),
        "Failed runs": _merged(data, failures),
        "Provenance": _items(map(sentence, provenance(data))),
    }
    for title, inside in folds.items():
        if inside:
            blocks += [f"<details><summary>{title}</summary>", *inside, "</details>"]
    return "\n\n".join(blocks) + "\n"


def _published(board: Board, tables: Sequence[Table | Means], published: Sequence[Published]) -> list[str]:
    """What papers print of the rows, beside our numbers, dataset by dataset."""
    here = grouped(published, lambda one: one.dataset)
    shown = dict.fromkeys(table.label if isinstance(table, Table) else MEANS for table in tables)
    labels = [label for label in shown if label in here]
    blocks = []
    for label in labels:
        lines = [
            [
                code_span(one.row),
                sentence([one.column]),
                " ± ".join(map(plain_markdown, one.here.split(" ± "))) or "-",
                plain_markdown(one.published),
                one.verdict,
                f"{code_span(one.claim)}: {plain_markdown(one.cell)}",
            ]
            for one in here[label]
        ]
        headings = ["model", "value", "here", "published", "verdict", "where"]
        blocks += [f"**{code_span(label)}**"] if len(labels) > 1 else []
        blocks.append(tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True))
    verify = code_span(f"latentbench verify {board.name}")
    return [_text(f"{verify} tells what each verdict rests on."), *blocks] if blocks else []


def sentence(note: Note) -> str:
    """A note in Markdown, with what comes from records and boards made harmless."""
    return "".join(map(_part, note))


def _part(part: Part) -> str:
    match part:
        case Code():
            return code_span(part.text)
        case Title():
            return plain_markdown(part.text)
        case Column():
            return sentence(heading(part))
        case str():
            return part


def _table(board: Board, table: Table | Means) -> Iterator[str]:
    """What is read at once: the rows of each group, what their marks say, who has no rank and why, and the nulls."""
    facts = sentence(about(board, table))
    yield _text(f"{facts[0].upper()}{facts[1:]}.")
    if isinstance(table, Table) and table.diagnosis:
        yield _text(sentence(class_split(table, table.diagnosis)))
    for group in table.groups:
        if title := ranked_by(table, group):
            yield f"### {sentence(title)}"
        columns = page_columns(group)
        if group.rows:
            yield _pipes(grid(table, columns, group.rows, seeds=seeds_differ(group.rows)))
        for told in (legend(group, columns), unranked(table, group)):
            if told:
                yield _text(sentence(told))
        if nulls := nulls_of(table, group):
            yield _pipes(nulls_grid(table, there(columns, nulls), nulls))


def _name(table: Table | Means, tables: Sequence[Table | Means]) -> str:
    """What a page calls one of its tables; with the split where the board has another of the same dataset."""
    if isinstance(table, Means):
        return "Means"
    alike = sum(isinstance(one, Table) and one.label == table.label for one in tables)
    return code_span(table.label) + (f", split {code_span(table.split_hash[:12])}" if alike > 1 else "")


def _each(tables: Sequence[Table | Means], grids: Callable[[Table | Means, Group[Row]], Sequence[Grid]]) -> list[str]:
    """Some grids of each group, under the names of their tables where there are several."""
    blocks = []
    for table in tables:
        found = [_pipes(one) for group in table.groups for one in grids(table, group) if one.lines]
        blocks += [f"**{_name(table, tables)}**"] if found and len(tables) > 1 else []
        blocks += found
    return blocks


def _merged(tables: Sequence[AnyTable], of_table: Callable[[AnyTable], Iterable[Note]]) -> list[str]:
    """Notes of several tables, each once: those of all tables first, then others under the names of their tables."""
    told = [(sentence(note), number) for number, table in enumerate(tables) for note in of_table(table)]
    every = {number for number, table in enumerate(tables) if isinstance(table, Table)}
    where = {note: {number for _, number in same} for note, same in grouped(told, lambda one: one[0]).items()}
    blocks = _items(note for note, of in where.items() if of >= every)
    for of in dict.fromkeys(frozenset(of) for of in where.values() if not of >= every):
        blocks.append(f"**{', '.join(_name(tables[number], tables) for number in sorted(of))}**")
        blocks += _items(note for note, of_note in where.items() if of_note == of)
    return blocks


def _pipes(found: Grid) -> str:
    """A grid as a table of Markdown."""
    return tabulate(
        [[sentence(cell) for cell in line] for line in found.lines],
        headers=[sentence(cell) for cell in found.headings],
        colalign=["left" if number in found.text else "right" for number in range(len(found.headings))],
        tablefmt="pipe",
        disable_numparse=True,
    )


def _items(texts: Iterable[str]) -> list[str]:
    """A list, as a block; none where there are no items."""
    items = [f"- {indent(_text(text, _WIDTH - 2), '  ').lstrip()}" for text in texts]
    return ["\n".join(items)] if items else []


def _text(text: str, width: int = _WIDTH) -> str:
    """Running text in lines, broken where that changes nothing: never in a code span."""
    lines = [""]
    for word in re.findall(r"(?:`[^`]*`|\S)+", text):
        if len(lines[-1]) + 1 + len(word) > width and _OPENING.match(word):
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".lstrip()
    return "\n".join(lines)
