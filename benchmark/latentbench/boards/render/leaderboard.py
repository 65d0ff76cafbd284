"""A board's leaderboard as Markdown and CSV, from records alone: the same records give the same bytes anywhere."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tabulate import tabulate

from latentbench.boards.board import Board
from latentbench.boards.means import Means, means
from latentbench.boards.render.escaping import code_span, csv_text, plain_markdown
from latentbench.boards.significance import seeds_to_separate
from latentbench.boards.standings import Column, Row, Table, standings
from latentbench.config import format_options
from latentbench.records.record import Environment, Record
from latentbench.value_name import ValueName

__all__ = ["CSV_COLUMNS", "render"]

#: The CSV has a line for each row and value of a table. Numbers are in full precision; what is not there is empty.
CSV_COLUMNS = {
    "label": "what the board calls the dataset; of a mean, all datasets that it is over, with blanks between them",
    "dataset": "its name; mean: the line is a mean over datasets, each counting by its first table",
    "dataset_options": "those that the board fixes, as JSON",
    "dataset_version": "of its plugin",
    "split_hash": "lines with different ones are not comparable",
    "harness_version": "lines with different ones are not comparable",
    "rank": "of the row",
    "model": "its name",
    "model_version": "of its plugin",
    "options": "those in which the table's rows of this model differ, as JSON",
    "value": "metric[part]@split/condition",
    "metric_version": "of its plugin",
    "higher_is_better": "true or false",
    "readout": "native: the model's own capability; any other: the readout by which the harness read its code",
    "n": "seeds that have the value, of a mean on every one of its datasets",
    "mean": "over these seeds",
    "half_width": "of the mean's 95 % Student-t interval",
    "std": "of the sample, with n - 1 in the denominator",
    "min": "over these seeds",
    "max": "over these seeds",
    "finished": "seeds whose run finished, of a mean on every dataset that has a finished run",
    "failed": "runs that failed",
    "fit_seconds": "wall time of fitting, median over the finished runs",
    "hardware": "of every machine that made the row",
    "runs": "keys of the finished runs",
}


def render(board: Board, records: Iterable[Record]) -> dict[str, str]:
    """The leaderboard of ``board``.

    Args:
        board: what ranks, and what is shown.
        records: in any order; those of other boards are passed over.

    Returns:
        File name -> text, for ``<board>.md`` and ``<board>.csv``; empty if no record is the board's.
    """
    tables = standings(board, records)
    if not tables:
        return {}
    averages = means(board, tables)
    shown: list[Table | Means] = [averages, *tables] if averages else [*tables]
    return {f"{board.name}.md": _markdown(board, shown), f"{board.name}.csv": _csv(shown)}


# Markdown


def _markdown(board: Board, tables: Iterable[Table | Means]) -> str:
    blocks = [f"# {board.title}", *([" ".join(board.description.split())] if board.description else [])]
    blocks.append(
        f"Board `{board.name}`, budget: {format_options(board.budget.model_dump(exclude_none=True)) or 'unlimited'}. "
        "Cells are the mean over seeds ± half of its 95 % Student-t interval; the first column of them ranks. "
        "Rows share a rank where Welch's t test (two-sided, 5 %) does not separate them from the first row of the rank."
    )
    for table in tables:
        if isinstance(table, Means):
            blocks += _introduction(board, table)
            parts = {"Notes": _notes_on_means(table)}
        else:
            blocks.append(f"## {_title(table)}, split {code_span(table.split_hash[:12])}")
            parts = {"Notes": _notes(table), "Failed runs": _failures(table), "Provenance": _provenance(table)}
        blocks.append(_grid(table))
        for title, lines in parts.items():
            if items := [f"- {line}" for line in lines]:
                blocks += [f"### {title}", "\n".join(items)]
    return "\n\n".join(blocks) + "\n"


def _introduction(board: Board, table: Means) -> Iterator[str]:
    """Which datasets the means are over, and how they are made."""
    labels = ", ".join(map(code_span, table.labels))
    yield f"## Mean over {len(table.labels)} of {len(board.datasets)} datasets: {labels}"
    yield (
        "Values are averaged over these datasets seed by seed, then over the seeds that all of them share. "
        "Each dataset counts by its first table below."
    )


def _title(table: Table) -> str:
    """What the board calls the dataset; its name where that is another; and the options that the board fixes."""
    name = "" if table.label == table.dataset else f": {code_span(table.dataset)}"
    fixed = f" ({code_span(format_options(table.fixed))})" if table.fixed else ""
    return code_span(table.label) + name + fixed


def _grid(table: Table | Means) -> str:
    values = [_heading(column) + _coverage(table, column) for column in table.columns]
    rows = [
        [
            str(row.rank or "-"),
            code_span(row.label),
            *(_cell(row, column) for column in table.columns),
            str(row.seeds),
            str(len(row.failed)),
            "-" if row.fit_seconds is None else f"{row.fit_seconds:.1f}",
            _code_spans(row.hardware),
        ]
        for row in table.rows
    ]
    return tabulate(
        rows,
        headers=["rank", "model", *values, "seeds", "failed", "fit, s", "hardware"],
        colalign=["right", "left", *["right"] * len(values), "right", "right", "right", "left"],
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
    """Mean ± half-width; with the number of seeds where it is not that of the row."""
    summary = row.summaries.get(column.name)
    if summary is None:
        return "-"
    text = f"{summary.mean:z.3f}"
    if summary.half_width is not None:
        text += f" ± {summary.half_width:.3f}"
    return text if summary.n == row.seeds else f"{text} (n = {summary.n})"


def _notes(table: Table) -> Iterator[str]:
    """What the numbers alone do not say: ties, orders that are not tested, the probe's part, and what was left out."""
    yield from _comparisons(table)
    for column in table.columns:
        for row in table.rows:
            for record in row.finished:
                if reason := record.unmeasured.get(column.whole):
                    yield f"{code_span(row.label)}, seed {record.spec.seed}, no {_heading(column)}: {code_span(reason)}"
        yield from _older_values(column)
    yield from _older_runs(table)


