"""Single numbers of table 1 and of figures 1 and 2 from the theory, by method: what the claims of the paper name."""

from collections.abc import Callable, Mapping

import numpy as np

from latentbench_cmi.theory import (
    Matrix,
    base_encoder,
    cmi_encoder,
    equicorrelated,
    mi_encoder,
    prediction_map,
    svd_encoder,
    variance_explained,
    whitening_encoder,
)

__all__ = ["data_correlation", "explained", "map_entry", "prediction_correlation"]

_ENCODERS: Mapping[str, Callable[[Matrix, float], Matrix]] = {
    "base": base_encoder,
    "mi": mi_encoder,
    "cmi": cmi_encoder,
    "svd": svd_encoder,
    "whitening": whitening_encoder,
}


def explained(method: str, train: float, test: float, noise: float) -> float:
    """Variance explained at the correlation ``test`` by a method trained at the correlation ``train``.

    >>> [round(explained(method, 0.8, 0.0, 0.1), 3) for method in ("base", "mi", "cmi")]  # table 1, test
    [0.876, 0.65, 0.909]

    Figure 1 reads the first principal axis as the first attribute, and the second as the second. To scale an axis
    changes nothing, and since the two attributes are interchangeable, neither would to exchange the axes.

    >>> [round(explained(method, 0.8, 0.8, 0.1), 4) for method in ("svd", "whitening", "mi")]  # mi: whitening, rotated
    [0.4596, 0.4596, 0.6981]
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


def data_correlation(correlation: float, noise: float) -> float:
    """Correlation of the two x, of attributes with this correlation (figure 2): the noise adds to their variances.

    >>> round(data_correlation(0.8, 0.1), 3)
    0.727
    """
    return correlation / (1 + noise)


def _prediction(method: str, train: float, noise: float) -> Matrix:
    """M (2, 2) of a method.

    Raises:
        ValueError: there is no such method.
    """
    if method not in _ENCODERS:
        raise ValueError(f"the method is one of {', '.join(_ENCODERS)}, not '{method}'")
    signal = equicorrelated(train)
    return prediction_map(_ENCODERS[method](signal, noise), signal, noise)
