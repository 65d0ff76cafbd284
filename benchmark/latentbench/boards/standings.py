"""From records to ranked rows: which runs stand in one table, and which of their values may be averaged."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from statistics import median
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board, BoardDataset, Variant
from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.images import Images
from latentbench.boards.intervals import Interval, interval
from latentbench.boards.lineup import Lineup
from latentbench.boards.rank_sets import RankInterval
from latentbench.boards.significance import Summary
from latentbench.config import canonical
from latentbench.records.code import code_of, describe_code, latest_code
from latentbench.records.record import Readout, Record, Value
from latentbench.records.replicates import Replicates
from latentbench.spec import Budget
from latentbench.value_name import ValueName

__all__ = ["Column", "Row", "Table", "grouped", "make_column", "ranked", "ranking_values", "standings"]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
AnyRow = TypeVar("AnyRow", bound="Row")
#: What the records of one table share: place of the board's dataset, harness and dataset version, split hash, options.
_Place = tuple[int, int, int, str, str]


@dataclass(frozen=True)
class Column:
    """One value of a table, in the newest version of its metric that the table's runs have."""

    name: str
    """``metric[part]@split/condition``."""
    title: str
    """The metric's; its name where no run has the value."""
    higher_is_better: bool | None
    version: int | None
    left_out: int
    """Values of older versions of the metric: counted here, and nowhere else."""
    plugin: str | None = None
    """The third-party plugin that measured the values last, "name version"; None for a built-in metric."""
    other_code: int = 0
    """Values of the same version that another plugin, or other code of it, gave: counted here, and nowhere else."""
    bounds: tuple[float, float] = (-inf, inf)
    """Of the metric, as far as the records tell them."""

    @property
    def metric(self) -> str:
        """The metric's name."""
        return ValueName.parse(self.name).metric

    @property
    def whole(self) -> str:
        """The name without the part: ``metric@split/condition``."""
        return str(ValueName.parse(self.name).whole)

    def value(self, record: Record) -> Value | None:
        """The column's value in ``record``; None if it is not there in the column's version and by its code."""
        value = record.values.get(self.name)
        if value is None or (value.version, value.plugin) != (self.version, self.plugin):
            return None
        return value

    def values(self, records: Iterable[Record]) -> list[Value]:
        """The column's values in ``records``, where they have them."""
        return [value for value in map(self.value, records) if value is not None]


@dataclass(frozen=True)
class Row:
    """The runs of one model in one configuration: in a dataset's table, one for each seed."""

    label: str
    """The model's name, or the label of a variant; empty if the board does not name this configuration."""
    model: str
    version: int
    options: Mapping[str, Any]
    """Those that differ from the model in its preset on this dataset."""
    finished: Sequence[Record]
    """By seed."""
    failed: Sequence[Record]
    """By seed."""
    seeds: int
    """Those whose runs finished."""
    summaries: Mapping[str, Summary]
    """By the column's name, over the seeds that have the value."""
    rank: RankInterval | None = None
    """None where the value that ranks is missing, or its uncertainty is not known."""
    replicates: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    """By the column's name, for the column that ranks: (B, n) over weightings of the test images, n being the seeds of
    the summary. Absent where a seed has none."""

    @property
    def records(self) -> list[Record]:
        """All of the row's runs."""
        return [*self.finished, *self.failed]

    @property
    def config(self) -> Mapping[str, Any]:
        """All options of the model."""
        return self.records[0].spec.config

    @property
    def threads(self) -> int:
        """CPU threads of each of its runs."""
        return self.records[0].spec.threads

    @property
    def fit_seconds(self) -> float | None:
        """Median wall time of fitting over the finished runs; None if none tells it."""
        seconds = [record.phases["fit"].seconds for record in self.finished if "fit" in record.phases]
        return median(seconds) if seconds else None

    @property
    def hardware(self) -> list[str]:
        """The GPU's name, or the CPU's with the number of threads, of every machine that made the row."""
        made = [record.environment for record in self.records]
        return sorted({f"{one.cpu}, threads: {one.threads}" if one.device == "cpu" else one.device for one in made})

    def interval(self, column: Column) -> Interval | None:
        """The interval of the row's mean, over seeds and test images as far as these are known."""
        if column.name not in self.summaries:
            return None
        return interval(self.summaries[column.name], self._images(column), bounds=column.bounds)

    def images_half_width(self, column: Column) -> float | None:
        """Half of the width of the mean's 95 % interval over test images alone; None where that is not known."""
        if column.name not in self.replicates:
            return None
        found = interval(self.summaries[column.name], self._images(column), seeds=False)
        return (found.high - found.low) / 2 if found else None

    def _images(self, column: Column) -> Images:
        return Images.of([self.replicates.get(column.name)])

    def readout(self, column: Column) -> Readout | None:
        """How the row's value was read; None where it has none."""
        return next((value.readout for value in column.values(self.finished)), None)


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
    split_hash: str
    harness_version: int
    columns: Sequence[Column]
    """The value that ranks, then the others that the board shows here."""
    rows: Sequence[Row]
    """One for each model and variant of the board that has runs: best first, then those without a value to rank by."""
    comparison: Comparison
    """Of the rows that have that value, in their order."""
    others: Sequence[Row]
    """Runs of the board's models in configurations that the board does not name; without ranks."""
    guessed: Sequence[str]
    """Labels of rows whose configuration the lineup does not tell: of several that fit, the one with most runs."""
    left_out: Mapping[tuple[str, int], int]
    """Runs by (model, version) where the table has a newer version of the model: counted here, and nowhere else."""
    other_code: Mapping[tuple[str, str], int]
    """Finished runs by (row, third-party code) where other code made the row's last run: counted here, nowhere else."""


