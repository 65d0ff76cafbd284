"""What the records have for each claim: the numbers of its rows and their tests, or why not, and what mends that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board
from latentbench.boards.comparison import compare
from latentbench.boards.images import Images
from latentbench.boards.lineup import read_lineup
from latentbench.boards.means import MeanRow, averaged, means
from latentbench.boards.published import MEANS
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.boards.standings import Gathered, gather, grouped, make_column, stacked, standings
from latentbench.claims.estimates import Estimate, Tested, equivalence, gap, of_pair, of_row, order, published_error
from latentbench.claims.ledger import Ledger, planning
from latentbench.claims.schema import Citation, Claim, Equivalence, Gap, OnBoard, Order, Other, Paper, Runs
from latentbench.errors import LatentbenchError, command_line
from latentbench.records.index import indexed_records, indexed_replicates
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates
from latentbench.records.select import matching
from latentbench.records.store import Store

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins

__all__ = ["LEAST_SEEDS", "Evidence", "Obstacle", "Side", "evidence", "named_values"]

#: Fewer give no verdict.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Side:
    """The measured number of one row."""

    label: str
    column: Column
    records: Sequence[Record]
    """Finished runs that have the value, by seed; of a mean, those on all datasets."""
    summary: Summary
    """Of the value over seeds."""
    deterministic: bool
    """Whether the model is the same with every seed."""
    of_images: Callable[[Replicates], npt.NDArray[np.float64] | None]
    """(B, n), the replicates of the value by seed, from those of the runs; None where those of any are not known."""


@dataclass(frozen=True)
class Obstacle:
    """Why the records do not decide about a claim."""

    reason: str
    command: str = ""
    """What mends it."""
    not_run: bool = True
    """Whether there is no number at all."""


@dataclass(frozen=True)
class Evidence:
    """What the records have for one claim."""

    sides: Sequence[Side] = ()
    """The claim's own row, then those that it is compared with; empty if a number is missing."""
    tested: Tested | None = None
    obstacle: Obstacle | None = None
    """Why the claim was not tested; None if it was, or if no test is asked for."""


def evidence(
    ledger: Ledger, claims: Iterable[tuple[Paper, Claim]], results: Path, plugins: "Plugins"
) -> dict[tuple[str, str], Evidence]:
    """What the records in a folder have for each claim that selects runs, by the names of paper and claim.

    Args:
        ledger: which has the boards.
        claims: of the ledger.
        results: the folder.
        plugins: whose boards are named where runs are missing.
    """
    selecting = [(paper, claim) for paper, claim in claims if isinstance(claim.selection, OnBoard | Runs)]
    rooms = _Records(ledger, selecting, results, plugins)
    found = {(paper.name, claim.id): rooms.look_up(paper, claim) for paper, claim in selecting}
    there = [side for sides in found.values() if not isinstance(sides, Obstacle) for side in sides]
    needed = {one.key: one for side in there for one in side.records}
    replicates = indexed_replicates(rooms.store, needed.values())
    return {
        (paper.name, claim.id): rooms.tested(paper, claim, found[paper.name, claim.id], replicates)
        for paper, claim in selecting
    }


