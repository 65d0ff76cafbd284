"""The means over a board's datasets: seed by seed first, then over the seeds, ranked as other rows are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board
from latentbench.boards.gathering import grouped, make_column, with_named_scores, with_own_scores
from latentbench.boards.rows import Column, Row
from latentbench.boards.standings import Group, Table, in_groups
from latentbench.config import canonical
from latentbench.records.code import code_of, latest_code
from latentbench.records.replicates import Replicates

__all__ = ["MeanRow", "Means", "Parts", "averaged", "means"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MeanRow(Row):
    """One model or variant over several datasets: its runs are those on all of them, dataset by dataset.

    Its seeds are those whose runs finished on every dataset. A summary is that of the means of a value over the
    datasets, one mean for each seed that has the value on all of them.
    """

    parts: Mapping[str, Row]
    """The row in the table of each dataset where there is one, by the dataset's label."""

    @property
    def differing(self) -> list[str]:
        """The options in which the model is configured otherwise on one dataset than on another."""
        configs = [part.config for part in self.parts.values()]
        names = sorted({name for config in configs for name in config})
        return [name for name in names if len({canonical(config.get(name)) for config in configs}) > 1]

    def lacking(self, column: Column, over: Sequence[str]) -> list[str]:
        """The datasets of ``over`` on which the row has no value of ``column``."""
        has = {label for label, part in self.parts.items() if column.numbers(part.finished)}
        return [label for label in over if label not in has]


@dataclass(frozen=True)
class Means:
    """Rows of means over those datasets of a board that have a finished run."""

    labels: Sequence[str]
    """What the board calls these datasets."""
    columns: Sequence[Column]
    """The first of the board's values that rank, then its columns."""
    ranking: Sequence[Column]
    """Those of them that rank: a row goes by the first that it has."""
    over: Mapping[str, Sequence[str]]
    """By the column's name: the datasets that its means are over, those on which any row has the value."""
    groups: Sequence[Group[MeanRow]]
    """The rows of each value that ranks some, in the values' order."""
    nulls: Sequence[MeanRow]
    """Those that are nulls, in the same order; they have no ranks, and change none."""
    left_out: Mapping[tuple[str, int], int]
    """Runs by (model, version) where another dataset has a newer version of the model."""
    other_code: Mapping[tuple[str, str], int]
    """Finished runs by (row, third-party code of the model) where other code made its last run on another dataset."""

    @property
    def rows(self) -> list[MeanRow]:
        """One for each model and variant of the board, group by group."""
        return [row for group in self.groups for row in group.rows]


def means(board: Board, tables: Sequence[Table], replicates: Replicates | None = None) -> Means | None:
    """The means that ``board`` asks for.

    A row has a mean where it has the value on every dataset on which any row has it; nothing is imputed. Rows of
    different datasets are one where the board calls them alike, so a model's presets may differ between the datasets.

    Args:
        board: whose ``rank`` and ``columns`` are averaged.
        tables: the board's standings. Each dataset counts by its first one, if that is in the board's options.
        replicates: of the values that rank, as far as they are known. Those of different splits are independent.

    Returns:
        The means; None if the board asks for none or no run is finished.
    """
    first = {label: same[0] for label, same in grouped(tables, lambda table: table.label).items()}
    parts = Parts.of({label: [*table.rows, *table.nulls] for label, table in first.items() if not table.set_options})
    if not (board.average and board.rank and parts.labels):
        return None
    columns = [replace(parts.column(name), merit=name not in board.no_merit) for name in board.values()]
    ranking = [column for name in board.ranking() for column in columns if column.name == name]
    rows = parts.rows(with_own_scores(columns), ranking, replicates or {})
    groups, nulls = in_groups(rows, columns, ranking, seeds=board.seeds > 1)
    over = {column.name: parts.over(column) for column in columns}
    return Means(parts.labels, columns, ranking, over, groups, nulls, parts.left_out, parts.other_code)