def ranking_values(boards: Iterable[Board]) -> dict[str, list[str]]:
    """For each dataset the names of the values by which some table ranks its runs, alone or in a mean."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for board in boards:
        for entry in board.datasets:
            names[entry.name] |= {board.values(entry)[0], *([board.rank] if board.average and board.rank else [])}
    return {dataset: sorted(of_dataset) for dataset, of_dataset in names.items()}


def standings(
    board: Board, records: Iterable[Record], lineup: Lineup | None = None, replicates: Replicates | None = None
) -> list[Table]:
    """The tables of ``board``: one for each dataset, its options, its split hash and the versions behind them.

    Datasets come in the board's order, newest versions first, then the most runs. The result does not depend on the
    order of the records, and a run that is recorded twice counts once.

    Args:
        board: which models, variants and datasets stand in a table.
        records: in any order; those of other boards are passed over.
        lineup: the configuration behind each model and variant. Where it does not tell, a model's line is the
            configuration with the most finished runs among those that no variant describes, and a variant's the one
            with the most among those that have its options.
        replicates: of the values that rank, as far as they are known.
    """
    groups: defaultdict[_Place, list[Record]] = defaultdict(list)
    for record in _distinct(records):
        entry = _entry(record, board)
        if entry is not None:
            spec = record.spec
            versions = -spec.harness_version, -spec.dataset_version
            groups[entry, *versions, spec.split_hash, canonical(spec.options)].append(record)
    by_size = sorted(groups.items(), key=lambda group: (group[0][:3], -len(group[1]), group[0][3:]))
    return [_table(board, board.datasets[place[0]], group, lineup or {}, replicates or {}) for place, group in by_size]


def _entry(record: Record, board: Board) -> int | None:
    """The board's dataset, by place, that the run is on; None if the run is not one of the board's.

    A run's seed and threads, its model's options, and the dataset's options that the board leaves open may be anything.
    Of several datasets it is the one that fixes the most options, and of these the first. The budget is one that the
    board gives the model there.
    """
    spec = record.spec
    fitting = [
        (-len(entry.options), place)
        for place, entry in enumerate(board.datasets)
        if spec.dataset == entry.name
        and all(name in spec.options and spec.options[name] == value for name, value in entry.options.items())
    ]
    if not fitting:
        return None
    place = min(fitting)[1]
    return place if spec.budget in _budgets(board, board.datasets[place], spec.model) else None


def _budgets(board: Board, entry: BoardDataset, model: str) -> list[Budget]:
    """What the board allows runs of the model on a dataset: in its preset, and as each of its variants."""
    plain = [board.budget_of(entry)] if board.lists(model) else []
    return plain + [board.budget_of(entry, one) for one in board.variants_on(entry) if one.model == model]


def _distinct(records: Iterable[Record]) -> list[Record]:
    """Each run once, a finished record before a failed one, in the order of the keys."""
    by_key = grouped(records, lambda record: record.spec.key)
    return [min(by_key[key], key=lambda one: (one.status == "failed", one.model_dump_json())) for key in sorted(by_key)]


def _table(
    board: Board, entry: BoardDataset, records: Sequence[Record], lineup: Lineup, replicates: Replicates
) -> Table:
    """The table of records that share their data and the harness's version."""
    runs = Counter((record.spec.model, record.spec.model_version) for record in records)
    newest = dict(sorted(runs))  # the last, and so the greatest, version of each model stays
    current = [record for record in records if record.spec.model_version == newest[record.spec.model]]
    named, others, guessed = _lines(board, entry, current, lineup.get(entry.label, {}))
    other_code = Counter[tuple[str, str]]()
    for line in (*named, *others):
        other_code.update((line.label or line.records[0].spec.model, code) for code in line.left_out)
    shown = [one for line in named for one in line.records]
    columns = [
        make_column(name, shown if any(name in one.values for one in shown) else current)
        for name in board.values(entry)
    ]
    rows, comparison = ranked(
        [_row(line, columns, replicates) for line in named], columns[0], seeds=board.seeds_of(entry) > 1
    )
    spec = records[0].spec
    return Table(
        label=entry.label,
        dataset=spec.dataset,
        dataset_version=spec.dataset_version,
        options=spec.options,
        fixed=entry.options,
        split_hash=spec.split_hash,
        harness_version=spec.harness_version,
        columns=columns,
        rows=rows,
        comparison=comparison,
        others=[_row(line, columns, replicates) for line in others],
        guessed=guessed,
        left_out={(model, version): runs[model, version] for model, version in sorted(runs) if version < newest[model]},
        other_code=dict(sorted(other_code.items())),
    )


