"""What the records have for each claim: the numbers of its rows and their tests, or why not, and what mends that."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board
from latentbench.boards.comparison import compare
from latentbench.boards.gathering import Gathered, gather, grouped, make_column, stacked
from latentbench.boards.images import Images
from latentbench.boards.lineup import read_lineup
from latentbench.boards.means import MeanRow, Parts, averaged
from latentbench.boards.published import MEANS
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.claims.estimates import Estimate, Tested, equivalence, gap, of_pair, of_row, order, published_error
from latentbench.claims.ledger import Ledger, planning
from latentbench.claims.schema import Citation, Claim, Equivalence, Gap, OnBoard, Order, Other, Paper, Runs
from latentbench.errors import LatentbenchError, command_line
from latentbench.records.index import indexed_records, indexed_replicates
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates
from latentbench.records.select import matching
from latentbench.records.store import Store
from latentbench.records.values import have_equal_facts

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
        self._records = indexed_records(self.store, values, datasets)
        self._of_dataset = grouped(self._records, lambda one: one.spec.dataset)
        self._tables: dict[int, Sequence[_Table]] = {}
        self._parts: dict[int, Parts] = {}
        self._rows: dict[tuple[int, str, str], _Rows] = {}

    def look_up(self, paper: Paper, claim: Claim) -> list[Side] | Obstacle:
        """The rows of a claim, each with its value; or the first reason why there is none."""
        selection = claim.selection
        if isinstance(selection, Runs):
            return self._runs(selection)
        assert isinstance(selection, OnBoard)
        sides = []
        board = self._ledger.board(paper, selection)
        called = partial(self._ledger.called, paper, selection)
        for label, value in named_values(claim):
            rows = self._rows_of(board, selection.dataset, value)
            row = rows.rows.get(label)
            if selection.is_mean:
                side = _side_of_mean(rows.column, row, label, selection, board, called)
            else:
                side = _side(rows.column, row, label, selection, called)
            if isinstance(side, Obstacle):
                return side
            sides.append(side)
        return sides

    def _rows_of(self, board: Board, dataset: str, value: str) -> "_Rows":
        """A value's column in the first table of a dataset, or in that of the means, and its rows."""
        place = (id(board), dataset, value)
        if place not in self._rows:
            self._rows[place] = self._means(board, value) if dataset == MEANS else self._of_table(board, dataset, value)
        return self._rows[place]

    def _of_table(self, board: Board, dataset: str, value: str) -> "_Rows":
        table = next((one for one in self._tables_of(board) if one.gathered.entry.label == dataset), None)
        return _Rows(table.column(value), table.rows) if table else _Rows(make_column(value, []), {})

    def _means(self, board: Board, value: str) -> "_Rows":
        if id(board) not in self._parts:
            first = {one.gathered.entry.label: one for one in reversed(self._tables_of(board))}
            self._parts[id(board)] = Parts.of({label: [*one.rows.values()] for label, one in first.items()})
        parts = self._parts[id(board)]
        column = parts.column(value)
        return _Rows(column, {row.label: row for row in parts.rows([column], [], {})})

    def _tables_of(self, board: Board) -> "Sequence[_Table]":
        if id(board) not in self._tables:
            gathered = gather(board, self._of_board(board), read_lineup(self.store.root, board))
            self._tables[id(board)] = [_Table(one) for one in gathered if not one.set_options]
        return self._tables[id(board)]

    def _of_board(self, board: Board) -> list[Record]:
        return [one for name in {entry.name for entry in board.datasets} for one in self._of_dataset.get(name, [])]

    @cached_property
    def _of_model(self) -> Mapping[tuple[str, str], Sequence[Record]]:
        return grouped(self._records, lambda one: (one.spec.dataset, one.spec.model))

    def _runs(self, selection: Runs) -> list[Side] | Obstacle:
        """The runs of one setting."""
        there = self._of_model.get((selection.dataset, selection.model), [])
        try:
            by_seed = matching(there, value=selection.value, options=selection.options, config=selection.config)
        except LatentbenchError as error:
            return Obstacle(str(error), not_run=False)
        records = [*by_seed.values()]
        side = _of_runs(selection.model, make_column(selection.value, records), records)
        if side is None:
            reason = f"no run of {selection.model} on {selection.dataset} with these options has the value"
            return Obstacle(reason, next(planning(selection, self._plugins), ""))
        return [side]

    def tested(self, paper: Paper, claim: Claim, found: list[Side] | Obstacle, replicates: Replicates) -> Evidence:
        """The test of a claim, where its rows have enough seeds."""
        if isinstance(found, Obstacle):
            return Evidence(obstacle=found)
        if isinstance(claim.test, Citation):
            return Evidence(found)
        if obstacle := _too_little(claim, found, lambda selection: self._ledger.called(paper, selection)):
            return Evidence(found, obstacle=obstacle)
        if isinstance(claim.test, Equivalence):
            return Evidence(found, _equivalence(claim, claim.test, found[0], replicates))
        assert isinstance(claim.selection, OnBoard)
        board = self._ledger.board(paper, claim.selection)
        rows = self._rows_of(board, claim.selection.dataset, claim.selection.value)
        return Evidence(found, _compared(claim, found, rows.pool, replicates))


