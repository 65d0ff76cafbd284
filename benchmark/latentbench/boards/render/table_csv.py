"""Tables as CSV: every number in full precision, and settings that the board does not name as well."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latentbench.boards.means import Means
from latentbench.boards.published import MEANS
from latentbench.boards.render.escaping import csv_text
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.boards.standings import Table
from latentbench.config import differing

__all__ = ["CSV_COLUMNS", "table_csv"]

#: The CSV has a line for each row and value of a table, then for nulls, for other settings and for untrained twins,
#: which have no rank. Numbers are in full precision, those of low and high in ten digits; what is not there is empty.
CSV_COLUMNS = {
    "label": "what the board calls the dataset; of a mean, all datasets that it is over, with blanks between them",
    "dataset": "its name; mean: the line is a mean over datasets, each counting by its first table",
    "dataset_options": "those that the board fixes, and those in which lines of one dataset differ, as JSON",
    "dataset_version": "of its plugin",
    "split_hash": "lines with different ones are not comparable",
    "harness_version": "lines with different ones are not comparable",
    "rank_first": "the best place that the data leave to the row; empty where that is not known",
    "rank_last": "the worst",
    "ranked_by": "the value that ranks the row, among those of which that is so; empty for a row without ranks",
    "diagnosis": "where anomalies are classes held out of the normal ones, the null whose value tells how far apart",
    "group": "model; null; or untrained, a twin of the model that the line names",
    "variant": "what the board calls the row: the model's name or a variant's label; empty for other settings",
    "model": "its name",
    "model_version": "of its plugin",
    "options": "those that differ from the model's preset, as JSON",
    "threads": "CPU threads of each run",
    "transductive": "capabilities whose results for an image depend on the others in its batch",
    "value": "metric[part]@split/condition; or fact:NAME, what fitted models tell of themselves",
    "metric_version": "of its plugin",
    "higher_is_better": "true or false",
    "readout": "native: the model's own capability; any other: the readout by which the harness read its code",
    "n": "seeds that have the value, of a mean on every one of its datasets",
    "mean": "over these seeds",
    "half_width": "of the mean's 95 % Student-t interval over seeds",
    "low": "the mean's 95 % interval over all that covers says, cut at the metric's bounds",
    "high": "its other end",
    "covers": "seeds, test images or both: what would give other values",
    "std": "of the sample, with n - 1 in the denominator",
    "min": "over these seeds",
    "max": "over these seeds",
    "untrained_mean": "that of the row's untrained twin",
    "training_adds": "the mean less it, over the seeds that both have",
    "training_adds_low": "its 95 % interval, over seeds and test images as far as they are known",
    "training_adds_high": "its other end",
    "beside_untrained": "ahead, behind or undecided, by tests; empty where the uncertainty is not known",
    "best_null": "what the board calls the null that has the best mean, by its own score where it lacks the value's",
    "best_null_mean": "that of this null",
    "beside_best_null": "ahead, behind or undecided, by tests; empty where the uncertainty is not known",
    "finished": "seeds whose run finished, of a mean on every dataset that has a finished run",
    "failed": "runs that failed",
    "parameters": "of the model, median over the finished runs",
    "steps": "of training, median over the finished runs; empty for models that are fitted without the harness's loop",
    "fit_seconds": "wall time of fitting, median over the finished runs",
    "hardware": "of every machine that made the row",
    "runs": "keys of the finished runs",
}


def table_csv(tables: Iterable[Table | Means], facts: Sequence[str] = ()) -> str:
    """The tables, with some facts of their models, as one CSV text with the columns ``CSV_COLUMNS``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(CSV_COLUMNS), restval="", lineterminator="\n")
    writer.writeheader()
    for table in tables:
        others = [] if isinstance(table, Means) else table.others
        rows = [(row, group.ranking.name) for group in table.groups for row in group.rows]
        rows += [(row, "") for row in (*table.nulls, *others)]
        columns = [(column, _cells(_data(table, column))) for column in table.columns]
        where = _cells(_where(table)) if isinstance(table, Table) else {}
        for row, ranked_by in (*rows, *((row.twin, "") for row, _ in rows if row.twin)):
            settings = _cells(_settings(row, ranked_by) | _other_data(table, row))
            writer.writerows({**data, **settings, **_cells(_value(row, column))} for column, data in columns)
            told = [(name, row.fact(name)) for name in facts if where]
            writer.writerows({**where, **settings, **_cells(_fact(name, fact))} for name, fact in told if fact)
    return text.getvalue()