def make_column(name: str, records: Iterable[Record]) -> Column:
    """The column of one value; its title and direction are those that most runs give."""
    made = [(record.values[name], record.finished) for record in records if name in record.values]
    if not made:
        bare = Column(name, "", None, None, 0)
        return replace(bare, title=bare.metric)
    version = max(value.version for value, _ in made)
    newest = [(value, finished) for value, finished in made if value.version == version]
    _, plugin = max((value.measured.at if value.measured else at, value.plugin or "") for value, at in newest)
    values = [value for value, _ in newest if (value.plugin or "") == plugin]
    facts = Counter((value.title, value.higher_is_better) for value in values)
    title, higher_is_better = min(facts, key=lambda fact: (-facts[fact], fact))
    bounds = [value.bounds or (None, None) for value in values]
    low = min(-inf if least is None else least for least, _ in bounds)
    high = max(inf if greatest is None else greatest for _, greatest in bounds)
    return Column(
        name,
        title,
        higher_is_better,
        version,
        left_out=len(made) - len(newest),
        plugin=plugin or None,
        other_code=len(newest) - len(values),
        bounds=(low, high),
    )


@dataclass(frozen=True)
class _Line:
    """The runs of one model in one configuration, budget and number of threads."""

    label: str
    options: Mapping[str, Any]
    """Those that differ from the model in its preset."""
    records: Sequence[Record]
    """All but the finished ones that other code made than the one that finished last."""
    left_out: Sequence[str]
    """The code of each of these."""

    @classmethod
    def of(cls, label: str, options: Mapping[str, Any], runs: Sequence[Record]) -> "_Line":
        """The line of these runs, without those that must not be averaged with the last one."""
        finished = [record for record in runs if record.status == "finished"]
        code = latest_code(finished) if finished else {}
        made = [(record, code_of(record)) for record in runs]
        kept = [record for record, its in made if record.status == "failed" or its == code]
        left_out = [describe_code(its, code) for record, its in made if record.status == "finished" and its != code]
        return cls(label, options, kept, left_out)


