"""The kit passes metrics that keep their promises, and names the promise that a broken metric really breaks."""

from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from latentbench import Evaluation, LatentbenchError, Metric, Statistic, Targets
from latentbench.testing import check_metric


class Auroc(Metric):
    name = "auroc"
    title = "AUROC"
    source = "scikit-learn"
    capability = "score"
    targets: ClassVar[tuple[str, ...]] = ("anomaly",)
    higher_is_better = True
    bounds = (0.0, 1.0)

    def compute(self, evaluation):
        return roc_auc_score(evaluation.targets.anomaly, evaluation.output, sample_weight=evaluation.weights)


class Accuracy(Auroc):
    name = "accuracy"
    capability = "predict"
    targets = ("attributes",)

    def compute(self, evaluation):
        return {
            name: float(np.average(evaluation.output[name] == truth, weights=evaluation.weights))
            for name, truth in evaluation.targets.attributes.items()
        }


class Gap(Accuracy):
    name = "gap"
    higher_is_better = False
    bounds = (-1.0, 1.0)
    spans = ("one", "other")

    def compute(self, evaluation):
        right = evaluation.output["left"] == evaluation.targets.attributes["left"]
        return float(np.subtract(*(np.average(right, weights=evaluation.conditions[name]) for name in self.spans)))


class PixelDistance(Auroc):
    """Mean squared distance of the map to the mask."""

    name = "pixel-distance"
    capability = "localize"
    targets = ("mask",)
    higher_is_better = False

    def compute(self, evaluation):
        errors = np.square(evaluation.output - evaluation.targets.mask).mean((1, 2))
        return float(np.average(errors, weights=evaluation.weights))


class Spread(Auroc):
    """Of a code, undefined if it is constant."""

    name = "spread"
    capability = "encode"
    targets = ()

    def compute(self, evaluation):
        (code,) = evaluation.output.values()
        mean = np.average(code, axis=0, weights=evaluation.weights)
        spread = np.average(np.square(code - mean).sum(1), weights=evaluation.weights)
        if spread == 0:
            raise LatentbenchError("the code is constant")
        return min(1.0, float(spread))


class Errors(Statistic):
    """Each image's error."""

    name = "errors"

    def summarize(self, evaluation):
        errors = np.square(evaluation.output - evaluation.targets.mask).mean((1, 2))
        return {"errors": errors, "weights": evaluation.weights}

    def reweighted(self, kept, weights):
        return {**kept, "weights": weights}


class WithStatistic(PixelDistance):
    statistic: ClassVar[type[Statistic]] = Errors

    def compute_kept(self, kept):
        return float(np.average(kept["errors"], weights=kept["weights"]))


@pytest.mark.parametrize("metric_class", [Auroc, Accuracy, PixelDistance])
def test_a_metric_that_keeps_its_promises_passes_with_a_line_for_each(metric_class):
    assert len(check_metric(metric_class)) == 8


def test_a_metric_with_a_statistic_passes_with_two_lines_more():
    assert len(check_metric(WithStatistic)) == 10


def test_a_metric_that_spans_conditions_passes_and_its_weights_are_left_alone():
    report = check_metric(Gap)
    assert not any("weight" in line for line in report)
    assert "to be right everywhere is not worse than to be wrong everywhere" in report


def test_a_metric_may_be_undefined_if_all_outputs_are_the_same():
    report = check_metric(Spread)
    assert "it gives such numbers, or a LatentbenchError, if all outputs are the same" in report
    assert not any("right everywhere" in line for line in report)


def test_an_evaluation_of_the_authors_own_takes_the_place_of_the_made_up_one():
    class Named(Auroc):
        name = "named"

        def applies(self, targets, conditions):
            return "age" in targets.attributes

    with pytest.raises(AssertionError, match="it applies to a split with the targets and conditions that it names"):
        check_metric(Named)
    anomaly = np.array([0, 1, 0, 1], np.uint8)
    targets = Targets(anomaly=anomaly, attributes={"age": np.arange(4)})
    own = Evaluation(np.array([0.1, 0.4, 0.4, 0.2], np.float32), targets, np.array([1.0, 2.0, 1.0, 3.0]), {})
    assert len(check_metric(Named, evaluation=own)) == 8


class NoTitle(Auroc):
    title = ""


class Percent(Auroc):
    def compute(self, evaluation):
        return 100 * super().compute(evaluation)


class Empty(Auroc):
    def compute(self, evaluation):
        return {}


class NanIfConstant(Auroc):
    targets = ()

    def compute(self, evaluation):
        scores = evaluation.output
        with np.errstate(invalid="ignore"):
            scaled = (scores - scores.min()) / (scores.max() - scores.min())
        return float(np.average(scaled, weights=evaluation.weights))


class ErrorIfConstant(Auroc):
    def compute(self, evaluation):
        return super().compute(evaluation) if np.ptp(evaluation.output) else [][0]


class Normalizes(Auroc):
    def compute(self, evaluation):
        evaluation.weights[:] /= evaluation.weights.sum()
        return super().compute(evaluation)


class FirstHalf(Auroc):
    def compute(self, evaluation):
        half = slice(len(evaluation.weights) // 2)
        return roc_auc_score(
            evaluation.targets.anomaly[half], evaluation.output[half], sample_weight=evaluation.weights[half]
        )


class Unweighted(Auroc):
    def compute(self, evaluation):
        return roc_auc_score(evaluation.targets.anomaly, evaluation.output)


class WrongDirection(Auroc):
    higher_is_better = False


class BlindToWeights(Errors):
    def reweighted(self, kept, weights):
        return kept


class WeightsOfOtherImages(Errors):
    def reweighted(self, kept, weights):
        return {**kept, "weights": weights[::-1]}


class Halved(WithStatistic):
    name = "auroc"

    def compute_kept(self, kept):
        return super().compute_kept(kept) / 2


class Blind(WithStatistic):
    name, statistic = "auroc", BlindToWeights


class Mixed(WithStatistic):
    name, statistic = "auroc", WeightsOfOtherImages


@pytest.mark.parametrize(
    ("metric_class", "promises"),
    [
        (Halved, ["what its statistic keeps gives the same values, to within its tolerance: they are "]),
        (Blind, ["varies as its values do: they correlate by less than 0.9"]),
        (Mixed, ["varies as its values do: they correlate by less than 0.9"]),
        (NoTitle, ["it can be offered: name, version, title, source, capability, targets, bounds: *needs a title"]),
        (Percent, ["it gives finite numbers within its bounds: *its bounds are [0.0, 1.0]"]),
        (Empty, ["it gives finite numbers within its bounds: it gives none"]),
        (NanIfConstant, ["if all outputs are the same: *gave nan"]),
        (ErrorIfConstant, ["if all outputs are the same: IndexError"]),
        (Normalizes, ["it changes nothing that it is given: it does"]),
        (FirstHalf, ["the order of the images does not matter: it gives ", "a weight counts like so many copies*"]),
        (Unweighted, ["a weight counts like so many copies of the image: it gives "]),
        (WrongDirection, ["right everywhere is not worse than to be wrong everywhere: right gives 1, wrong 0"]),
    ],
)
def test_a_broken_promise_is_named(metric_class, promises):
    with pytest.raises(AssertionError) as error:
        check_metric(metric_class)
    subject, *lines = str(error.value).splitlines()
    assert subject == "metric 'auroc' breaks what it promises"
    assert len(lines) == len(promises), lines
    for line, promise in zip(lines, promises, strict=True):
        position = 0
        for piece in promise.split("*"):
            position = line.index(piece, position) + len(piece)
