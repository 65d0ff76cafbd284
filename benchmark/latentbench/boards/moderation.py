"""Moderated variances: those of a table's rows, shrunk towards what the rows have in common (empirical Bayes).

Three seeds say little about a row's variance. The rows of a table together say more: their variances are taken as
draws from one distribution, a scaled inverse chi-squared with ``freedom`` degrees of freedom around ``variance``, which
is estimated from the table. A row's moderated variance is the weighted mean of its own and the common one, each
weighted by its degrees of freedom, and the degrees of freedom add up.

Sources: Smyth, Statistical Applications in Genetics and Molecular Biology 3(1), 2004, article 3, sections 4 and 6.2; as
``fitFDist`` and ``squeezeVar`` in the R package limma.
"""

from dataclasses import dataclass
from math import exp, inf, isinf

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, zeta

__all__ = ["Prior", "fit_prior", "trigamma_inverse"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Prior:
    """What the rows of a table have in common: the distribution that their variances come from."""

    variance: float
    """The common variance, s0 squared; without a meaning where ``freedom`` is 0."""
    freedom: float
    """Its degrees of freedom, d0: 0 where nothing is known of it, infinity where the rows do not differ in variance."""
    pooled: float
    """The sum of the rows' degrees of freedom: more than these no moderated variance can have."""

    def moderate(self, variance: float, freedom: float) -> tuple[float, float]:
        """A row's moderated variance and its degrees of freedom.

        Args:
            variance: the row's own, of the sample.
            freedom: the row's own, its number of values less one.
        """
        if isinf(self.freedom):
            return self.variance, self.pooled
        total = self.freedom + freedom
        return (self.freedom * self.variance + freedom * variance) / total, min(total, self.pooled)


def fit_prior(variances: Array, freedoms: Array) -> Prior:
    """Estimate the common distribution from the mean and the variance of the logarithms of the rows' variances.

    Where the logarithms vary no more than equal variances would make them, the rows count as equal in variance, and
    the common one is the pooled variance. A single row has nothing to be shrunk towards.

    Args:
        variances: (K,) > 0, of the samples.
        freedoms: (K,) > 0, the number of values of each less one.
    """
    pooled = float(freedoms.sum())
    if len(variances) < 2:
        return Prior(0.0, 0.0, pooled)
    half = freedoms / 2
    logs = np.log(variances) - digamma(half) + np.log(half)  # unbiased for the logarithm of the true variance
    excess = float(np.var(logs, ddof=1) - _trigamma(half).mean())
    if excess <= 0:
        return Prior(float(variances @ freedoms) / pooled, inf, pooled)
    d0 = 2 * trigamma_inverse(excess)
    return Prior(exp(float(logs.mean() + digamma(d0 / 2)) - np.log(d0 / 2)), d0, pooled)


def trigamma_inverse(y: float) -> float:
    """The x > 0 whose trigamma is y > 0, by Newton's iteration on 1 / trigamma (Smyth, 2004, appendix).

    The iteration starts below the solution and grows monotonically towards it, because 1 / trigamma is convex.
    """
    if y > 1e7:  # trigamma(x) is 1 / x**2 near zero
        return float(1 / np.sqrt(y))
    if y < 1e-6:  # and 1 / x far from it
        return 1 / y
    x = 0.5 + 1 / y
    for _ in range(50):
        trigamma, tetragamma = float(_trigamma(x)), -2 * float(zeta(3, x))
        step = trigamma * (1 - trigamma / y) / tetragamma
        x += step
        if -step < 1e-12 * x:
            break
    return x


def _trigamma(x: float | Array) -> Array:
    """The derivative of the digamma function, by Hurwitz's zeta function."""
    return np.asarray(zeta(2, x))
