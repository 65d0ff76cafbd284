"""Separated attribute predictability against a plain loop of scikit-learn's machines, and known codes."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from latentbench import Evaluation, Targets
from latentbench_metrics.sap import SAP


def measure(codes, factors, weights=None) -> dict[str, float]:
    factors = np.asarray(factors, np.int64)
    weights = np.ones(len(factors)) if weights is None else np.asarray(weights, np.float64)
    attributes = {f"factor{number}": values for number, values in enumerate(factors.T)}
    return SAP().measure(Evaluation({"z": np.asarray(codes, np.float32)}, Targets(attributes=attributes), weights, {}))


def slow_sap(codes, factors) -> float:
    """As disentanglement_lib has it for discrete factors, on all images, C for 10,000 of them."""
    codes = (codes - codes.mean(axis=0)) / codes.std(axis=0).max()
    gaps = []
    for factor in factors.T:
        scores = []
        for code in codes.T:
            machine = LinearSVC(C=0.01 * 10_000 / len(codes), class_weight="balanced", dual=False, tol=1e-8)
            scores.append(np.mean(machine.fit(code[:, None], factor).predict(code[:, None]) == factor))
        first, second = sorted(scores, reverse=True)[:2]
        gaps.append(first - second)
    return float(np.mean(gaps))


@pytest.mark.parametrize(("images", "sizes"), [(400, [2, 2]), (900, [3, 5]), (2500, [2, 10, 4])])
def test_it_equals_the_definition_pair_by_pair(images, sizes):
    rng = np.random.default_rng(images)
    factors = rng.integers(0, sizes, (images, len(sizes)))
    factors[: images // 3, 0] = 0  # unbalanced
    codes = (factors @ rng.normal(size=(len(sizes), 5)) + rng.normal(size=(images, 5))).astype(np.float32)
    assert measure(codes, factors)[""] == pytest.approx(slow_sap(codes.astype(np.float64), factors), abs=1e-12)


def test_perfect_binary_codes_are_half_better_than_noise_and_duplicates_have_no_gap():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 2, (4000, 2))
    noise = rng.normal(size=(4000, 2))
    assert measure(np.concatenate([factors, noise], axis=1), factors)[""] == pytest.approx(0.5, abs=0.03)
    assert measure(np.concatenate([factors, factors], axis=1), factors)[""] == 0


def test_the_toy_of_ten_binary_factors_has_the_published_value():
    rng = np.random.default_rng(0)  # Funke et al., 2022, table 5: 0.477 for the solution W = I, variance 0.1
    factors = rng.integers(0, 2, (1000, 10))
    codes = 2 * factors - 1 + rng.normal(0, np.sqrt(0.1), factors.shape)
    assert measure(codes, factors)[""] == pytest.approx(0.477, abs=0.015)


def test_a_constant_dimension_is_worth_a_guess():
    factors = np.tile([0, 1, 2, 3], 25)[:, None] // [2, 1]  # the first is of two values, the second of four
    values = measure(np.column_stack([factors[:, 0], np.zeros(100)]), factors)
    assert values["factor0"] == 1 - 1 / 2
    assert values["factor1"] == pytest.approx(2 / 4 - 1 / 4)  # the dimension tells two of the four values apart


def test_a_weight_counts_like_so_many_copies_and_only_the_ratio_of_weights_counts():
    rng = np.random.default_rng(1)
    factors = rng.integers(0, 3, (80, 2))
    codes = factors + rng.normal(0, 0.7, factors.shape)
    copies = rng.integers(1, 4, 80)
    repeated = measure(np.repeat(codes, copies, axis=0), np.repeat(factors, copies, axis=0))
    assert measure(codes, factors, copies) == pytest.approx(repeated, abs=1e-12)
    assert measure(codes, factors, copies * 0.01) == pytest.approx(repeated, abs=1e-12)


def test_the_codes_scale_and_offset_do_not_count():
    rng = np.random.default_rng(2)
    factors = rng.integers(0, 2, (300, 2))
    codes = np.round(factors + rng.normal(0, 0.4, factors.shape), 2)
    assert measure(codes * 1e-3 + 0.5, factors) == pytest.approx(measure(codes, factors), abs=1e-12)
