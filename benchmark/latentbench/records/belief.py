"""What a record says of its metrics, held against the metrics that are installed: it cannot vouch for its own bounds.

Of a metric that is not installed, or of which another version is, nothing but the record can tell.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from latentbench.errors import LatentbenchError
from latentbench.metric import Metric
from latentbench.records.record import Record, Value

__all__ = ["believed", "contradictions", "refuse_contradictions"]

log = logging.getLogger("latentbench")


def contradictions(name: str, value: Value, metric: type[Metric]) -> list[str]:
    """Where a value, or what its record states about the metric, contradicts the metric, one line each.

    Args:
        name: the value's.
        value: a value of the metric; of another version, nothing is held against it.
        metric: as it is installed.
    """
    if metric.measured_version() != value.version:
        return []
    found = []
    low, high = metric.bounds
    if not low <= value.value <= high:
        found.append(f"value '{name}' is {value.value}, its metric's bounds are [{low}, {high}]")
    bounds = tuple(limit if limit is not None else (low, high)[place] for place, limit in enumerate(value.bounds or ()))
    stated = {"higher_is_better": value.higher_is_better, "capability": value.capability, "bounds": bounds}
    for fact, its in stated.items():
        expected = getattr(metric, fact)
        if its not in (expected, None, ()):
            found.append(f"value '{name}' states {fact} {its}, its metric has {expected}")
    return found


def refuse_contradictions(path: Path, record: Record, metrics: Mapping[str, type[Metric]]) -> None:
    """Refuse a record that contradicts the installed metrics.

    Args:
        path: where it lies.
        record: what stands there.
        metrics: those that are installed, by name.

    Raises:
        LatentbenchError: names the record and the first contradiction.
    """
    for name, value in record.values.items():
        if value.metric in metrics and (found := contradictions(name, value, metrics[value.metric])):
            mend = "remove it with `latentbench rm`, and make the run again"
            raise LatentbenchError(f"{path} is not believed: {found[0]}", mend)


def believed(
    records: Iterable[tuple[Path, Record]], metrics: Mapping[str, type[Metric]]
) -> Iterator[tuple[Path, Record]]:
    """The records that do not contradict the installed metrics; each of the others is warned of and left out.

    Args:
        records: each with its place.
        metrics: those that are installed, by name.
    """
    for path, record in records:
        try:
            refuse_contradictions(path, record, metrics)
        except LatentbenchError as error:
            log.warning("%s; left out", error)
        else:
            yield path, record
