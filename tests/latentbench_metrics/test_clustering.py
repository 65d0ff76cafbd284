"""Clustering metrics against scikit-learn, every possible assignment, and slow loops over the images."""

from collections import Counter
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from latentbench import MISSING, Evaluation, LatentbenchError, Targets
from latentbench.testing import check_metric
from latentbench_metrics.clustering import ARI, NMI, ClusterAccuracy, ClusterMajorityAccuracy, Facets

ALL = [ARI, NMI, ClusterAccuracy, ClusterMajorityAccuracy]


def measure(metric, output, attributes, weights=None) -> dict[str, float]:
    output = {facet: np.asarray(clusters, np.int64) for facet, clusters in output.items()}
    attributes = {label: np.asarray(truth, np.int64) for label, truth in attributes.items()}
    count = len(next(iter(attributes.values())))
    weights = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    return metric().measure(Evaluation(output, Targets(attributes=attributes), weights, {}))


def one_facet(metric, clusters, truth, weights=None) -> float:
    return measure(metric, {"facet": clusters}, {"digit": truth}, weights)[""]


def slow_accuracy(clusters, truth) -> float:
    """The most images that any one-to-one naming of the clusters gets right."""
    names, values = sorted(set(clusters)), sorted(set(truth))
    values += [None] * max(0, len(names) - len(values))
    return max(
        sum(naming[names.index(cluster)] == value for cluster, value in zip(clusters, truth, strict=True))
        for naming in permutations(values, len(names))
    ) / len(truth)


def slow_majority_accuracy(clusters, truth) -> float:
    right = 0
    for cluster in set(clusters):
        members = Counter(value for c, value in zip(clusters, truth, strict=True) if c == cluster)
        right += members.most_common(1)[0][1]
    return right / len(truth)


REFERENCE = {
    ARI: lambda clusters, truth: adjusted_rand_score(truth, clusters),
    NMI: lambda clusters, truth: normalized_mutual_info_score(truth, clusters),
    ClusterAccuracy: slow_accuracy,
    ClusterMajorityAccuracy: slow_majority_accuracy,
}

items = st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 3), st.integers(1, 3)), min_size=2, max_size=30)


def columns(case):
    clusters, truth, weights = (list(column) for column in zip(*case, strict=True))
    assume(len(set(truth)) > 1)
    return clusters, truth, weights


@pytest.mark.parametrize("metric", ALL)
@given(case=items)
def test_every_metric_equals_its_reference(metric, case):
    clusters, truth, _ = columns(case)
    assert one_facet(metric, clusters, truth) == pytest.approx(REFERENCE[metric](clusters, truth), abs=1e-12)


@pytest.mark.parametrize("metric", ALL)
@given(case=items)
def test_a_weight_counts_like_so_many_copies(metric, case):
    clusters, truth, weights = columns(case)
    expected = REFERENCE[metric](np.repeat(clusters, weights).tolist(), np.repeat(truth, weights).tolist())
    assert one_facet(metric, clusters, truth, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ALL)
@given(case=items, seed=st.integers(0, 99))
def test_neither_the_order_of_images_nor_the_names_of_clusters_count(metric, case, seed):
    clusters, truth, _ = columns(case)
    order = np.random.default_rng(seed).permutation(len(truth))
    renamed = [10**12 - 7 * clusters[index] for index in order]
    expected = one_facet(metric, clusters, truth)
    assert one_facet(metric, renamed, np.array(truth)[order]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [*ALL, Facets])
def test_it_keeps_what_a_metric_promises(metric):
    check_metric(metric)


# What tells the two accuracies apart


def test_more_clusters_than_values_help_the_many_to_one_accuracy_alone():
    truth = np.repeat([0, 1], 50)
    split = truth * 2 + np.arange(100) % 2  # each value in two pure clusters
    assert one_facet(ClusterMajorityAccuracy, split, truth) == 1
    assert one_facet(ClusterAccuracy, split, truth) == 0.5


@pytest.mark.parametrize("seed", range(5))
def test_random_clusters_have_more_than_chance_many_to_one_and_nothing_else(seed):
    rng = np.random.default_rng(seed)
    truth, clusters = rng.integers(0, 10, 1024), rng.integers(0, 25, 1024)
    assert one_facet(ClusterMajorityAccuracy, clusters, truth) == pytest.approx(0.181, abs=0.018)  # 3 deviations
    assert one_facet(ClusterAccuracy, clusters, truth) < 0.11
    assert one_facet(ARI, clusters, truth) == pytest.approx(0, abs=0.01)