def _lines(
    board: Board, entry: BoardDataset, records: Iterable[Record], known: Mapping[str, Mapping[str, Any]]
) -> tuple[list[_Line], list[_Line], list[str]]:
    """The lines that the board names, the other ones, and the labels of those that were guessed.

    Args:
        board: names models and variants.
        entry: the dataset.
        records: of one table.
        known: the configuration behind a label, as far as the lineup tells it.
    """
    named: list[_Line] = []
    others: list[_Line] = []
    guessed: list[str] = []
    for model, of_model in sorted(grouped(records, lambda record: record.spec.model).items()):
        groups = grouped(of_model, _setting)
        by_runs = sorted(groups.values(), key=lambda same: (-_finished(same), _setting(same[0])))
        variants = [one for one in board.variants_on(entry) if one.model == model]
        labels: dict[int, str] = {}  # by the place in by_runs
        for variant in [*([None] if board.lists(model) else []), *variants]:
            label, budget = variant.label if variant else model, board.budget_of(entry, variant)
            free = {
                place: same[0].spec.config
                for place, same in enumerate(by_runs)
                if place not in labels and (same[0].spec.budget, same[0].spec.threads) == (budget, board.threads)
            }
            if label in known:
                fitting = [place for place, config in free.items() if config == known[label]]
            else:
                alike = [one for one in variants if board.budget_of(entry, one) == budget]
                fitting = [place for place, config in free.items() if _may_be(variant, config, alike)]
                guessed += [label] if len(fitting) > 1 else []
            if fitting:
                labels[fitting[0]] = label
        plain = next((by_runs[place][0].spec.config for place, label in labels.items() if label == model), None)
        base = known.get(model, plain if plain is not None else by_runs[0][0].spec.config)
        for place, same in enumerate(by_runs):
            line = _Line.of(labels.get(place, ""), _differing(same[0].spec.config, base), same)
            (named if line.label else others).append(line)
    return named, others, guessed


def _setting(record: Record) -> tuple[str, str, int]:
    """What is alike in the runs of one line, beside what is alike in the whole table."""
    spec = record.spec
    return canonical(spec.config), canonical(spec.budget.model_dump()), spec.threads


def _may_be(variant: Variant | None, config: Mapping[str, Any], variants: Sequence[Variant]) -> bool:
    """Whether a configuration has the options of the variant; or, for the plain model (None), of no variant."""
    having = [
        one for one in variants if all(name in config and config[name] == value for name, value in one.options.items())
    ]
    return variant in having if variant else not having


def _finished(records: Iterable[Record]) -> int:
    return sum(record.status == "finished" for record in records)


def _differing(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in config.items() if name not in base or canonical(value) != canonical(base[name])
    }


def _row(line: _Line, columns: Sequence[Column], replicates: Replicates) -> Row:
    by_seed = sorted(line.records, key=lambda record: record.spec.seed)
    finished = [record for record in by_seed if record.status == "finished"]
    values = {column.name: [value.value for value in column.values(finished)] for column in columns}
    ranking = columns[0]
    of_seeds = [
        replicates.get(record.key, {}).get(ranking.name) for record in finished if ranking.value(record) is not None
    ]
    known = [of_seed for of_seed in of_seeds if of_seed is not None]
    return Row(
        label=line.label,
        model=by_seed[0].spec.model,
        version=by_seed[0].spec.model_version,
        options=line.options,
        finished=finished,
        failed=[record for record in by_seed if record.status == "failed"],
        seeds=len(finished),
        summaries={name: Summary.of(numbers) for name, numbers in values.items() if numbers},
        replicates={ranking.name: np.stack(known, axis=1)} if known and len(known) == len(of_seeds) else {},
    )


def ranked(rows: Iterable[AnyRow], column: Column, *, seeds: bool) -> tuple[list[AnyRow], Comparison]:
    """The rows best first, with their ranks, then those without the value; and the comparison of the former.

    Equal means go by label.

    Args:
        rows: of one table.
        column: the value that ranks.
        seeds: whether the board has several. Where it has one, or no row has more yet, test images alone are compared.
    """
    by_label = sorted(rows, key=lambda row: row.label)
    sign = -1 if column.higher_is_better else 1
    able = [row for row in by_label if column.name in row.summaries]
    able.sort(key=lambda row: sign * row.summaries[column.name].mean)
    images = Images.of([row.replicates.get(column.name) for row in able])
    summaries = [row.summaries[column.name] for row in able]
    comparison = compare(summaries, images, seeds=seeds and any(summary.n > 1 for summary in summaries))
    ranks = comparison.ranks(bool(column.higher_is_better))
    placed = [replace(row, rank=interval) for row, interval in zip(able, ranks, strict=True)]
    return placed + [row for row in by_label if column.name not in row.summaries], comparison


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in their order."""
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
