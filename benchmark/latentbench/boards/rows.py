"""A table's columns and rows: one value each, in one version of its metric; and one model's runs each, over seeds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf
from statistics import median
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from latentbench.boards.images import Images
from latentbench.boards.intervals import Interval, interval
from latentbench.boards.rank_sets import RankInterval
from latentbench.boards.significance import Summary
from latentbench.records.record import Readout, Record, Value
from latentbench.records.values import numbers_of
from latentbench.value_name import ValueName

__all__ = ["Beside", "Column", "Row", "Verdict"]


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
    capability: str = ""
    """The one that the metric reads, as far as the records tell it."""
    merit: bool = True
    """Whether a better value is a merit: if not, it is not read against nulls and twins."""

    @property
    def metric(self) -> str:
        """The metric's name."""
        return ValueName.parse(self.name).metric

    @property
    def whole(self) -> str:
        """The name without the part: ``metric@split/condition``."""
        return str(ValueName.parse(self.name).whole)

    @property
    def own(self) -> str:
        """The name of the same value of a model's own score; the column's where that names no score."""
        name = ValueName.parse(self.name)
        return str(replace(name, selector=name.resolve(self.capability)[1]))

    def value(self, record: Record) -> Value | None:
        """The column's value in ``record``; None if it is not there in the column's version and by its code."""
        return record.values[self.name] if self.having([record]) else None

    def having(self, records: Iterable[Record]) -> list[tuple[Record, float]]:
        """Those of ``records`` that have that value, each with its number, which indexed records give sooner."""
        return numbers_of(records, self.name, self.version, self.plugin)

    def numbers(self, records: Iterable[Record]) -> dict[int, float]:
        """The column's numbers in ``records``, by seed, where they have them."""
        return {one.spec.seed: number for one, number in self.having(records)}

    def values(self, records: Iterable[Record]) -> list[Value]:
        """The column's values in ``records``, where they have them."""
        return [value for value in map(self.value, records) if value is not None]


Verdict = Literal["ahead", "behind", "undecided"]


@dataclass(frozen=True)
class Beside:
    """A value of a row beside that of a row that it is read against."""

    label: str
    """Of the other row."""
    reference: Summary
    """The other row's value."""
    difference: Summary
    """The row's value less the other's: of a null, of the two means; of a twin, over the seeds that both have."""
    interval: Interval | None
    """Of the difference to a twin: 95 %, over seeds and test images as far as they are known."""
    better: bool
    """Whether the row's mean is better."""
    verdict: Verdict | None
    """What the tests say (``latentbench.boards.references``); None where the uncertainty is not known."""
    each: Mapping[str, tuple[bool, Verdict | None]] = field(default_factory=dict)
    """Of the best null: ``better`` and ``verdict`` beside each null, by its label."""

    @property
    def marked(self) -> bool:
        """Whether the row is not ahead: by the tests, or where there are none by the values themselves."""
        return not self.better if self.verdict is None else self.verdict != "ahead"

    @property
    def by_value_alone(self) -> bool:
        """Whether the row's mean is better, and no test says whether that is more than chance."""
        return self.better and self.verdict is None


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
    numbers: Mapping[str, Mapping[int, float]]
    """By the column's name: the value of each seed that has it."""
    rank: RankInterval | None = None
    """None where the value that ranks is missing, or its uncertainty is not known; and for a null or a twin."""
    replicates: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False, compare=False)
    """By the column's name, for the columns that rank, and where these are of own scores for that of the own score
    under its name: (B, n) over weightings of the test images, n being the seeds of the summary, in their order. Absent
    where a seed has none."""
    ceiling: bool = False
    """Of a null: whether nothing can be ahead of it, so that no row is read against it."""
    twin: "Row | None" = None
    """The runs of the same configuration without a training step."""
    beside_null: Mapping[str, Beside] = field(default_factory=dict)
    """By the column's name: the row's value beside that of the best null, where both are there."""
    beside_twin: Mapping[str, Beside] = field(default_factory=dict)
    """By the column's name: the row's value beside that of its twin, over the seeds that both have."""

    @cached_property
    def summaries(self) -> Mapping[str, Summary]:
        """By the column's name, over the seeds that have the value."""
        return {name: Summary.of([*by_seed.values()]) for name, by_seed in self.numbers.items() if by_seed}

    @cached_property
    def null(self) -> bool:
        """Whether the model is one that others are read against."""
        return any(record.null for record in self.records)

    @property
    def untrained(self) -> bool:
        """Whether these runs are the untrained twins of others."""
        return self.records[0].spec.untrained

    @property
    def deterministic(self) -> bool:
        """Whether the model says that every seed gives the same value."""
        return any(record.deterministic for record in self.finished)

    @property
    def records(self) -> list[Record]:
        """All of the row's runs."""
        return [*self.finished, *self.failed]

    @property
    def config(self) -> Mapping[str, Any]:
        """All options of the model."""
        return self.records[0].spec.config

    def fact(self, name: str) -> Summary | None:
        """What the models tell of themselves by this name, over the seeds that do; None if none does."""
        told = [record.facts[name] for record in self.finished if name in record.facts]
        return Summary.of(told) if told else None

    @property
    def transductive(self) -> dict[str, float]:
        """Capabilities whose results for an image depend on the others in its batch -> how far they change at most."""
        found = sorted(change for record in self.finished for change in record.transductive.items())
        return dict(found)  # the last of each, which is its largest

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
    def steps(self) -> int | None:
        """Median steps of training over the finished runs; None if none tells them, as with a ``fit`` of its own."""
        return _median(record.training.steps for record in self.finished if record.training)

    @property
    def parameters(self) -> int | None:
        """Median number of the models' parameters over the finished runs; None if there is none."""
        return _median(record.parameters for record in self.finished if record.parameters is not None)

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


def _median(counts: Iterable[int]) -> int | None:
    """Rounded; None if there is none."""
    told = [*counts]
    return round(median(told)) if told else None
