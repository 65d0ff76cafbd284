"""From records to ranked rows: the tables of a board."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from latentbench.boards.board import Board, Diagnosis
from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.gathering import Gathered, gather, grouped, with_own_scores
from latentbench.boards.images import Images
from latentbench.boards.lineup import Lineup
from latentbench.boards.references import beside
from latentbench.boards.rows import Column, Row
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates

__all__ = ["Group", "Table", "in_groups", "ranked", "ranking_values", "standings"]

AnyRow = TypeVar("AnyRow", bound="Row")
SomeRow = TypeVar("SomeRow", bound="Row", covariant=True)


@dataclass(frozen=True)
class Group(Generic[SomeRow]):
    """Rows of a table that one value ranks: those that have it, and none of the values that a board names before it."""

    columns: Sequence[Column]
    """The value that ranks, then the others of the table."""
    rows: Sequence[SomeRow]
    """Best first, then those without a value to rank by."""
    comparison: Comparison
    """Of the rows that have that value, in their order."""

    @property
    def ranking(self) -> Column:
        """The value that ranks."""
        return self.columns[0]


@dataclass(frozen=True)
class Table:
    """Rows that may be compared: equal data, and a harness that treats them equally."""

    label: str
    """What the board calls the dataset."""
    dataset: str
    dataset_version: int
    options: Mapping[str, Any]
    """Of the dataset."""
    fixed: Mapping[str, Any]
    """Those of them that the board fixes."""
    set_options: Mapping[str, Any]
    """Those of them that are not the board's; empty but where no run has the board's. Such a table is in no mean."""
    split_hash: str
    harness_version: int
    columns: Sequence[Column]
    """The first value that ranks, then the others that the board shows here."""
    ranking: Sequence[Column]
    """Those of them that rank: a row goes by the first that it has."""
    groups: Sequence[Group[Row]]
    """The rows of each value that ranks some, in the values' order; a single one without rows where there are none."""
    nulls: Sequence[Row]
    """Those that are nulls, in the same order; they have no ranks, and change none."""
    others: Sequence[Row]
    """Runs of the board's models in configurations that the board does not name, or on the dataset in other options,
    and untrained twins of no trained run; without ranks."""
    diagnosis: Diagnosis | None
    """Where the anomalies are classes held out of the normal ones: the null that tells how far apart."""
    guessed: Sequence[str]
    """Labels of rows, and of the dataset, whose options the lineup does not tell: of several that fit, those with most
    runs."""
    left_out: Mapping[tuple[str, int], int]
    """Runs by (model, version) where the table has a newer version of the model: counted here, and nowhere else."""
    transductive: Mapping[str, int]
    """Finished runs by model whose results depend on the batch, where the board refuses them: counted here, nowhere
    else."""
    other_code: Mapping[tuple[str, str], int]
    """Finished runs by (row, third-party code) where other code made the row's last run: counted here, nowhere else."""

    @property
    def rows(self) -> list[Row]:
        """One for each model and variant of the board that has runs, group by group."""
        return [row for group in self.groups for row in group.rows]

    @property
    def shown(self) -> list[Row]:
        """All rows that the board names: models and nulls, and then the twins that there are."""
        rows = [*self.rows, *self.nulls]
        return rows + [row.twin for row in rows if row.twin]


