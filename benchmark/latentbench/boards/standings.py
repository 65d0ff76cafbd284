"""From records to ranked rows: which runs stand in one table, and which of their values may be averaged."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board, BoardDataset, Variant
from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.images import Images
from latentbench.boards.lineup import Lineup
from latentbench.boards.references import beside
from latentbench.boards.rows import Column, Row
from latentbench.config import canonical
from latentbench.records.code import code_of, describe_code, latest_code
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates
from latentbench.spec import UNTRAINED, Budget, RunSpec

__all__ = [
    "Gathered",
    "Group",
    "Table",
    "gather",
    "grouped",
    "in_groups",
    "make_column",
    "ranked",
    "ranking_values",
    "stacked",
    "standings",
]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
AnyRow = TypeVar("AnyRow", bound="Row")
SomeRow = TypeVar("SomeRow", bound="Row", covariant=True)
#: What the records of one table share: place of the board's dataset, harness and dataset version, split hash, options.
_Place = tuple[int, int, int, str, str]


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
    """Runs of the board's models in configurations that the board does not name, and untrained twins of no trained
    run; without ranks."""
    diagnosis: str | None
    """Where the anomalies are classes held out of the normal ones: the label of the null that tells how far apart."""
    guessed: Sequence[str]
    """Labels of rows whose configuration the lineup does not tell: of several that fit, the one with most runs."""
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
    return [_table(board, gathered, replicates or {}) for gathered in gather(board, records, lineup)]


@dataclass(frozen=True)
class Gathered:
    """The runs of one table by the line that they stand in, before anything is computed from their values."""

    entry: BoardDataset
    """The dataset, as the board lists it."""
    records: Sequence[Record]
    """All of them."""
    current: Sequence[Record]
    """Those of the newest version of their model that the board does not refuse."""
    named: Sequence["_Line"]
    """The lines that the board names."""
    others: Sequence["_Line"]
    guessed: Sequence[str]
    """Labels of lines whose configuration the lineup does not tell."""

    def column(self, name: str) -> Column:
        """The column of one value, whether or not the board shows it."""
        shown = [one for line in self.named for one in line.runs]
        return make_column(name, shown if any(name in one.values for one in shown) else self.current)

    def rows(self, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> list[Row]:
        """The lines that the board names, models and nulls, as rows that are neither ranked nor compared.

        Args:
            columns: the values of a row.
            ranking: those of them of which it has the replicates.
            replicates: of these, as far as they are known.
        """
        return [_row(line, columns, ranking, replicates) for line in self.named]


def gather(board: Board, records: Iterable[Record], lineup: Lineup | None = None) -> list[Gathered]:
    """The runs of each table of ``board``; see ``standings``."""
    groups: defaultdict[_Place, list[Record]] = defaultdict(list)
    texts = _Texts()
    entries: dict[tuple[str, str, str, str], int | None] = {}
    for record in _distinct(records):
        spec, options = record.spec, texts.of(record.spec.options)
        alike = spec.dataset, options, spec.model, texts.of(spec.budget)
        if alike not in entries:
            entries[alike] = _entry(spec, board)
        entry = entries[alike]
        if entry is not None:
            groups[entry, -spec.harness_version, -spec.dataset_version, spec.split_hash, options].append(record)
    by_size = sorted(groups.items(), key=lambda group: (group[0][:3], -len(group[1]), group[0][3:]))
    return [_gathered(board, board.datasets[place[0]], group, lineup or {}, texts) for place, group in by_size]


class _Texts:
    """Parts of specs as canonical text, each made once: those of records from an index are often the same object."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, str]] = {}
        """By identity; the part is kept, so that no other can get its place."""

    def of(self, part: Mapping[str, Any] | Budget) -> str:
        """The text of options, or of a budget."""
        known = self._known.get(id(part))
        if known is None:
            plain = part.model_dump() if isinstance(part, Budget) else part
            known = self._known[id(part)] = part, canonical(plain)
        return known[1]

    def setting(self, record: Record) -> tuple[str, str, int]:
        """What is alike in the runs of one line, beside what is alike in the whole table."""
        return self.of(record.spec.config), self.of(record.spec.budget), record.spec.threads

    def trained_setting(self, record: Record) -> tuple[str, int]:
        """What a run and its untrained twin have in common, beside what is alike in the whole table."""
        return self.of(record.spec.config), record.spec.threads


