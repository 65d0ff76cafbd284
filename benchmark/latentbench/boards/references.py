"""What a table's values are read against: the best null, and each row's own untrained twin.

Both use the tests of ``latentbench.boards.comparison``, with the table's test images where they are known, and change
nothing in how the table's rows compare with each other.

Nulls. A row is ahead of the best null if it is ahead of every null: the greatest of the p-values against them counts.
That allows for the choice of the best among many without any further correction (an intersection-union test: Berger,
Technometrics 24, 1982). It is behind if some null is ahead of it; there the least p-value counts, times the number of
nulls. The best null, by its value, is named in either case. A null gives one score at most: beside a value of another
score it is read by its own.

What is said of each null by itself follows from the same p-values and never contradicts this. A row that is ahead of
the best null is ahead of each; beside the best one it is what it is beside all; beside any other one Bonferroni's
method corrects for the numbers of nulls and rows, so that it is behind none if it is not behind the best.

Twins. A row and its twin are paired by seed: that the mean of the differences is 0 is tested against the spread of the
differences, moderated over the table's rows as the spread of values is.

In either comparison Holm's method corrects for the number of a column's rows, so that any false order occurs in at
most 5 % of columns. Equal values are undecided. Where a column names a score that is a row's own one, the row's value
is that of the column of own scores: it is tested there, once, and has the same verdict here. Values that are no merit
(``Column.merit``) are not compared.

Rows that are named beforehand (``against``) are few, and Holm's method corrects for their number alone. The ranks of a
table compare all pairs, and may leave a pair together that is told apart here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.gathering import is_own
from latentbench.boards.images import Images
from latentbench.boards.intervals import interval
from latentbench.boards.paired import paired_difference, paired_replicates, shared_seeds
from latentbench.boards.rank_sets import holm
from latentbench.boards.rows import Beside, Column, Row, Verdict
from latentbench.boards.significance import CONFIDENCE, Summary

__all__ = ["against", "beside", "best_of", "read_as", "read_in"]

AnyRow = TypeVar("AnyRow", bound=Row)


def beside(rows: Sequence[AnyRow], nulls: Sequence[Row], columns: Sequence[Column], *, seeds: bool) -> list[AnyRow]:
    """The rows, each with its values beside those of the best null and of its twin.

    Args:
        rows: of one table, without the nulls.
        nulls: of the same table, ceilings among them.
        columns: of the table.
        seeds: whether seeds are a source of uncertainty; see ``latentbench.boards.comparison.compare``.
    """
    against_null: list[dict[str, Beside]] = [{} for _ in rows]
    against_twin: list[dict[str, Beside]] = [{} for _ in rows]
    known = {column.name for column in columns if column.merit}
    for column in sorted((one for one in columns if one.merit), key=lambda one: one.own != one.name):
        able = []
        for place, row in enumerate(rows):
            if column.own in known and all(is_own(column, one.numbers) for one in (row, row.twin) if one):
                for found in (against_null[place], against_twin[place]):
                    found |= {column.name: found[column.own]} if column.own in found else {}
            elif column.name in row.summaries:
                able.append(place)
        there = read_in(column, nulls)
        for place, one in zip(able, _nulls([rows[place] for place in able], there, column, seeds), strict=False):
            against_null[place][column.name] = one
        paired = [place for place in able if _has_twin(rows[place], column)]
        for place, one in zip(paired, _twins([rows[place] for place in paired], column, seeds), strict=True):
            against_twin[place][column.name] = one
    return [
        replace(row, beside_null=null, beside_twin=twin)
        for row, null, twin in zip(rows, against_null, against_twin, strict=True)
    ]


def read_in(column: Column, nulls: Iterable[Row]) -> list[Row]:
    """The nulls that a column is read against, those with the value: by their own score where they lack the column's.

    Ceilings are none of them.
    """
    read = [null if column.name in null.summaries else read_as(null, column, column.own) for null in nulls]
    return [null for null in read if column.name in null.summaries and not null.ceiling]


def read_as(row: Row, column: Column, name: str) -> Row:
    """The row with its value of another name in the column, and no other value; without it where it has none such."""
    numbers = {column.name: row.numbers[name]} if name in row.numbers else {}
    replicates = {column.name: row.replicates[name]} if name in row.replicates else {}
    return replace(row, numbers=numbers, replicates=replicates, twin=None)


def best_of(nulls: Sequence[Row], column: Column) -> int:
    """The place of the null that has the best mean; of several such, the first."""
    sign = 1 if column.higher_is_better else -1
    return int(np.argmax([sign * null.summaries[column.name].mean for null in nulls]))


def against(row: Row, named: Sequence[Row], others: Sequence[Row], column: Column, *, seeds: bool) -> list[Beside]:
    """A row beside each of several that were named before any value was known.

    Args:
        row: with the column's value.
        named: likewise.
        others: further rows of the same table with the value: their spread over seeds is pooled with that of these.
        column: of the table.
        seeds: as of ``beside``.
    """
    comparison = _compared([row, *named, *others], column, seeds)
    sign = 1 if column.higher_is_better else -1
    own = row.summaries[column.name]
    found = []
    for place, other in enumerate(named, 1):
        gain, p = sign * comparison.difference[0, place], float(comparison.p[0, place])
        reference = other.summaries[column.name]
        difference = Summary.of([own.mean - reference.mean])
        found.append((Beside(other.label, reference, difference, None, bool(gain > 0), None), p if gain else 1.0))
    return _decided(found)


def _compared(rows: Sequence[Row], column: Column, seeds: bool) -> Comparison:
    """All pairs of rows that have the column's value."""
    return compare(
        [row.summaries[column.name] for row in rows],
        Images.of([row.replicates.get(column.name) for row in rows]),
        seeds=seeds,
        deterministic=[row.deterministic for row in rows],
    )


