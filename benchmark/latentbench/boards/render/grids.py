"""What the formats show of a table: which columns, and what stands in the cells of each row."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from latentbench.boards.means import Means
from latentbench.boards.notes import Code, Note, Part, listed, seeds_differ
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.boards.standings import Group, Table

__all__ = [
    "MOST_COLUMNS",
    "Grid",
    "cost_grid",
    "facts_grids",
    "further_grids",
    "grid",
    "legend",
    "nulls_grid",
    "nulls_of",
    "page_columns",
    "spread_grid",
    "there",
    "twins_grids",
]

#: Columns of a grid on a page, the rank and the model among them.
MOST_COLUMNS = 8
#: Behind a value that is not ahead of the best null, or of the row's own untrained twin, or that is ahead of both but
#: not by a test of each; and behind a row's label.
_NOT_AHEAD_OF_NULL, _NOT_AHEAD_OF_TWIN, _BY_VALUE_ALONE, _TRANSDUCTIVE = "†", "‡", "°", "§"


@dataclass(frozen=True)
class Grid:
    """Headings, and cells in lines."""

    headings: Sequence[Note]
    lines: Sequence[Sequence[Note]]
    text: Collection[int]
    """Places of the columns that hold text; the others hold numbers."""


def there(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """The first of the columns, which ranks, and of the others those in which some row has a value."""
    return [column for column in columns if column is columns[0] or any(row.numbers.get(column.name) for row in rows)]


def page_columns(group: Group[Row]) -> list[Column]:
    """The columns of a group that have room on a page."""
    return there(group.columns, group.rows)[: MOST_COLUMNS - 2 - seeds_differ(group.rows)]


def nulls_of(table: Table | Means, group: Group[Row]) -> list[Row]:
    """The nulls that a group is read against, best first; below the first group those without a value that ranks, too.

    A null that has none of the table's values is left out.
    """
    sign = -1 if group.ranking.higher_is_better else 1
    able = [null for null in table.nulls if group.ranking.name in null.summaries]
    able.sort(key=lambda null: sign * null.summaries[group.ranking.name].mean)
    if group is not table.groups[0]:
        return able
    ranking = [column.name for column in table.ranking]
    return able + [null for null in table.nulls if null.summaries and not any(map(null.summaries.get, ranking))]


def grid(table: Table | Means, columns: Sequence[Column], rows: Sequence[Row], *, seeds: bool) -> Grid:
    """Some rows of a group: rank, model, the value that ranks with its interval, and other values.

    Args:
        table: of the rows.
        columns: those to show, the one that ranks first.
        rows: those to show.
        seeds: whether to tell how many seeds each row has.
    """
    ranking, *others = columns
    headings: list[Note] = [["rank"], ["model"], _heading(table, ranking), *(_heading(table, one) for one in others)]
    lines: list[list[Note]] = [
        [
            [_rank(row, ranking)],
            _label(row),
            [_with_interval(row, ranking)],
            *([_cell(row, column)] for column in others),
        ]
        for row in rows
    ]
    if seeds:
        headings.insert(3, ["seeds"])
        for row, line in zip(rows, lines, strict=True):
            line.insert(3, [f"{row.seeds} ({len(row.failed)} failed)" if row.failed else str(row.seeds)])
    return Grid(headings, lines, text=[1])


def nulls_grid(table: Table | Means, columns: Sequence[Column], nulls: Sequence[Row]) -> Grid:
    """Nulls by themselves: as in ``grid``, without a rank."""
    whole = grid(table, columns, nulls, seeds=seeds_differ(nulls))
    return Grid([["null"], *whole.headings[2:]], [line[1:] for line in whole.lines], text=[0])


def legend(group: Group[Row], columns: Sequence[Column]) -> Note | None:
    """What the marks say that stand in some columns of a group; None if there are none."""
    ranking, rows = group.ranking, group.rows
    marks = {mark for row in rows for column in columns for mark in _marks(row, column)}
    best = next((row.beside_null[ranking.name].label for row in rows if ranking.name in row.beside_null), None)
    said: list[Part] = []
    if _NOT_AHEAD_OF_NULL in marks:
        named: list[Part] = [", ", Code(best), " by ", ranking] if best else []
        said += [f" {_NOT_AHEAD_OF_NULL} not ahead of the best null", *named, "."]
    if _NOT_AHEAD_OF_TWIN in marks:
        said += [f" {_NOT_AHEAD_OF_TWIN} not ahead of its own untrained twin."]
    if _BY_VALUE_ALONE in marks:
        said += [f" {_BY_VALUE_ALONE} ahead by value alone: no uncertainty is known to test it by."]
    if any(row.transductive for row in rows):
        said += [f" {_TRANSDUCTIVE} transductive: an image's results depend on the others in its batch."]
    return [str(said[0]).lstrip(), *said[1:]] if said else None


def further_grids(table: Table | Means, group: Group[Row]) -> list[Grid]:
    """The values of a group that have no room beside those that ``page_columns`` gives, in grids of a page's width."""
    rows = _with_nulls(table, group)
    shown = page_columns(group)
    rest = [column for column in there(group.columns, rows) if column not in shown]
    grids = []
    for start in range(0, len(rest), MOST_COLUMNS - 2):
        columns = rest[start : start + MOST_COLUMNS - 2]
        headings: list[Note] = [["rank"], ["model"], *(_heading(table, column) for column in columns)]
        lines: list[list[Note]] = [
            [[_rank(row, group.ranking)], _label(row), *([_cell(row, column)] for column in columns)]
            for row in rows
            if any(row.numbers.get(column.name) for column in columns)
        ]
        grids.append(Grid(headings, lines, text=[1]))
    return grids


