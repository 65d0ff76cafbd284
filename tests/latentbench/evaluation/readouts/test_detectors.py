"""Codes read as detectors: k-th neighbour and Mahalanobis distances against slow loops, SciPy and known laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import chi2, kstest
from sklearn.covariance import LedoitWolf, ledoit_wolf
from threadpoolctl import threadpool_limits

from latentbench.evaluation.readouts import READOUTS, Codes, TrainingCodes
from latentbench.evaluation.readouts.knn import KNN, K
from latentbench.evaluation.readouts.mahalanobis import MAHALANOBIS, MAX_DIMS


def no_validation():
    raise AssertionError("a detector asks for no validation codes")


def fitted(readout, **parts):
    return readout.fit(TrainingCodes(Codes(parts), no_validation, {}, 0))


def scores(readout, train, codes):
    return fitted(readout, z=train).read({"z": codes})[readout.name]


def gaussian(size, width, seed):
    return np.random.default_rng(seed).normal(size=(size, width)).astype(np.float32)


@pytest.mark.parametrize("width", [1, 3, 40])
def test_the_score_is_the_distance_to_the_kth_nearest_training_code(width):
    train, codes = gaussian(60, width, 0), gaussian(30, width, 1)
    expected = []
    for code in codes.astype(float):
        distances = sorted(float(np.sqrt(((code - other) ** 2).sum())) for other in train.astype(float))
        expected.append(distances[K - 1])
    np.testing.assert_allclose(scores(KNN, train, codes), expected, rtol=1e-6)


def test_far_from_the_origin_the_distances_are_exact_too():
    train, codes = gaussian(200, 8, 0) + 1000, gaussian(50, 8, 1) + 1000
    expected = np.sort(cdist(codes.astype(float), train.astype(float)), axis=1)[:, K - 1]
    np.testing.assert_allclose(scores(KNN, train, codes), expected, rtol=1e-6)


@pytest.mark.parametrize("images", [1, K - 1, K])
def test_with_fewer_training_codes_than_k_the_farthest_counts(images):
    train, codes = gaussian(images, 4, 0), gaussian(9, 4, 1)
    expected = cdist(codes.astype(float), train.astype(float)).max(1)
    np.testing.assert_allclose(scores(KNN, train, codes), expected, rtol=1e-6)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), repeats=st.integers(K, 3 * K))
def test_a_code_that_training_has_k_times_has_distance_zero(seed, repeats):
    train = np.repeat(gaussian(5, 3, seed), repeats, axis=0)
    np.testing.assert_allclose(scores(KNN, train, train), 0, atol=1e-6)


def test_the_mahalanobis_distance_is_that_of_the_shrunk_covariance():
    train, codes = gaussian(50, 6, 0) * [1, 2, 3, 4, 5, 6] + 1, gaussian(20, 6, 1)
    train = train.astype(np.float32)
    covariance, _ = ledoit_wolf(train.astype(float))
    inverse, mean = np.linalg.inv(covariance), train.astype(float).mean(0)
    expected = [float(np.sqrt((code - mean) @ inverse @ (code - mean))) for code in codes.astype(float)]
    np.testing.assert_allclose(scores(MAHALANOBIS, train, codes), expected, rtol=1e-5)


def test_the_shrinkage_is_that_of_ledoit_and_wolf_by_their_formula():
    x = gaussian(30, 5, 0).astype(float)
    x -= x.mean(0)
    n, d = x.shape
    sample = x.T @ x / n
    mu = np.trace(sample) / d
    dispersion = ((sample - mu * np.eye(d)) ** 2).sum() / d
    noise = sum(((np.outer(row, row) - sample) ** 2).sum() for row in x) / n**2 / d
    shrinkage = min(noise, dispersion) / dispersion
    assert LedoitWolf().fit(x).shrinkage_ == pytest.approx(shrinkage)


def test_distances_of_normal_codes_follow_the_chi_distribution():
    mixing = gaussian(5, 5, 7)
    train, codes = gaussian(10_000, 5, 0) @ mixing, gaussian(3_000, 5, 1) @ mixing
    assert kstest(scores(MAHALANOBIS, train, codes).astype(float) ** 2, chi2(5).cdf).pvalue > 1e-3


def test_more_dimensions_than_images_and_collapsed_ones_are_no_obstacle():
    train = np.hstack([gaussian(8, 30, 0), np.ones((8, 3), np.float32)])
    codes = np.hstack([gaussian(5, 30, 1), np.full((5, 3), 2, np.float32)])
    for readout in (KNN, MAHALANOBIS):
        found = scores(readout, train, codes)
        assert np.isfinite(found).all()
        assert (found > 0).all()
    same = scores(MAHALANOBIS, np.ones((8, 3), np.float32), np.ones((5, 3), np.float32))
    np.testing.assert_array_equal(same, 0)


def test_codes_too_wide_for_a_covariance_are_left_alone():
    assert fitted(MAHALANOBIS, z=np.zeros((3, MAX_DIMS + 1), np.float32)) is None


@pytest.mark.parametrize("readout", [KNN, MAHALANOBIS], ids=lambda readout: readout.name)
def test_subspaces_stand_side_by_side_and_scores_are_float32(readout):
    train, codes = gaussian(40, 5, 0), gaussian(10, 5, 1)
    found = fitted(readout, a=train[:, :2], b=train[:, 2:]).read({"a": codes[:, :2], "b": codes[:, 2:]})
    assert list(found) == [readout.name]
    assert found[readout.name].dtype == np.float32
    np.testing.assert_array_equal(found[readout.name], scores(readout, train, codes))


@pytest.mark.parametrize("readout", [KNN, MAHALANOBIS], ids=lambda readout: readout.name)
def test_the_number_of_threads_changes_no_bit(readout):
    train, codes = gaussian(5001, 33, 0), gaussian(700, 33, 1)
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(scores(readout, train, codes))
    np.testing.assert_array_equal(*found)


def test_names_are_unique_and_capabilities_are_those_that_can_be_read():
    assert len({readout.name for readout in READOUTS}) == len(READOUTS)
    assert {readout.capability for readout in READOUTS} == {"predict", "cluster", "score"}
