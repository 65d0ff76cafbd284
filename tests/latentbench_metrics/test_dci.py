"""Disentanglement, completeness and informativeness: closed forms, slow loops, and the trees fitted once more."""

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, GradientBoostingClassifier

from latentbench import Evaluation, Targets
from latentbench_metrics.dci import DCI, completeness, disentanglement


def measure(codes, factors, weights=None) -> dict[str, float]:
    factors = np.asarray(factors, np.int64)
    weights = np.ones(len(factors)) if weights is None else np.asarray(weights, np.float64)
    attributes = {f"factor{number}": values for number, values in enumerate(factors.T)}
    return DCI().measure(Evaluation({"z": np.asarray(codes, np.float32)}, Targets(attributes=attributes), weights, {}))


def slow_disentanglement(importance) -> float:
    """Eastwood and Williams' weighted average of 1 - H_K(P_i.), cell by cell."""
    number = len(importance[0])
    value, total = 0.0, sum(sum(row) for row in importance)
    for row in importance:
        shares = [cell / sum(row) for cell in row if cell > 0]
        value += sum(row) / total * (1 + sum(share * log(share) for share in shares) / log(number))
    return value


def slow_completeness(importance) -> float:
    return slow_disentanglement([list(column) for column in zip(*importance, strict=True)])


matrices = st.integers(2, 4).flatmap(
    lambda columns: st.lists(
        st.lists(st.integers(0, 5), min_size=columns, max_size=columns).filter(any), min_size=2, max_size=5
    )
)


@given(importance=matrices)
def test_disentanglement_and_completeness_equal_their_definitions_cell_by_cell(importance):
    matrix = np.array(importance, float)
    assert disentanglement(matrix) == pytest.approx(slow_disentanglement(importance), abs=1e-12)
    if matrix.sum(axis=0).all():
        assert completeness(matrix) == pytest.approx(slow_completeness(importance), abs=1e-12)


@pytest.mark.parametrize(
    ("importance", "separate", "complete"),
    [
        (np.eye(3), 1, 1),
        (np.ones((4, 3)), 0, 0),
        (np.repeat(np.eye(2), 2, axis=0), 1, 0.5),  # two dimensions for each factor: log 2 of log 4
        (np.repeat(np.eye(2), 2, axis=1), 0.5, 1),  # two factors in each dimension
        ([[1, 0], [0, 1], [0, 0]], 1, 1),  # a dimension of no importance does not count
        (np.zeros((3, 2)), 0, 0),
        ([[3, 1], [0, 2]], 1 - 4 / 6 * (2 - 0.75 * log(3, 2)), 0.5 + 0.5 * (1 - (log(3, 2) - 2 / 3))),
    ],
)
def test_importances_whose_scores_are_known_in_closed_form(importance, separate, complete):
    assert disentanglement(np.array(importance, float)) == pytest.approx(separate, abs=1e-12)
    assert completeness(np.array(importance, float)) == pytest.approx(complete, abs=1e-12)


def test_it_equals_trees_that_are_fitted_to_the_distinct_images_as_documented():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, [2, 4], (200, 2))
    codes = (factors @ rng.normal(size=(2, 3)) + rng.normal(0, 0.5, (200, 3))).astype(np.float32)
    weights = rng.integers(1, 4, 200).astype(float)

    order = np.lexsort(np.column_stack([factors, codes]).T[::-1])  # no two images are equal
    held_out = np.random.default_rng(0).permutation(200) < 200 / 3
    train, test = order[~held_out], order[held_out]
    centred = codes.astype(np.float64) - np.average(codes, axis=0, weights=weights)
    scaled = centred / np.sqrt(np.average(centred**2, axis=0, weights=weights)).max()
    importance, accuracy = [], []
    for factor in factors.T:
        trees = ExtraTreesClassifier(20, max_features=None, min_weight_fraction_leaf=0.005, random_state=0)
        trees.fit(scaled[train], factor[train], weights[train])
        importance.append(trees.feature_importances_)
        accuracy.append(trees.score(scaled[test], factor[test], weights[test]))
    by_dimension = np.transpose(importance).tolist()

    values = measure(codes, factors, weights)
    assert values[""] == pytest.approx(slow_disentanglement(by_dimension), abs=1e-9)
    assert values["completeness"] == pytest.approx(slow_completeness(by_dimension), abs=1e-9)
    assert values["informativeness"] == pytest.approx(np.mean(accuracy), abs=1e-12)