def spread_grid(table: Table | Means, group: Group[Row]) -> Grid:
    """What the uncertainty of the value that ranks is made of, what training adds to it, and how many runs it has."""
    ranking, rows = group.ranking, _with_nulls(table, group)
    columns: dict[str, Callable[[Row], str]] = {}
    if any(ranking.name in row.replicates for row in rows):
        columns["± test images"] = lambda row: _half_width(row.images_half_width(ranking))
    if any(ranking.name in row.beside_twin for row in rows):
        columns["training adds"] = lambda row: _added(row, ranking)
    columns["seeds"] = lambda row: str(row.seeds)
    columns["failed"] = lambda row: str(len(row.failed))
    summaries = [row.summaries.get(ranking.name) for row in rows]
    return Grid(
        [["model"], _heading(table, ranking), *([name] for name in columns)],
        [
            [_label(row), [_number(summary) if summary else "-"], *([cell(row)] for cell in columns.values())]
            for row, summary in zip(rows, summaries, strict=True)
        ],
        text=[0],
    )


def cost_grid(table: Table | Means, group: Group[Row]) -> Grid:
    """What each row of a group cost: the model's size, steps and time of training, and the hardware."""
    return Grid(
        [["model"], ["parameters"], ["steps"], ["fit, s"], ["hardware"]],
        [
            [
                _label(row),
                [_count(row.parameters)],
                [_count(row.steps)],
                ["-" if row.fit_seconds is None else f"{row.fit_seconds:.1f}"],
                listed(row.hardware),
            ]
            for row in _with_nulls(table, group)
        ],
        text=[0, 4],
    )


def twins_grids(table: Table | Means, group: Group[Row]) -> list[Grid]:
    """The untrained twins of a group: the mean over their seeds, and what training adds to it."""
    twins = [(row, row.twin) for row in group.rows if row.twin]
    if not twins:
        return []
    columns = there(group.columns, [twin for _, twin in twins])[: MOST_COLUMNS - 2]
    lines: list[list[Note]] = [
        [_label(row), *([_twin_cell(row, twin, column)] for column in columns), [str(twin.seeds)]]
        for row, twin in twins
    ]
    return [Grid([["untrained"], *(_heading(table, column) for column in columns), ["seeds"]], lines, text=[0])]