# Facets and labels


def two_facets():
    digit, hue = np.repeat([0, 1, 2, 3], 30), np.arange(120) % 3
    return {"shallow": hue, "deep": np.where(np.arange(120) < 6, 3, digit)}, {"digit": digit, "hue": hue}


@pytest.mark.parametrize("metric", ALL)
def test_every_facet_is_measured_on_every_label_and_the_best_stands_under_the_labels_name(metric):
    output, attributes = two_facets()
    values = measure(metric, output, attributes)
    for label in attributes:
        for facet in output:
            expected = REFERENCE[metric](output[facet].tolist(), attributes[label].tolist())
            assert values.pop(f"{facet}:{label}") == pytest.approx(expected, abs=1e-12)
    assert values["hue"] == 1
    assert values["digit"] == one_facet(metric, output["deep"], attributes["digit"]) < 1
    assert values.pop("") == pytest.approx((values["hue"] + values["digit"]) / 2)
    assert values.keys() == {"hue", "digit"}


def test_the_number_of_facets_that_the_best_was_chosen_from_is_a_value_of_its_own():
    output, attributes = two_facets()
    assert measure(Facets, output, attributes) == {"": 2}


@pytest.mark.parametrize("metric", ALL)
def test_images_count_for_the_labels_that_they_have(metric):
    output, attributes = two_facets()
    attributes["digit"][:60] = MISSING
    values = measure(metric, output, attributes)
    late = {facet: clusters[60:] for facet, clusters in output.items()}
    assert values["digit"] == one_facet(metric, late["deep"], attributes["digit"][60:])
    assert values["hue"] == 1


@pytest.mark.parametrize("metric", ALL)
def test_images_without_weight_do_not_count(metric):
    output, attributes = two_facets()
    some = np.arange(120) >= 6
    values = measure(metric, output, attributes, some)
    assert values == measure(
        metric, {facet: c[some] for facet, c in output.items()}, {n: t[some] for n, t in attributes.items()}
    )
    assert values[""] == 1


# Bad input


@pytest.mark.parametrize(
    ("metric", "expected"), [(ARI, 0), (NMI, 0), (ClusterAccuracy, 0.5), (ClusterMajorityAccuracy, 0.5)]
)
def test_one_cluster_for_all_images_is_no_better_than_the_most_frequent_value(metric, expected):
    assert one_facet(metric, np.zeros(8), [0, 0, 0, 0, 1, 1, 2, 2]) == pytest.approx(expected)


@pytest.mark.parametrize("metric", ALL)
def test_a_label_with_one_value_is_left_out(metric):
    output, attributes = two_facets()
    assert measure(metric, output, {**attributes, "size": np.full(120, 4)}) == measure(metric, output, attributes)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("truth", [[], [3, 3, 3], [MISSING, MISSING, 1], [MISSING] * 3])
def test_labels_that_do_not_vary_are_an_error_and_such_a_split_is_not_measured(metric, truth):
    with pytest.raises(LatentbenchError, match="no label has two values among the images that have weight: it nee"):
        one_facet(metric, np.zeros(len(truth)), truth)
    assert not metric().applies(Targets(attributes={"digit": np.array(truth, np.int64)}), {})


@pytest.mark.parametrize("metric", ALL)
def test_values_that_have_no_weight_do_not_make_a_label_vary(metric):
    with pytest.raises(LatentbenchError, match="no label has two values"):
        one_facet(metric, [0, 1, 1], [0, 0, 1], [1, 1, 0])


@pytest.mark.parametrize("metric", ALL)
def test_a_model_without_a_facet_is_an_error(metric):
    with pytest.raises(LatentbenchError, match="the model gives no facet: it needs at least one clustering"):
        measure(metric, {}, {"digit": [0, 1]})


def test_weights_that_make_no_pair_of_images_have_no_ari():
    with pytest.raises(LatentbenchError, match=r"the weights add up to 0\.5 images: it needs pairs"):
        one_facet(ARI, [0, 1], [0, 1], [0.25, 0.25])