def _notes_on_means(table: Means) -> Iterator[str]:
    """The same of means, and why there is none where there is none."""
    yield from _comparisons(table)
    for column in table.columns:
        over = table.over[column.name]
        if 0 < len(over) < len(table.labels):
            yield f"{_heading(column)} is the mean over {_code_spans(over)}: on the other datasets no run has it."
        for row in table.rows:
            if over and column.name not in row.summaries:
                lacking = [
                    label for label in over if label not in row.parts or not column.values(row.parts[label].finished)
                ]
                why = f"none on {_code_spans(lacking)}" if lacking else "no seed has it on every dataset"
                yield f"{code_span(row.label)} has no mean {_heading(column)}: {why}."
        yield from _older_values(column)
    for row in table.rows:
        if row.differing:
            yield f"{code_span(row.label)} is not configured alike on all datasets: {_code_spans(row.differing)}."
    yield from _older_runs(table)


def _comparisons(table: Table | Means) -> Iterator[str]:
    ranking = table.columns[0]
    ranked = [row for row in table.rows if row.rank is not None]
    for row in ranked:
        first = next(one for one in ranked if one.rank == row.rank)
        if row is not first:
            yield _tie(first, row, ranking)
    if any(row.summaries[ranking.name].n == 1 for row in ranked):
        yield "A row with a single seed is ranked by its value; its order is not tested."
    read = [(row.readout(column), row, column) for row in table.rows for column in table.columns]
    for readout in sorted({name for name, _, _ in read if name not in (None, "native")}):
        titles = ", ".join(sorted({plain_markdown(column.title) for name, _, column in read if name == readout}))
        models = _code_spans(row.model for name, row, _ in read if name == readout)
        yield f"Read by the harness's {plain_markdown(readout)} from the codes of {models}: {titles}."


def _older_values(column: Column) -> Iterator[str]:
    if column.left_out:
        yield f"Left out, for the metric has a newer version: {column.left_out} values of {_heading(column)}."