class _Records:
    """The records in a folder, arranged as claims ask for them."""

    def __init__(
        self, ledger: Ledger, selecting: Sequence[tuple[Paper, Claim]], results: Path, plugins: "Plugins"
    ) -> None:
        self._ledger = ledger
        self._plugins = plugins
        self.store = Store(results)
        values, datasets = set[str](), set[str]()
        for paper, claim in selecting:
            values.update(value for _, value in named_values(claim))
            if isinstance(claim.selection, Runs):
                datasets.add(claim.selection.dataset)
            elif isinstance(claim.selection, OnBoard):
                datasets.update(entry.name for entry in ledger.board(paper, claim.selection).datasets)
        records = indexed_records(self.store, values, datasets).values()
        self._of_dataset = grouped(records, lambda one: one.spec.dataset)
        self._of_model = grouped(records, lambda one: (one.spec.dataset, one.spec.model))
        self._tables: dict[int, dict[str, Gathered]] = {}
        self._rows: dict[tuple[int, str, str], tuple[Column, Mapping[str, Row]]] = {}

    def look_up(self, paper: Paper, claim: Claim) -> list[Side] | Obstacle:
        """The rows of a claim, each with its value; or the first reason why there is none."""
        selection = claim.selection
        if isinstance(selection, Runs):
            return self._runs(selection)
        assert isinstance(selection, OnBoard)
        sides = []
        board = self._ledger.board(paper, selection)
        for label, value in named_values(claim):
            column, rows = self._row(board, selection.dataset, value)
            row = rows.get(label)
            called = self._ledger.called(paper, selection)
            if selection.is_mean:
                side = _side_of_mean(column, row, label, board, _command(called, selection, label))
            else:
                side = _side(column, row, label, selection, called)
            if isinstance(side, Obstacle):
                return side
            sides.append(side)
        return sides

    def _row(self, board: Board, dataset: str, value: str) -> tuple[Column, Mapping[str, Row]]:
        """A value's column in the first table of a dataset, or in that of the means, and the rows by label."""
        place = (id(board), dataset, value)
        if place not in self._rows:
            self._rows[place] = self._means(board, value) if dataset == MEANS else self._table(board, dataset, value)
        return self._rows[place]

    def _table(self, board: Board, dataset: str, value: str) -> tuple[Column, Mapping[str, Row]]:
        if id(board) not in self._tables:
            tables = gather(board, self._of_board(board), read_lineup(self.store.root, board))
            self._tables[id(board)] = {table.entry.label: table for table in reversed(tables)}  # the first one stays
        table = self._tables[id(board)].get(dataset)
        column = table.column(value) if table else make_column(value, [])
        rows = table.rows([column], [], {}) if table else []
        return column, {row.label: row for row in rows}

    def _means(self, board: Board, value: str) -> tuple[Column, Mapping[str, MeanRow]]:
        entries = [entry.model_copy(update={"rank": None, "columns": None}) for entry in board.datasets]
        showing = board.model_copy(update={"datasets": entries, "rank": value, "columns": [], "average": True})
        tables = standings(showing, self._of_board(board), read_lineup(self.store.root, board))
        found = means(showing, tables)
        if found is None:
            return make_column(value, []), {}
        return found.columns[0], {row.label: row for row in (*found.rows, *found.nulls)}

    def _of_board(self, board: Board) -> list[Record]:
        return [one for name in {entry.name for entry in board.datasets} for one in self._of_dataset.get(name, [])]

    def _runs(self, selection: Runs) -> list[Side] | Obstacle:
        """The runs of one setting."""
        there = self._of_model.get((selection.dataset, selection.model), [])
        try:
            by_seed = matching(there, value=selection.value, options=selection.options, config=selection.config)
        except LatentbenchError as error:
            return Obstacle(str(error), not_run=False)
        if not by_seed:
            reason = f"no run of {selection.model} on {selection.dataset} with these options has the value"
            return Obstacle(reason, next(planning(selection, self._plugins), ""))
        records = [*by_seed.values()]
        return [_of_runs(selection.model, make_column(selection.value, records), records)]

    def tested(self, paper: Paper, claim: Claim, found: list[Side] | Obstacle, replicates: Replicates) -> Evidence:
        """The test of a claim, where its rows have enough seeds."""
        if isinstance(found, Obstacle):
            return Evidence(obstacle=found)
        if isinstance(claim.test, Citation):
            return Evidence(found)
        called = self._ledger.called(paper, claim.selection) if isinstance(claim.selection, OnBoard) else ""
        if obstacle := _too_little(claim, found, called):
            return Evidence(found, obstacle=obstacle)
        if isinstance(claim.test, Equivalence):
            return Evidence(found, _equivalence(claim, claim.test, found[0], replicates))
        assert isinstance(claim.selection, OnBoard)
        board = self._ledger.board(paper, claim.selection)
        _, rows = self._row(board, claim.selection.dataset, claim.selection.value)
        return Evidence(found, _compared(claim, found, [*rows.values()], replicates))


def named_values(claim: Claim) -> list[tuple[str, str]]:
    """The rows that a claim needs and the value of each: its own, then those that it is compared with."""
    selection = claim.selection
    if isinstance(selection, Runs):
        return [(selection.model, selection.value)]
    if not isinstance(selection, OnBoard):
        return []
    others: Sequence[Other] = ()
    match claim.test:
        case Gap(over=other):
            others = [other]
        case Order(ahead_of=several):
            others = several
    return [(selection.row, selection.value), *((one.row, one.value or selection.value) for one in others)]


def _command(board: str, selection: OnBoard, label: str) -> str:
    """What runs a row of a board, for a mean on all of its datasets."""
    where = [] if selection.is_mean else ["--datasets", selection.dataset]
    return command_line("run", board, *where, "--models", label)


