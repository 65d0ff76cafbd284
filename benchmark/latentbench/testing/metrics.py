"""Conformance of a metric: it is computed on small synthetic outputs for which something is known."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from latentbench.data.splits import Targets, content_hash
from latentbench.errors import LatentbenchError
from latentbench.metric import Evaluation, Metric
from latentbench.plugins.contracts import KINDS
from latentbench.testing.promises import Promises, expect

__all__ = ["TOLERANCE", "check_metric"]

#: Relative tolerance for two values that should be equal.
TOLERANCE = 1e-6

#: Least correlation, over random weights of the images, between values and those that a statistic gives.
ALIKE = 0.9

_IMAGES, _SIDE = 48, 4
#: Random weights of the images that a statistic is tried with.
_WEIGHTINGS = 30


def check_metric(metric_class: type[Metric], *, evaluation: Evaluation | None = None) -> list[str]:
    """Check that a metric fulfils its contract.

    It can be registered. It gives finite numbers within its bounds, or raises a LatentbenchError where it is undefined,
    which is allowed if all outputs are equal. What its statistic keeps gives the same values. It does not change its
    arguments, and the order of the images does not matter. A weight of n is equivalent to n copies of the image. Where
    perfect and entirely wrong outputs are known, the perfect ones are not worse.

    Args:
        metric_class: the metric.
        evaluation: what to compute it on, with whole numbers as weights; by default 48 images with synthetic outputs
            and every target, two attributes of two values, and weights from 0 to 3; also 48 samples, whatever number
            the metric declares.

    Returns:
        What was checked, one line per promise.

    Raises:
        AssertionError: promises are broken; one line for each.
    """
    promises = Promises(f"metric '{getattr(metric_class, 'name', metric_class)}'")
    with promises.that("it can be offered: name, version, title, source, capability, targets, bounds", vital=True):
        KINDS["metrics"].name(metric_class)
    metric, given = metric_class(), evaluation or _made_up(metric_class)
    with promises.that("it applies to a split with the targets and conditions that it names", vital=True):
        expect(metric.applies(given.targets, given.conditions), "it does not")
    with promises.that("it gives finite numbers within its bounds", vital=True):
        values = _measure(metric, given)
        expect(bool(values), "it gives none")
    if metric.statistic is not None:
        kept = metric.statistic().summarize(deepcopy(given))
        with promises.that("what its statistic keeps gives the same values, to within its tolerance"):
            again = metric.measure_kept(kept)
            apart = max(abs(again[part] - value) for part, value in values.items())
            expect(
                apart <= metric.tolerance + TOLERANCE, f"they are {apart:g} apart, its tolerance is {metric.tolerance}"
            )
        if metric.statistic().reweighted(kept, given.weights) is not None:
            with promises.that("under other weights of the images, what its statistic gives varies as its values do"):
                _expect_to_vary_alike(metric, given, kept)
    with promises.that("it gives such numbers, or a LatentbenchError, if all outputs are the same"):
        same = replace(given, output=_each(given.output, np.zeros_like))
        try:
            metric.compute(deepcopy(same))
        except LatentbenchError:
            pass  # undefined, and it says so
        else:
            _measure(metric, same)
    with promises.that("it changes nothing that it is given"):
        used, before = deepcopy(given), _fingerprint(metric, given)
        metric.measure(used)
        expect(_fingerprint(metric, used) == before, "it does")
    with promises.that("the order of the images does not matter"):
        draw = np.random.default_rng(1)
        shuffled = _take(metric, given, draw.permutation(len(given.weights)))
        if metric.capability == "sample":
            shuffled = replace(shuffled, output=_each(given.output, draw.permutation))
        _expect_equal(_measure(metric, shuffled), values)
    if metric.spans is None:
        with promises.that("a weight counts like so many copies of the image"):
            copies = _take(metric, given, np.repeat(np.arange(len(given.weights)), given.weights.astype(int)))
            _expect_equal(_measure(metric, replace(copies, weights=np.ones(len(copies.weights)))), values)
    known = _right_and_wrong(metric, given.targets)
    if known is not None:
        with promises.that("to be right everywhere is not worse than to be wrong everywhere"):
            right, wrong = (next(iter(_measure(metric, replace(given, output=output)).values())) for output in known)
            better = right >= wrong if metric.higher_is_better else right <= wrong
            expect(better, f"right gives {right:g}, wrong {wrong:g}, and higher_is_better is {metric.higher_is_better}")
    return promises.kept()


def _measure(metric: Metric, evaluation: Evaluation) -> dict[str, float]:
    """The metric's values, computed on a copy, so that changed arguments break one promise only."""
    return metric.measure(deepcopy(evaluation))


