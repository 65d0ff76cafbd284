"""Lemma 1 as identities: what mutual information of codes and images has to do with total correlation.

The wording of the paper's lemma is not known to us. Its abstract says that it relates the control of attributes, by
maximization of mutual information, to disentanglement, by minimization of total correlation. The identities below are
our reading of that. They hold for any codes c = (c_1, ..., c_m) and image x; all information is in nats, and TC(c|x) is
a mean over x::

    (a)  I(c; x) = sum_i I(c_i; x) - TC(c) + TC(c|x)
    (b)  I(c; x) = sum_i I(c_i; x) + TC(c|x), if TC(c) = 0: the codes of a generator are drawn independently
    (c)  TC(c|x) <= H(c) - sum_i I(c_i; x), if c is discrete and TC(c) = 0
    (d)  I(c; x) - L = TC(c|x) + sum_i E_x KL(p(c_i|x) || q_i(c_i|x)), if TC(c) = 0, where
         L = sum_i H(c_i) + E log q_i(c_i|x) is the bound that InfoGAN maximizes, with factorized q

(d) is what the model's loss is about: at a given I(c; x), a higher bound L means a lower total correlation given the
image, or a better q.

What does not follow:

- **For continuous codes (c) is false.** Their entropy does not bound the information: with less noise in the image
  I(c_i; x) grows without end, and TC(c|x) need not go to 0. In the linear-Gaussian case it goes to -1/2 log det of the
  correlations of the columns of A, above 0 unless the columns are orthogonal (see ``LinearGaussian``).
- TC(c|x) = 0 does not say that all codes do something: x = c_1 has it, and c_2 is dead.
- Nothing here speaks of the factors that a person would name: x = (c_1, c_1 XOR c_2) has TC(c|x) = 0, and information
  log 2 about each code, yet the second part of the image mixes both codes. A high MIG does not follow.

A discrete joint distribution p(c_1, ..., c_m, x) is an array of float64, (K_1, ..., K_m, X): the last axis is x.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr, xlogy

from latentbench import LatentbenchError

__all__ = [
    "LinearGaussian",
    "divergence_of_each",
    "entropy",
    "factorized_bound",
    "information",
    "information_of_each",
    "joint_of",
    "posterior_of_each",
    "posterior_total_correlation",
    "total_correlation",
]

Array = npt.NDArray[np.float64]

#: How far the sum of probabilities may be from 1.
_TOLERANCE = 1e-9


def entropy(p: Array) -> float:
    """H of a distribution, as an array of any shape whose entries add up to 1.

    Raises:
        LatentbenchError: an entry is negative or not finite, or they add up to something else.

    >>> round(entropy(np.array([0.5, 0.5])), 4)
    0.6931
    """
    _check(p)
    return -float(xlogy(p, p).sum())


def information(joint: Array) -> float:
    """I(c; x) = H(c) + H(x) - H(c, x) of all codes together.

    >>> xor = joint_of(lambda a, b: a ^ b, (2, 2), 2)
    >>> round(information(xor), 4)
    0.6931
    """
    return entropy(joint.sum(-1)) + entropy(_of_x(joint)) - entropy(joint)


def information_of_each(joint: Array) -> Array:
    """(m,): I(c_i; x).

    >>> xor = joint_of(lambda a, b: a ^ b, (2, 2), 2)
    >>> (information_of_each(xor) + 0).round(4).tolist()  # the codes tell nothing but together
    [0.0, 0.0]
    """
    return np.array([information(part) for part in _each_with_x(joint)])


def total_correlation(joint: Array) -> float:
    """TC(c) = sum_i H(c_i) - H(c): 0 if the codes are independent."""
    return sum(entropy(part.sum(-1)) for part in _each_with_x(joint)) - entropy(joint.sum(-1))


def posterior_total_correlation(joint: Array) -> float:
    """TC(c|x) = sum_i H(c_i|x) - H(c|x): 0 if the codes are independent given the image.

    >>> conjunction = joint_of(lambda a, b: a & b, (2, 2), 2)
    >>> round(posterior_total_correlation(conjunction), 4)
    0.1308
    """
    given = entropy(_of_x(joint))
    of_each = sum(entropy(part) - given for part in _each_with_x(joint))
    return of_each - (entropy(joint) - given)


def posterior_of_each(joint: Array) -> list[Array]:
    """p(c_i|x) for each code, (K_i, X): columns add up to 1. Where p(x) = 0 they are uniform."""
    of_x = _of_x(joint)
    seen = of_x > 0
    return [np.where(seen, part / np.where(seen, of_x, 1), 1 / len(part)) for part in _each_with_x(joint)]


def factorized_bound(joint: Array, q: Sequence[Array]) -> float:
    """L = sum_i H(c_i) + E log q_i(c_i|x), InfoGAN's lower bound of I(c; x) for independent codes.

    It is minus infinity where a q_i is 0 for something that occurs.

    Args:
        joint: p(c, x).
        q: q_i(c_i|x) for each code, (K_i, X), columns adding up to 1.

    Raises:
        LatentbenchError: shapes do not fit, or a column is no distribution.
    """
    parts = _each_with_x(joint)
    _check_posteriors(parts, q)
    with np.errstate(divide="ignore"):
        return sum(
            entropy(part.sum(-1)) + float(xlogy(part, of_code).sum()) for part, of_code in zip(parts, q, strict=True)
        )


def divergence_of_each(joint: Array, q: Sequence[Array]) -> Array:
    """(m,): E_x KL(p(c_i|x) || q_i(c_i|x)), what an imperfect q_i loses. Arguments as those of ``factorized_bound``."""
    parts, of_x = _each_with_x(joint), _of_x(joint)
    _check_posteriors(parts, q)
    return np.array([rel_entr(part, of_x * of_code).sum() for part, of_code in zip(parts, q, strict=True)])


def joint_of(image: Callable[..., int], values: Sequence[int], images: int) -> Array:
    """p(c, x) of independent uniform codes and an image that is a function of them.

    Args:
        image: gives the number of the image, below ``images``, for one value of each code.
        values: K_i, the number of values of each code.
        images: X.

    >>> joint_of(lambda a, b: a ^ b, (2, 2), 2)[1].tolist()  # c_1 = 1: (c_2, x)
    [[0.0, 0.25], [0.25, 0.0]]
    """
    joint = np.zeros((*values, images))
    for code in np.ndindex(*values):
        joint[*code, image(*code)] = 1 / np.prod(values)
    return joint


@dataclass(frozen=True)
class LinearGaussian:
    """c ~ N(0, I_m) and x = A c + sigma e with e ~ N(0, I_d): continuous codes, for which (a), (b) and (d) hold alone.

    The posterior is normal with the covariance S = (I + A'A / sigma^2)^-1 at every x.

    >>> slanted = np.array([[1, 0.8], [0, 0.6]])  # columns of length 1 and correlation 0.8
    >>> far, near = (LinearGaussian(slanted, sigma) for sigma in (1, 0.1))
    >>> round(far.posterior_total_correlation, 4), round(near.posterior_total_correlation, 4)  # less noise, no less TC
    (0.0872, 0.4936)
    """

    A: Array
    """(d, m): the image as a linear map of the codes."""
    sigma: float
    """Deviation of the noise, above 0."""

    def __post_init__(self) -> None:
        if self.A.ndim != 2 or not self.A.size or not np.isfinite(self.A).all():
            raise LatentbenchError(f"A has shape {self.A.shape}", "it takes a matrix (d, m) of finite numbers")
        if not 0 < self.sigma < np.inf:
            raise LatentbenchError(f"sigma is {self.sigma}", "it takes a finite number above 0")

    @property
    def information(self) -> float:
        """I(c; x) = -1/2 log det S."""
        return float(np.linalg.slogdet(self._precision)[1]) / 2

    @property
    def information_of_each(self) -> Array:
        """(m,): I(c_i; x) = -1/2 log S_ii."""
        return -np.log(np.diag(np.linalg.inv(self._precision))) / 2

    @property
    def posterior_total_correlation(self) -> float:
        """TC(c|x) = 1/2 (sum_i log S_ii - log det S), at every x."""
        return self.information - float(self.information_of_each.sum())

    @property
    def _precision(self) -> Array:
        """S^-1."""
        return np.eye(self.A.shape[1]) + self.A.T @ self.A / self.sigma**2


def _of_x(joint: Array) -> Array:
    """p(x), (X,)."""
    return np.asarray(joint.sum(tuple(range(joint.ndim - 1))))


def _each_with_x(joint: Array) -> list[Array]:
    """p(c_i, x) for each code, (K_i, X)."""
    codes = range(joint.ndim - 1)
    if not codes:
        raise LatentbenchError("a joint distribution of one axis has no code", "it takes (K_1, ..., K_m, X)")
    return [np.asarray(joint.sum(tuple(j for j in codes if j != i))) for i in codes]


def _check(p: Array) -> None:
    if not np.isfinite(p).all() or (p < 0).any() or abs(p.sum() - 1) > _TOLERANCE:
        raise LatentbenchError("these are no probabilities", "they have to be 0 or more and to add up to 1")


def _check_posteriors(parts: Sequence[Array], q: Sequence[Array]) -> None:
    shapes, given = [part.shape for part in parts], [of_code.shape for of_code in q]
    if given != shapes:
        raise LatentbenchError(f"q has the shapes {given}", f"these codes and images take {shapes}")
    for of_code in q:
        for column in of_code.T:
            _check(column)