def facts_grids(table: Table | Means, group: Group[Row], names: Sequence[str]) -> list[Grid]:
    """What the models of a group tell of themselves, trained and untrained: the mean over seeds."""
    if isinstance(table, Means):
        return []
    rows = [*group.rows, *(row.twin for row in group.rows if row.twin)]
    grids = []
    for start in range(0, len(names), MOST_COLUMNS - 2):
        some = names[start : start + MOST_COLUMNS - 2]
        told = [(row, [row.fact(name) for name in some]) for row in rows]
        lines: list[list[Note]] = [
            [
                ["untrained ", *_label(row)] if row.untrained else _label(row),
                *([_number(summary) if summary else "-"] for summary in summaries),
                [str(row.seeds)],
            ]
            for row, summaries in told
            if any(summaries)
        ]
        grids.append(Grid([["model"], *([Code(name)] for name in some), ["seeds"]], lines, text=[0]))
    return grids


def _with_nulls(table: Table | Means, group: Group[Row]) -> list[Row]:
    """The rows of a group, and below the first group all nulls that have a value."""
    nulls = [null for null in table.nulls if null.summaries] if group is table.groups[0] else []
    return [*group.rows, *nulls]


def _heading(table: Table | Means, column: Column) -> Note:
    """A column; of means with the number of datasets, where it is not over all that the table is over."""
    if isinstance(table, Table) or len(table.over[column.name]) == len(table.labels):
        return [column]
    return [column, f" ({len(table.over[column.name])} of {len(table.labels)} datasets)"]


def _rank(row: Row, ranking: Column) -> str:
    return "null" if row.null else str(row.rank or ("?" if ranking.name in row.summaries else "-"))


def _label(row: Row) -> Note:
    return [Code(row.label), f" {_TRANSDUCTIVE}"] if row.transductive else [Code(row.label)]


def _with_interval(row: Row, column: Column) -> str:
    """Mean and interval over all that is known, with the value's marks."""
    summary, found = row.summaries.get(column.name), row.interval(column)
    if summary is None:
        return "-"
    around = f" ({found.low:z.3f} to {found.high:z.3f})" if found else ""
    return _marked(f"{summary.mean:z.3f}{around}", row, column)


def _cell(row: Row, column: Column) -> str:
    """Mean ± half-width over seeds, with the value's marks."""
    summary = row.summaries.get(column.name)
    return "-" if summary is None else _marked(_number(summary), row, column)


def _marked(text: str, row: Row, column: Column) -> str:
    """With the number of seeds where it is not that of the row, and with the marks."""
    number = len(row.numbers[column.name])
    seeds = [] if number == row.seeds else [f"(n = {number})"]
    return " ".join([text, *seeds, *_marks(row, column)])


def _number(summary: Summary) -> str:
    width = "" if summary.half_width is None else f" ± {summary.half_width:.3f}"
    return f"{summary.mean:z.3f}{width}"


def _count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def _half_width(number: float | None) -> str:
    return "-" if number is None else f"{number:.3f}"


def _marks(row: Row, column: Column) -> list[str]:
    references = {_NOT_AHEAD_OF_NULL: row.beside_null, _NOT_AHEAD_OF_TWIN: row.beside_twin}
    found = {mark: beside[column.name] for mark, beside in references.items() if column.name in beside}
    marks = [mark for mark, beside in found.items() if beside.marked]
    return marks or ([_BY_VALUE_ALONE] if any(beside.by_value_alone for beside in found.values()) else [])


def _twin_cell(row: Row, twin: Row, column: Column) -> str:
    summary = twin.summaries.get(column.name)
    if summary is None:
        return "-"
    return f"{_number(summary)} ({_added(row, column)})" if column.name in row.beside_twin else _number(summary)


def _added(row: Row, column: Column) -> str:
    """What training adds, ± half of the width of its interval."""
    found = row.beside_twin.get(column.name)
    if found is None:
        return "-"
    width = f" ± {(found.interval.high - found.interval.low) / 2:.3f}" if found.interval else ""
    return f"{found.difference.mean:+z.3f}{width}"
