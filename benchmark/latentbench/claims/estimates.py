"""Measured numbers against bounds: one-sided t tests, and what they say of equivalence, of gaps and of orders.

A number is the difference between a measured mean and what it is compared with. For the published value of one row the
seeds' part of its variance is the row's own, s^2 / n with n - 1 degrees of freedom; what the test images add
(``latentbench.boards.images``) and the square of the published value's standard error, where it is known, stand beside
it. For two rows it is the variance by which the tables rank them (``latentbench.boards.comparison``). As there, the
parts are combined by Satterthwaite's formula, and no p-value is less than that over seeds alone.

Equivalence is tested by two one-sided tests (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987):
both have to show that the number lies within its margin. An order holds if each row is ahead of the next by its own
test (an intersection-union test: Berger, Technometrics 24, 1982), and fails if any pair is the other way round, with
Bonferroni's correction for the number of pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import copysign, inf, sqrt

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from latentbench.boards.comparison import Comparison
from latentbench.boards.images import Images
from latentbench.boards.seeds_needed import Uncertainty
from latentbench.boards.significance import Summary, freedom_of_sum
from latentbench.claims.schema import Spread

__all__ = ["Estimate", "Tested", "equivalence", "gap", "of_pair", "of_row", "order", "published_error"]


@dataclass(frozen=True)
class Estimate:
    """A number and its uncertainty."""

    value: float
    uncertainty: Uncertainty

    def above(self, bound: float) -> float:
        """The p-value of the number being no more than ``bound``: a small one shows that it is above."""
        return self._p(self.value - bound)[0]

    def below(self, bound: float) -> float:
        """The p-value of the number being no less than ``bound``: a small one shows that it is below."""
        return self._p(bound - self.value)[0]

    def within(self, margin: float) -> tuple[float, float]:
        """The p-values of the number's not lying, and of its lying between ``-margin`` and ``margin``."""
        value = self.value
        below, above, beyond, short = self._p(margin - value, value + margin, value - margin, -margin - value)
        return max(below, above), min(1.0, 2 * min(beyond, short))

    def _p(self, *distances: float) -> list[float]:
        """The p-value of each distance's being no more than 0, by the upper tail of Student's t."""
        of = self.uncertainty
        if not of.variance > 0:  # nothing is known to vary
            return [0.0 if distance > 0 else 1.0 for distance in distances]
        parts = [(of.variance, of.all_freedom)]
        if of.rest > 0 and of.seeds > 0:
            parts.append((of.seeds, of.freedom))
        t = [[-distance / sqrt(variance) for distance in distances] for variance, _ in parts]
        tails = stdtr([[min(freedom, 1e15)] for _, freedom in parts], t)
        return [float(p) for p in tails.max(axis=0)]


@dataclass(frozen=True)
class Tested:
    """What the tests of one claim say."""

    holds: float
    """The p-value of its not holding."""
    fails: float
    """The p-value of its holding."""
    estimate: Estimate
    """The number that decides: of an order, that of the pair which is least clearly in order."""
    bound: float
    """The bound that is nearest to it."""
    inside: bool
    """Whether the number itself lies where the claim holds, so that it may be shown to hold; else, to fail."""
    ways: int = 1
    """In how many ways the claim can fail; ``fails`` is multiplied by it."""


def equivalence(estimate: Estimate, margin: float) -> Tested:
    """Whether the number lies between -margin and margin."""
    holds, fails = estimate.within(margin)
    return Tested(holds, fails, estimate, copysign(margin, estimate.value), abs(estimate.value) <= margin, ways=2)


def gap(estimate: Estimate, at_least: float) -> Tested:
    """Whether the number, by how much a row is better than another one, is at least so much."""
    return Tested(estimate.above(at_least), estimate.below(at_least), estimate, at_least, estimate.value >= at_least)


def order(adjacent: Sequence[Estimate], pairs: Sequence[Estimate]) -> Tested:
    """Whether rows are in order, best first.

    Args:
        adjacent: by how much each row is better than the next.
        pairs: by how much each row is better than each later one; these include the adjacent ones.
    """
    least = max(adjacent, key=lambda one: one.above(0))
    fails = min(1.0, len(pairs) * min(one.below(0) for one in pairs))
    return Tested(least.above(0), fails, least, 0.0, least.value >= 0, len(pairs))


def of_row(row: Summary, published: float, images: Images | None, error: tuple[float, float] | None) -> Estimate:
    """The measured mean of a row less the published value.

    Args:
        row: the values over seeds, at least two of them, or those of a model that is the same with every seed.
        published: in the same unit.
        images: of this row alone.
        error: of the published value: its standard error and the degrees of freedom, where they are known.
    """
    varies = row.variance > 0
    parts = []
    if images is not None and images.covariance[0, 0] >= 0:  # false for NaN
        counted = images.noise[0] if varies else 0.0
        parts.append((max(float(images.covariance[0, 0] - counted), 0.0), float(images.freedom)))
    if error is not None:
        parts.append((error[0] ** 2, error[1]))
    return Estimate(
        row.mean - published,
        Uncertainty(
            have=row.n,
            seed=row.variance,
            seeds=row.variance / row.n,
            freedom=float(row.n - 1) if varies else inf,
            later=lambda n: np.asarray(n - 1, dtype=np.float64),
            rest=sum(part for part, _ in parts),
            rest_freedom=freedom_of_sum(parts),
        ),
    )


def of_pair(comparison: Comparison, first: int, second: int, *, higher_is_better: bool) -> Estimate:
    """By how much the first of two rows of a table is better than the second."""
    sign = 1 if higher_is_better else -1
    difference = sign * float(comparison.difference[first, second])
    return Estimate(difference, Uncertainty.of_pair(comparison, first, second))


def published_error(spread: Spread | None, seeds: int | None) -> tuple[float, float] | None:
    """The standard error of a published mean and its degrees of freedom, in the spread's unit; None if it is unknown.

    A confidence interval of an unknown number of runs is taken for one of a normal distribution.

    >>> published_error(Spread(value=3.0, kind="population-std"), 10)
    (1.0, 9.0)
    """
    if spread is None:
        return None
    freedom = float(seeds - 1) if seeds and seeds > 1 else None
    if spread.kind == "confidence-interval" and spread.level is not None:
        share = (1 + spread.level) / 2
        quantile = float(stdtrit(freedom, share)) if freedom else float(ndtri(share))
        return spread.value / quantile, freedom or inf
    if spread.kind == "standard-error":
        return spread.value, freedom or inf
    if freedom is not None and spread.kind in ("std", "population-std"):
        return spread.value / sqrt(freedom + (spread.kind == "std")), freedom
    return None
