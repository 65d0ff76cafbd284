"""Detection metrics against scikit-learn, a slow loop over pairs and thresholds, and what must leave them unchanged."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from latentbench import Evaluation, LatentbenchError, Targets
from latentbench_metrics.detection import AUPRC, AUROC, FPR80, FPR95, Detection, F1Max

SETTINGS = settings(max_examples=50)
METRICS: list[type[Detection]] = [AUROC, AUPRC, FPR80, FPR95, F1Max]


def measure(metric: type[Detection], anomaly, scores, weights=None) -> float:
    anomaly = np.asarray(anomaly, np.uint8)
    weights = np.ones(len(anomaly)) if weights is None else np.asarray(weights, np.float64)
    output = np.asarray(scores, np.float32)
    return metric().measure(Evaluation(output, Targets(anomaly=anomaly), weights, {}))[""]


def slow_auroc(anomaly, scores, weights) -> float:
    """The probability that an anomalous image scores above a normal one, ties half: over all pairs."""
    won = total = 0.0
    for a, s, w in zip(anomaly, scores, weights, strict=True):
        for b, t, v in zip(anomaly, scores, weights, strict=True):
            if a == 1 and b == 0:
                total += w * v
                won += w * v * (1.0 if s > t else 0.5 if s == t else 0.0)
    return won / total


def slow_fpr(anomaly, scores, weights, *, level: float) -> float:
    """The smallest false positive rate over all thresholds that find enough of the anomalies."""
    best = 1.0
    for threshold in set(scores):
        found = sum(w for a, s, w in zip(anomaly, scores, weights, strict=True) if a == 1 and s >= threshold)
        false = sum(w for a, s, w in zip(anomaly, scores, weights, strict=True) if a == 0 and s >= threshold)
        if found / sum(w for a, w in zip(anomaly, weights, strict=True) if a == 1) >= level:
            best = min(best, false / sum(w for a, w in zip(anomaly, weights, strict=True) if a == 0))
    return best


def slow_average_precision(anomaly, scores, weights) -> float:
    """The precision at each anomaly's own threshold, averaged over the anomalies by weight."""
    total = sum(w for a, w in zip(anomaly, weights, strict=True) if a == 1)
    value = 0.0
    for a, s, w in zip(anomaly, scores, weights, strict=True):
        if a == 1 and w > 0:
            above = [(b, v) for b, t, v in zip(anomaly, scores, weights, strict=True) if t >= s]
            value += w / total * sum(v for b, v in above if b == 1) / sum(v for _, v in above)
    return value


def slow_f1_max(anomaly, scores, weights) -> float:
    """The greatest F1 over all thresholds, each image of it called one or the other."""
    return max(f1_score(anomaly, scores >= threshold, sample_weight=weights) for threshold in set(scores))


def best_f1_of_the_curve(anomaly, scores, **options) -> float:
    """The greatest harmonic mean of scikit-learn's precision and recall."""
    precision, recall, _ = precision_recall_curve(anomaly, scores, **options)
    both = precision + recall
    return float(np.max(np.divide(2 * precision * recall, both, out=np.zeros_like(both), where=both > 0)))


SLOW = {
    AUROC: slow_auroc,
    AUPRC: slow_average_precision,
    FPR80: lambda *case: slow_fpr(*case, level=0.80),
    FPR95: lambda *case: slow_fpr(*case, level=0.95),
    F1Max: slow_f1_max,
}

# Whole weights and few distinct scores: sums are exact, and ties are many.
items = st.lists(st.tuples(st.integers(0, 1), st.integers(-4, 4), st.integers(0, 3)), min_size=2, max_size=40)


def columns(case: list[tuple[int, int, int]]) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    anomaly, scores, weights = (np.array(column) for column in zip(*case, strict=True))
    assume({0, 1} <= set(anomaly[weights > 0]))
    return anomaly, scores, weights


