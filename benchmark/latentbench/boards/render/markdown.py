"""Tables as Markdown that shows the same everywhere, whatever stands in the records."""

from collections.abc import Iterable, Iterator, Sequence

from tabulate import tabulate

from latentbench.boards.board import Board
from latentbench.boards.means import Means
from latentbench.boards.notes import Code, Note, Part, Title, failures, notes, other_settings, provenance
from latentbench.boards.published import Published
from latentbench.boards.render.escaping import code_span, plain_markdown
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.boards.standings import Table
from latentbench.config import format_options
from latentbench.value_name import ValueName

__all__ = ["markdown", "sentence"]

#: Behind a value that is not ahead of the best null, or of the row's own untrained twin.
_NOT_AHEAD_OF_NULL, _NOT_AHEAD_OF_TWIN = "†", "‡"


def markdown(board: Board, tables: Sequence[Table | Means], published: Sequence[Published] = ()) -> str:
    """The tables as one Markdown text: for each its grid, what papers have of it, its notes, and what it is made from.

    A dataset's published numbers stand at its first table.
    """
    left = list(published)
    blocks = [f"# {board.title}", *([" ".join(board.description.split())] if board.description else [])]
    images = any(row.replicates for table in tables for row in table.rows)
    blocks.append(
        f"Board `{board.name}`, budget: {format_options(board.budget.model_dump(exclude_none=True)) or 'unlimited'}"
        f"{f', {board.threads} CPU threads for each run' if board.threads > 1 else ''}. "
        f"{' '.join([*_cells(images), *_ranking(board, images), *_references(tables)])}"
    )
    for table in tables:
        parts = {"Notes": notes(board, table)}
        if isinstance(table, Means):
            blocks += _introduction(board, table)
        else:
            split = ", class-split novelty" if table.diagnosis else ""
            blocks.append(f"## {_title(table)}, split {code_span(table.split_hash[:12])}{split}{_ranked_by(table)}")
            parts |= {"Failed runs": failures(table), "Provenance": provenance(table)}
        if table.rows:
            blocks += [_grid(table, table.rows), *_legend(table)]
        if nulls := [row for row in table.nulls if row.summaries]:
            blocks += ["### Nulls", _grid(table, nulls)]
        if any(row.twin for row in table.rows):
            blocks += _untrained(table)
        if isinstance(table, Table) and (here := [one for one in left if one.dataset == table.label]):
            blocks += _published(board, here)
            left = [one for one in left if one.dataset != table.label]
        if (others := other_settings(table)) is not None:
            blocks.append(sentence(others))
        for title, found in parts.items():
            if items := [f"- {sentence(note)}" for note in found]:
                blocks += [f"### {title}", "\n".join(items)]
    return "\n\n".join(blocks) + "\n"


def _cells(images: bool) -> Iterator[str]:
    """What cells cover.

    Args:
        images: whether what the test images add is known of any row.
    """
    yield "Cells are the mean over seeds ± half of its 95 % Student-t interval over seeds."
    if images:
        yield (
            "The column ± test images has half of the 95 % interval that the value before it has over test images of "
            "the same kind, by a bootstrap; the CSV has intervals over both, cut at the metric's bounds."
        )


def _ranking(board: Board, images: bool) -> Iterator[str]:
    """What ranks mean, and how often they claim what is not so; ``images`` as above."""
    rate = "of tables of equal models about 5 % show any separation."
    if board.seeds == 1:
        yield (
            "The first column of them orders the rows. The board has one seed: what order other seeds would give is "
            "not known, and a rank is of these trained models, by their test images alone."
        )
        if images:
            yield (
                "It is the interval of places that t tests of all pairs on the same images leave, with Holm's "
                f"correction: {rate}"
            )
        return
    paired = ", the paired variance over test images where that is known," if images else ""
    yield (
        "The first column of them ranks. A rank is the interval of places that the data leave to a row among those of "
        f"several seeds, by t tests of all pairs with moderated variances over seeds{paired} and Holm's correction: "
        f"{rate}"
    )


