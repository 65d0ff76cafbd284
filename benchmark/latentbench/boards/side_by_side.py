"""Two sets of runs side by side: in which settings they differ, and the paired difference of each of their values.

A side is one run, or the runs of one row of a board's table over seeds. Two sides on the same data are paired by the
seeds that both have and by the test images: the difference is taken seed by seed, and its replicates weighting by
weighting, so that what both sides share does not count as uncertainty of the difference. Each interval holds by itself
with 95 % confidence, and not all of them together.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from latentbench.boards.board import Board
from latentbench.boards.gathering import make_column, stacked
from latentbench.boards.images import Images
from latentbench.boards.intervals import Interval, interval
from latentbench.boards.lineup import Lineup
from latentbench.boards.paired import paired_difference, paired_replicates, shared_seeds
from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import Summary
from latentbench.boards.standings import standings
from latentbench.config import canonical, differing, format_options
from latentbench.records.code import code_of
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates

__all__ = ["Compared", "Difference", "Place", "Side", "compare_sides", "rows_called"]


@dataclass(frozen=True)
class Place:
    """What runs have in common that can be paired: their data."""

    dataset: str
    dataset_version: int
    options: str
    """As canonical JSON."""
    split_hash: str

    @classmethod
    def of(cls, record: Record) -> "Place":
        """The place of a run."""
        spec = record.spec
        return cls(spec.dataset, spec.dataset_version, canonical(spec.options), spec.split_hash)


@dataclass(frozen=True)
class Side:
    """What is compared: finished runs that are alike but for their seeds."""

    records: Sequence[Record]
    replicates: Replicates
    """Of their values, as far as they are known."""


@dataclass(frozen=True)
class Difference:
    """One value of two sides."""

    name: str
    higher_is_better: bool
    a: Summary
    b: Summary
    difference: Summary
    """Of a less b, over the paired seeds; of the means where no seed is paired."""
    paired: int
    """Seeds that both sides have."""
    interval: Interval | None
    """Of the difference; None where its uncertainty is not known."""

    @property
    def better(self) -> str:
        """The side, "a" or "b", that is better where the interval leaves 0 out; else empty."""
        if self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return ""
        return "a" if (self.interval.low > 0) is self.higher_is_better else "b"


@dataclass(frozen=True)
class Compared:
    """Two sides."""

    a: Side
    b: Side
    settings: Mapping[str, tuple[Any, Any]]
    """What was asked for and differs: name -> of a, of b; None where a side has no such setting."""
    circumstances: Mapping[str, tuple[Any, Any]]
    """What differs in how they were made: packages, hardware, code."""
    values: Sequence[Difference]
    left_out: Sequence[str]
    """Names of values that one side alone has, or has in the newest version of their metric."""
    same_data: bool
    """Whether both are on the same data; if not, the differences are not paired by images."""


def rows_called(
    label: str, version: int | None, boards: Iterable[tuple[Board, Lineup]], records: Iterable[Record]
) -> dict[Place, list[Record]]:
    """The finished runs of the row of that label, on each dataset of the boards.

    Where several boards have the row on one dataset, those of the board where it has most runs.

    Args:
        label: a model's name or a variant's label.
        version: of the model; None: the newest on each dataset.
        boards: with their lineups.
        records: in any order.
    """
    given = [one for one in records if version is None or one.spec.model_version == version]
    found: dict[Place, list[Record]] = {}
    for board, lineup in boards:
        if not (board.lists(label) or any(variant.label == label for variant in board.variants)):
            continue
        for table in standings(board, given, lineup):
            for row in table.shown:
                if row.label == label and not row.untrained and row.finished:
                    place = Place.of(row.finished[0])
                    if len(row.finished) > len(found.get(place, ())):
                        found[place] = list(row.finished)
    return found


def compare_sides(a: Side, b: Side, names: Collection[str] | None = None) -> Compared:
    """Compare two sides.

    Args:
        a: one side.
        b: the other.
        names: of the values to compare; by default all.
    """
    same_data = Place.of(a.records[0]) == Place.of(b.records[0])
    both = [*a.records, *b.records]
    values, left_out = [], []
    for name in dict.fromkeys(name for record in both for name in record.values):
        if names is not None and name not in names:
            continue
        column = make_column(name, both)
        one, other = _row(a, column, b), _row(b, column, a)
        if one.numbers[name] and other.numbers[name]:
            values.append(_difference(one, other, column, same_data))
        else:
            left_out.append(name)
    settings, circumstances = _differences(_settings, a, b), _differences(_circumstances, a, b)
    return Compared(a, b, settings, circumstances, values, left_out, same_data)


def _row(side: Side, column: Column, beside: Side) -> Row:
    """The runs as a row with one column; the one value of a deterministic model stands for every seed."""
    records = side.records
    having = sorted(column.having(records), key=lambda one: one[0].spec.seed)
    by_seed = {one.spec.seed: (one, number) for one, number in having}
    if len(by_seed) == 1 and (only := next(iter(by_seed.values())))[0].deterministic:
        by_seed |= {one.spec.seed: only for one in beside.records}
    numbers = {seed: number for seed, (_, number) in by_seed.items()}
    found = stacked(column, [one for one, _ in by_seed.values()], side.replicates)
    return Row(
        label="",
        model=records[0].spec.model,
        version=records[0].spec.model_version,
        options={},
        finished=records,
        failed=[],
        seeds=len(numbers),
        numbers={column.name: numbers},
        replicates={} if found is None else {column.name: found},
    )


def _difference(a: Row, b: Row, column: Column, same_data: bool) -> Difference:
    one, other = (replace(row, replicates=row.replicates if same_data else {}) for row in (a, b))
    paired = len(shared_seeds(one, other, column))
    a_mean, b_mean = one.summaries[column.name], other.summaries[column.name]
    if paired:
        difference = paired_difference(one, other, column)
        width = interval(difference, Images.of([paired_replicates(one, other, column)]), seeds=_vary(one, other))
    else:
        difference, width = Summary.of([a_mean.mean - b_mean.mean]), None
    return Difference(column.name, bool(column.higher_is_better), a_mean, b_mean, difference, paired, width)


def _vary(a: Row, b: Row) -> bool:
    """Whether another seed would give another difference."""
    return not (a.deterministic and b.deterministic)


def _differences(tell: Callable[[Sequence[Record]], dict[str, Any]], a: Side, b: Side) -> dict[str, tuple[Any, Any]]:
    """What is told of the two sides and differs."""
    one, other = differing([tell(a.records), tell(b.records)])
    return {name: (one.get(name), other.get(name)) for name in dict.fromkeys([*one, *other])}


def _settings(records: Sequence[Record]) -> dict[str, Any]:
    """What the runs of a side have in common of what was asked for; a single run has a seed, too."""
    spec = records[0].spec
    told: dict[str, Any] = {"model": spec.model, "model version": spec.model_version}
    told |= {f"model.{name}": value for name, value in spec.config.items()}
    told |= {"dataset": spec.dataset, "dataset version": spec.dataset_version, "split": spec.split_hash[:12]}
    told |= {f"dataset.{name}": value for name, value in spec.options.items()}
    told |= {"threads": spec.threads, "harness version": spec.harness_version}
    told |= {"budget": format_options(spec.budget.model_dump())}
    if len(records) == 1:
        told["seed"] = spec.seed
    return told


def _circumstances(records: Sequence[Record]) -> dict[str, Any]:
    """How the runs of a side were made: each fact as one text, of all runs."""
    facts: dict[str, dict[str, None]] = {}
    for record in records:
        made = record.environment
        told = {
            "made on": made.machine,
            "Python": made.python,
            **made.packages,
            **{f"code of the {role}": plugin for role, plugin in code_of(record).items()},
            "commit": made.short_commit,
        }
        for name, fact in told.items():
            facts.setdefault(name, {})[str(fact)] = None
    return {name: ", ".join(sorted(texts)) for name, texts in facts.items()}