def _older_runs(table: Table | Means) -> Iterator[str]:
    for (model, version), runs in table.left_out.items():
        yield f"Left out, for the model has a newer version: {runs} runs of {code_span(f'{model} {version}')}."


def _tie(first: Row, row: Row, column: Column) -> str:
    """A row that shares another's rank, and how many seeds would change that."""
    a, b = first.summaries[column.name], row.summaries[column.name]
    pair = f"{code_span(first.label)} and {code_span(row.label)}"
    if a.mean == b.mean:
        return f"{pair} have the same mean."
    seeds = seeds_to_separate(a, b)
    number = f"about {seeds}" if seeds else "over 1000"
    return f"{pair} are not separated; {number} seeds of each would, if means and spreads stay as they are."


def _failures(table: Table) -> Iterator[str]:
    for row in table.rows:
        for record in row.failed:
            reason = record.failure.message if record.failure else "no reason recorded"
            yield f"{code_span(row.label)}, seed {record.spec.seed}: {code_span(reason)}"


def _provenance(table: Table) -> Iterator[str]:
    """What the table's runs were made from, and with."""
    made = [record.environment for row in table.rows for record in row.records]
    options = code_span(format_options(table.options) or "none")
    yield f"dataset: {code_span(table.dataset)} version {table.dataset_version}, options {options}"
    yield f"split hash: {code_span(table.split_hash)}"
    yield f"metric versions: {_code_spans(f'{one.metric} {one.version}' for one in table.columns if one.version)}"
    yield f"harness version: {table.harness_version}"
    yield f"commit: {_code_spans(map(_commit, made))}"
    yield f"plugins: {_code_spans(plugin for one in made for plugin in one.plugins.values())}"
    yield f"packages: {_code_spans(f'{name} {version}' for one in made for name, version in one.packages.items())}"
    yield f"Python: {_code_spans(one.python for one in made)}"


def _commit(environment: Environment) -> str:
    if environment.commit is None:
        return "none"
    return environment.commit[:12] + (" with local changes" if environment.dirty else "")


def _code_spans(texts: Iterable[str]) -> str:
    """Each different text once, in order."""
    return ", ".join(code_span(text) for text in sorted(set(texts))) or "-"


# CSV


def _csv(tables: Iterable[Table | Means]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(CSV_COLUMNS), lineterminator="\n")
    writer.writeheader()
    for table in tables:
        for row in table.rows:
            writer.writerows(_csv_line(table, row, column) for column in table.columns)
    return text.getvalue()


def _csv_line(table: Table | Means, row: Row, column: Column) -> Mapping[str, str]:
    summary = row.summaries.get(column.name)
    line = {
        **_csv_data(table, column),
        "rank": row.rank,
        "model": row.model,
        "model_version": row.version,
        "options": json.dumps(row.options, sort_keys=True),
        "value": column.name,
        "metric_version": column.version,
        "higher_is_better": column.higher_is_better,
        "readout": row.readout(column),
        "n": summary.n if summary else 0,
        "mean": summary.mean if summary else None,
        "half_width": summary.half_width if summary else None,
        "std": summary.std if summary else None,
        "min": summary.least if summary else None,
        "max": summary.greatest if summary else None,
        "finished": row.seeds,
        "failed": len(row.failed),
        "fit_seconds": row.fit_seconds,
        "hardware": "; ".join(row.hardware),
        "runs": " ".join(record.spec.key for record in row.finished),
    }
    return {name: _csv_cell(line.get(name)) for name in CSV_COLUMNS}


def _csv_data(table: Table | Means, column: Column) -> dict[str, Any]:
    """What a line is over."""
    if isinstance(table, Means):
        return {"label": " ".join(table.over[column.name]), "dataset": "mean"}
    return {
        "label": table.label,
        "dataset": table.dataset,
        "dataset_options": json.dumps(table.fixed, sort_keys=True),
        "dataset_version": table.dataset_version,
        "split_hash": table.split_hash,
        "harness_version": table.harness_version,
    }


def _csv_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return csv_text(value)