def _references(tables: Sequence[Table | Means]) -> Iterator[str]:
    """What the marks mean, and by which tests they are set."""
    nulls = any(table.nulls for table in tables)
    twins = any(row.twin for table in tables for row in table.rows)
    if nulls:
        yield (
            "Nulls are model-free rows that others are read against; they have no rank and change none. A value is "
            "ahead of the best null if it is ahead of every null: the greatest p-value of these tests counts, which "
            "allows for the choice of the best."
        )
    if twins:
        yield (
            "An untrained twin is the same model without a training step. It is paired with the trained one by seed "
            "and, where that is known, by test image; what training adds is the mean of the differences ± half of its "
            "95 % interval."
        )
    if nulls or twins:
        yield (
            "These comparisons have Holm's correction for the rows of each column; where no uncertainty is known, "
            "marks go by the values themselves."
        )


def _legend(table: Table | Means) -> Iterator[str]:
    """What the marks at the table's values say, in one line."""
    ranking = table.columns[0]
    marks = {mark for row in table.rows for column in table.columns for mark in _marks(row, column)}
    best = next((row.beside_null[ranking.name].label for row in table.rows if ranking.name in row.beside_null), None)
    said = []
    if _NOT_AHEAD_OF_NULL in marks:
        named = f", {code_span(best)} by {_heading(ranking)}" if best else ""
        said.append(f"{_NOT_AHEAD_OF_NULL} not ahead of the best null{named}.")
    if _NOT_AHEAD_OF_TWIN in marks:
        said.append(f"{_NOT_AHEAD_OF_TWIN} not ahead of its own untrained twin.")
    if said:
        yield " ".join(said)


def _untrained(table: Table | Means) -> list[str]:
    """The twins, folded: their values, and what training adds to each."""
    rows = [
        [code_span(row.label), *(_untrained_cell(row, column) for column in table.columns), str(row.twin.seeds)]
        for row in table.rows
        if row.twin
    ]
    headings = ["untrained", *map(_heading, table.columns), "seeds"]
    align = ["left", *["right"] * (len(headings) - 1)]
    grid = tabulate(rows, headers=headings, colalign=align, tablefmt="pipe", disable_numparse=True)
    title = "Untrained twins: the mean over their seeds and, in brackets, what training adds to it"
    return [f"<details><summary>{title}</summary>", grid, "</details>"]


def _published(board: Board, here: Sequence[Published]) -> Iterator[str]:
    """What papers print of a table's rows, beside our numbers."""
    yield "### Published numbers"
    yield f"{code_span(f'latentbench verify {board.name}')} tells what each verdict rests on."
    lines = [
        [
            code_span(one.row),
            _heading(one.column),
            " ± ".join(map(plain_markdown, one.here.split(" ± "))) or "-",
            plain_markdown(one.published),
            one.verdict,
            f"{code_span(one.claim)}: {plain_markdown(one.cell)}",
        ]
        for one in here
    ]
    headings = ["model", "value", "here", "published", "verdict", "where"]
    yield tabulate(lines, headers=headings, tablefmt="pipe", disable_numparse=True)


def _untrained_cell(row: Row, column: Column) -> str:
    summary = row.twin.summaries.get(column.name) if row.twin else None
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
            return _heading(part)
        case str():
            return part


def _introduction(board: Board, table: Means) -> Iterator[str]:
    """Which datasets the means are over, and how they are made."""
    labels = ", ".join(map(code_span, table.labels))
    yield f"## Mean over {len(table.labels)} of {len(board.datasets)} datasets: {labels}{_ranked_by(table)}"
    yield (
        "Values are averaged over these datasets seed by seed, then over the seeds that all of them share. "
        "Each dataset counts by its first table below."
    )


