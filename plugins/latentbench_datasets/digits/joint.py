"""The joint distribution of two binary attributes with a given correlation."""

import numpy as np
import numpy.typing as npt

__all__ = ["joint"]


def joint(correlation: float) -> npt.NDArray[np.float64]:
    """P(left, right) of two binary attributes with uniform marginals (Funke et al., 2022).

    Args:
        correlation: Pearson's, c in [-1, 1]; the attributes are equal with probability (1 + c) / 2.

    Returns:
        (2, 2), indexed [left, right]: 1/2 * [[(1 + c) / 2, (1 - c) / 2], [(1 - c) / 2, (1 + c) / 2]].

    Raises:
        ValueError: ``correlation`` is outside [-1, 1].

    >>> joint(0.8).round(3).tolist()
    [[0.45, 0.05], [0.05, 0.45]]
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"a correlation lies in [-1, 1], got {correlation}")
    equal, different = (1 + correlation) / 4, (1 - correlation) / 4
    return np.array([[equal, different], [different, equal]])
