"""The k-means readout against a slow Lloyd of this file's own, on clusters that are known, and where data is scarce."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from latentbench.evaluation.readouts.kmeans import KMeansReadout, fit_kmeans


def blobs(size: int, values: int, width: int, seed: int, spread: float = 0.1):
    """Codes around ``values`` means that lie apart and do not depend on ``seed``; and which mean is whose."""
    draw = np.random.default_rng(seed)
    means = 3 * np.random.default_rng(99).permutation(np.eye(max(values, width))[:values, :width])
    labels = draw.integers(values, size=size)
    return (means[labels] + spread * draw.normal(size=(size, width))).astype(np.float32), labels


def agreement(clusters, labels):
    """Share of images of the best one-to-one assignment."""
    table = np.zeros((clusters.max() + 1, labels.max() + 1))
    np.add.at(table, (clusters, labels), 1)
    return table[linear_sum_assignment(table, maximize=True)].sum() / len(labels)


def lloyd(codes, values, draw):
    """Sum of squared distances at the end of Lloyd's iterations from a random start."""
    centres = codes[draw.choice(len(codes), values, replace=False)]
    while True:
        distances = ((codes[:, None] - centres) ** 2).sum(2)
        nearest = distances.argmin(1)
        moved = np.stack([codes[nearest == k].mean(0) if (nearest == k).any() else centres[k] for k in range(values)])
        if np.allclose(moved, centres):
            return distances.min(1).sum()
        centres = moved


def inertia(readout: KMeansReadout, facet: str, codes) -> float:
    centres = readout.facets[facet].clusterer.cluster_centers_
    return ((codes[:, None] - centres) ** 2).sum(2).min(1).sum()


@pytest.mark.parametrize(("values", "width"), [(2, 2), (4, 5), (10, 16)])
def test_clusters_that_lie_apart_are_found_in_unseen_codes(values, width):
    codes, _ = blobs(1000, values, width, 0)
    unseen, labels = blobs(500, values, width, 1)
    found = fit_kmeans({"a": values}, {"z": codes}, 0).read({"z": unseen})
    assert list(found) == [f"k{values}"]
    assert found[f"k{values}"].dtype == np.int64
    assert agreement(found[f"k{values}"], labels) == 1


@pytest.mark.parametrize("seed", range(3))
def test_it_is_as_good_as_the_best_of_many_slow_runs(seed):
    draw = np.random.default_rng(seed)
    codes = draw.normal(size=(200, 3)).astype(np.float32)
    best = min(lloyd(codes.astype(float), 5, draw) for _ in range(100))
    assert inertia(fit_kmeans({"a": 5}, {"z": codes}, seed), "k5", codes) <= 1.02 * best


def test_an_image_belongs_to_the_nearest_centre():
    codes = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    unseen = np.random.default_rng(1).normal(size=(100, 4)).astype(np.float32)
    readout = fit_kmeans({"a": 6}, {"z": codes}, 0)
    centres = readout.facets["k6"].clusterer.cluster_centers_
    nearest = ((unseen[:, None] - centres) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(readout.read({"z": unseen})["k6"], nearest)


def test_there_is_a_facet_for_each_subspace_and_each_number_of_values():
    code = {"shape": blobs(60, 3, 2, 0)[0], "ground": blobs(60, 4, 5, 1)[0]}
    readout = fit_kmeans({"a": 4, "b": 3, "c": 4, "d": 1}, code, 0)
    assert readout.facts == {"shape-k3": 3, "shape-k4": 4, "ground-k3": 3, "ground-k4": 4}
    alone = {name: fit_kmeans({"a": 4}, {name: codes}, 0).read({name: codes}) for name, codes in code.items()}
    together = readout.read(code)
    for name in code:  # a facet does not depend on which others there are
        np.testing.assert_array_equal(together[f"{name}-k4"], alone[name][f"{name}-k4"])


def test_without_an_attribute_of_two_values_there_is_no_facet():
    assert fit_kmeans({"a": 1}, {"z": blobs(20, 2, 2, 0)[0]}, 0).facts == {}


def test_a_collapsed_dimension_has_no_say():
    codes, labels = blobs(600, 3, 3, 0)
    noise = 1e-3 * np.random.default_rng(1).normal(size=(600, 40)).astype(np.float32)
    found = fit_kmeans({"a": 3}, {"z": np.hstack([codes, noise])}, 0).read({"z": np.hstack([codes, noise])})
    assert agreement(found["k3"], labels) == 1


@settings(max_examples=10)
@given(exponent=st.integers(-60, 60), shift=st.integers(-4, 4))
def test_the_unit_and_the_origin_of_a_code_do_not_matter(exponent, shift):
    codes = np.random.default_rng(0).integers(-50, 50, (150, 3)).astype(np.float32)
    moved = (codes + np.float32(shift)) * np.float32(2.0) ** np.float32(exponent)  # exact in floating point
    plain, other = (fit_kmeans({"a": 4}, {"z": z}, 3).read({"z": z})["k4"] for z in (codes, moved))
    assert agreement(plain, other) == 1


@pytest.mark.parametrize(("codes", "clusters"), [(np.eye(3, dtype=np.float32), 3), (np.ones((8, 2), np.float32), 1)])
def test_fewer_images_or_fewer_different_codes_make_fewer_clusters(codes, clusters):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = fit_kmeans({"a": 5}, {"z": codes}, 0).read({"z": codes})["k5"]
    assert len(np.unique(found)) == clusters


def test_the_number_of_threads_changes_no_bit_and_a_seed_may_be_long():
    codes = np.random.default_rng(0).normal(size=(5001, 33)).astype(np.float32)
    centres = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            readout = fit_kmeans({"a": 7}, {"z": codes}, 2**60 - 1)
            centres.append(readout.facets["k7"].clusterer.cluster_centers_)
    np.testing.assert_array_equal(*centres)