@dataclass(frozen=True)
class Parts:
    """The rows of several datasets that are averaged, before anything is computed from their values."""

    labels: Sequence[str]
    """The datasets that have a finished run."""
    current: Sequence[tuple[str, Row]]
    """Each row with its dataset, in the newest version of its model and by the code of its last run."""
    left_out: Mapping[tuple[str, int], int]
    other_code: Mapping[tuple[str, str], int]
    """Both as of ``Means``."""

    @classmethod
    def of(cls, rows: Mapping[str, Sequence[Row]]) -> "Parts":
        """From the rows that the board names, nulls among them, by dataset."""
        parts = {label: of_dataset for label, of_dataset in rows.items() if any(row.finished for row in of_dataset)}
        everything = [(label, row) for label, of_dataset in parts.items() for row in of_dataset]
        newest = {row.model: row.version for _, row in sorted(everything, key=lambda part: part[1].version)}
        current = [(label, row) for label, row in everything if row.version == newest[row.model]]
        older = Counter[tuple[str, int]]()
        for _, row in everything:
            if row.version < newest[row.model]:
                older[row.model, row.version] += len(row.records)
        current, other_code = _of_last_code(current)
        return cls([*parts], current, dict(sorted(older.items())), other_code)

    def column(self, name: str) -> Column:
        """The column of one value."""
        return make_column(name, [record for _, row in self.current for record in row.records])

    def over(self, column: Column) -> list[str]:
        """The datasets on which any row has the value."""
        having = {label for label, row in self.current if column.numbers(row.finished)}
        return [label for label in self.labels if label in having]

    def rows(self, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> list[MeanRow]:
        """The rows of means, neither ranked nor compared.

        Args:
            columns: their values.
            ranking: those of them of which a row has the replicates.
            replicates: of these, as far as they are known.
        """
        over = {column.name: self.over(column) for column in columns}
        by_label = grouped(self.current, lambda part: part[1].label).values()
        return [_row(dict(same), self.labels, columns, ranking, over, replicates) for same in by_label]


def _of_last_code(parts: Sequence[tuple[str, Row]]) -> tuple[list[tuple[str, Row]], dict[tuple[str, str], int]]:
    """Rows by dataset without those whose model is of other code than where it ran last, and the runs of the latter."""
    kept: list[tuple[str, Row]] = []
    left_out = Counter[tuple[str, str]]()
    for label, same in grouped(parts, lambda part: part[1].label).items():
        finished = [record for _, row in same for record in row.finished]
        last = latest_code(finished).get("model") if finished else None
        for dataset, row in same:
            code = code_of(row.finished[0]).get("model") if row.finished else last
            if code == last:
                kept.append((dataset, row))
            else:
                left_out[label, code or "no third-party code"] += len(row.finished)
    return kept, dict(sorted(left_out.items()))


def _row(
    parts: Mapping[str, Row],
    labels: Sequence[str],
    columns: Sequence[Column],
    ranking: Sequence[Column],
    over: Mapping[str, Sequence[str]],
    replicates: Replicates,
) -> MeanRow:
    """The row of means of one model or variant, with that of its untrained twins."""
    some = next(iter(parts.values()))
    finished = {label: {record.spec.seed for record in part.finished} for label, part in parts.items()}
    numbers: dict[str, dict[int, float]] = {}
    for column in columns:
        values = {label: column.numbers(part.finished) for label, part in parts.items()}
        by_seed = [values.get(label, {}) for label in over[column.name]]
        if seeds := _shared(by_seed):
            numbers[column.name] = {seed: mean(of_dataset[seed] for of_dataset in by_seed) for seed in seeds}
    of_images = {
        column.name: averaged(parts, column, over[column.name], replicates)
        for column in ranking
        if column.name in numbers
    }
    twins = {label: part.twin for label, part in parts.items() if part.twin is not None}
    return MeanRow(
        label=some.label,
        model=some.model,
        version=some.version,
        options=some.options,
        finished=[record for part in parts.values() for record in part.finished],
        failed=[record for part in parts.values() for record in part.failed],
        seeds=len(_shared([finished.get(label, set()) for label in labels])),
        numbers=numbers,
        replicates=with_named_scores(columns, numbers, of_images),
        ceiling=some.ceiling,
        twin=_row(twins, labels, columns, ranking, over, replicates) if twins else None,
        parts=parts,
    )


def averaged(parts: Mapping[str, Row], column: Column, over: Sequence[str], replicates: Replicates) -> Array | None:
    """(B, n), the replicates of the means over datasets, by seed; None where those of any run are not known."""
    runs = [{record.spec.seed: record.key for record, _ in column.having(parts[label].finished)} for label in over]
    means_of_seeds = []
    for seed in _shared(runs):
        of_datasets = [replicates.get(run[seed], {}).get(column.name) for run in runs]
        known = [one for one in of_datasets if one is not None]
        if len(known) < len(runs):
            return None
        means_of_seeds.append(np.mean(known, axis=0))
    return np.stack(means_of_seeds, axis=1)


def _shared(by_dataset: Sequence[Mapping[int, object] | set[int]]) -> list[int]:
    """The seeds that are there for every dataset."""
    return sorted(set(by_dataset[0]).intersection(*by_dataset)) if by_dataset else []
