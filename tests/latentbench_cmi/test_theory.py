"""The closed forms: every digit of table 1, the limits that the paper states, and independent derivations."""

from itertools import pairwise
from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal
from sklearn.linear_model import LinearRegression

from latentbench_cmi.theory import (
    base_encoder,
    cmi_encoder,
    conditional_mutual_information,
    equicorrelated,
    mi_encoder,
    mutual_information,
    prediction_map,
    toy_accuracy,
    variance_explained,
)

ENCODERS = {"Base": base_encoder, "MI": mi_encoder, "CMI": cmi_encoder}
NOISE = 0.1
correlations = st.floats(-0.99, 0.99)
noises = st.floats(0.01, 100)


def predict(method: str, correlation: float, noise: float = NOISE) -> np.ndarray:
    signal = equicorrelated(correlation)
    return prediction_map(ENCODERS[method](signal, noise), signal, noise)


def explained(method: str, train: float, test: float, noise: float = NOISE) -> float:
    return variance_explained(predict(method, train, noise), equicorrelated(test), noise)


@pytest.mark.parametrize(("method", "train", "test"), [("Base", 91.9, 87.6), ("MI", 69.8, 65.0), ("CMI", 90.9, 90.9)])
def test_variance_explained_is_that_of_table_1(method: str, train: float, test: float) -> None:
    assert round(100 * explained(method, 0.8, 0.8), 1) == train
    assert round(100 * explained(method, 0.8, 0.0), 1) == test


def test_the_prediction_maps_are_those_of_table_1() -> None:
    np.testing.assert_array_equal(predict("Base", 0.8).round(2), [[0.81, 0.14], [0.14, 0.81]])
    np.testing.assert_array_equal(predict("MI", 0.8).round(2), [[1.07, -0.46], [-0.46, 1.07]])
    # The row of CMI shows its encoder; with that as the prediction, 90.9 would be 90.0.
    np.testing.assert_array_equal(cmi_encoder(equicorrelated(0.8), NOISE), np.eye(2))
    np.testing.assert_allclose(predict("CMI", 0.8), np.eye(2) / 1.1)
    assert variance_explained(np.eye(2), equicorrelated(0.8), NOISE) == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("method", "correlation", "train", "test"),
    [("Base", 0.8, 0.85, 0.34), ("MI", 0.8, 0.0, -0.73), ("CMI", 0.8, 0.73, 0.0)],
)
def test_predictions_are_correlated_as_in_figure_2(method: str, correlation: float, train: float, test: float) -> None:
    prediction = predict(method, correlation)
    for among, expected in ((correlation, train), (0.0, test)):
        covariance = prediction @ (equicorrelated(among) + NOISE * np.eye(2)) @ prediction.T
        assert round(covariance[0, 1] / covariance[0, 0], 2) == pytest.approx(expected)