@dataclass(frozen=True)
class _Table:
    """A table of a board, of whose values any may be asked for."""

    gathered: Gathered

    @cached_property
    def rows(self) -> Mapping[str, Row]:
        """By label: those that the board names, without values."""
        return {row.label: row for row in self.gathered.rows([], [], {})}

    @cached_property
    def _alike(self) -> bool:
        return have_equal_facts(self.gathered.current)

    def column(self, value: str) -> Column:
        """The column of a value; where facts are equal, any record makes the one that all of them make."""
        return make_column(value, self.gathered.current[:1]) if self._alike else self.gathered.column(value)


@dataclass(frozen=True)
class _Rows:
    """The rows of a table, or of means, by one value."""

    column: Column
    rows: Mapping[str, Row]
    """By label."""

    @cached_property
    def pool(self) -> Mapping[str, Summary]:
        """The value of each row that is no null, where it has one."""
        found = {label: self._summary(row) for label, row in self.rows.items() if not row.null}
        return {label: summary for label, summary in found.items() if summary is not None}

    def _summary(self, row: Row) -> Summary | None:
        if isinstance(row, MeanRow):
            return row.summaries.get(self.column.name)
        numbers = self.column.numbers(row.finished)
        return Summary.of([*numbers.values()]) if numbers else None


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


def _of_runs(label: str, column: Column, runs: Iterable[Record]) -> Side | None:
    """The value of those of the finished runs that have it; None if none has."""
    found = column.having(runs)
    if not found:
        return None
    records, numbers = zip(*found, strict=True)
    summary = Summary.of(numbers)
    return Side(label, column, records, summary, records[0].deterministic, partial(stacked, column, records))


def _side(
    column: Column, row: Row | None, label: str, selection: OnBoard, called: Callable[[], str]
) -> Side | Obstacle:
    """The value of a row; or why there is none, with the command that makes it. ``called`` gives the board's name."""
    if row is None or not row.records:
        return Obstacle(f"no record of {label} on {selection.dataset}", _command(called(), selection, label))
    if not row.finished:
        run = _command(called(), selection, label)
        return Obstacle(f"every run of {label} on {selection.dataset} failed", f"{run} --retry-failed")
    lacking = f"the records of {label} lack {column.name}"
    return _of_runs(label, column, row.finished) or Obstacle(lacking, command_line("evaluate", called()))


def _side_of_mean(
    column: Column, row: Row | None, label: str, selection: OnBoard, board: Board, called: Callable[[], str]
) -> Side | Obstacle:
    """The mean of a value over all datasets of a board; or why there is none."""
    labels, run = [entry.label for entry in board.datasets], _command(called(), selection, label)
    if not isinstance(row, MeanRow):
        return Obstacle(f"no record of {label} on any of the {len(labels)} datasets", run)
    if lacking := row.lacking(column, labels):
        return Obstacle(f"{label} has {column.name} on {len(labels) - len(lacking)} of {len(labels)} datasets", run)
    if column.name not in row.summaries:
        return Obstacle(f"no seed of {label} has {column.name} on every dataset", run)
    records = [one for one, _ in column.having(row.finished)]
    of_images = partial(averaged, row.parts, column, labels)
    return Side(label, column, records, row.summaries[column.name], row.deterministic, of_images)


def _too_little(claim: Claim, sides: Iterable[Side], called: Callable[[OnBoard], str]) -> Obstacle | None:
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
            run = f"{_command(called(selection), selection, side.label)} --seeds {LEAST_SEEDS}"
            return Obstacle(reason, run, not_run=False)
    return None


def _images(sides: Iterable[Side], replicates: Replicates) -> Images | None:
    """What the test images add to the uncertainty of rows; None where nothing is known of that."""
    of_sides = [side.of_images(replicates) for side in sides]
    return Images.of(of_sides) if any(of_side is not None for of_side in of_sides) else None


def _equivalence(claim: Claim, test: Equivalence, side: Side, replicates: Replicates) -> Tested:
    """The published value and the measured mean, in the unit of the records."""
    error = published_error(claim.spread, claim.seeds)
    scaled = (error[0] * claim.factor, error[1]) if error else None
    estimate = of_row(side.summary, claim.numbers[0] * claim.factor, _images([side], replicates), scaled)
    return equivalence(estimate, test.margin * claim.factor)


def _compared(claim: Claim, sides: Sequence[Side], table: Mapping[str, Summary], replicates: Replicates) -> Tested:
    """The rows of a gap or an order, by the test that ranks the rows of their table.

    As there, the spread over seeds of the table's other models is pooled with that of these.
    """
    own = sides[0].column
    there = {side.label for side in sides if side.column.name == own.name}
    comparison = compare(
        [side.summary for side in sides],
        _images(sides, replicates),
        deterministic=[side.deterministic for side in sides],
        beside=[summary for label, summary in table.items() if label not in there],
    )

    def ahead(first: int, second: int) -> Estimate:
        return of_pair(comparison, first, second, higher_is_better=bool(own.higher_is_better))

    match claim.test:
        case Gap(at_least=least):
            return gap(ahead(0, 1), least * claim.factor)
        case _:
            pairs = {(first, second): ahead(first, second) for first, second in combinations(range(len(sides)), 2)}
            return order([pairs[first, first + 1] for first in range(len(sides) - 1)], [*pairs.values()])
