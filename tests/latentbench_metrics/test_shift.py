"""Accuracy under correlation shift against slow loops, against really resampled data, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench import MISSING, Evaluation, LatentbenchError, Metric, Targets
from latentbench_datasets.celeba.subsampling import shuffled, subsample
from latentbench_metrics.shift import (
    Accuracy,
    AccuracyGap,
    SubgroupError,
    WorstCaseAccuracy,
    accuracy_at,
    cell_accuracy,
)

SETTINGS = settings(max_examples=50)
LEFT = np.array([0, 0, 1, 1, 0, 1])
RIGHT = np.array([0, 1, 0, 1, 0, 1])


def measure(metric: type[Metric], predicted, attributes, weights=None, conditions=None) -> dict[str, float]:
    attributes = {name: np.asarray(values, np.int64) for name, values in attributes.items()}
    predicted = {name: np.asarray(values, np.int64) for name, values in predicted.items()}
    count = len(next(iter(attributes.values())))
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    return metric().measure(Evaluation(predicted, Targets(attributes=attributes), weights, conditions or {}))


def correlated(c: float, left, right):
    """Item weights that make the four cells' shares those of correlation c, whatever the split's composition."""
    weights = np.zeros(len(left))
    for a in (0, 1):
        for b in (0, 1):
            cell = (left == a) & (right == b)
            weights[cell] = (1 + c if a == b else 1 - c) / 4 / cell.sum()
    return weights


def random_case(seed: int, count: int = 400):
    """Two attributes of unequal composition, and a predictor of the left one that leans on the right one."""
    rng = np.random.default_rng(seed)
    left = rng.integers(0, 2, count)
    right = np.where(rng.random(count) < 0.8, left, 1 - left)
    leaning = np.where(rng.random(count) < 0.5, right, left)
    noisy = np.where(rng.random(count) < 0.2, 1 - right, right)
    return {"left": leaning, "right": noisy}, {"left": left, "right": right}


# Accuracy


def test_accuracy_is_the_mean_over_attributes_with_each_as_a_part():
    predicted = {"left": LEFT, "right": [0, 1, 0, 0, 1, 0]}
    values = measure(Accuracy, predicted, {"left": LEFT, "right": RIGHT})
    assert values == {"": 0.75, "left": 1.0, "right": 0.5}


def test_only_labelled_images_count():
    values = measure(Accuracy, {"left": [0, 0, 0, 0]}, {"left": [0, 1, MISSING, MISSING]})
    assert values == {"": 0.5, "left": 0.5}


def test_a_prediction_of_missing_is_never_right():
    assert measure(Accuracy, {"left": [MISSING, 0]}, {"left": [MISSING, 0]}) == {"": 1.0, "left": 1.0}


def test_an_attribute_that_is_labelled_nowhere_is_left_out_of_the_mean():
    attributes = {"left": [0, 1], "right": [MISSING, MISSING]}
    assert measure(Accuracy, {"left": [0, 1], "right": [0, 0]}, attributes) == {"": 1.0, "left": 1.0}


@SETTINGS
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(-1, 2), st.integers(0, 2), st.integers(-1, 2), st.floats(0, 5)),
        min_size=1,
        max_size=30,
    )
)
def test_weighted_accuracy_equals_a_slow_loop(items):
    predictions: tuple[list[int], list[int]] = ([], [])
    truths: tuple[list[int], list[int]] = ([], [])
    weights = []
    for p, t, q, u, weight in items:
        predictions[0].append(p)
        predictions[1].append(q)
        truths[0].append(t)
        truths[1].append(u)
        weights.append(weight)
    expected = []
    for predicted, truth in zip(predictions, truths, strict=True):
        cases = [(p == t, w) for p, t, w in zip(predicted, truth, weights, strict=True) if t != MISSING and w > 0]
        if cases:
            expected.append(sum(w for right, w in cases if right) / sum(w for _, w in cases))
    arguments = dict(zip("ab", predictions, strict=True)), dict(zip("ab", truths, strict=True)), weights
    if expected:
        assert measure(Accuracy, *arguments)[""] == pytest.approx(np.mean(expected))
    else:
        with pytest.raises(LatentbenchError, match="no image that has weight is labelled"):
            measure(Accuracy, *arguments)


def test_all_right_is_exactly_one_under_any_weights():
    weights = np.random.default_rng(0).random(len(LEFT) * 1000)
    left = np.tile(LEFT, 1000)
    assert measure(Accuracy, {"left": left}, {"left": left}, weights)[""] == 1.0


def test_nothing_labelled_is_an_error():
    with pytest.raises(LatentbenchError, match="no image that has weight is labelled: it needs an"):
        measure(Accuracy, {"left": [0, 1]}, {"left": [0, MISSING]}, weights=[0, 1])


def test_where_an_attribute_is_not_predicted_the_others_are_measured_and_there_is_no_mean():
    assert measure(Accuracy, {"left": LEFT}, {"left": LEFT, "right": RIGHT}) == {"left": 1.0}
    with pytest.raises(LatentbenchError, match=r"the model predicts no attribute 'right': it predicts left$"):
        measure(Accuracy, {"left": LEFT}, {"right": RIGHT})


# Accuracy at a correlation


@pytest.mark.parametrize("c", [-1, -0.9, -0.5, 0, 0.3, 0.9, 1])
@pytest.mark.parametrize("seed", range(3))
def test_accuracy_at_a_correlation_is_the_accuracy_under_weights_of_that_correlation(c, seed):
    predicted, attributes = random_case(seed)
    weights = correlated(c, attributes["left"], attributes["right"])
    reweighted = measure(Accuracy, predicted, attributes, weights)[""]
    assert accuracy_at(c, cell_accuracy(predicted, attributes)) == pytest.approx(reweighted, abs=1e-12)


@pytest.mark.parametrize("c", [-0.9, -0.2, 0, 0.6, 0.9])
def test_accuracy_at_a_correlation_is_what_a_resampled_split_of_that_correlation_gives(c):
    predicted, attributes = random_case(0, count=4000)
    rng = np.random.default_rng(1)
    joint = np.array([1 + c, 1 - c, 1 - c, 1 + c]) / 4
    count = 200_000
    cells = rng.multinomial(count, joint)
    drawn = np.concatenate(
        [
            rng.choice(np.flatnonzero((attributes["left"] == a) & (attributes["right"] == b)), size=n)
            for (a, b), n in zip([(0, 0), (0, 1), (1, 0), (1, 1)], cells, strict=True)
        ]
    )
    left, right = (attributes[name][drawn] for name in ("left", "right"))
    assert np.corrcoef(left, right)[0, 1] == pytest.approx(c, abs=0.01)
    resampled = np.mean([(predicted[name] == attributes[name])[drawn].mean() for name in ("left", "right")])
    # Standard error at most 0.5 / sqrt(200 000) = 0.0011; four of them.
    assert accuracy_at(c, cell_accuracy(predicted, attributes)) == pytest.approx(resampled, abs=0.0045)


def test_cells_are_counted_by_hand():
    right = np.array([0, 0, 0, 1, 1, 1])  # wrong in all of (0, 1) and in half of (0, 0)
    predicted = {"left": LEFT, "right": right}
    cells = cell_accuracy(predicted, {"left": LEFT, "right": RIGHT})
    assert cells.tolist() == [[0.75, 0.5], [1.0, 1.0]]
    assert accuracy_at(1, cells) == 0.875
    assert accuracy_at(-1, cells) == 0.75
    assert accuracy_at(0, cells) == 0.8125


@pytest.mark.parametrize("c", [-1.01, 1.01, float("nan")])
def test_there_is_no_correlation_outside_its_range(c):
    with pytest.raises(ValueError, match=r"a correlation is in \[-1, 1\]"):
        accuracy_at(c, np.ones((2, 2)))


def test_cells_need_two_binary_attributes_with_an_image_in_each_cell():
    with pytest.raises(ValueError, match="an image in each of their four cells"):
        cell_accuracy({"left": LEFT}, {"left": LEFT})


# Worst case


@SETTINGS
@given(seed=st.integers(0, 50))
def test_the_worst_case_is_the_least_over_a_grid_of_201_correlations(seed):
    predicted, attributes = random_case(seed, count=60)
    cells = cell_accuracy(predicted, attributes)
    grid = [accuracy_at(c, cells) for c in np.linspace(-1, 1, 201)]
    assert measure(WorstCaseAccuracy, predicted, attributes)[""] == pytest.approx(min(grid), abs=1e-12)


def test_a_model_that_reads_one_attribute_off_the_other_is_worst_at_the_reversed_correlation():
    predicted = {"left": RIGHT, "right": RIGHT}
    attributes = {"left": LEFT, "right": RIGHT}
    assert measure(Accuracy, predicted, attributes, weights=LEFT == RIGHT)[""] == 1.0
    assert measure(WorstCaseAccuracy, predicted, attributes) == {"": 0.5}


def test_the_worst_case_depends_on_neither_composition_nor_weights():
    predicted, attributes = random_case(7)
    value = measure(WorstCaseAccuracy, predicted, attributes)
    rng = np.random.default_rng(0)
    matching = attributes["left"] == attributes["right"]
    twice = np.concatenate([np.arange(len(matching)), np.flatnonzero(matching)])
    doubled = [{name: values[twice] for name, values in labels.items()} for labels in (predicted, attributes)]
    assert measure(WorstCaseAccuracy, *doubled) == pytest.approx(value)
    assert measure(WorstCaseAccuracy, predicted, attributes, weights=rng.random(len(matching))) == value


def test_images_with_a_missing_label_are_in_no_cell():
    attributes = {"left": [*LEFT, 0, MISSING], "right": [*RIGHT, MISSING, 1]}
    predicted = {"left": [*LEFT, 1, 1], "right": [*RIGHT, 1, 0]}
    assert measure(WorstCaseAccuracy, predicted, attributes) == {"": 1.0}


@pytest.mark.parametrize(
    ("attributes", "applies"),
    [
        ({"left": LEFT, "right": RIGHT}, True),
        ({"left": np.append(LEFT, MISSING), "right": np.append(RIGHT, 1)}, True),
        ({}, False),
        ({"left": LEFT}, False),
        ({"left": LEFT, "middle": LEFT, "right": RIGHT}, False),
        ({"left": LEFT, "right": RIGHT * 2}, False),
        ({"left": LEFT, "right": LEFT}, False),  # two empty cells
        ({"left": np.where(LEFT == 0, MISSING, 1), "right": RIGHT}, False),
    ],
)
@pytest.mark.parametrize("metric", [WorstCaseAccuracy, SubgroupError])
def test_what_needs_cells_applies_where_all_four_of_two_binary_attributes_are_filled(metric, attributes, applies):
    assert metric().applies(Targets(attributes=attributes), {}) is applies


# Gap


def test_the_gap_is_the_accuracy_under_one_condition_less_that_under_the_other():
    predicted, attributes = random_case(3)
    conditions = {
        "correlated": correlated(0.9, attributes["left"], attributes["right"]),
        "uncorrelated": correlated(0, attributes["left"], attributes["right"]),
    }
    cells = cell_accuracy(predicted, attributes)
    gap = measure(AccuracyGap, predicted, attributes, conditions=conditions)
    assert gap == pytest.approx({"": accuracy_at(0.9, cells) - accuracy_at(0, cells)}, abs=1e-12)


def test_the_gap_of_a_model_that_reads_one_attribute_off_the_other_is_half_the_correlation_it_loses():
    # Right on both where the values match, on one of two where they differ: 1 at c = 1, 3/4 at c = 0.
    conditions = {"correlated": correlated(1, LEFT, RIGHT), "uncorrelated": correlated(0, LEFT, RIGHT)}
    predicted = {"left": RIGHT, "right": RIGHT}
    assert measure(AccuracyGap, predicted, {"left": LEFT, "right": RIGHT}, conditions=conditions) == {"": 0.25}


def test_conditions_that_draw_images_add_noise_to_the_gap_but_no_bias():
    random = np.random.default_rng(0)
    attributes = {"left": random.integers(0, 2, 2000), "right": random.integers(0, 2, 2000)}
    right = random.random((2, 2000)) < np.where(attributes["left"] == attributes["right"], 0.9, 0.75)
    predicted = {
        name: np.where(hit, truth, 1 - truth) for hit, (name, truth) in zip(right, attributes.items(), strict=True)
    }
    cells = 2 * attributes["left"] + attributes["right"]
    conditions = {"correlated": 0.8, "uncorrelated": 0.0}
    gaps = []
    for seed in range(200):
        order = shuffled(2000, seed)
        drawn = {name: subsample(cells, c, order).astype(float) for name, c in conditions.items()}
        gaps.append(measure(AccuracyGap, predicted, attributes, conditions=drawn)[""])
    accuracy = cell_accuracy(predicted, attributes)
    exact = accuracy_at(0.8, accuracy) - accuracy_at(0, accuracy)
    deviation = np.std(gaps, ddof=1)
    assert np.mean(gaps) == pytest.approx(exact, abs=4 * deviation / np.sqrt(200))
    assert 0.002 < deviation < 0.006  # as measured on celeba-subset


def test_the_gap_needs_both_conditions():
    targets = Targets(attributes={"left": LEFT, "right": RIGHT})
    weights = np.ones(len(LEFT))
    assert AccuracyGap().applies(targets, {"correlated": weights, "uncorrelated": weights})
    assert not AccuracyGap().applies(targets, {"correlated": weights})


# Subgroups


@SETTINGS
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(-1, 1), st.integers(0, 1), st.integers(-1, 1)), min_size=0, max_size=40
    )
)
def test_subgroup_errors_equal_a_slow_loop(items):
    items = [*items, (0, 0, 1, 0), (1, 0, 1, 1), (0, 1, 0, 0), (1, 1, 1, 1)]  # one in each cell
    wrong: dict[str, list[bool]] = {}
    for p, t, q, u in items:
        if MISSING not in (t, u):
            wrong.setdefault(f"left={t},right={u}", []).append(p != t or q != u)
    expected = {name: sum(errors) / len(errors) for name, errors in wrong.items()}
    p, t, q, u = zip(*items, strict=True)
    values = measure(SubgroupError, {"left": p, "right": q}, {"left": t, "right": u})
    assert values.pop("") == max(values.values())
    assert values == pytest.approx(expected, abs=1e-12)


def test_a_model_that_reads_one_attribute_off_the_other_errs_in_all_of_the_rare_subgroups_and_in_no_other():
    predicted = {"left": RIGHT, "right": RIGHT}
    assert measure(SubgroupError, predicted, {"left": LEFT, "right": RIGHT}) == {
        "": 1.0,
        "left=0,right=0": 0.0,
        "left=0,right=1": 1.0,
        "left=1,right=0": 1.0,
        "left=1,right=1": 0.0,
    }


def test_an_image_with_both_attributes_wrong_is_one_error():
    predicted = {"left": [1, 0, 1, 1, 0, 1], "right": [1, 1, 0, 1, 0, 1]}  # both wrong in one of the two of (0, 0)
    assert measure(SubgroupError, predicted, {"left": LEFT, "right": RIGHT})[""] == 0.5


@SETTINGS
@given(seed=st.integers(0, 50))
def test_subgroup_errors_lie_between_the_mean_error_of_the_attributes_and_its_double(seed):
    predicted, attributes = random_case(seed)
    errors = measure(SubgroupError, predicted, attributes)
    mean_errors = 1 - cell_accuracy(predicted, attributes)
    for (a, b), mean in np.ndenumerate(mean_errors):
        assert mean - 1e-12 <= errors[f"left={a},right={b}"] <= 2 * mean + 1e-12


def test_subgroup_errors_depend_on_neither_composition_nor_weights():
    predicted, attributes = random_case(7)
    values = measure(SubgroupError, predicted, attributes)
    rng = np.random.default_rng(0)
    matching = attributes["left"] == attributes["right"]
    twice = np.concatenate([np.arange(len(matching)), np.flatnonzero(matching)])
    doubled = [{name: labels[twice] for name, labels in part.items()} for part in (predicted, attributes)]
    assert measure(SubgroupError, *doubled) == pytest.approx(values)
    assert measure(SubgroupError, predicted, attributes, weights=rng.random(len(matching))) == values


def test_subgroups_of_an_attribute_that_is_not_predicted_are_an_error():
    with pytest.raises(LatentbenchError, match="the model predicts no attribute 'right'"):
        measure(SubgroupError, {"left": LEFT}, {"left": LEFT, "right": RIGHT})