def _nulls(rows: Sequence[Row], nulls: Sequence[Row], column: Column, seeds: bool) -> list[Beside]:
    """Each row beside the best null; empty if there is no null."""
    if not (rows and nulls):
        return []
    comparison = _compared([*rows, *nulls], column, seeds)
    sign = 1 if column.higher_is_better else -1
    gains = sign * comparison.difference[: len(rows), len(rows) :]
    tests = comparison.p[: len(rows), len(rows) :]
    best = best_of(nulls, column)
    found = []
    for row, gain, p in zip(rows, gains, tests, strict=True):
        if gain[best] > 0:  # so it is more than 0 for every null
            least = float(p.max())  # NaN if one of them cannot be tested
        else:
            behind = p[(gain < 0) & np.isfinite(p)]
            least = min(1.0, len(nulls) * float(behind.min())) if len(behind) else (np.nan if gain[best] else 1.0)
        reference = nulls[best].summaries[column.name]
        difference = Summary.of([row.summaries[column.name].mean - reference.mean])
        found.append((Beside(nulls[best].label, reference, difference, None, bool(gain[best] > 0), None), least))
    corrected = np.minimum(tests * gains.size, 1.0)  # NaN where it cannot be tested
    return [
        replace(one, each=_of_each(one, nulls, gain, p))
        for one, gain, p in zip(_decided(found), gains, corrected, strict=True)
    ]


def _of_each(
    found: Beside, nulls: Sequence[Row], gains: npt.NDArray[np.float64], p: npt.NDArray[np.float64]
) -> dict[str, tuple[bool, Verdict | None]]:
    """What a row is beside each null.

    Args:
        found: what it is beside the best one.
        nulls: all of them.
        gains: (nulls,), by how much the row is better.
        p: (nulls,), corrected p-values.
    """
    of_each: dict[str, tuple[bool, Verdict | None]] = {}
    for null, gain, one in zip(nulls, gains, p, strict=True):
        better = bool(gain > 0)
        if found.verdict == "ahead" or null.label == found.label:
            of_each[null.label] = found.better, found.verdict
        else:
            of_each[null.label] = better, _verdict(better, float(one) if gain else 1.0)
    return of_each


def _has_twin(row: Row, column: Column) -> bool:
    """Whether the row and its twin have the value for a common seed."""
    return row.twin is not None and bool(shared_seeds(row, row.twin, column))


def _twins(rows: Sequence[Row], column: Column, seeds: bool) -> list[Beside]:
    """Each row beside its twin, over the seeds that both have."""
    if not rows:
        return []
    twins = [row.twin for row in rows if row.twin is not None]
    differences = [paired_difference(row, twin, column) for row, twin in zip(rows, twins, strict=True)]
    replicates = [paired_replicates(row, twin, column) for row, twin in zip(rows, twins, strict=True)]
    known = next((one for one in replicates if one is not None), None)
    nothing = None if known is None else np.zeros((len(known), 1))
    comparison = compare(
        [*differences, Summary.of([0.0])],
        Images.of([*replicates, nothing]),
        seeds=seeds,
        deterministic=[*(row.deterministic for row in rows), True],
    )
    sign = 1 if column.higher_is_better else -1
    found = []
    for place, (row, twin, difference) in enumerate(zip(rows, twins, differences, strict=True)):
        width = interval(difference, Images.of([replicates[place]]), seeds=seeds)
        better = sign * difference.mean > 0
        one = Beside(row.label, twin.summaries[column.name], difference, width, better, None)
        found.append((one, float(comparison.p[place, -1]) if difference.mean else 1.0))
    return _decided(found)


def _decided(found: Sequence[tuple[Beside, float]]) -> list[Beside]:
    """With the verdicts that follow from the p-values, by Holm's method over those that are known."""
    p = np.array([one for _, one in found])
    adjusted = np.full_like(p, np.nan)
    adjusted[np.isfinite(p)] = holm(p[np.isfinite(p)])
    return [
        replace(one, verdict=_verdict(one.better, by_holm)) for (one, _), by_holm in zip(found, adjusted, strict=True)
    ]


def _verdict(better: bool, p: float) -> Verdict | None:
    if np.isnan(p):
        return None
    if p >= 1 - CONFIDENCE:
        return "undecided"
    return "ahead" if better else "behind"