@pytest.mark.parametrize("metric", METRICS)
@SETTINGS
@given(case=items)
def test_every_metric_equals_its_definition_as_a_slow_loop(metric, case):
    case = columns(case)
    assert measure(metric, *case) == pytest.approx(SLOW[metric](*case), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "reference"),
    [(AUROC, roc_auc_score), (AUPRC, average_precision_score), (F1Max, best_f1_of_the_curve)],
)
def test_they_equal_scikit_learn_with_and_without_weights(metric, reference):
    rng = np.random.default_rng(0)
    anomaly = rng.integers(0, 2, 2000)
    scores = np.round(rng.normal(anomaly, 1.5), 1).astype(np.float32)
    weights = rng.random(2000)
    assert measure(metric, anomaly, scores) == pytest.approx(reference(anomaly, scores), abs=1e-12)
    expected = reference(anomaly, scores, sample_weight=weights)
    assert measure(metric, anomaly, scores, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@SETTINGS
@given(case=items)
def test_an_integer_weight_is_that_many_repetitions(metric, case):
    anomaly, scores, weights = columns(case)
    repeated = measure(metric, np.repeat(anomaly, weights), np.repeat(scores, weights))
    assert measure(metric, anomaly, scores, weights) == pytest.approx(repeated, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@SETTINGS
@given(case=items, factor=st.sampled_from([1 / 3, 0.1, 7.0, 1e-6]))
def test_only_the_ratio_of_weights_counts(metric, case, factor):
    anomaly, scores, weights = columns(case)
    scaled = measure(metric, anomaly, scores, weights * factor)
    assert scaled == pytest.approx(measure(metric, anomaly, scores, weights), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@SETTINGS
@given(case=items)
def test_an_increasing_transform_of_the_scores_changes_nothing(metric, case):
    anomaly, scores, weights = columns(case)
    for transformed in (scores * 3.0 - 5, np.exp(scores / 2), np.arctan(scores)):
        assert measure(metric, anomaly, transformed, weights) == measure(metric, anomaly, scores, weights)


@pytest.mark.parametrize("metric", METRICS)
@SETTINGS
@given(case=items, seed=st.integers(0, 99))
def test_the_order_of_the_images_changes_nothing(metric, case, seed):
    case = columns(case)
    order = np.random.default_rng(seed).permutation(len(case[0]))
    assert measure(metric, *(column[order] for column in case)) == pytest.approx(measure(metric, *case), abs=1e-12)


@SETTINGS
@given(case=items)
def test_auroc_stays_when_classes_and_scores_are_both_turned_round(case):
    anomaly, scores, weights = columns(case)
    assert measure(AUROC, 1 - anomaly, -scores, weights) == pytest.approx(measure(AUROC, anomaly, scores, weights))


@pytest.mark.parametrize(
    ("metric", "expected"),
    # Descending scores: 1 0 1 1 0 0 1 0 1 0 (anomalous = 1), all distinct.
    # AP = (1/1 + 2/3 + 3/4 + 4/7 + 5/9) / 5; 80 % of five anomalies is the fourth, 95 % the fifth; F1 = 2 TP / (called
    # anomalous + 5) is 2/6, 4/8, 6/9, 8/12 and 10/14 at the five anomalies.
    [
        (AUROC, 16 / 25),
        (AUPRC, (1 + 2 / 3 + 3 / 4 + 4 / 7 + 5 / 9) / 5),
        (FPR80, 3 / 5),
        (FPR95, 4 / 5),
        (F1Max, 5 / 7),
    ],
)
def test_a_ranking_counted_by_hand(metric, expected):
    assert measure(metric, [1, 0, 1, 1, 0, 0, 1, 0, 1, 0], range(10, 0, -1)) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [(AUROC, 0.5), (AUPRC, 0.75), (FPR80, 1.0), (FPR95, 1.0), (F1Max, 2 * 0.75 / (1 + 0.75))],
)
def test_equal_scores_are_chance_at_the_prevalence_of_the_weights(metric, expected):
    assert measure(metric, [1, 0, 0], [2.0, 2.0, 2.0], weights=[3.0, 0.5, 0.5]) == expected


@pytest.mark.parametrize(
    ("metric", "best", "worst"),
    [(AUROC, 1, 0), (AUPRC, 1, None), (FPR80, 0, 1), (FPR95, 0, 1), (F1Max, 1, None)],
)
def test_a_perfect_ranking_is_the_best_value_and_a_reversed_one_the_worst(metric, best, worst):
    rng = np.random.default_rng(1)
    anomaly = np.repeat([0, 1], 500)
    weights = rng.random(1000)
    assert measure(metric, anomaly, np.arange(1000), weights) == pytest.approx(best, abs=1e-12)
    if worst is not None:
        assert measure(metric, anomaly, -np.arange(1000), weights) == pytest.approx(worst, abs=1e-12)


@SETTINGS
@given(case=items)
def test_f1_max_is_never_less_than_that_of_calling_all_images_anomalous_and_a_reversed_ranking_has_no_more(case):
    anomaly, scores, weights = columns(case)
    share = weights[anomaly == 1].sum() / weights.sum()
    least = 2 * share / (1 + share)
    assert measure(F1Max, anomaly, scores, weights) >= least - 1e-12
    assert measure(F1Max, anomaly, -anomaly, weights) == pytest.approx(least, abs=1e-12)


def test_the_bounds_hold_although_sums_of_fractional_weights_are_rounded():
    rng = np.random.default_rng(0)
    for count in range(1, 200):
        case = np.repeat([0, 1], count), np.arange(2 * count), rng.random(2 * count)
        assert measure(AUPRC, *case) <= 1  # average precision as summed is often 1 + 2e-16
        assert measure(F1Max, *case) <= 1


def test_no_threshold_is_passed_over_where_the_curve_is_straight():
    anomaly, scores = [0, 1] * 5, np.repeat(np.arange(5), 2)
    assert measure(FPR80, anomaly, scores) == 0.8


def test_a_level_is_reached_although_the_sum_of_fractional_weights_is_rounded_below_it():
    weights = np.full(20, 0.7)
    found = np.cumsum(weights[:10])
    assert found[7] / found[9] < 0.8  # 8 of 10 anomalies of equal weight
    anomaly = [1] * 8 + [0] * 5 + [1] * 2 + [0] * 5
    assert measure(FPR80, anomaly, range(20, 0, -1), weights) == 0.0


def test_images_without_weight_do_not_count_whatever_their_score():
    anomaly, scores = [1, 0, 1, 0], [3.0, 2.0, 1.0, 0.0]
    for metric in METRICS:
        with_others = measure(metric, [*anomaly, 0, 1], [*scores, np.nan, np.inf], [1, 1, 1, 1, 0, 0])
        assert with_others == measure(metric, anomaly, scores)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("anomaly", "weights", "kind"),
    [
        ([0, 0, 0], [1, 1, 1], "anomalous"),
        ([1, 1, 1], [1, 1, 1], "normal"),
        ([0, 0, 1], [1, 1, 0], "anomalous"),
        ([0, 1, 1], [0, 1, 1], "normal"),
        ([], [], "normal"),
    ],
)
def test_one_class_alone_is_an_error_that_names_the_other(metric, anomaly, weights, kind):
    with pytest.raises(LatentbenchError, match=f"no {kind} image has weight: it needs normal and ano"):
        measure(metric, anomaly, np.zeros(len(anomaly)), weights)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error(metric, broken):
    with pytest.raises(LatentbenchError, match="1 of 3 scores are NaN or infinite: it needs finite"):
        measure(metric, [0, 1, 0], [0.0, broken, 1.0])


@pytest.mark.parametrize("metric", METRICS)
def test_splits_without_known_anomalies_or_of_one_kind_alone_are_not_measured(metric):
    assert metric().applies(Targets(anomaly=np.array([0, 1], np.uint8)), {})
    assert not metric().applies(Targets(anomaly=np.array([0, 0], np.uint8)), {})
    assert not metric().applies(Targets(anomaly=np.array([1, 1], np.uint8)), {})
    assert not metric().applies(Targets(attributes={"digit": np.array([0, 1])}), {})
