"""What the test images add: against closed forms, DeLong's covariance by a slow loop, and test sets really drawn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from latentbench import Evaluation, LatentbenchError, Metric
from latentbench.boards.images import Images
from latentbench.evaluation.bootstrap import bootstrap_replicates, image_weights


class Accuracy(Metric):
    """The weighted share of right answers; by condition "other", as a part, under that condition's weights."""

    name, title, source, capability = "toy-accuracy", "Accuracy", "none", "predict"
    higher_is_better, bounds = True, (0.0, 1.0)

    def compute(self, evaluation: Evaluation) -> dict[str, float]:
        right = evaluation.output
        other = evaluation.conditions.get("other", evaluation.weights)
        return {
            "": float(np.average(right, weights=evaluation.weights)),
            "other": float(np.average(right, weights=other)),
        }


class Area(Metric):
    """The Mann-Whitney statistic with weights, by all pairs."""

    name, title, source, capability = "toy-area", "Area", "none", "score"
    higher_is_better, bounds = True, (0.0, 1.0)

    def compute(self, evaluation: Evaluation) -> float:
        anomaly = evaluation.targets.anomaly == 1
        above = _above(evaluation.output[anomaly], evaluation.output[~anomaly])
        w, v = evaluation.weights[anomaly], evaluation.weights[~anomaly]
        return float(w @ above @ v / (w.sum() * v.sum()))


def _above(anomalous: Any, normal: Any) -> Any:
    return (anomalous[:, None] > normal) + 0.5 * (anomalous[:, None] == normal)


def evaluation(output: Any, weights: Any = None, conditions: Any = None, anomaly: Any = None) -> Evaluation:
    targets: Any = SimpleNamespace(anomaly=anomaly)
    weights = np.ones(len(output)) if weights is None else weights
    return Evaluation(output, targets, weights, conditions or {})


# Weights


def test_weights_are_the_split_s_alone_positive_and_flat_dirichlet():
    drawn = np.array(list(image_weights("a split", 5, 20000)))
    assert (drawn > 0).all()
    assert drawn.mean(axis=1) == pytest.approx(1)
    assert np.array_equal(drawn[:30], list(image_weights("a split", 5, 30)))
    assert not np.array_equal(drawn[:30], list(image_weights("another", 5, 30)))
    # Dirichlet(1, ..., 1) of N: variance (N - 1) / (N^2 (N + 1)), covariance -1 / (N^2 (N + 1)), both here times N^2.
    expected = (np.eye(5) * 5 - 1) / 6
    assert np.cov(drawn.T) == pytest.approx(expected, abs=0.03)


# Replicates


def test_the_variance_of_an_accuracy_is_the_binomial_s():
    right = np.arange(400) < 300
    values = bootstrap_replicates(Accuracy(), evaluation(right), "split", 4000)[""]
    assert values.mean() == pytest.approx(0.75, abs=0.002)
    assert values.var(ddof=1) == pytest.approx(0.75 * 0.25 / 401, rel=0.09)  # four standard errors


def test_weights_of_conditions_are_multiplied_alike_so_conditions_are_paired():
    right = np.random.default_rng(0).random(50) < 0.6
    own = np.random.default_rng(1).random(50)
    values = bootstrap_replicates(Accuracy(), evaluation(right, own, {"other": own}), "split", 20)
    assert np.array_equal(values[""], values["other"])
    expected = [np.average(right, weights=own * weights) for weights in image_weights("split", 50, 20)]
    assert values[""] == pytest.approx(expected)


def delong(scores: list[Any], anomaly: Any) -> Any:
    """Covariance of several areas under ROC curves (DeLong, DeLong and Clarke-Pearson, 1988, equations 4 to 6)."""
    components = [([], []) for _ in scores]  # type: list[tuple[list[float], list[float]]]
    for score, (v10, v01) in zip(scores, components, strict=True):
        anomalous = [s for s, a in zip(score, anomaly, strict=True) if a]
        normal = [s for s, a in zip(score, anomaly, strict=True) if not a]
        v10 += [sum(1.0 if x > y else 0.5 if x == y else 0.0 for y in normal) / len(normal) for x in anomalous]
        v01 += [sum(1.0 if x > y else 0.5 if x == y else 0.0 for x in anomalous) / len(anomalous) for y in normal]
    s10, s01 = np.cov([one[0] for one in components]), np.cov([one[1] for one in components])
    return s10 / sum(anomaly) + s01 / (len(anomaly) - sum(anomaly))


def test_the_paired_covariance_of_two_areas_is_delong_s():
    rng = np.random.default_rng(2)
    anomaly = (np.arange(240) < 90).astype(np.uint8)
    common = rng.normal(size=240) + 1.0 * anomaly
    scores = [np.round(common + noise * rng.normal(size=240), 1) for noise in (0.4, 0.8)]  # with ties
    replicates = [
        bootstrap_replicates(Area(), evaluation(score, anomaly=anomaly), "split", 4000)[""][:, None] for score in scores
    ]
    images, expected = Images.of(replicates), delong(scores, anomaly)
    contrast = np.array([1, -1])
    assert images.covariance == pytest.approx(expected, rel=0.1)
    assert contrast @ images.covariance @ contrast == pytest.approx(contrast @ expected @ contrast, rel=0.1)
    assert contrast @ expected @ contrast < 0.5 * np.trace(expected)  # pairing matters


def test_a_rare_image_is_in_every_replicate():
    anomaly = (np.arange(30) == 0).astype(np.uint8)
    values = bootstrap_replicates(Area(), evaluation(np.arange(30.0), anomaly=anomaly), "split", 200)[""]
    assert len(values) == 200
    assert np.isfinite(values).all()


def test_a_metric_that_is_undefined_says_so():
    class Undefined(Accuracy):
        def compute(self, evaluation: Evaluation) -> dict[str, float]:
            raise LatentbenchError("no image is labelled")

    with pytest.raises(LatentbenchError, match="no image is labelled"):
        bootstrap_replicates(Undefined(), evaluation(np.ones(3)), "split")