def _of_runs(label: str, column: Column, records: Sequence[Record]) -> Side:
    """The value of finished runs that have it."""
    summary = Summary.of([value.value for value in column.values(records)])
    return Side(label, column, records, summary, records[0].deterministic, partial(stacked, column, records))


def _side(column: Column, row: Row | None, label: str, selection: OnBoard, board: str) -> Side | Obstacle:
    """The value of a row; or why there is none, with the command that makes it."""
    run = _command(board, selection, label)
    if row is None or not row.records:
        return Obstacle(f"no record of {label} on {selection.dataset}", run)
    if not row.finished:
        return Obstacle(f"every run of {label} on {selection.dataset} failed", f"{run} --retry-failed")
    records = [one for one in row.finished if column.value(one) is not None]
    if not records:
        return Obstacle(f"the records of {label} lack {column.name}", command_line("evaluate", board))
    return _of_runs(label, column, records)


def _side_of_mean(column: Column, row: Row | None, label: str, board: Board, run: str) -> Side | Obstacle:
    """The mean of a value over all datasets of a board; or why there is none."""
    labels = [entry.label for entry in board.datasets]
    if not isinstance(row, MeanRow):
        return Obstacle(f"no record of {label} on any of the {len(labels)} datasets", run)
    if lacking := row.lacking(column, labels):
        return Obstacle(f"{label} has {column.name} on {len(labels) - len(lacking)} of {len(labels)} datasets", run)
    if column.name not in row.summaries:
        return Obstacle(f"no seed of {label} has {column.name} on every dataset", run)
    records = [one for one in row.finished if column.value(one) is not None]
    of_images = partial(averaged, row.parts, column, labels)
    return Side(label, column, records, row.summaries[column.name], row.deterministic, of_images)


def _too_little(claim: Claim, sides: Iterable[Side], board: str) -> Obstacle | None:
    """Another version of the metric than the claim is about, or fewer seeds than a verdict takes."""
    selection = claim.selection
    assert isinstance(selection, OnBoard | Runs)
    for side in sides:
        if side.column.name == selection.value and side.column.version != selection.metric_version:
            reason = (
                f"the records have version {side.column.version} of the metric, and the claim was compared with "
                f"version {selection.metric_version}"
            )
            return Obstacle(reason, not_run=False)
        have = side.summary.n
        if have < LEAST_SEEDS and not side.deterministic:
            reason = f"{have} seed{'s' if have > 1 else ''} of {side.label}, and a verdict takes {LEAST_SEEDS}"
            if isinstance(selection, Runs):
                return Obstacle(reason, not_run=False)
            return Obstacle(reason, f"{_command(board, selection, side.label)} --seeds {LEAST_SEEDS}", not_run=False)
    return None


def _equivalence(claim: Claim, test: Equivalence, side: Side, replicates: Replicates) -> Tested:
    """The published value and the measured mean, in the unit of the records."""
    error = published_error(claim.spread, claim.seeds)
    scaled = (error[0] * claim.factor, error[1]) if error else None
    images = Images.of([side.of_images(replicates)])
    estimate = of_row(side.summary, claim.numbers[0] * claim.factor, images, scaled)
    return equivalence(estimate, test.margin * claim.factor)


def _compared(claim: Claim, sides: Sequence[Side], rows: Iterable[Row], replicates: Replicates) -> Tested:
    """The rows of a gap or an order, by the test that ranks the rows of their table.

    As there, the spread over seeds of the table's other models is pooled with that of these.
    """
    own = sides[0].column
    there = {(side.label, side.column.name) for side in sides}
    pool = [row for row in rows if own.name in row.summaries and not row.null and (row.label, own.name) not in there]
    comparison = compare(
        [*(side.summary for side in sides), *(row.summaries[own.name] for row in pool)],
        Images.of([*(side.of_images(replicates) for side in sides), *(None for _ in pool)]),
        deterministic=[*(side.deterministic for side in sides), *(row.deterministic for row in pool)],
    )

    def ahead(first: int, second: int) -> Estimate:
        return of_pair(comparison, first, second, higher_is_better=bool(own.higher_is_better))

    match claim.test:
        case Gap(at_least=least):
            return gap(ahead(0, 1), least * claim.factor)
        case _:
            pairs = {(first, second): ahead(first, second) for first, second in combinations(range(len(sides)), 2)}
            return order([pairs[first, first + 1] for first in range(len(sides) - 1)], [*pairs.values()])