def _entry(spec: RunSpec, board: Board) -> int | None:
    """The board's dataset, by place, that a run is on; None if the run is not one of the board's.

    A run's seed and threads, its model's options, and the dataset's options that the board leaves open may be anything.
    Of several datasets it is the one that fixes the most options, and of these the first. The budget is one that the
    board gives the model there.
    """
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
    """What the board allows runs of the model on a dataset: in its preset, as each of its variants, and as twins."""
    plain = [board.budget_of(entry)] if board.lists(model) else []
    trained = plain + [board.budget_of(entry, one) for one in board.variants_on(entry) if one.model == model]
    return [*trained, UNTRAINED] if trained and board.twins_on(entry) else trained


def _distinct(records: Iterable[Record]) -> list[Record]:
    """Each run once, a finished record before a failed one, in the order of the keys."""
    by_key = grouped(records, attrgetter("key"))
    return [
        same[0] if len(same) == 1 else min(same, key=lambda one: (one.status == "failed", one.model_dump_json()))
        for _, same in sorted(by_key.items())
    ]


def _gathered(board: Board, entry: BoardDataset, records: Sequence[Record], lineup: Lineup, texts: _Texts) -> Gathered:
    """Of records that share their data and the harness's version."""
    newest = _newest(records)
    current = [
        record
        for record in records
        if record.spec.model_version == newest[record.spec.model] and not _is_refused(record, board)
    ]
    return Gathered(entry, records, current, *_lines(board, entry, current, lineup.get(entry.label, {}), texts))


def _newest(records: Iterable[Record]) -> dict[str, int]:
    """The greatest version of each model."""
    return dict(sorted({(record.spec.model, record.spec.model_version) for record in records}))  # the last one stays


def _table(board: Board, gathered: Gathered, replicates: Replicates) -> Table:
    """The table of what was gathered."""
    entry, newest = gathered.entry, _newest(gathered.records)
    runs = Counter((record.spec.model, record.spec.model_version) for record in gathered.records)
    refused = Counter(one.spec.model for one in gathered.records if _is_refused(one, board))
    other_code = Counter[tuple[str, str]]()
    for line in (*gathered.named, *gathered.others):
        other_code.update((line.label or line.runs[0].spec.model, code) for code in line.left_out)
    columns = [gathered.column(name) for name in board.values(entry)]
    ranking = [column for name in board.ranking(entry) for column in columns if column.name == name]
    groups, nulls = in_groups(
        gathered.rows(columns, ranking, replicates), columns, ranking, seeds=board.seeds_of(entry) > 1
    )
    spec = gathered.records[0].spec
    return Table(
        label=entry.label,
        dataset=spec.dataset,
        dataset_version=spec.dataset_version,
        options=spec.options,
        fixed=entry.options,
        split_hash=spec.split_hash,
        harness_version=spec.harness_version,
        columns=columns,
        ranking=ranking,
        groups=groups,
        nulls=nulls,
        others=[_row(line, columns, ranking, replicates) for line in gathered.others],
        diagnosis=entry.diagnosis,
        guessed=gathered.guessed,
        left_out={(model, version): runs[model, version] for model, version in sorted(runs) if version < newest[model]},
        transductive=dict(sorted(refused.items())),
        other_code=dict(sorted(other_code.items())),
    )


def _is_refused(record: Record, board: Board) -> bool:
    """Whether the run finished where its dependence on batches was allowed, which it is not on this board."""
    return board.transductive == "refused" and record.status == "finished" and bool(record.transductive)


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
    twins: Sequence[Record]
    """The runs of the same configuration without a step, by the same code; empty for a line that is of twins."""
    left_out: Sequence[str]
    """The code of each finished run that was left out."""

    @classmethod
    def of(
        cls, label: str, options: Mapping[str, Any], runs: Sequence[Record], twins: Sequence[Record] = ()
    ) -> "_Line":
        """The line of these runs, without those that must not be averaged or compared with the last one."""
        finished = [record for record in (runs if _finished(runs) else twins) if record.status == "finished"]
        code = latest_code(finished) if finished else {}

        def of_other(record: Record) -> bool:
            return record.status == "finished" and code_of(record) != code

        left_out = [describe_code(code_of(record), code) for record in (*runs, *twins) if of_other(record)]
        if not left_out:
            return cls(label, options, runs, twins, [])
        kept_runs, kept_twins = ([one for one in part if not of_other(one)] for part in (runs, twins))
        return cls(label, options, kept_runs, kept_twins, left_out)

    @property
    def runs(self) -> list[Record]:
        """Those of the line and their twins."""
        return [*self.records, *self.twins]


