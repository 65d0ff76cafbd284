"""Two rows paired: by the seeds that both have, and by the weightings of the test images."""

import numpy as np
import numpy.typing as npt

from latentbench.boards.rows import Column, Row
from latentbench.boards.significance import RESOLUTION, Summary

__all__ = ["paired_difference", "paired_replicates", "shared_seeds"]


def shared_seeds(row: Row, other: Row, column: Column) -> list[int]:
    """The seeds for which both rows have the value."""
    return [seed for seed in row.numbers.get(column.name, {}) if seed in other.numbers.get(column.name, {})]


def paired_difference(row: Row, other: Row, column: Column) -> Summary:
    """The row's value less the other's, seed by seed, over those that both have; 0 where it is only rounding."""
    own, others = row.numbers[column.name], other.numbers[column.name]
    pairs = [(own[seed], others[seed]) for seed in shared_seeds(row, other, column)]
    return Summary.of([a - b if abs(a - b) > RESOLUTION * max(abs(a), abs(b)) else 0.0 for a, b in pairs])


def paired_replicates(row: Row, other: Row, column: Column) -> npt.NDArray[np.float64] | None:
    """(B, n), the replicates of the differences of n seeds; None where those of either row are not known."""
    if not (column.name in row.replicates and column.name in other.replicates):
        return None
    seeds = shared_seeds(row, other, column)
    parts = []
    for one in (row, other):
        places = [[*one.numbers[column.name]].index(seed) for seed in seeds]
        parts.append(one.replicates[column.name][:, places])
    return np.asarray(parts[0] - parts[1])
