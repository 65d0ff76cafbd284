"""Attributes predicted under correlation shift: accuracy, its worst case and drop, and the errors of subgroups."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError, Metric

if TYPE_CHECKING:
    from latentbench import Targets

__all__ = ["Accuracy", "AccuracyGap", "FourCells", "SubgroupError", "WorstCaseAccuracy", "accuracy_at", "cell_accuracy"]

#: Attribute -> (N,), predicted or true.
Labels = Mapping[str, npt.NDArray[np.int64]]


class Accuracy(Metric):
    """Share of an attribute's labelled images that are predicted right; the mean over attributes, and each as a part.

    An attribute that is labelled on no image of positive weight is left out of the mean. If one that is labelled is not
    predicted, as a probe could not learn it, the others are measured, and there is no mean.
    """

    name = "accuracy"
    title = "accuracy"
    source = "Funke et al., CoLLAs 2022, section 5: mean accuracy of both attributes"
    capability = "predict"
    targets = ("attributes",)
    higher_is_better = True
    bounds = (0.0, 1.0)

    def parts(self, targets: "Targets") -> Collection[str]:
        """The attributes."""
        return targets.attributes

    def compute(self, evaluation: Evaluation) -> dict[str, float]:
        """The mean under "", and each attribute's accuracy under its name.

        Raises:
            LatentbenchError: nothing labelled has weight, or the model predicts none of what is labelled.
        """
        return _accuracies(evaluation, evaluation.weights)


class AccuracyGap(Metric):
    """Accuracy under the training correlation minus accuracy without correlation: what leaning on it was worth.

    Ours, not a published metric. Zero is no dependence; below zero, the model is better without the correlation. A
    model at chance has no gap either: read it beside the accuracy.

    Both terms are weightings of the same predictions. Where the weights are those of the cells of the attributes, as on
    mnist-shift, the difference is exact for the test images. Where a condition draws images, weighting them by one and
    the others by zero, as on celeba, it carries the noise of that draw, which is the same for all models: on
    celeba-subset at c = 0.8 its standard deviation over 200 draws is 0.003 to 0.004 for the predictions of 12 runs, and
    recorded values are up to 0.005 from those of ``accuracy_at``, which uses every image.
    """

    name = "accuracy-gap"
    title = "accuracy gap"
    source = "ours: the difference of two accuracies of Funke et al., CoLLAs 2022, section 5"
    capability = "predict"
    targets = ("attributes",)
    higher_is_better = False
    bounds = (-1.0, 1.0)
    spans = ("correlated", "uncorrelated")

    def compute(self, evaluation: Evaluation) -> float:
        """Mean accuracy over attributes under "correlated" less that under "uncorrelated".

        Raises:
            LatentbenchError: nothing labelled has weight, or the model predicts no such attribute.
        """
        _predicted(evaluation.output, evaluation.targets.attributes)
        correlated, uncorrelated = (
            _accuracies(evaluation, evaluation.conditions[condition])[""]
            for condition in ("correlated", "uncorrelated")
        )
        return correlated - uncorrelated


class FourCells(Metric):
    """A metric of the four cells of two binary attributes, whatever a condition's weights.

    Applies where there are two attributes with values 0 and 1, and every cell has an image with both labels.
    """

    capability = "predict"
    targets = ("attributes",)
    bounds = (0.0, 1.0)
    spans = ()

    def applies(self, targets: "Targets", conditions: Mapping[str, Any]) -> bool:
        """Whether the split has two binary attributes and an image in each of their four cells."""
        return super().applies(targets, conditions) and _cells(targets.attributes) is not None

    def cells(self, evaluation: Evaluation) -> list[list[npt.NDArray[np.bool_]]]:
        """The images of each cell, [first value][second value] -> (N,).

        Raises:
            LatentbenchError: not two binary attributes with an image in each of their four cells.
        """
        cells = _cells(evaluation.targets.attributes)
        if cells is None:
            raise LatentbenchError(
                "the images do not fill the four cells of two binary attributes", "it needs one in each cell"
            )
        return cells


class WorstCaseAccuracy(FourCells):
    """The least accuracy at any correlation in [-1, 1] of two binary attributes, marginals one half.

    A correlation c only reweights the four cells of the two attributes (``accuracy_at``), and the accuracy is linear
    in c, so the least one is at c = -1 or c = +1. It depends on the cells' accuracies alone: not on how many images
    the split has of each, nor on a condition's weights.
    """

    name = "worst-case-accuracy"
    title = "worst-case accuracy"
    source = "Funke et al., CoLLAs 2022, section 5 and Fig. 6b: the lower end of the range over test correlations"
    higher_is_better = True

    def compute(self, evaluation: Evaluation) -> float:
        """The lesser of the accuracies at c = -1 and c = +1.

        Raises:
            LatentbenchError: not two binary attributes with an image in each of their four cells, or the model
                predicts no such attribute.
        """
        self.cells(evaluation)
        truth = evaluation.targets.attributes
        cells = cell_accuracy(_predicted(evaluation.output, truth), truth)
        return min(accuracy_at(-1, cells), accuracy_at(1, cells))


class SubgroupError(FourCells):
    """Share of images with either attribute predicted wrong, for each subgroup: cell of two true binary attributes.

    The main value is the worst subgroup's. A model that leans on a correlation errs most in the subgroups that are
    rare under it, so the worst one tells what the rare ones suffer without being told which they are; the parts,
    ``Male=1,Smiling=0``, tell each. It is the table of Funke et al. (2022) with the true subgroup as the reference,
    which its text says; their released script refers to the predicted one.

    A subgroup's error is a mean over all of its images in the split, so it depends neither on how many there are nor
    on a condition's weights.
    """

    name = "subgroup-error"
    title = "worst subgroup error"
    source = "Funke et al., CoLLAs 2022, Tables 3 and 4: percentage incorrect per subgroup, as a share"
    higher_is_better = False

    def compute(self, evaluation: Evaluation) -> dict[str, float]:
        """The worst subgroup's error under "", and each one's under its name.

        Raises:
            LatentbenchError: not two binary attributes with an image in each of their four cells, or the model
                predicts no such attribute.
        """
        cells = self.cells(evaluation)
        truth = evaluation.targets.attributes
        predicted = _predicted(evaluation.output, truth)
        wrong = np.any([predicted[name] != values for name, values in truth.items()], axis=0)
        first, second = truth
        errors = {
            f"{first}={a},{second}={b}": float(wrong[cell].mean())
            for a, row in enumerate(cells)
            for b, cell in enumerate(row)
        }
        return {"": max(errors.values()), **errors}


def accuracy_at(correlation: float, cells: npt.NDArray[np.float64]) -> float:
    """Accuracy under a correlation c of two binary attributes, exactly, from the accuracies of their four cells.

    Both marginals are one half, so equal values have probability (1 + c) / 4 each, and unequal ones (1 - c) / 4
    (Funke et al., 2022, section 5).

    Args:
        correlation: c in [-1, 1].
        cells: (2, 2) accuracy where the attributes are (row, column), as ``cell_accuracy`` gives it.

    >>> cells = np.array([[1.0, 0.5], [0.5, 1.0]])
    >>> [accuracy_at(c, cells) for c in (-1, 0, 1)]
    [0.5, 0.75, 1.0]
    """
    if not -1 <= correlation <= 1:
        raise ValueError(f"a correlation is in [-1, 1], got {correlation}")
    equal = np.eye(2, dtype=bool)
    return float(np.sum(cells * np.where(equal, 1 + correlation, 1 - correlation)) / 4)


def cell_accuracy(predicted: Labels, attributes: Labels) -> npt.NDArray[np.float64]:
    """Accuracy in each cell of two binary attributes: (2, 2), the mean over the cell's images and both attributes.

    Args:
        predicted: attribute -> (N,).
        attributes: the two attributes -> (N,) 0, 1 or MISSING. Images with a missing label are in no cell.

    Raises:
        ValueError: not two binary attributes, or a cell without an image.

    >>> attributes = {"left": np.array([0, 0, 1, 1]), "right": np.array([0, 1, 0, 1])}
    >>> cell_accuracy({"left": np.array([0, 0, 0, 1]), "right": np.array([0, 1, 1, 1])}, attributes).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    cells = _cells(attributes)
    if cells is None:
        raise ValueError("needs two attributes with values 0 and 1, and an image in each of their four cells")
    right = np.mean([predicted[name] == truth for name, truth in attributes.items()], axis=0)
    return np.array([[right[cell].mean() for cell in row] for row in cells])


