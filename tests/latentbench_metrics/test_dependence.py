"""Dependence of dimensions against the divergence and distance of two Gaussians, scikit-learn and closed forms."""

from math import log, sqrt

import numpy as np
import pytest
from scipy.linalg import sqrtm
from sklearn.metrics import mutual_info_score

from latentbench import Evaluation, LatentbenchError, Targets
from latentbench_metrics.dependence import (
    GaussianTotalCorrelation,
    GaussianWasserstein,
    MutualInformationScore,
    NormalizedGaussianWasserstein,
)

ALL = [GaussianTotalCorrelation, GaussianWasserstein, NormalizedGaussianWasserstein, MutualInformationScore]
GAUSSIAN = ALL[:3]


def measure(metric, codes, weights=None) -> float:
    images = len(codes)
    weights = np.ones(images) if weights is None else np.asarray(weights, np.float64)
    targets = Targets(attributes={"factor": np.arange(images) % 2})
    return metric().measure(Evaluation({"z": np.asarray(codes, np.float32)}, targets, weights, {}))[""]


def codes_with(covariance, images: int = 500):
    """Codes whose sample covariance (divided by the number of images) is exactly this, to single precision."""
    rng = np.random.default_rng(0)
    white = rng.normal(size=(images, len(covariance)))
    white -= white.mean(axis=0)
    white = white @ np.linalg.inv(np.linalg.cholesky(white.T @ white / images)).T
    return white @ np.linalg.cholesky(covariance).T


def random_covariance(seed: int, dimensions: int = 5):
    root = np.random.default_rng(seed).normal(size=(dimensions, dimensions))
    return root @ root.T + np.eye(dimensions)


@pytest.mark.parametrize("rho", [-0.95, -0.3, 0.0, 0.5, 0.99])
def test_two_correlated_dimensions_have_their_closed_forms(rho):
    codes = codes_with(4 * np.array([[1, rho], [rho, 1]]))
    distance = 4 * (4 - 2 * sqrt(1 + rho) - 2 * sqrt(1 - rho))
    assert measure(GaussianTotalCorrelation, codes) == pytest.approx(-log(1 - rho**2) / 2, abs=1e-5)
    assert measure(GaussianWasserstein, codes) == pytest.approx(distance, abs=1e-5)
    assert measure(NormalizedGaussianWasserstein, codes) == pytest.approx(distance / 8, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_they_equal_the_divergence_and_the_distance_of_two_gaussians(seed):
    covariance = random_covariance(seed)
    marginals = np.diag(np.diag(covariance))
    divergence = (
        np.trace(np.linalg.inv(marginals) @ covariance)
        - len(covariance)
        + log(np.linalg.det(marginals) / np.linalg.det(covariance))
    ) / 2
    distance = np.trace(covariance + marginals - 2 * np.real(sqrtm(marginals @ covariance)))
    codes = codes_with(covariance)
    assert measure(GaussianTotalCorrelation, codes) == pytest.approx(divergence, rel=1e-4)
    assert measure(GaussianWasserstein, codes) == pytest.approx(distance, rel=1e-4)
    assert measure(NormalizedGaussianWasserstein, codes) == pytest.approx(distance / np.trace(covariance), rel=1e-4)


def test_the_mutual_information_score_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    codes = (rng.normal(size=(400, 4)) @ rng.normal(size=(4, 4))).astype(np.float32)
    bins = [np.digitize(code, np.histogram_bin_edges(code, 20)[:-1]) for code in codes.astype(np.float64).T]
    pairs = [mutual_info_score(bins[i], bins[j]) for i in range(4) for j in range(4) if i != j]
    assert measure(MutualInformationScore, codes) == pytest.approx(np.mean(pairs), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "expected", "band"),
    [
        (GaussianTotalCorrelation, 0.0225, 0.015),  # 45 pairs / (2 * 1000), 3 standard deviations over draws
        (GaussianWasserstein, 0.0248, 0.016),
        (NormalizedGaussianWasserstein, 0.0023, 0.0015),
        (MutualInformationScore, 0.156, 0.009),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_the_toy_of_ten_binary_factors_has_its_published_values(metric, expected, band, seed):
    rng = np.random.default_rng(seed)  # Funke et al., 2022, table 5: .025, .027, .002, .149 at about 1,000 images
    codes = 2 * rng.integers(0, 2, (1000, 10)) - 1 + rng.normal(0, np.sqrt(0.1), (1000, 10))
    assert measure(metric, codes) == pytest.approx(expected, abs=band)


def test_the_toys_dependence_is_that_of_the_sample_and_is_gone_with_a_hundred_times_the_images():
    rng = np.random.default_rng(0)
    codes = 2 * rng.integers(0, 2, (100_000, 10)) - 1 + rng.normal(0, np.sqrt(0.1), (100_000, 10))
    assert measure(GaussianTotalCorrelation, codes) == pytest.approx(45 / 200_000, abs=0.0001)
    assert measure(GaussianWasserstein, codes) == pytest.approx(0.00025, abs=0.0001)


@pytest.mark.parametrize("metric", ALL)
def test_constant_dimensions_and_single_ones_depend_on_nothing(metric):
    constant = np.full((30, 3), 0.1)
    one = np.random.default_rng(0).normal(size=(30, 1))
    assert measure(metric, constant) == 0
    assert measure(metric, one) == pytest.approx(0, abs=1e-12)
    assert measure(metric, np.concatenate([one, constant], axis=1)) == pytest.approx(0, abs=1e-12)


def test_a_dependent_dimension_adds_a_large_finite_total_correlation_whatever_single_precision_left_of_it():
    rng = np.random.default_rng(0)
    code = rng.normal(size=(1000, 1)).astype(np.float32)
    at_most = -log(1e-10) / 2
    # An eigenvalue of 2 beside the one that counts as 1e-10.
    assert measure(GaussianTotalCorrelation, np.column_stack([code, code])) == pytest.approx(at_most - log(2) / 2)
    rounded = np.column_stack([code, 3 * code + np.float32(0.1)])
    assert measure(GaussianTotalCorrelation, rounded) == pytest.approx(at_most - log(2) / 2)


@pytest.mark.parametrize("metric", GAUSSIAN)
def test_no_more_images_than_dimensions_is_an_error(metric):
    codes = np.random.default_rng(0).normal(size=(25, 25))
    with pytest.raises(LatentbenchError, match="25 images have codes of 25 dimensions: it needs more images"):
        measure(metric, codes)
    assert np.isfinite(measure(metric, codes[:, :24]))


@pytest.mark.parametrize("metric", ALL)
def test_a_weight_counts_like_so_many_copies_and_only_the_ratio_of_weights_counts(metric):
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3))
    copies = rng.integers(1, 4, 80)
    repeated = measure(metric, np.repeat(codes, copies, axis=0))
    assert measure(metric, codes, copies) == pytest.approx(repeated, rel=1e-9)
    assert measure(metric, codes, copies * 0.01) == pytest.approx(repeated, rel=1e-9)


def test_only_the_distance_in_the_codes_own_units_depends_on_their_scale():
    codes = codes_with(random_covariance(0))
    for metric in (GaussianTotalCorrelation, NormalizedGaussianWasserstein, MutualInformationScore):
        assert measure(metric, codes * 2.0**10) == pytest.approx(measure(metric, codes), rel=1e-9)
    assert measure(GaussianWasserstein, codes * 4) == pytest.approx(16 * measure(GaussianWasserstein, codes), rel=1e-6)
