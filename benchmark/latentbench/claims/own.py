"""Our own rows as claims: a committed run beside the same run made again.

On the same class of hardware every number has to come out bit for bit. On another one a run with the same seed is as
good as one with another seed, since training amplifies rounding: the values that rank have to lie in the prediction
interval that the committed seeds of the same setting give, of 95 % for all of these values together.
"""

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from scipy.special import stdtrit

from latentbench.boards.significance import CONFIDENCE, Summary
from latentbench.config import canonical
from latentbench.records.record import Environment, Record

__all__ = ["Comparison", "Outcome", "compare_runs", "differing_hardware", "sample", "siblings"]

#: "undecided": other hardware, and a single seed, which tells no interval. "outdated": other versions made the run.
Outcome = Literal["identical", "within", "undecided", "outdated", "changed", "failed"]

#: Libraries whose kernels decide the last bits.
_LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn")
#: Half of the least interval: some test images may change sides even where seeds change nothing. The choice is ours.
_LEAST = 1e-3


@dataclass(frozen=True)
class Comparison:
    """Whether a committed run has come out again."""

    outcome: Outcome
    evidence: str
    """In one line."""


def sample(records: Iterable[Record], count: int | None, budget: float | None, seed: int = 0) -> list[Record]:
    """Finished runs at random, as many as are asked for and as their recorded times let fit into a budget.

    Args:
        records: to choose from.
        count: at most so many; None for no limit.
        budget: seconds; None for no limit.
        seed: of the choice.
    """
    finished = sorted((one for one in records if one.status == "finished"), key=lambda one: one.key)
    random.Random(seed).shuffle(finished)
    chosen: list[Record] = []
    left = budget
    for record in finished:
        if (count is None or len(chosen) < count) and (left is None or record.seconds <= left):
            chosen.append(record)
            left = None if left is None else left - record.seconds
    return chosen


def siblings(record: Record, records: Iterable[Record]) -> list[Record]:
    """The finished runs of the same setting with whatever seed, the run itself among them."""
    return [one for one in records if one.status == "finished" and _setting(one) == _setting(record)]


def differing_hardware(one: Environment, other: Environment) -> list[str]:
    """In what two machines differ that can decide the last bits of a run, as far as the records tell.

    Of records that do not say which kernels their CPU takes, these count as different.
    """
    facts = ("cpu", "device", "threads", "cuda", "driver", "variables")
    differing = [fact for fact in facts if getattr(one, fact) != getattr(other, fact)]
    if not one.kernels or one.kernels != other.kernels:
        differing.append("kernels")
    return differing + [name for name in _LIBRARIES if one.packages.get(name) != other.packages.get(name)]


def compare_runs(record: Record, again: Record | None, alike: Sequence[Record], ranking: Collection[str]) -> Comparison:
    """A committed run beside the same run made again.

    Args:
        record: the committed run.
        again: the new one; None if it was lost.
        alike: the committed runs of its setting (``siblings``).
        ranking: the values that rank on its dataset; where it has none of them, all of its values count.
    """
    if again is None or again.status == "failed":
        reason = again.failure.message if again and again.failure else "the run was lost"
        return Comparison("failed", reason)
    changed = _changed(record, again)
    if not changed:
        return Comparison("identical", f"all {len(record.values)} values, bit for bit")
    differing = differing_hardware(record.environment, again.environment)
    named = f"{', '.join(changed[:3])}{f' and {len(changed) - 3} more' if len(changed) > 3 else ''}"
    if not differing:
        return Comparison("changed", f"on hardware of the same class, with the same libraries: {named}")
    values = [name for name in record.values if name in ranking] or [*record.values]
    outside, unknown = [], []
    for name in values:
        seeds = Summary.of([one.values[name].value for one in alike if name in one.values])
        half = _half_width(seeds, len(values))
        new = again.values[name].value if name in again.values else None
        if half is None:
            unknown.append(name)
        elif new is None or abs(new - seeds.mean) > half:
            outside.append(f"{name} is {new}, expected {seeds.mean:.4g} ± {half:.2g}")
    where = f"not bit for bit ({named}), on hardware that differs ({', '.join(differing)})"
    if outside:
        return Comparison("changed", f"{where}: {'; '.join(outside)}")
    if unknown:
        return Comparison("undecided", f"{where}: a single seed tells no interval of {', '.join(unknown)}")
    return Comparison("within", f"{where}: {', '.join(values)} as other seeds give it")


def _half_width(seeds: Summary, values: int) -> float | None:
    """Half of the prediction interval of one more seed, with Bonferroni's correction for the number of values."""
    if seeds.std is None:
        return None
    quantile = float(stdtrit(seeds.n - 1, 1 - (1 - CONFIDENCE) / (2 * values)))
    return max(quantile * seeds.std * sqrt(1 + 1 / seeds.n), _LEAST)


def _changed(record: Record, again: Record) -> list[str]:
    """The values that are not equal, or are in one of the runs only; and the predictions, by this word."""
    names = {**record.values, **again.values}
    changed = [name for name in names if _number(record, name) != _number(again, name)]
    same = record.predictions is None or record.predictions == again.predictions
    return changed if same or changed else ["predictions"]


def _number(record: Record, name: str) -> float | None:
    return record.values[name].value if name in record.values else None


def _setting(record: Record) -> Mapping[str, Any]:
    spec = record.spec.model_dump(mode="json", exclude={"seed"})
    return {name: canonical(value) for name, value in spec.items()}
