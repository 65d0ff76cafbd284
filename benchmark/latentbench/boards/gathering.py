"""Which runs stand in one table, and which of them in one line of it."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from operator import attrgetter
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.boards.board import Board, BoardDataset, Variant
from latentbench.boards.lineup import Lineup
from latentbench.boards.rows import Column, Row
from latentbench.config import canonical, differing
from latentbench.records.code import code_of, describe_code, latest_code
from latentbench.records.record import Record
from latentbench.records.replicates import Replicates
from latentbench.spec import UNTRAINED, Budget, RunSpec

__all__ = ["Gathered", "gather", "grouped", "is_own", "make_column", "stacked", "with_named_scores", "with_own_scores"]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)
#: What the records of one table share: place of the board's dataset, harness and dataset version, split hash, options.
_Place = tuple[int, int, int, str, str]


@dataclass(frozen=True)
class Gathered:
    """The runs of one table by the line that they stand in, before anything is computed from their values."""

    board: Board
    entry: BoardDataset
    """The dataset, as the board lists it."""
    set_options: Mapping[str, Any]
    """Options of the dataset that are not the board's, as far as its lineup tells: empty but where no run has the
    board's."""
    records: Sequence[Record]
    """All of them, those in the dataset's options of the named lines first."""
    current: Sequence[Record]
    """Those of the newest version of their model that the board does not refuse."""
    named: Sequence["_Line"]
    """The lines that the board names."""
    others: Sequence["_Line"]
    """The other lines; in a dataset's first table also those on the dataset in other options than the board's."""
    guessed: Sequence[str]
    """Labels of lines, and of the dataset, whose configuration the lineup does not tell."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The dataset's, in the named lines."""
        return self.records[0].spec.options

    def column(self, name: str) -> Column:
        """The column of one value, whether or not the board shows it."""
        shown = [one for line in self.named for one in line.runs]
        column = make_column(name, shown if any(name in one.values for one in shown) else self.current)
        return replace(column, merit=name not in self.board.no_merit)

    @property
    def left_out(self) -> dict[tuple[str, int], int]:
        """Runs by (model, version) where there is a newer version of the model."""
        newest = _newest(self.records)
        runs = Counter((record.spec.model, record.spec.model_version) for record in self.records)
        return {(model, version): runs[model, version] for model, version in sorted(runs) if version < newest[model]}

    @property
    def transductive(self) -> dict[str, int]:
        """Finished runs by model whose results depend on the batch, where the board refuses them."""
        refused = Counter(record.spec.model for record in self.records if _is_refused(record, self.board))
        return dict(sorted(refused.items()))

    @property
    def other_code(self) -> dict[tuple[str, str], int]:
        """Finished runs by (row, third-party code) where other code made the row's last run."""
        left_out = Counter(
            (line.label or line.runs[0].spec.model, code)
            for line in (*self.named, *self.others)
            for code in line.left_out
        )
        return dict(sorted(left_out.items()))

    def rows(self, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> list[Row]:
        """The lines that the board names, models and nulls, as rows that are neither ranked nor compared.

        Args:
            columns: the values of a row.
            ranking: those of them of which it has the replicates.
            replicates: of these, as far as they are known.
        """
        rows = [_row(line, columns, ranking, replicates) for line in self.named]
        return [replace(row, ceiling=row.null and row.label in self.board.ceilings) for row in rows]

    def other_rows(self, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> list[Row]:
        """The other lines as rows; see ``rows``."""
        return [_row(line, columns, ranking, replicates) for line in self.others]


def gather(board: Board, records: Iterable[Record], lineup: Lineup | None = None) -> list[Gathered]:
    """The runs of each table of ``board``: one for each dataset, its split hash and its versions.

    Datasets come in the board's order, newest versions first, then the most runs. The result does not depend on the
    order of the records, and a run that is recorded twice counts once. Where a dataset was run in several options of
    those that the board leaves open, the table is of the board's, or where there are none of the options that come
    first by the above; the rest are other lines of it.

    Args:
        board: which models, variants and datasets stand in a table.
        records: in any order; those of other boards are passed over.
        lineup: the configuration behind each dataset, model and variant. Where it does not tell, a dataset is taken in
            the options that come first, a model's line is the configuration with the most finished runs among those
            that no variant describes, and a variant's the one with the most among those that have its options.
    """
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
    lineup = lineup or Lineup()
    found = [_gathered(board, board.datasets[place[0]], group, lineup, texts) for place, group in by_size]
    by_label = grouped(found, lambda one: one.entry.label)
    return [one for label, same in by_label.items() for one in _in_one_setting(same, lineup.datasets.get(label))]


def _in_one_setting(found: Sequence[Gathered], options: Mapping[str, Any] | None) -> Sequence[Gathered]:
    """What was gathered on a dataset in these options, or in those that come first, with the rest as other lines."""
    having = [one.options for one in found]
    shown = options if options in having else having[0]
    set_options = differing([shown, options])[0] if options else {}
    first, *older = (replace(one, set_options=set_options) for one in found if one.options == shown)
    others = [one for one in found if one.options != shown]
    lines = [replace(line, label="") for one in others for line in (*one.named, *one.others)]
    first = replace(
        first,
        records=[*first.records, *(record for one in others for record in one.records)],
        others=[*first.others, *lines],
        guessed=[*([first.entry.label] if others and options is None else []), *first.guessed],
    )
    return [first, *older]


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
    lines = _lines(board, entry, current, lineup.rows.get(entry.label, {}), texts)
    return Gathered(board, entry, {}, records, current, *lines)


def _newest(records: Iterable[Record]) -> dict[str, int]:
    """The greatest version of each model."""
    return dict(sorted({(record.spec.model, record.spec.model_version) for record in records}))  # the last one stays


def _is_refused(record: Record, board: Board) -> bool:
    """Whether the run finished where its dependence on batches was allowed, which it is not on this board."""
    return board.transductive == "refused" and record.status == "finished" and bool(record.transductive)


def make_column(name: str, records: Iterable[Record]) -> Column:
    """The column of one value; its title, direction and capability are those that most runs give."""
    made = [(record.values[name], record.finished) for record in records if name in record.values]
    if not made:
        bare = Column(name, "", None, None, 0)
        return replace(bare, title=bare.metric)
    version = max(value.version for value, _ in made)
    newest = [(value, finished) for value, finished in made if value.version == version]
    _, plugin = max((value.measured.at if value.measured else at, value.plugin or "") for value, at in newest)
    values = [value for value, _ in newest if (value.plugin or "") == plugin]
    facts = Counter((value.title, value.higher_is_better, value.capability or "") for value in values)
    title, higher_is_better, capability = min(facts, key=lambda fact: (-facts[fact], fact))
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
        capability=capability,
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
    return {} if config is base else differing([config, base])[0]


def _row(line: _Line, columns: Sequence[Column], ranking: Sequence[Column], replicates: Replicates) -> Row:
    by_seed = sorted(line.records, key=lambda record: record.spec.seed)
    finished = [record for record in by_seed if record.status == "finished"]
    numbers = {column.name: column.numbers(finished) for column in columns}
    of_images = {column.name: stacked(column, finished, replicates) for column in ranking}
    return Row(
        label=line.label,
        model=by_seed[0].spec.model,
        version=by_seed[0].spec.model_version,
        options=line.options,
        finished=finished,
        failed=[record for record in by_seed if record.status == "failed"],
        seeds=len(finished),
        numbers=numbers,
        replicates=with_named_scores(columns, numbers, of_images),
        twin=_row(_Line(line.label, line.options, line.twins, (), ()), columns, ranking, replicates)
        if line.twins
        else None,
    )


def with_own_scores(columns: Sequence[Column]) -> list[Column]:
    """The columns, and those of a model's own score that some of them are read against, where these are not shown."""
    own = {column.own: replace(column, name=column.own) for column in columns}
    names = {column.name for column in columns}
    return [*columns, *(column for name, column in own.items() if name not in names)]


def with_named_scores(
    columns: Sequence[Column],
    numbers: Mapping[str, Mapping[int, float]],
    replicates: Mapping[str, npt.NDArray[np.float64] | None],
) -> dict[str, npt.NDArray[np.float64]]:
    """The replicates that are known, and for the model's own score under its name those of its own score."""
    known = {name: found for name, found in replicates.items() if found is not None}
    own = {column.name: known[column.own] for column in columns if column.own in known and is_own(column, numbers)}
    return own | known


def is_own(column: Column, numbers: Mapping[str, Mapping[int, float]]) -> bool:
    """Whether a column names a score that is the model's own: for every seed they have one number.

    Args:
        column: of the table.
        numbers: of one row.
    """
    return column.own != column.name and bool(own := numbers.get(column.own)) and own == numbers.get(column.name)


def stacked(column: Column, finished: Sequence[Record], replicates: Replicates) -> npt.NDArray[np.float64] | None:
    """(B, n) replicates of a value of one row's runs, those that have it; None if those of any are not known."""
    if replicates.keys().isdisjoint([one.key for one in finished]):
        return None
    of_seeds = [replicates.get(one.key, {}).get(column.name) for one, _ in column.having(finished)]
    known = [of_seed for of_seed in of_seeds if of_seed is not None]
    return np.stack(known, axis=1) if known and len(known) == len(of_seeds) else None


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in their order."""
    groups: defaultdict[Key, list[Item]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
