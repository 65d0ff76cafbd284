"""Every built-in metric on bad input: numbers that are not finite, one class, nothing, one image, equal outputs.

Each gives a clear error or a value that is written down here; a metric without a row fails. Metrics of samples, which
read images and no per-image truth, have theirs in test_generation.py.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest

from latentbench import MISSING, Evaluation, LatentbenchError, Metric, Targets
from latentbench_metrics import latentbench_metrics

METRICS: list[type[Metric]] = [metric for metric in latentbench_metrics() if metric.capability != "sample"]
IMAGES, SIDE = 60, 4


def perfect(metric: type[Metric]) -> Evaluation:
    """Outputs that are the truth about 60 images: a third anomalous, one without a mask, two factors crossed."""
    image = np.arange(IMAGES)
    anomaly = (image % 3 == 0).astype(np.uint8)
    mask = np.zeros((IMAGES, SIDE, SIDE), np.uint8)
    mask[anomaly == 1, 0] = 1  # a quarter of the pixels of these
    factors = {"left": image % 2, "right": image // 2 % 2}
    outputs = {
        "score": anomaly.astype(np.float32),
        "localize": mask.astype(np.float32),
        "encode": {"z": np.column_stack([*factors.values(), image]).astype(np.float32)},
        "predict": factors,
        "cluster": factors,
    }
    return Evaluation(
        outputs[metric.capability],
        Targets(anomaly=anomaly, mask=mask, mask_known=image != 1, attributes=factors),
        np.ones(IMAGES),
        {condition: np.ones(IMAGES) for condition in metric.spans or ()},
    )


def each(arrays, change):
    return {name: change(array) for name, array in arrays.items()} if isinstance(arrays, dict) else change(arrays)


def first(evaluation: Evaluation, images: int) -> Evaluation:
    """The first images alone."""

    def taken(arrays):
        return each(arrays, lambda array: array[:images])

    targets = Targets(**{name: taken(values) for name, values in vars(evaluation.targets).items()})
    return Evaluation(
        taken(evaluation.output), targets, evaluation.weights[:images], taken(dict(evaluation.conditions))
    )


def of_one_class(evaluation: Evaluation, value: int) -> Evaluation:
    targets = evaluation.targets
    assert targets.anomaly is not None
    assert targets.mask is not None
    return replace(
        evaluation,
        targets=Targets(
            anomaly=np.full_like(targets.anomaly, value),
            mask=np.full_like(targets.mask, value),
            mask_known=targets.mask_known,
            attributes={name: np.full_like(labels, value) for name, labels in targets.attributes.items()},
        ),
    )


def unlabelled(evaluation: Evaluation) -> Evaluation:
    """No mask and no attribute is known; whether an image is anomalous has no missing value."""
    attributes = {name: np.full_like(labels, MISSING) for name, labels in evaluation.targets.attributes.items()}
    known = np.zeros(IMAGES, bool)
    return replace(evaluation, targets=replace(evaluation.targets, mask_known=known, attributes=attributes))


def weightless(evaluation: Evaluation) -> Evaluation:
    return replace(evaluation, weights=np.zeros(IMAGES), conditions=each(dict(evaluation.conditions), np.zeros_like))


CASES = {
    "all outputs equal": lambda given: replace(given, output=each(given.output, np.ones_like)),
    "all of class 0": lambda given: of_one_class(given, 0),
    "all of class 1": lambda given: of_one_class(given, 1),
    "unlabelled": unlabelled,
    "no image": lambda given: first(given, 0),
    "one image": lambda given: first(given, 1),
    "no weight": weightless,
}


@dataclass(frozen=True)
class Row:
    """What a metric gives: the value under "", or the beginning of its error."""

    all_outputs_equal: float
    all_of_class_0: float | str
    all_of_class_1: float | str
    unlabelled: float | str
    no_image: float | str
    one_image: float | str
    no_weight: float | str
    not_finite: float | str | None = None
    """Where one number is not finite; None where the output is whole numbers."""

    def of(self, case: str) -> float | str:
        found: float | str = getattr(self, case.replace(" ", "_"))
        return found


def detection(best: float, equal: float) -> Row:
    no_normal = "no normal image has weight"
    return Row(
        equal,
        "no anomalous image has weight",
        no_normal,
        best,  # neither masks nor attributes are of interest
        no_normal,
        no_normal,  # the first image is anomalous
        no_normal,
        "1 of 60 scores are NaN or infinite",
    )


def localization(equal: float) -> Row:
    no_mask = "no image that has weight has a mask"
    return Row(
        equal,
        "no anomalous pixel in the known masks",
        "no normal pixel in the known masks",
        no_mask,
        no_mask,
        1,  # the first image has pixels of both kinds
        no_mask,
        "1 of 944 map values are NaN or infinite",
    )


def disentanglement(factors: int) -> Row:
    still = f"0 of 2 factors have more than one value: it needs at least {factors}"
    few = "images have weight and all factors known: it needs at least 20"
    not_finite = "1 of 180 numbers of the codes are NaN or infinite"
    return Row(0.0, still, still, f"0 {few}", f"0 {few}", f"1 {few}", f"0 {few}", not_finite)


def clustering(equal: float) -> Row:
    still = "no label has two values among the images that have weight"
    return Row(equal, still, still, still, still, still, still)


UNLABELLED = "no image that has weight is labelled"
CELLS = "the images do not fill the four cells of two binary attributes"

#: A new metric gets its row here.
EXPECTED = {
    "auroc": detection(best=1, equal=0.5),
    "auprc": detection(best=1, equal=1 / 3),
    "fpr80": detection(best=0, equal=1),
    "fpr95": detection(best=0, equal=1),
    "f1-max": detection(best=1, equal=0.5),  # 2 p / (1 + p), p = 1/3
    "pixel-auroc": localization(equal=0.5),
    "pixel-ap": localization(equal=20 * 4 / (59 * 16)),
    "aupro30": localization(equal=0.15),
    "aupro5": localization(equal=0.025),
    "missing-masks": Row(1, 1, 1, 60, 0, 0, 0, not_finite=1),  # a fact of the data
    "accuracy": Row(0.5, 0.5, 0.5, UNLABELLED, UNLABELLED, 1, UNLABELLED),
    "worst-case-accuracy": Row(0.5, CELLS, CELLS, CELLS, CELLS, CELLS, 1),  # it does not depend on weights
    "subgroup-error": Row(1, CELLS, CELLS, CELLS, CELLS, CELLS, 0),
    "accuracy-gap": Row(0, 0, 0, UNLABELLED, UNLABELLED, 0, UNLABELLED),
    "mig": disentanglement(1),
    "sap": disentanglement(1),
    "dci": disentanglement(2),
    "irs": disentanglement(1),
    "factor-vae-score": disentanglement(2),
    "beta-vae-score": disentanglement(2),
    "gaussian-total-correlation": disentanglement(1),
    "gaussian-wasserstein": disentanglement(1),
    "gaussian-wasserstein-normalized": disentanglement(1),
    "mutual-information-score": disentanglement(1),
    "cluster-accuracy": clustering(0.5),
    "cluster-majority-accuracy": clustering(0.5),
    "nmi": clustering(0.0),
    "ari": clustering(0.0),
    "facets": Row(2, 2, 2, 2, 2, 2, 2),  # how many the model gives, whatever is in them
}


@pytest.fixture(autouse=True)
def _no_numerical_warning_passes():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def assert_gives(metric: type[Metric], evaluation: Evaluation, expected: float | str) -> None:
    assert metric().applies(evaluation.targets, evaluation.conditions) in (True, False)
    if isinstance(expected, str):
        with pytest.raises(LatentbenchError) as error:
            metric().measure(evaluation)
        assert str(error.value).startswith(expected)
        assert "\n" not in str(error.value)
    else:
        assert metric().measure(evaluation)[""] == pytest.approx(expected, abs=1e-12)


def test_every_metric_has_a_row_and_every_row_a_metric():
    assert sorted(EXPECTED) == sorted(metric.name for metric in METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_an_error_or_has_its_value(metric, case):
    assert_gives(metric, CASES[case](perfect(metric)), EXPECTED[metric.name].of(case))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_number_that_is_not_finite_is_an_error_or_is_not_read(metric, broken):
    expected = EXPECTED[metric.name].not_finite
    if expected is None:
        assert metric.capability in ("predict", "cluster")  # whole numbers
        return

    def break_one(array):
        array = array.copy()
        array[7:8].reshape(-1)[:1] = broken
        return array

    evaluation = perfect(metric)
    assert_gives(metric, replace(evaluation, output=each(evaluation.output, break_one)), expected)