def _lines(
    board: Board,
    entry: BoardDataset,
    records: Iterable[Record],
    known: Mapping[str, Mapping[str, Any]],
    texts: _Texts,
) -> tuple[list[_Line], list[_Line], list[str]]:
    """The lines that the board names, the other ones, and the labels of those that were guessed.

    Args:
        board: names models and variants.
        entry: the dataset.
        records: of one table.
        known: the configuration behind a label, as far as the lineup tells it.
        texts: of parts of the records' specs.
    """
    named: list[_Line] = []
    others: list[_Line] = []
    guessed: list[str] = []
    for model, of_model in sorted(grouped(records, lambda record: record.spec.model).items()):
        trained = [one for one in of_model if not one.spec.untrained]
        twins = grouped((one for one in of_model if one.spec.untrained), texts.trained_setting)
        groups = grouped(trained, texts.setting)
        by_runs = sorted(groups.values(), key=lambda same: (-_finished(same), texts.setting(same[0])))
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
        base = known.get(model, plain if plain is not None else [*by_runs, *twins.values()][0][0].spec.config)
        for place, same in enumerate(by_runs):
            config = same[0].spec.config
            line = _Line.of(
                labels.get(place, ""), _differing(config, base), same, twins.get(texts.trained_setting(same[0]), [])
            )
            (named if line.label else others).append(line)
        having = {texts.trained_setting(same[0]) for same in by_runs}
        others += [
            _Line.of("", _differing(same[0].spec.config, base), same)
            for setting, same in twins.items()
            if setting not in having
        ]
    return named, others, guessed


def _may_be(variant: Variant | None, config: Mapping[str, Any], variants: Sequence[Variant]) -> bool:
    """Whether a configuration has the options of the variant; or, for the plain model (None), of no variant."""
    having = [
        one for one in variants if all(name in config and config[name] == value for name, value in one.options.items())
    ]
    return variant in having if variant else not having


def _finished(records: Iterable[Record]) -> int:
    return sum(record.status == "finished" for record in records)


def _differing(config: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    if config is base:
        return {}
    return {
        name: value for name, value in config.items() if name not in base or canonical(value) != canonical(base[name])
    }


def _row(line: _Line, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> Row:
    by_seed = sorted(line.records, key=lambda record: record.spec.seed)
    finished = [record for record in by_seed if record.status == "finished"]
    of_images = {column.name: stacked(column, finished, replicates) for column in ranking}
    return Row(
        label=line.label,
        model=by_seed[0].spec.model,
        version=by_seed[0].spec.model_version,
        options=line.options,
        finished=finished,
        failed=[record for record in by_seed if record.status == "failed"],
        seeds=len(finished),
        numbers={column.name: column.numbers(finished) for column in columns},
        replicates={name: found for name, found in of_images.items() if found is not None},
        twin=_row(_Line(line.label, line.options, line.twins, (), ()), columns, ranking, replicates)
        if line.twins
        else None,
    )


def stacked(column: Column, finished: Sequence[Record], replicates: Replicates) -> npt.NDArray[np.float64] | None:
    """(B, n) replicates of a value of one row's runs, those that have it; None if those of any are not known."""
    if replicates.keys().isdisjoint([one.key for one in finished]):
        return None
    of_seeds = [replicates.get(one.key, {}).get(column.name) for one, _ in column.having(finished)]
    known = [of_seed for of_seed in of_seeds if of_seed is not None]
    return np.stack(known, axis=1) if known and len(known) == len(of_seeds) else None


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


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in their order."""
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
