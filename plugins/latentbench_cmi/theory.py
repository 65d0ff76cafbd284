"""The linear-Gaussian setting in closed form (sections 3 and 4): what Base, MI and CMI come to, and how they shift.

K attributes s ~ N(0, C_s) of variance 1 are seen as x = s + n, n ~ N(0, noise I): the paper's x = A s + n with A = I. A
code z = W x has one dimension z_k for each attribute, read as r_k z_k. ``noise`` is a variance, 0.1 in table 1 and
figure 2 (the text's 0.01 gives other figures). All information is in nats.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

__all__ = [
    "base_encoder",
    "cmi_encoder",
    "conditional_mutual_information",
    "equicorrelated",
    "mi_encoder",
    "mutual_information",
    "prediction_map",
    "svd_encoder",
    "toy_accuracy",
    "variance_explained",
    "whitening_encoder",
]

Matrix = npt.NDArray[np.float64]


def equicorrelated(correlation: float, attributes: int = 2) -> Matrix:
    """C_s (K, K): variances 1, every two attributes with this correlation.

    Raises:
        ValueError: no such attributes exist.

    >>> equicorrelated(0.8).tolist()
    [[1.0, 0.8], [0.8, 1.0]]
    """
    if not -1 / (attributes - 1) <= correlation <= 1:
        raise ValueError(f"{attributes} attributes cannot have the correlation {correlation} with each other")
    covariance = np.full((attributes, attributes), correlation, dtype=np.float64)
    np.fill_diagonal(covariance, 1)
    return covariance


def base_encoder(signal: Matrix, noise: float) -> Matrix:
    """W (K, K) of Base: least squares, C_s (C_s + C_n)^-1.

    >>> base_encoder(equicorrelated(0.8), 0.1).round(2).tolist()  # M of Base in table 1
    [[0.81, 0.14], [0.14, 0.81]]
    """
    return np.asarray(np.linalg.solve(_observed(signal, noise), signal).T, dtype=np.float64)


def svd_encoder(signal: Matrix, noise: float) -> Matrix:
    """W (K, K) of a singular value decomposition of the data: the principal axes of x, the widest first (figure 1)."""
    _, axes = np.linalg.eigh(_observed(signal, noise))
    return np.asarray(axes.T[::-1], dtype=np.float64)


def whitening_encoder(signal: Matrix, noise: float) -> Matrix:
    """W (K, K) of whitening: the principal axes of x, each divided by its standard deviation (figure 1).

    >>> code = whitening_encoder(equicorrelated(0.8), 0.1)
    >>> np.allclose(code @ (equicorrelated(0.8) + 0.1 * np.eye(2)) @ code.T, np.eye(2))
    True
    """
    axes = svd_encoder(signal, noise)
    deviations = np.sqrt(np.diag(axes @ _observed(signal, noise) @ axes.T))
    return np.asarray(axes / deviations[:, None], dtype=np.float64)


def mi_encoder(signal: Matrix, noise: float) -> Matrix:
    """W (K, K) of MI: of all whitening maps, whose z are independent, the one nearest to x, (C_s + C_n)^-1/2.

    It is the best for the attributes too if these are interchangeable, as equicorrelated ones are.

    >>> signal = equicorrelated(0.8)
    >>> prediction_map(mi_encoder(signal, 0.1), signal, 0.1).round(2).tolist()  # M of MI in table 1
    [[1.07, -0.46], [-0.46, 1.07]]
    """
    variances, axes = np.linalg.eigh(_observed(signal, noise))
    whitening: Matrix = (axes / np.sqrt(variances)) @ axes.T
    return whitening


def cmi_encoder(signal: Matrix, noise: float) -> Matrix:
    """W (K, K) of CMI: A^-1, the identity, whatever the correlation.

    That is for A = I and noise of one variance in all directions; for other A the paper's W = A^-1 has CMI 0 only if it
    leaves the noise uncorrelated.

    >>> cmi_encoder(equicorrelated(0.8), 0.1).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return np.eye(len(signal))


def prediction_map(encoder: Matrix, signal: Matrix, noise: float) -> Matrix:
    """M (K, K), the prediction of s from x: the code, each dimension read as well as a factor r_k can.

    >>> signal = equicorrelated(0.8)
    >>> prediction_map(cmi_encoder(signal, 0.1), signal, 0.1).round(3).tolist()
    [[0.909, 0.0], [0.0, 0.909]]
    """
    covariance = encoder @ _observed(signal, noise) @ encoder.T
    return (np.diag(encoder @ signal) / np.diag(covariance))[:, None] * encoder


def variance_explained(prediction: Matrix, signal: Matrix, noise: float) -> float:
    """1 - E|M x - s|^2 / E|s|^2, for test attributes with covariance ``signal`` (K, K).

    (The mean squared error is eq. 4's, which the paper equates with the trace of C_s by a slip.)

    >>> signal, independent = equicorrelated(0.8), equicorrelated(0.0)
    >>> base = prediction_map(base_encoder(signal, 0.1), signal, 0.1)
    >>> [round(variance_explained(base, test, 0.1), 3) for test in (signal, independent)]  # Base in table 1
    [0.919, 0.876]
    """
    error = prediction - np.eye(len(signal))
    squared = np.trace(error @ signal @ error.T) + noise * np.square(prediction).sum()
    return float(1 - squared / np.trace(signal))


def mutual_information(encoder: Matrix, signal: Matrix, noise: float) -> float:
    """I(z_1, ..., z_K): the sum of the entropies of the z_k less that of z.

    >>> signal = equicorrelated(0.8)
    >>> round(mutual_information(base_encoder(signal, 0.1), signal, 0.1), 3)
    0.656
    >>> abs(round(mutual_information(mi_encoder(signal, 0.1), signal, 0.1), 6))
    0.0
    """
    covariance = encoder @ _observed(signal, noise) @ encoder.T
    return _dependence(covariance, [[k] for k in range(len(covariance))])


def conditional_mutual_information(encoder: Matrix, signal: Matrix, noise: float) -> Matrix:
    """(K,): I(z_k; z_-k | s_k) for each attribute.

    >>> signal = equicorrelated(0.8)
    >>> conditional_mutual_information(mi_encoder(signal, 0.1), signal, 0.1).round(3).tolist()
    [0.535, 0.535]
    """
    covariance = encoder @ _observed(signal, noise) @ encoder.T
    with_attributes = encoder @ signal  # Cov(z, s)
    terms = []
    for k, column in enumerate(with_attributes.T):
        given = covariance - np.outer(column, column) / signal[k, k]
        terms.append(_dependence(given, [[k], [other for other in range(len(given)) if other != k]]))
    return np.array(terms)


def toy_accuracy(noise: float) -> float:
    """Accuracy of CMI on the toy classification, s_k = -1 or 1, at any correlation: Phi(1 / sigma), by sign(x_k).

    >>> round(toy_accuracy(1.0), 3)
    0.841
    """
    return float(ndtr(1 / np.sqrt(noise)))


def _observed(signal: Matrix, noise: float) -> Matrix:
    """C_x = C_s + C_n."""
    return signal + noise * np.eye(len(signal))


def _dependence(covariance: Matrix, blocks: list[list[int]]) -> float:
    """Total correlation of the blocks of a normal vector: half of sum log det of blocks less log det of all."""
    parts = sum(np.linalg.slogdet(covariance[np.ix_(block, block)])[1] for block in blocks)
    return float(parts - np.linalg.slogdet(covariance)[1]) / 2
