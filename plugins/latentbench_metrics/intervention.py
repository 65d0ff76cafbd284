"""What stays the same in the codes of images that share a factor's value: FactorVAE and BetaVAE scores, and IRS."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from latentbench import LatentbenchError
from latentbench_metrics.disentanglement import CodedFactors, Disentanglement
from latentbench_metrics.information import totals

__all__ = ["IRS", "BetaVAEScore", "FactorVAEScore"]

#: Images, or pairs of images, that share a factor's value in one draw, and the numbers of draws: disentanglement_lib's.
_BATCH, _FITTED, _HELD_OUT = 64, 10_000, 5_000


class Intervention(Disentanglement):
    """A metric that holds one factor and lets the others vary, as if a generator could be asked for such images.

    The images are the split's own, grouped by the value that they share. A definition of this kind brings its own
    distribution: factors independent, each value as likely as any other. So it is computed once for a split, whatever
    its conditions, and every combination of the factors' values that occurs counts alike. A value that one image alone
    has is left out.
    """

    spans = ()

    def value(self, images: CodedFactors) -> float:
        """The value; 0 where the code is constant.

        Raises:
            LatentbenchError: a factor of which no two images share a value.
        """
        images = images.distinct()
        crossed = images.crossed()
        held = {name: _Held(name, values, images.weights, crossed.weights) for name, values in images.factors.items()}
        return self.held_value(crossed, held) if images.varying.any() else 0.0

    @abstractmethod
    def held_value(self, images: CodedFactors, held: Mapping[str, "_Held"]) -> float:
        """The metric of distinct images, some dimension of their codes not constant.

        Args:
            images: every combination of the factors' values has the weight 1.
            held: by factor, the images that share a value of it.
        """


class FactorVAEScore(Intervention):
    """Accuracy of telling which factor was held from the dimension that varied least.

    Of 64 images that share a value of a factor, the dimension of least variance, relative to its variance over all
    images, is a vote for that factor; 10,000 votes are drawn from a fixed seed, and a dimension stands for the factor
    that it has the most votes for. A dimension whose standard deviation is below 5 % of the largest one's is left out.
    Chance is one over the number of factors.

    Ours, where disentanglement_lib differs: the accuracy is that over the votes themselves, not over 5,000 others; the
    5 % are of the largest standard deviation, about 1 in a VAE, where the library has an absolute 0.05.

    Applies where two factors vary.
    """

    name = "factor-vae-score"
    title = "FactorVAE score"
    source = "Kim and Mnih, ICML 2018, section 4; draws and pruning as in disentanglement_lib (Locatello et al., 2019)"
    least_factors = 2

    def held_value(self, images: CodedFactors, held: Mapping[str, "_Held"]) -> float:
        """Share of the votes that are for the factor of their dimension."""
        rng = np.random.default_rng(0)
        codes = images.standard_codes
        deviation = np.sqrt(np.average(codes**2, axis=0, weights=images.weights))
        active = deviation >= 0.05 * deviation.max()
        columns = (codes[:, active] / deviation[active]).T.astype(np.float32, order="C")
        votes = []
        for factor in held.values():
            values = factor.values((_FITTED // len(held), 1), rng)
            drawn = factor.images(np.repeat(values, _BATCH, axis=1), rng)
            variance = [column.take(drawn).var(axis=1) for column in columns]
            votes.append(np.bincount(np.argmin(variance, axis=0), minlength=len(columns)))
        return float(np.max(votes, axis=0).sum() / np.sum(votes))


class BetaVAEScore(Intervention):
    """Accuracy of a linear classifier that tells which factor pairs of images share from how far their codes are apart.

    Of 64 pairs whose two images share a value of a factor, the absolute differences of their codes are averaged, a
    number for each dimension; a logistic regression on 10,000 such draws is scored on 5,000 others, all drawn from a
    fixed seed. Chance is one over the number of factors. Linear mixtures of the factors can score 1: a high value is no
    evidence of aligned axes.

    Ours, where disentanglement_lib differs: the codes have a standard scale, so the regularization treats models alike.

    Applies where two factors vary.
    """

    name = "beta-vae-score"
    title = "BetaVAE score"
    source = "Higgins et al., ICLR 2017, section 3; draws and classifier as in disentanglement_lib: LogisticRegression"
    least_factors = 2

    def held_value(self, images: CodedFactors, held: Mapping[str, "_Held"]) -> float:
        """Accuracy on the draws that the classifier was not fitted to."""
        from sklearn.linear_model import LogisticRegression

        rng = np.random.default_rng(0)
        columns = images.standard_codes.T.astype(np.float32, order="C")

        def draw(count: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
            """Mean distances of the pairs of a draw, (n, D), and the factor held in it, (n,), n about ``count``."""
            distances = []
            for factor in held.values():
                values = factor.values((count // len(held), _BATCH), rng)
                one, other = factor.images(values, rng), factor.images(values, rng)
                apart = [np.abs(column.take(one) - column.take(other)).mean(axis=1) for column in columns]
                distances.append(np.column_stack(apart).astype(np.float64))
            return np.concatenate(distances), np.repeat(np.arange(len(held)), count // len(held))

        classifier = LogisticRegression(max_iter=1000).fit(*draw(_FITTED))
        return float(classifier.score(*draw(_HELD_OUT)))


class IRS(Intervention):
    """How little a dimension moves while one factor is held: interventional robustness to its most robust factor.

    Of a dimension and a factor: 1 less the mean over the factor's values of the 99 % quantile of the distance from the
    mean code of that value, relative to the greatest distance from the overall mean. A dimension has its best factor's,
    and dimensions are averaged by that greatest distance; constant ones do not count. It is below 0 only where images
    of a value are farther from their own mean than any image from the overall one.

    Ours, where disentanglement_lib differs: each value of a factor is a group, where the library puts more than 20
    values into 20 bins; the quantile is one of the distances, where it interpolates.
    """

    name = "irs"
    title = "IRS"
    source = "Suter, Miladinovic, Schölkopf and Bauer, ICML 2019; estimated as in disentanglement_lib, 99 % quantile"
    bounds = (-1.0, 1.0)

    def held_value(self, images: CodedFactors, held: Mapping[str, "_Held"]) -> float:
        """The robustness of the dimensions that are not constant, averaged."""
        codes, weights = images.codes[:, images.varying], images.weights
        reach = np.abs(codes - np.average(codes, axis=0, weights=weights)).max(axis=0)
        robustness = []
        for factor in held.values():
            distances = []
            for group in factor.groups():
                distance = np.abs(codes[group] - np.average(codes[group], axis=0, weights=weights[group]))
                quantile = np.quantile(distance, 0.99, axis=0, weights=weights[group], method="inverted_cdf")
                distances.append(quantile)
            robustness.append(1 - np.mean(distances, axis=0) / reach)
        return float(np.average(np.max(robustness, axis=0), weights=reach))


class _Held:
    """The images that share a value of one factor, for every value that at least two images have.

    Args:
        name: the factor's, for errors.
        values: (N,) its values, numbered from 0.
        counts: (N,) how many images each row stands for.
        weights: (N,) > 0, by which values and images are drawn.

    Raises:
        LatentbenchError: no two images share a value.
    """

    def __init__(
        self,
        name: str,
        values: npt.NDArray[np.int64],
        counts: npt.NDArray[np.float64],
        weights: npt.NDArray[np.float64],
    ) -> None:
        shared = np.flatnonzero(totals(values, counts)[values] >= 2)
        if not len(shared):
            raise LatentbenchError(f"no two images share a value of the factor '{name}'", "it compares such images")
        self._order = shared[np.argsort(values[shared], kind="stable")]
        self._ends = np.unique(values[shared], return_counts=True)[1].cumsum()
        self._below = np.cumsum(weights[self._order])
        self._limits = np.concatenate([[0], self._below[self._ends - 1]])

    def groups(self) -> Iterator[npt.NDArray[np.int64]]:
        """Value after value, the index of its images."""
        return iter(np.split(self._order, self._ends[:-1]))

    def values(self, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Values, numbered as in ``groups``, drawn by the weight of their images."""
        return np.asarray(np.searchsorted(self._limits[1:-1], rng.random(shape) * self._limits[-1], side="right"))

    def images(self, values: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """For each of ``values`` the index of an image that has it, drawn by weight."""
        low, high = self._limits[values], self._limits[values + 1]
        place = np.searchsorted(self._below, low + rng.random(values.shape) * (high - low), side="right")
        place = np.minimum(place, self._ends[values] - 1)  # a sum of fractions is rounded
        return np.asarray(self._order[place])
