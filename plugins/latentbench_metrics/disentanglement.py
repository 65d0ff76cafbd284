"""Common base of the disentanglement metrics: checked codes and factors of the images that count."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError, Metric
from latentbench_metrics.information import totals

if TYPE_CHECKING:
    from latentbench import Targets

__all__ = ["LEAST_IMAGES", "CodedFactors", "Disentanglement", "coded_factors"]

#: Least number of images: with fewer, a histogram of 20 bins would find structure in noise.
LEAST_IMAGES = 20


@dataclass(frozen=True)
class CodedFactors:
    """Images as their codes and the factors behind them; a weight counts as so many copies of the image."""

    codes: npt.NDArray[np.float64]
    """(N, D), finite, D >= 2: all subspaces side by side."""
    factors: Mapping[str, npt.NDArray[np.int64]]
    """Name -> (N,) values, numbered from 0 without a gap; each factor has at least two."""
    weights: npt.NDArray[np.float64]
    """(N,) > 0."""

    @property
    def varying(self) -> npt.NDArray[np.bool_]:
        """(D,) False for the dimensions that are constant."""
        return np.asarray(np.ptp(self.codes, axis=0) > 0)

    @property
    def standard_codes(self) -> npt.NDArray[np.float64]:
        """(N, D) codes without their mean, the largest standard deviation of a dimension brought to 1.

        The means of a VAE's posterior are about of this scale by its prior. It makes a method with a scale of its own
        (a regularized classifier, a threshold) treat every model's codes alike, and dimensions still differ in scale.
        """
        centred = self.codes - np.average(self.codes, axis=0, weights=self.weights)
        variance = np.average(centred**2, axis=0, weights=self.weights).max()
        return centred / (np.sqrt(variance) if variance > 0 else 1)

    def distinct(self) -> "CodedFactors":
        """The same in a fixed order, equal images as one with the sum of their weights.

        What is drawn from a fixed seed then depends neither on the order of the images nor on how copies are written.
        """
        table = np.column_stack([*self.factors.values(), self.codes])
        table, row = np.unique(table, axis=0, return_inverse=True)
        factors = {name: table[:, column].astype(np.int64) for column, name in enumerate(self.factors)}
        return CodedFactors(table[:, len(factors) :], factors, totals(row.ravel(), self.weights))

    def crossed(self) -> "CodedFactors":
        """The same, weighted so that every combination of the factors' values that occurs weighs 1."""
        _, cell = np.unique(np.stack(list(self.factors.values())), axis=1, return_inverse=True)
        return replace(self, weights=self.weights / totals(cell.ravel(), self.weights)[cell.ravel()])


class Disentanglement(Metric):
    """A metric of codes against the factors of variation, which are the split's attributes.

    Images of which a factor is missing are left out, and so are factors with one value on the others. The dimensions
    of all subspaces are taken together; a code of one dimension is given a second, constant one, since gaps and
    entropies compare dimensions and a constant says nothing.

    Applies where at least ``LEAST_IMAGES`` images have all factors known, and enough of these vary.
    """

    capability = "encode"
    targets = ("attributes",)
    higher_is_better = True
    bounds = (0.0, 1.0)
    least_factors: ClassVar[int] = 1
    """Least number of varying factors for which the metric is defined."""

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether enough images have all factors known, and enough factors vary among these."""
        if not super().applies(targets, conditions):
            return False
        known = _known(targets)
        varying = [values for values in targets.attributes.values() if len(np.unique(values[known])) > 1]
        return int(np.count_nonzero(known)) >= LEAST_IMAGES and len(varying) >= self.least_factors

    def compute(self, evaluation: Evaluation) -> float | dict[str, float]:
        """The value over the images of positive weight of which all factors are known.

        Raises:
            LatentbenchError: too few such images, too few factors vary among them, or a code is not finite.
        """
        return self.value(coded_factors(evaluation, self.least_factors))

    @abstractmethod
    def value(self, images: CodedFactors) -> float | dict[str, float]:
        """The metric of at least ``LEAST_IMAGES`` images and ``least_factors`` factors."""


def coded_factors(evaluation: Evaluation, least_factors: int = 1) -> CodedFactors:
    """The images of positive weight of which all factors are known, and the factors that vary among them.

    Raises:
        LatentbenchError: fewer than ``LEAST_IMAGES`` images or ``least_factors`` factors, or a code is not finite.
    """
    counts = (evaluation.weights > 0) & _known(evaluation.targets)
    number = int(np.count_nonzero(counts))
    if number < LEAST_IMAGES:
        found = f"{number} images have weight and all factors known"
        raise LatentbenchError(found, f"it needs at least {LEAST_IMAGES}")
    codes = np.column_stack([np.asarray(part, np.float64)[counts] for part in evaluation.output.values()])
    if broken := int(np.count_nonzero(~np.isfinite(codes))):
        raise LatentbenchError(f"{broken} of {codes.size} numbers of the codes are NaN or infinite", "it needs finite")
    codes = np.pad(codes, ((0, 0), (0, max(0, 2 - codes.shape[1]))))
    factors = {}
    for name, values in evaluation.targets.attributes.items():
        distinct, numbered = np.unique(values[counts], return_inverse=True)
        if len(distinct) > 1:
            factors[name] = numbered.astype(np.int64)
    if len(factors) < least_factors:
        found = f"{len(factors)} of {len(evaluation.targets.attributes)} factors have more than one value"
        raise LatentbenchError(found, f"it needs at least {least_factors}")
    return CodedFactors(codes, factors, evaluation.weights[counts])


def _known(targets: "Targets") -> npt.NDArray[np.bool_]:
    """(N,) whether no factor is missing."""
    from latentbench import MISSING

    return np.asarray(np.all([values != MISSING for values in targets.attributes.values()], axis=0))