def _title(table: Table) -> str:
    """What the board calls the dataset; its name where that is another; and the options that the board fixes."""
    name = "" if table.label == table.dataset else f": {code_span(table.dataset)}"
    fixed = f" ({code_span(format_options(table.fixed))})" if table.fixed else ""
    return code_span(table.label) + name + fixed


def _ranked_by(table: Table | Means) -> str:
    """That seeds are no part of the ranks, where there are any."""
    by_images = table.comparison.images_alone and table.comparison.tested.any()
    return ", ranked by test images alone" if by_images else ""


def _grid(table: Table | Means, rows: Sequence[Row]) -> str:
    """Some rows of a table."""
    ranking = table.columns[0]
    headings = [_heading(column) + _coverage(table, column) for column in table.columns]
    cells = [[_cell(row, column) for column in table.columns] for row in rows]
    if any(ranking.name in row.beside_twin for row in rows):
        headings.insert(1, "training adds")
        for row, of_row in zip(rows, cells, strict=True):
            of_row.insert(1, _added(row, ranking))
    if any(row.replicates for row in rows):
        headings.insert(1, "± test images")
        for row, of_row in zip(rows, cells, strict=True):
            half_width = row.images_half_width(ranking)
            of_row.insert(1, "-" if half_width is None else f"{half_width:.3f}")
    ranks = ["null" if row.null else str(row.rank or ("?" if ranking.name in row.summaries else "-")) for row in rows]
    lines = [
        [
            rank,
            code_span(row.label) + (" §" if row.transductive else ""),
            *of_row,
            str(row.seeds),
            str(len(row.failed)),
            "-" if row.fit_seconds is None else f"{row.fit_seconds:.1f}",
            _code_spans(row.hardware),
        ]
        for rank, row, of_row in zip(ranks, rows, cells, strict=True)
    ]
    return tabulate(
        lines,
        headers=["rank", "model", *headings, "seeds", "failed", "fit, s", "hardware"],
        colalign=["right", "left", *["right"] * len(headings), "right", "right", "right", "left"],
        tablefmt="pipe",
        disable_numparse=True,
    )


def _coverage(table: Table | Means, column: Column) -> str:
    """Over how many datasets a column of means is, where it is not over all that the table is over."""
    if isinstance(table, Table) or len(table.over[column.name]) == len(table.labels):
        return ""
    return f" ({len(table.over[column.name])} of {len(table.labels)} datasets)"


def _heading(column: Column) -> str:
    """``accuracy ↑ test, uncorrelated`` for ``accuracy@test/uncorrelated``."""
    name = ValueName.parse(column.name)
    place = ", ".join(filter(None, (name.split, name.condition)))
    arrow = {True: "↑", False: "↓", None: ""}[column.higher_is_better]
    words = [plain_markdown(column.title), plain_markdown(name.selector), arrow, plain_markdown(place)]
    return " ".join(word for word in words if word)


def _cell(row: Row, column: Column) -> str:
    """Mean ± half-width; with the number of seeds where it is not that of the row, and with its marks."""
    summary = row.summaries.get(column.name)
    if summary is None:
        return "-"
    text = _number(summary)
    if summary.n != row.seeds:
        text = f"{text} (n = {summary.n})"
    return " ".join([text, *_marks(row, column)])


def _number(summary: Summary) -> str:
    width = "" if summary.half_width is None else f" ± {summary.half_width:.3f}"
    return f"{summary.mean:z.3f}{width}"


def _marks(row: Row, column: Column) -> list[str]:
    references = {_NOT_AHEAD_OF_NULL: row.beside_null, _NOT_AHEAD_OF_TWIN: row.beside_twin}
    return [mark for mark, beside in references.items() if column.name in beside and beside[column.name].marked]


def _code_spans(texts: Iterable[str]) -> str:
    """Each different text once, in order."""
    return ", ".join(code_span(text) for text in sorted(set(texts))) or "-"
