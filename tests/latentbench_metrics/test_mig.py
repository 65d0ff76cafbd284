"""The mutual information gap against scikit-learn's mutual information, and the values that known codes have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from latentbench import Evaluation, Targets
from latentbench_metrics.mig import MIG

SIZES = {"dsprites": [3, 6, 40, 32, 32], "3dshapes": [10, 10, 10, 8, 4, 15], "toy": [4, 4, 4]}
IMAGES = 10_000


def measure(codes, factors, weights=None) -> dict[str, float]:
    factors = np.asarray(factors, np.int64)
    weights = np.ones(len(factors)) if weights is None else np.asarray(weights, np.float64)
    attributes = {f"factor{number}": values for number, values in enumerate(factors.T)}
    return MIG().measure(Evaluation({"z": np.asarray(codes, np.float32)}, Targets(attributes=attributes), weights, {}))


def draw_factors(data: str, seed: int = 0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, SIZES[data], (IMAGES, len(SIZES[data]))), rng


def with_noise_codes(codes, rng):
    return np.concatenate([codes, rng.normal(size=(IMAGES, 5))], axis=1)


def slow_mig(codes, factors) -> float:
    """Chen et al.'s gap, pair by pair with scikit-learn and NumPy's histogram."""
    gaps = []
    for factor in factors.T:
        known = []
        for code in codes.T:
            edges = np.histogram_bin_edges(code.astype(np.float64), 20)
            known.append(mutual_info_score(factor, np.digitize(code, edges[:-1])))
        first, second = sorted(known, reverse=True)[:2]
        gaps.append((first - second) / mutual_info_score(factor, factor))
    return float(np.mean(gaps))


@pytest.mark.parametrize("seed", range(3))
def test_it_equals_the_definition_pair_by_pair(seed):
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, [2, 5, 30], (700, 3))
    codes = (factors @ rng.normal(size=(3, 6)) + rng.normal(size=(700, 6))).astype(np.float32)
    assert measure(codes, factors)[""] == pytest.approx(slow_mig(codes, factors), abs=1e-12)


# Codes whose gap is known: 10,000 images, bands of three standard deviations over draws of the images or less.


@pytest.mark.parametrize(
    ("data", "gaps"),
    [
        ("dsprites", [0.997, 0.997, 0.802, 0.842, 0.842]),  # 20 bins cannot tell 40 or 32 values apart
        ("3dshapes", [0.996, 0.996, 0.996, 0.997, 0.998, 0.995]),
        ("toy", [0.998, 0.998, 0.998]),
    ],
)
def test_perfect_codes_beside_noise_have_the_most_that_twenty_bins_allow(data, gaps):
    factors, rng = draw_factors(data)
    values = measure(with_noise_codes(factors, rng), factors)
    assert values.pop("") == pytest.approx(np.mean(gaps), abs=0.001)
    assert list(values.values()) == pytest.approx(gaps, abs=0.002)


def test_the_means_over_factors_are_0_896_for_dsprites_and_0_996_for_3dshapes():
    for data, expected in (("dsprites", 0.896), ("3dshapes", 0.996), ("toy", 0.998)):
        factors, rng = draw_factors(data)
        assert measure(with_noise_codes(factors, rng), factors)[""] == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ("dsprites", {0.05: 0.638, 0.1: 0.455, 0.2: 0.238}),
        ("3dshapes", {0.05: 0.732, 0.1: 0.487, 0.2: 0.253}),
        ("toy", {0.05: 0.974, 0.1: 0.714, 0.2: 0.375}),
    ],
)
def test_gaussian_noise_on_perfect_codes_closes_the_gap_by_a_known_amount(data, expected):
    factors, rng = draw_factors(data)
    codes = with_noise_codes(factors / SIZES[data], rng)
    for deviation, gap in expected.items():
        noisy = codes + np.where(np.arange(codes.shape[1]) < factors.shape[1], rng.normal(0, deviation, codes.shape), 0)
        assert measure(noisy, factors)[""] == pytest.approx(gap, abs=0.008)


@pytest.mark.parametrize(
    ("data", "mean", "highest", "one"),
    # One rotation's gap, as known from elsewhere, beside those of many: a single one says little.
    [("dsprites", 0.13, 0.35, 0.140), ("3dshapes", 0.12, 0.35, 0.152), ("toy", 0.30, 0.75, 0.175)],
)
def test_random_rotations_of_perfect_codes_have_a_gap_all_the_same(data, mean, highest, one):
    factors, rng = draw_factors(data)
    codes = factors / SIZES[data]
    rotations = [np.linalg.qr(rng.normal(size=2 * [codes.shape[1]]))[0] for _ in range(40)]
    gaps = [measure(codes @ rotation, factors)[""] for rotation in rotations]
    assert np.mean(gaps) == pytest.approx(mean, abs=3 * np.std(gaps) / np.sqrt(40))
    assert max(gaps) < highest
    assert abs(one - np.mean(gaps)) < 2 * np.std(gaps)


@pytest.mark.parametrize("data", SIZES)
def test_codes_that_are_there_twice_have_no_gap_and_noise_has_next_to_none(data):
    factors, rng = draw_factors(data)
    assert measure(np.concatenate([factors, factors], axis=1), factors)[""] == 0
    assert measure(rng.normal(size=(IMAGES, 10)), factors)[""] < 0.001


@pytest.mark.parametrize(("images", "expected", "band"), [(1000, 0.9755, 0.004), (IMAGES, 0.994, 0.001)])
def test_binary_factors_seen_through_gaussian_noise_have_their_closed_form_value(images, expected, band):
    rng = np.random.default_rng(0)  # Funke et al., 2022, appendix B: W = I, K = 10, variance 0.1
    factors = rng.integers(0, 2, (images, 10))
    codes = 2 * factors - 1 + rng.normal(0, np.sqrt(0.1), factors.shape)
    assert measure(codes, factors)[""] == pytest.approx(expected, abs=band)


# What must leave it unchanged


@given(seed=st.integers(0, 99), scale=st.sampled_from([2.0**-20, 4.0, 2.0**20]))
def test_neither_the_dimensions_order_nor_sign_nor_scale_nor_the_values_numbers_count(seed, scale):
    rng = np.random.default_rng(seed)
    factors = rng.integers(0, [3, 4], (100, 2))
    codes = rng.integers(-9, 10, (100, 4)) / 8 + factors[:, [0, 1, 1, 0]]
    renamed = np.column_stack([np.array([5, 0, 9])[factors[:, 0]], 3 - factors[:, 1]])
    expected = measure(codes, factors)
    assert measure(codes[:, [3, 1, 0, 2]] * scale, renamed) == pytest.approx(expected, abs=1e-12)


def test_fractional_weights_are_the_shares_that_copies_would_have():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (60, 2))
    codes = factors + rng.normal(0, 0.3, factors.shape)
    copies = rng.integers(1, 5, 60)
    repeated = measure(np.repeat(codes, copies, axis=0), np.repeat(factors, copies, axis=0))
    assert measure(codes, factors, copies * 0.37) == pytest.approx(repeated, abs=1e-12)


def test_a_code_of_one_dimension_has_the_gap_to_knowing_nothing():
    factors = np.random.default_rng(0).integers(0, 4, (400, 1))
    assert measure(factors, factors) == pytest.approx({"": 1, "factor0": 1}, abs=1e-12)