def known_codes(images: int = 2000):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (images, 3))
    return factors, factors + rng.normal(0, 0.1, factors.shape), rng


def test_perfect_codes_have_one_throughout_and_noise_has_nothing_but_chance():
    factors, codes, rng = known_codes()
    perfect = measure(np.concatenate([codes, rng.normal(size=(2000, 2))], axis=1), factors)
    assert perfect == pytest.approx({"": 1, "completeness": 1, "informativeness": 1}, abs=0.02)
    noise = measure(rng.normal(size=(2000, 5)), factors)
    assert noise == pytest.approx({"": 0, "completeness": 0, "informativeness": 1 / 4}, abs=0.04)


def test_the_toy_of_ten_binary_factors_is_near_its_published_value():
    rng = np.random.default_rng(0)  # Funke et al., 2022, table 5: 0.998 from gradient boosting, W = I, variance 0.1
    factors = rng.integers(0, 2, (1000, 10))
    codes = 2 * factors - 1 + rng.normal(0, np.sqrt(0.1), factors.shape)
    assert measure(codes, factors)[""] == pytest.approx(0.988, abs=0.006)  # trees leave a little more to noise


def test_codes_that_are_there_twice_are_disentangled_but_not_complete():
    factors, codes, _ = known_codes()
    values = measure(np.concatenate([codes, codes], axis=1), factors)
    assert values[""] == pytest.approx(1, abs=0.02)
    assert values["completeness"] == pytest.approx(1 - log(2) / log(6), abs=0.04)


def test_mixed_codes_tell_the_factors_without_being_disentangled():
    factors, codes, rng = known_codes()
    values = measure(codes @ np.linalg.qr(rng.normal(size=(3, 3)))[0], factors)
    assert values["informativeness"] > 0.8
    assert values[""] < 0.7


def test_it_is_near_to_what_gradient_boosting_gives():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 2, (1500, 2))
    for deviation in (0.1, 0.3):
        codes = factors[:, [0, 1, 0]] * [1, 1, 0] + rng.normal(0, deviation, (1500, 3))
        boosted = [
            GradientBoostingClassifier(random_state=0).fit(codes, factor).feature_importances_ for factor in factors.T
        ]
        values = measure(codes, factors)
        assert values[""] == pytest.approx(slow_disentanglement(np.transpose(boosted).tolist()), abs=0.1)
        assert values["completeness"] == pytest.approx(slow_completeness(np.transpose(boosted).tolist()), abs=0.1)


def test_of_mixed_factors_under_noise_it_gives_much_more_than_gradient_boosting():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 2, (1500, 2))
    codes = factors @ [[1, 0.3], [0.3, 1]] + rng.normal(0, 1, (1500, 2))
    boosted = [
        GradientBoostingClassifier(random_state=0).fit(codes, factor).feature_importances_ for factor in factors.T
    ]
    theirs = slow_disentanglement(np.transpose(boosted).tolist())
    assert theirs + 0.1 < measure(codes, factors)[""] < theirs + 0.4  # as its documentation warns


def test_images_of_one_code_alone_are_no_error():
    factors = np.column_stack([np.arange(40) % 2, np.arange(40) // 2 % 2])  # four distinct images
    values = measure(np.zeros((40, 2)), factors)
    assert values[""] == values["completeness"] == 0
    assert 0 <= values["informativeness"] <= 1
