"""Drawing without replacement: the largest set in which two binary attributes have a given correlation."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

__all__ = ["cell_sizes", "shuffled", "subsample"]


def cell_sizes(available: npt.NDArray[np.int64], correlation: float) -> npt.NDArray[np.int64]:
    """How many images of each cell make the largest set with the correlation c and both marginals one half.

    The two cells of equal values get t (1 + c) images each, those of unequal values t (1 - c), with the largest t for
    which every cell has enough, both rounded down. So the cell that binds is used whole and the marginals are exact.
    Rounding moves the correlation towards the cell that binds, by less than four over the set's size. The
    arithmetic is rational, c being the decimal number that it prints as: c = -0.8 of 4617 gives 513, not 512.

    Reproduces the counts at c = 0.8 in Funke et al. (2022, Fig. 14) from those of their cells that bind.

    Args:
        available: (2, 2) images in each cell, indexed [first value, second value].
        correlation: Pearson's, c in [-1, 1].

    Returns:
        (2, 2) images to use of each cell.

    Raises:
        ValueError: too few images: a cell that the correlation needs would get none.

    >>> cell_sizes(np.array([[100, 100], [100, 100]]), 0.8).tolist()
    [[100, 11], [11, 100]]
    """
    c = Fraction(str(correlation))
    shares = (1 - c, 1 + c)
    equal = np.eye(2, dtype=bool)
    enough = [int(available[equal == side].min()) for side in (False, True)]
    scale = min(Fraction(count) / share for count, share in zip(enough, shares, strict=True) if share)
    different, same = (int(scale * share) for share in shares)
    if (shares[0] and not different) or (shares[1] and not same):
        raise ValueError(f"a correlation of {correlation:g} leaves a cell empty")
    return np.where(equal, same, different)


def subsample(cells: npt.NDArray[np.int64], correlation: float, order: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which images to use so that two binary attributes have a correlation: the largest set, ``cell_sizes``.

    Of each cell the first ones in ``order`` are used: sets of one order for several correlations overlap as much as
    they can, so that the difference between results on them is not one between images.

    Args:
        cells: (N,) the cell of each image, 2 * first value + second value; or below 0 where an image is not to be used.
        correlation: c in [-1, 1].
        order: a permutation of N.

    Returns:
        (N,) True where an image is used.

    Raises:
        ValueError: as ``cell_sizes``.
    """
    available = np.array([np.count_nonzero(cells == cell) for cell in range(4)])
    used = np.zeros(len(cells), bool)
    for cell, size in enumerate(cell_sizes(available.reshape(2, 2), correlation).ravel()):
        used[order[cells[order] == cell][:size]] = True
    return used


def shuffled(count: int, *seed: int) -> npt.NDArray[np.int64]:
    """A random permutation: the order of ``count`` 64-bit numbers of a generator seeded by ``seed``.

    NumPy promises that the raw numbers of PCG64 stay the same in all its versions, but not its permutations.
    """
    keys = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(count)
    return np.argsort(keys, kind="stable")