def _data(table: Table | Means, column: Column) -> dict[str, Any]:
    """What a line is over, and its value's facts."""
    value = {
        "value": column.name,
        "metric_version": column.version,
        "higher_is_better": column.higher_is_better,
    }
    if isinstance(table, Means):
        return value | {"label": " ".join(table.over[column.name]), "dataset": MEANS}
    return value | _where(table)


def _where(table: Table) -> dict[str, Any]:
    """What all lines of a table are over."""
    return {
        "label": table.label,
        "dataset": table.dataset,
        "dataset_options": json.dumps({**table.fixed, **table.set_options}, sort_keys=True),
        "dataset_version": table.dataset_version,
        "split_hash": table.split_hash,
        "harness_version": table.harness_version,
        "diagnosis": table.diagnosis.row if table.diagnosis else None,
    }


def _other_data(table: Table | Means, row: Row) -> dict[str, Any]:
    """What a row of a table is on, where that is the table's dataset in other options."""
    spec = row.records[0].spec
    if isinstance(table, Means) or spec.options == table.options:
        return {}
    others, _ = differing([spec.options, table.options])
    return {
        "dataset_options": json.dumps({**table.fixed, **table.set_options, **others}, sort_keys=True),
        "dataset_version": spec.dataset_version,
        "split_hash": spec.split_hash,
        "harness_version": spec.harness_version,
    }


def _settings(row: Row, ranked_by: str) -> dict[str, Any]:
    """What all lines of a row share."""
    return {
        "rank_first": row.rank.first if row.rank else None,
        "rank_last": row.rank.last if row.rank else None,
        "ranked_by": ranked_by,
        "group": "untrained" if row.untrained else "null" if row.null else "model",
        "variant": row.label,
        "model": row.model,
        "model_version": row.version,
        "options": json.dumps(row.options, sort_keys=True),
        "threads": row.threads,
        "transductive": " ".join(row.transductive),
        "finished": row.seeds,
        "failed": len(row.failed),
        "parameters": row.parameters,
        "steps": row.steps,
        "fit_seconds": row.fit_seconds,
        "hardware": "; ".join(row.hardware),
        "runs": " ".join(record.key for record in row.finished),
    }


def _fact(name: str, summary: Summary) -> dict[str, Any]:
    """What the models of a row tell of themselves."""
    return {"value": f"fact:{name}", **_over_seeds(summary)}


def _over_seeds(summary: Summary | None) -> dict[str, Any]:
    """A number over the seeds that have it."""
    return {
        "n": summary.n if summary else 0,
        "mean": summary.mean if summary else None,
        "half_width": summary.half_width if summary else None,
        "std": summary.std if summary else None,
        "min": summary.least if summary else None,
        "max": summary.greatest if summary else None,
    }


def _value(row: Row, column: Column) -> dict[str, Any]:
    """What the row has for the column's value."""
    interval = row.interval(column)
    null, twin = row.beside_null.get(column.name), row.beside_twin.get(column.name)
    return {
        "readout": row.readout(column),
        **_over_seeds(row.summaries.get(column.name)),
        "low": _rounded(interval.low) if interval else None,
        "high": _rounded(interval.high) if interval else None,
        "covers": ", ".join(interval.covers) if interval else None,
        "untrained_mean": twin.reference.mean if twin else None,
        "training_adds": twin.difference.mean if twin else None,
        "training_adds_low": _rounded(twin.interval.low) if twin and twin.interval else None,
        "training_adds_high": _rounded(twin.interval.high) if twin and twin.interval else None,
        "beside_untrained": twin.verdict if twin else None,
        "best_null": null.label if null else None,
        "best_null_mean": null.reference.mean if null else None,
        "beside_best_null": null.verdict if null else None,
    }


def _rounded(number: float) -> float:
    """To ten digits: builds of NumPy differ in the last ones of a covariance."""
    return float(f"{number:.10g}")


def _cells(line: Mapping[str, Any]) -> dict[str, str]:
    return {name: _cell(value) for name, value in line.items()}


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case _:
            return csv_text(value)
