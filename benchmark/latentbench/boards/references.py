"""What a table's values are read against: the best null, and each row's own untrained twin.

Both use the tests of ``latentbench.boards.comparison``, with the table's test images where they are known, and change
nothing in how the table's rows compare with each other.

Nulls. A row is ahead of the best null if it is ahead of every null: the greatest of the p-values against them counts.
That allows for the choice of the best among many without any further correction (an intersection-union test: Berger,
Technometrics 24, 1982). It is behind if some null is ahead of it; there the least p-value counts, times the number of
nulls. The best null, by its value, is named in either case.

Twins. A row and its twin are paired by seed: that the mean of the differences is 0 is tested against the spread of the
differences, moderated over the table's rows as the spread of values is.

In either comparison Holm's method corrects for the number of a column's rows, so that any false order occurs in at
most 5 % of columns. Equal values are undecided.

Rows that are named beforehand (``against``) are few, and Holm's method corrects for their number alone. The ranks of a
table compare all pairs, and may leave a pair together that is told apart here.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from latentbench.boards.comparison import Comparison, compare
from latentbench.boards.images import Images
from latentbench.boards.intervals import interval
from latentbench.boards.paired import paired_difference, paired_replicates, shared_seeds
from latentbench.boards.rank_sets import holm
from latentbench.boards.rows import Beside, Column, Row, Verdict
from latentbench.boards.significance import CONFIDENCE, Summary

__all__ = ["against", "beside"]

AnyRow = TypeVar("AnyRow", bound=Row)


def beside(rows: Sequence[AnyRow], nulls: Sequence[Row], columns: Sequence[Column], *, seeds: bool) -> list[AnyRow]:
    """The rows, each with its values beside those of the best null and of its twin.

    Args:
        rows: of one table, without the nulls.
        nulls: of the same table.
        columns: of the table.
        seeds: whether seeds are a source of uncertainty; see ``latentbench.boards.comparison.compare``.
    """
    against_null: list[dict[str, Beside]] = [{} for _ in rows]
    against_twin: list[dict[str, Beside]] = [{} for _ in rows]
    for column in columns:
        able = [place for place, row in enumerate(rows) if column.name in row.summaries]
        there = [null for null in nulls if column.name in null.summaries]
        for place, found in zip(able, _nulls([rows[place] for place in able], there, column, seeds), strict=False):
            against_null[place][column.name] = found
        paired = [place for place in able if _has_twin(rows[place], column)]
        for place, found in zip(paired, _twins([rows[place] for place in paired], column, seeds), strict=True):
            against_twin[place][column.name] = found
    return [
        replace(row, beside_null=null, beside_twin=twin)
        for row, null, twin in zip(rows, against_null, against_twin, strict=True)
    ]


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
    best = int(np.argmax([sign * null.summaries[column.name].mean for null in nulls]))
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
    return _decided(found)


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
