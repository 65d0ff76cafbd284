"""How long runs take, estimated from the records of earlier ones."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median

from latentbench.config import canonical
from latentbench.records.record import Record
from latentbench.spec import RunSpec

__all__ = ["Durations", "likenesses", "wall_seconds"]


class Durations:
    """Expected seconds of a run: the median of the earlier runs that are most like it.

    Most alike are runs that differ in nothing but the seed, then those of the same model on the same dataset with the
    same budget, in any settings.

    Args:
        device: "cpu", or an accelerator; only records of its kind are counted.
        records: of earlier runs. Those that failed say nothing.
    """

    def __init__(self, device: str, records: Iterable[Record] = ()) -> None:
        self._on_cpu = device == "cpu"
        self._seconds: defaultdict[str, list[float]] = defaultdict(list)
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        """Count another record in."""
        alike = (record.environment.device == "cpu") == self._on_cpu
        if record.status == "finished" and record.phases and alike:
            for likeness in likenesses(record.spec):
                self._seconds[likeness].append(record.seconds)

    def expected(self, spec: RunSpec) -> float | None:
        """Seconds that the run will take; None if there is no earlier one of its model on its dataset."""
        return self.expected_of(likenesses(spec))

    def expected_of(self, alike: Sequence[str]) -> float | None:
        """The same, by the ``likenesses`` of the run's spec, for who asks often."""
        return next((median(self._seconds[one]) for one in alike if one in self._seconds), None)


def wall_seconds(durations: Sequence[float], slots: int) -> float:
    """Seconds until the last of some runs ends, ``slots`` of which go on at a time, each started as a slot is free.

    >>> wall_seconds([3, 1, 1, 1], slots=2)
    3.0
    """
    free = [0.0] * slots
    for seconds in durations:
        first = free.index(min(free))
        free[first] += seconds
    return max(free)


def likenesses(spec: RunSpec) -> list[str]:
    """What a run has in common with others, the most alike first."""
    loose = {"model": spec.model, "dataset": spec.dataset, "budget": spec.budget.model_dump()}
    return [canonical(spec.model_dump(mode="json", exclude={"seed", "split_hash"})), canonical(loose)]