def _expect_to_vary_alike(metric: Metric, given: Evaluation, kept: Mapping[str, npt.NDArray[Any]]) -> None:
    """Expect a correlation of ``ALIKE`` between the values from the statistic and the metric's own."""
    statistic, draw = metric.statistic, np.random.default_rng(2)
    assert statistic is not None, "its caller looked"
    found, expected = [], []
    for _ in range(_WEIGHTINGS):
        weights = given.weights * draw.exponential(size=len(given.weights))
        arrays = statistic().reweighted(kept, weights)
        assert arrays is not None, "its caller looked"
        found.append(metric.measure_kept(arrays))
        expected.append(_measure(metric, replace(given, weights=weights)))
    for part in expected[0]:
        pair = np.array([[one[part] for one in values] for values in (found, expected)])
        covariance = np.cov(pair)
        alike = covariance[0, 1] >= ALIKE * np.sqrt(covariance[0, 0] * covariance[1, 1]) > 0
        expect(alike or not covariance[1, 1] > 0, f"they correlate by less than {ALIKE}, or not at all")


def _made_up(metric_class: type[Metric]) -> Evaluation:
    draw = np.random.default_rng(0)

    def numbers(*shape: int) -> npt.NDArray[np.float32]:
        return (draw.integers(0, 20, (_IMAGES, *shape)) / 20).astype(np.float32)  # few values, so that there are ties

    def labels() -> npt.NDArray[np.int64]:
        return draw.integers(2, size=_IMAGES)

    outputs: Mapping[str, Any] = {
        "score": numbers(),
        "localize": numbers(_SIDE, _SIDE),
        "encode": {"z": numbers(3)},
        "predict": {"left": labels(), "right": labels()},
        "cluster": {"one": labels(), "other": labels()},
        "reconstruct": numbers(1, _SIDE, _SIDE),
        "sample": numbers(1, _SIDE, _SIDE),
        "log_likelihood": -numbers(),
    }
    targets = Targets(
        anomaly=labels().astype(np.uint8),
        mask=draw.integers(2, size=(_IMAGES, _SIDE, _SIDE)).astype(np.uint8),
        attributes={"left": labels(), "right": labels()},
    )
    conditions = {name: draw.uniform(0.5, 1.5, _IMAGES) for name in metric_class.spans or ()}
    weights = draw.integers(4, size=_IMAGES).astype(float)
    images = draw.integers(256, size=(_IMAGES, 1, _SIDE, _SIDE), dtype=np.uint8)
    return Evaluation(outputs[metric_class.capability], targets, weights, conditions, lambda: images)


def _right_and_wrong(metric: Metric, targets: Targets) -> tuple[Any, Any] | None:
    """Outputs that are entirely right and entirely wrong; None where these are not known."""
    match metric.capability:
        case "score" if targets.anomaly is not None and "anomaly" in metric.targets:
            return targets.anomaly.astype(np.float32), (1 - targets.anomaly).astype(np.float32)
        case "localize" if targets.mask is not None and "mask" in metric.targets:
            return targets.mask.astype(np.float32), (1 - targets.mask).astype(np.float32)
        case "predict" if "attributes" in metric.targets:
            return targets.attributes, _each(targets.attributes, lambda labels: labels + 1)
        case _:
            return None


def _each(arrays: Any, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Any:
    """``change`` applied to an array, or to each array of a mapping; None stays None."""
    if isinstance(arrays, Mapping):
        return {name: change(array) for name, array in arrays.items()}
    return None if arrays is None else change(arrays)


def _take(metric: Metric, given: Evaluation, index: npt.NDArray[np.int64]) -> Evaluation:
    """The evaluation restricted to the images at ``index``; samples belong to no image and are kept."""

    def taken(arrays: Any) -> Any:
        return _each(arrays, lambda array: array[index])

    targets = Targets(**{name: taken(arrays) for name, arrays in vars(given.targets).items()})
    output = given.output if metric.capability == "sample" else taken(given.output)
    return Evaluation(
        output, targets, given.weights[index], taken(given.conditions), lambda: np.asarray(given.images()[index])
    )


def _fingerprint(metric: Metric, given: Evaluation) -> str:
    images = given.images() if metric.capability == "sample" else None
    return content_hash(given.output, vars(given.targets), given.weights, given.conditions, images)


def _expect_equal(found: Mapping[str, float], expected: Mapping[str, float]) -> None:
    expect(found.keys() == expected.keys(), f"it gives parts {list(found)}, not {list(expected)}")
    for part, value in expected.items():
        close = np.isclose(found[part], value, rtol=TOLERANCE, atol=TOLERANCE)
        expect(bool(close), f"it gives {found[part]:g}, not {value:g}" + (f" ('{part}')" if part else ""))