def _cells(attributes: Labels) -> list[list[npt.NDArray[np.bool_]]] | None:
    """The images of each cell, [first value][second value] -> (N,); None where accuracy has no exact reweighting."""
    from latentbench import MISSING

    if len(attributes) != 2 or not all(np.isin(truth, (MISSING, 0, 1)).all() for truth in attributes.values()):
        return None
    first, second = attributes.values()
    cells = [[(first == a) & (second == b) for b in (0, 1)] for a in (0, 1)]
    return cells if all(cell.any() for row in cells for cell in row) else None


def _accuracies(evaluation: Evaluation, weights: npt.NDArray[np.float64]) -> dict[str, float]:
    """Accuracy of each labelled attribute that is predicted, by name; where all of them are, their mean under ""."""
    from latentbench import MISSING

    truth = evaluation.targets.attributes
    labelled = {name: (values != MISSING) & (weights > 0) for name, values in truth.items()}
    labelled = {name: images for name, images in labelled.items() if images.any()}
    if not labelled:
        raise LatentbenchError("no image that has weight is labelled", "it needs an attribute's label on at least one")
    predicted: Labels = evaluation.output
    if labelled.keys().isdisjoint(predicted):
        _predicted(predicted, labelled)
    parts = {
        name: float(np.average(predicted[name][images] == truth[name][images], weights=weights[images]))
        for name, images in labelled.items()
        if name in predicted
    }
    return {"": sum(parts.values()) / len(parts), **parts} if len(parts) == len(labelled) else parts


def _predicted(predicted: Labels, attributes: Collection[str]) -> Labels:
    """The predictions, known to cover every attribute."""
    for name in attributes:
        if name not in predicted:
            mend = f"it predicts {', '.join(sorted(predicted)) or 'none'}"
            raise LatentbenchError(f"the model predicts no attribute '{name}'", mend)
    return predicted
