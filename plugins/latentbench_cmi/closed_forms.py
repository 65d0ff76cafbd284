"""Single numbers of table 1 and figure 2 from the theory, by method: what the claims of the paper name."""

from collections.abc import Callable, Mapping

import numpy as np

from latentbench_cmi.theory import (
    Matrix,
    base_encoder,
    cmi_encoder,
    equicorrelated,
    mi_encoder,
    prediction_map,
    variance_explained,
)

__all__ = ["explained", "map_entry", "prediction_correlation"]

_ENCODERS: Mapping[str, Callable[[Matrix, float], Matrix]] = {
    "base": base_encoder,
    "mi": mi_encoder,
    "cmi": cmi_encoder,
}


def explained(method: str, train: float, test: float, noise: float) -> float:
    """Variance explained at the correlation ``test`` by a method trained at the correlation ``train``.

    >>> [round(explained(method, 0.8, 0.0, 0.1), 3) for method in ("base", "mi", "cmi")]  # table 1, test
    [0.876, 0.65, 0.909]
    """
    return variance_explained(_prediction(method, train, noise), equicorrelated(test), noise)


def map_entry(method: str, train: float, noise: float, column: int) -> float:
    """The entry of M in the first row and the ``column`` 0 or 1; for CMI the table prints W, and so does this.

    >>> [round(map_entry("mi", 0.8, 0.1, column), 2) for column in (0, 1)]
    [1.07, -0.46]
    """
    signal = equicorrelated(train)
    shown = cmi_encoder(signal, noise) if method == "cmi" else _prediction(method, train, noise)
    return float(shown[0, column])


def prediction_correlation(method: str, train: float, test: float, noise: float) -> float:
    """Correlation of the two predictions at the correlation ``test``, of a method trained at ``train`` (figure 2).

    >>> [round(prediction_correlation("base", 0.8, test, 0.1), 2) for test in (0.8, 0.0)]
    [0.85, 0.34]
    """
    prediction = _prediction(method, train, noise)
    covariance = prediction @ (equicorrelated(test) + noise * np.eye(2)) @ prediction.T
    return float(covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]))


def _prediction(method: str, train: float, noise: float) -> Matrix:
    """M (2, 2) of a method.

    Raises:
        ValueError: there is no such method.
    """
    if method not in _ENCODERS:
        raise ValueError(f"the method is one of {', '.join(_ENCODERS)}, not '{method}'")
    signal = equicorrelated(train)
    return prediction_map(_ENCODERS[method](signal, noise), signal, noise)