@given(correlation=correlations, test=correlations, noise=noises)
def test_the_maps_have_the_eigenvalues_that_one_derives_by_hand(correlation: float, test: float, noise: float) -> None:
    """All maps are [[a, b], [b, a]]: on (1, 1) and (1, -1) everything is a number."""
    signs = np.array([1, -1])
    of_signal, of_test = 1 + correlation * signs, 1 + test * signs
    of_observed = of_signal + noise
    by_hand = {
        "Base": of_signal / of_observed,
        "MI": np.mean(of_signal / np.sqrt(of_observed)) / np.sqrt(of_observed),
        "CMI": np.ones(2) / (1 + noise),
    }
    for method, values in by_hand.items():
        prediction = predict(method, correlation, noise)
        np.testing.assert_allclose(prediction @ [1, 1], values[0] * np.ones(2), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(prediction @ [1, -1], values[1] * signs, rtol=1e-7, atol=1e-12)
        expected = 1 - np.mean((1 - values) ** 2 * of_test + noise * values**2)
        assert explained(method, correlation, test, noise) == pytest.approx(expected, abs=1e-9)


@given(correlation=correlations, test=correlations, noise=noises)
def test_cmi_explains_as_much_at_every_test_correlation(correlation: float, test: float, noise: float) -> None:
    assert explained("CMI", correlation, test, noise) == pytest.approx(1 / (1 + noise), abs=1e-12)


@pytest.mark.parametrize("method", ["Base", "MI"])
def test_base_and_mi_lose_with_the_shift_at_a_constant_rate(method: str) -> None:
    values = [explained(method, 0.8, test) for test in np.linspace(-1, 1, 9)]
    steps = np.diff(values)
    assert steps.min() > 0.01
    np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize(
    ("correlation", "noise", "values"),
    [
        (0.8, 0.1, {"Base": (0.919298, 0.8760, 0.8326), "MI": (0.698065, 0.6497, 0.6013), "CMI": (0.909091,) * 3}),
        (0.95, 0.1, {"Base": (0.9358, 0.7258, 0.5158), "MI": (0.5558, 0.2586, -0.0387)}),
        (0.6, 0.1, {"Base": (0.9129, 0.9020, 0.8910), "MI": (0.8036, 0.8114, 0.8191)}),
        (0.95, 1.0, {"Base": (0.6457, 0.2694, -0.1068), "MI": (0.3505, 0.4698, 0.5891), "CMI": (0.5,) * 3}),
    ],
)
def test_further_settings(correlation: float, noise: float, values: dict[str, tuple[float, ...]]) -> None:
    """At the training correlation, without one, and at its opposite. MI may even gain where the correlation turns."""
    for method, expected in values.items():
        found = [explained(method, correlation, test, noise) for test in (correlation, 0, -correlation)]
        assert found == pytest.approx(expected, abs=5e-5)


def test_the_base_map_is_what_regression_finds() -> None:
    draw = np.random.default_rng(0)
    s = draw.multivariate_normal([0, 0], equicorrelated(0.8), 400_000)
    x = s + sqrt(NOISE) * draw.standard_normal(s.shape)
    np.testing.assert_allclose(LinearRegression().fit(x, s).coef_, predict("Base", 0.8), atol=0.006)


@pytest.mark.parametrize(
    ("method", "mi", "cmi"), [("Base", 0.65645, 0.09912), ("MI", 0.0, 0.53470), ("CMI", 0.37637, 0.0)]
)
def test_information_left_at_each_solution(method: str, mi: float, cmi: float) -> None:
    signal = equicorrelated(0.8)
    encoder = ENCODERS[method](signal, NOISE)
    assert mutual_information(encoder, signal, NOISE) == pytest.approx(mi, abs=5e-6)
    assert conditional_mutual_information(encoder, signal, NOISE) == pytest.approx([cmi, cmi], abs=5e-6)


@given(angle=st.floats(0, 3), skew=st.floats(-2, 2), correlation=correlations, noise=noises)
def test_information_is_that_of_correlations(angle: float, skew: float, correlation: float, noise: float) -> None:
    """For two dimensions: -log(1 - r^2) / 2, with r the correlation, or the partial one given s_k."""
    encoder = np.array([[1.0, skew], [np.sin(angle), np.cos(angle) + 2]])
    signal = equicorrelated(correlation)
    everything = np.block([[encoder @ (signal + noise * np.eye(2)) @ encoder.T, encoder @ signal],
                           [(encoder @ signal).T, signal]])  # fmt: skip
    scale = np.sqrt(np.diag(everything))
    r = everything / np.outer(scale, scale)
    assert mutual_information(encoder, signal, noise) == pytest.approx(-log(1 - r[0, 1] ** 2) / 2, abs=1e-6)
    for k in (0, 1):
        given_k = (r[0, 1] - r[0, 2 + k] * r[1, 2 + k]) / sqrt((1 - r[0, 2 + k] ** 2) * (1 - r[1, 2 + k] ** 2))
        expected = -log(1 - given_k**2) / 2
        assert conditional_mutual_information(encoder, signal, noise)[k] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_with_three_attributes_information_is_a_difference_of_entropies() -> None:
    signal, noise = equicorrelated(0.5, 3), 0.3
    encoder = np.random.default_rng(0).standard_normal((3, 3))
    covariance = encoder @ (signal + noise * np.eye(3)) @ encoder.T

    def entropy(dimensions: list[int], given: np.ndarray) -> float:
        return float(multivariate_normal(np.zeros(len(dimensions)), given[np.ix_(dimensions, dimensions)]).entropy())

    whole = [0, 1, 2]
    expected = sum(entropy([k], covariance) for k in whole) - entropy(whole, covariance)
    assert mutual_information(encoder, signal, noise) == pytest.approx(expected)
    for k in whole:
        given = covariance - np.outer(encoder @ signal[k], encoder @ signal[k])
        rest = [other for other in whole if other != k]
        expected = entropy([k], given) + entropy(rest, given) - entropy(whole, given)
        assert conditional_mutual_information(encoder, signal, noise)[k] == pytest.approx(expected)
    assert conditional_mutual_information(np.eye(3), signal, noise) == pytest.approx(np.zeros(3), abs=1e-12)


def test_accuracy_on_the_toy_falls_with_the_noise_as_in_figure_10() -> None:
    published = [100, 100, 100, 98.4, 90.2, 78.1, 67.9, 61.0, 56.6, 54.0]
    found = [100 * toy_accuracy(noise) for noise in np.logspace(-2, 2, 10)]
    assert all(later <= earlier for earlier, later in pairwise(found))
    np.testing.assert_allclose(found, published, atol=0.06)


def test_impossible_correlations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 attributes cannot have the correlation -0\.6 with each other"):
        equicorrelated(-0.6, 3)
