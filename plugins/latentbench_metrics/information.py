"""Mutual information of discrete variables, from weighted tables of how often their values meet."""

import numpy as np
import numpy.typing as npt

__all__ = ["contingency", "entropy", "histogram_bins", "mutual_information", "totals"]


def histogram_bins(codes: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64]:
    """The bin, 0 to ``bins`` - 1, of each number in a histogram of its column from least to greatest value.

    As ``numpy.histogram`` counts them. A constant column is in one bin.

    Args:
        codes: (N, D) finite, N >= 1.
        bins: of equal width in each column.

    Returns:
        (N, D).

    >>> histogram_bins(np.array([[0.0], [0.4], [0.6], [1.0]]), bins=2).ravel().tolist()
    [0, 0, 1, 1]
    """
    edges = np.linspace(codes.min(axis=0), codes.max(axis=0), bins + 1)[:-1]
    numbers = [np.searchsorted(edge, code, side="right") - 1 for edge, code in zip(edges.T, codes.T, strict=True)]
    return np.column_stack(numbers)


def totals(values: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], number: int = 0) -> npt.NDArray[np.float64]:
    """The weight of the items (N,) at each of the values 0, 1, ...: at least ``number`` values, and all that occur.

    >>> totals(np.array([0, 2, 2]), np.array([1.0, 1.0, 0.5])).tolist()
    [1.0, 0.0, 1.5]
    """
    return np.bincount(values, weights, number).astype(np.float64)


def contingency(
    rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The weight of the items at each pair of values, for each of D variables against another one.

    Args:
        rows: (N, D) values in [0, R).
        columns: (N,) values in [0, C).
        weights: (N,).

    Returns:
        (D, R, C), where R and C are one more than the greatest value.

    >>> contingency(np.array([[0], [1], [1]]), np.array([0, 0, 1]), np.ones(3)).tolist()
    [[[1.0, 0.0], [1.0, 1.0]]]
    """
    variables, r, c = rows.shape[1], int(rows.max()) + 1, int(columns.max()) + 1
    cell = (np.arange(variables) * r + rows) * c + columns[:, None]
    return totals(cell.ravel(), np.repeat(weights, variables), variables * r * c).reshape(variables, r, c)


def mutual_information(tables: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mutual information in nats, (...), of the row and the column in each of the tables (..., R, C).

    >>> mutual_information(np.array([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]])).round(4).tolist()
    [0.6931, 0.0]
    """
    together = entropy(tables.reshape(*tables.shape[:-2], -1))
    return np.maximum(entropy(tables.sum(axis=-1)) + entropy(tables.sum(axis=-2)) - together, 0)  # rounding


def entropy(counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Entropy in nats, (...), of the distributions that are proportional to ``counts`` (..., V).

    >>> entropy(np.array([[1.0, 1.0], [3.0, 0.0]])).round(4).tolist()
    [0.6931, 0.0]
    """
    from scipy.special import entr

    return np.asarray(entr(counts / counts.sum(axis=-1, keepdims=True)).sum(axis=-1))