def ranking_values(boards: Iterable[Board]) -> dict[str, list[str]]:
    """For each dataset the names of the values by which some table ranks its runs, alone or in a mean."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for board in boards:
        for entry in board.datasets:
            names[entry.name] |= {*board.ranking(entry), *(board.ranking() if board.average else [])}
    return {dataset: sorted(of_dataset) for dataset, of_dataset in names.items()}


def standings(
    board: Board, records: Iterable[Record], lineup: Lineup | None = None, replicates: Replicates | None = None
) -> list[Table]:
    """The tables of ``board``; see ``gather``.

    Args:
        board: which models, variants and datasets stand in a table.
        records: in any order; those of other boards are passed over.
        lineup: the configuration behind each model and variant, as of ``gather``.
        replicates: of the values that rank, as far as they are known.
    """
    return [_table(board, gathered, replicates or {}) for gathered in gather(board, records, lineup)]


def _table(board: Board, gathered: Gathered, replicates: Replicates) -> Table:
    """The table of what was gathered."""
    entry = gathered.entry
    columns = [gathered.column(name) for name in board.values(entry)]
    ranking = [column for name in board.ranking(entry) for column in columns if column.name == name]
    rows = gathered.rows(with_own_scores(columns), ranking, replicates)
    groups, nulls = in_groups(rows, columns, ranking, seeds=board.seeds_of(entry) > 1)
    spec = gathered.records[0].spec
    return Table(
        label=entry.label,
        dataset=spec.dataset,
        dataset_version=spec.dataset_version,
        options=gathered.options,
        fixed=entry.options,
        set_options=gathered.set_options,
        split_hash=spec.split_hash,
        harness_version=spec.harness_version,
        columns=columns,
        ranking=ranking,
        groups=groups,
        nulls=nulls,
        others=gathered.other_rows(columns, ranking, replicates),
        diagnosis=entry.diagnosis,
        guessed=gathered.guessed,
        left_out=gathered.left_out,
        transductive=gathered.transductive,
        other_code=gathered.other_code,
    )


def in_groups(
    rows: Iterable[AnyRow], columns: Sequence[Column], ranking: Sequence[Column], *, seeds: bool
) -> tuple[list[Group[AnyRow]], list[AnyRow]]:
    """The rows in groups, each ranked by the first of several values that its rows have; and the nulls.

    Rows that have none of these values stand last in the first group. Every group is read against all nulls.

    Args:
        rows: of one table.
        columns: its columns.
        ranking: those that rank, in their order.
        seeds: as of ``ranked``.
    """

    def by_first(some: Iterable[AnyRow]) -> dict[Column | None, list[AnyRow]]:
        return grouped(some, lambda row: next((one for one in ranking if row.numbers.get(one.name)), None))

    everything = list(rows)
    models, nulls = by_first(row for row in everything if not row.null), by_first(row for row in everything if row.null)
    nulls_in_order = [row for one in (*ranking, None) for row in _best_first(nulls.get(one, []), one or ranking[0])]
    first = next((one for one in ranking if one in models), ranking[0])
    groups = []
    for column in ranking:
        of_column = models.get(column, []) + (models.get(None, []) if column is first else [])
        if of_column or column is first:
            ordered = [column, *(one for one in columns if one is not column)]
            placed, _, comparison = ranked([*of_column, *nulls_in_order], ordered, seeds=seeds)
            groups.append(Group(ordered, placed, comparison))
    return groups, nulls_in_order


def ranked(
    rows: Iterable[AnyRow], columns: Sequence[Column], *, seeds: bool
) -> tuple[list[AnyRow], list[AnyRow], Comparison]:
    """The rows best first, with their ranks, then those without the value; the nulls likewise, without; and how the
    rows that have the value compare.

    Equal means go by label. Each value of a row is put beside that of the best null and that of the row's twin.

    Args:
        rows: of one table.
        columns: its columns; the first one ranks.
        seeds: whether the board has several. Where it has one, or no row has more yet, test images alone are compared.
    """
    everything = _best_first(rows, columns[0])
    models, nulls = ([row for row in everything if row.null is null] for null in (False, True))
    able = [row for row in models if columns[0].name in row.summaries]
    images = Images.of([row.replicates.get(columns[0].name) for row in able])
    summaries = [row.summaries[columns[0].name] for row in able]
    comparison = compare(
        summaries,
        images,
        seeds=seeds and any(summary.n > 1 for summary in summaries),
        deterministic=[row.deterministic for row in able],
    )
    ranks = comparison.ranks(bool(columns[0].higher_is_better))
    placed = [replace(row, rank=interval) for row, interval in zip(able, ranks, strict=True)]
    without = [row for row in models if columns[0].name not in row.summaries]
    return beside(placed + without, nulls, columns, seeds=not comparison.images_alone), nulls, comparison


def _best_first(rows: Iterable[AnyRow], column: Column) -> list[AnyRow]:
    """Those that have the value by it, then the others by label."""
    sign = -1 if column.higher_is_better else 1

    def place(row: Row) -> tuple[bool, float, str]:
        summary = row.summaries.get(column.name)
        return summary is None, sign * summary.mean if summary else 0.0, row.label

    return sorted(rows, key=place)
