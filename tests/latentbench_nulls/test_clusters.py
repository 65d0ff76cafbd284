import numpy as np
import pytest
import torch
from scipy.stats import chisquare, multivariate_normal
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench import LatentbenchError
from latentbench_nulls.clusters import ChanceClusters, ComponentClusters, ComponentMixture, PixelClusters

TWO = {"left": (np.arange(60) % 3, 3), "right": (np.arange(60) % 5, 5), "other": (np.arange(60) % 3, 3)}


@pytest.mark.parametrize("null_class", [ChanceClusters, PixelClusters, ComponentClusters])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_there_is_a_facet_for_each_number_of_values_or_the_one_that_is_asked_for(null_class, shape):
    train = images(shape, 60)
    found = fitted(null_class, train, TWO).cluster(train)
    assert {name: set(values.tolist()) for name, values in found.items()} == {"k3": {0, 1, 2}, "k5": set(range(5))}
    asked = fitted(null_class, train, TWO, clusters=7).cluster(train)
    assert {name: set(values.tolist()) for name, values in asked.items()} == {"k7": set(range(7))}


def test_chance_is_uniform():
    torch.manual_seed(0)
    found = fitted(ChanceClusters, images((1, 8, 8), 60), TWO).cluster(torch.zeros(10_000, 1, 8, 8))
    for k in (3, 5):
        assert chisquare(np.bincount(found[f"k{k}"], minlength=k)).pvalue > 0.01


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    return torch.from_numpy(bunch.images[:, None] / 16).float(), bunch.target


@pytest.mark.parametrize("null_class", [PixelClusters, ComponentClusters])
def test_clusters_of_digits_are_as_good_as_scikit_learns(null_class, digits):
    given, target = digits
    null = fitted(null_class, given[:1200], {"digit": (target[:1200], 10)})
    rows = ((given * 255).round() / 255).flatten(1).double().numpy()
    if null_class is ComponentClusters:
        rows = PCA(30, svd_solver="full").fit(rows[:1200]).transform(rows)
    best = KMeans(10, n_init=20, random_state=1).fit(rows[:1200])
    centres = null.get_buffer("centres_k10").double().numpy()
    inertia = ((null.code(given[:1200]).double().numpy()[:, None] - centres) ** 2).sum(2).min(1).sum()
    assert inertia < 1.02 * best.inertia_
    found = null.cluster(given[1200:])["k10"]
    assert adjusted_rand_score(best.predict(rows[1200:]), found) > 0.75


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("null_class", [PixelClusters, ComponentClusters])
def test_an_image_is_in_the_cluster_of_the_nearest_centre(null_class, shape):
    null = fitted(null_class, images(shape, 60), TWO)
    test = images(shape, 20, seed=1)
    code, centres = null.code(test).numpy(), null.get_buffer("centres_k5").numpy()
    expected = [int(np.argmin([np.sum((x - c) ** 2) for c in centres])) for x in code]
    assert null.cluster(test)["k5"].tolist() == expected


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_components_are_scikit_learns(shape):
    draw = np.random.default_rng(0)
    spread = draw.normal(size=(60, 8)) * 0.5 ** np.arange(8)  # each component has half the deviation of the one before
    train = torch.from_numpy(0.5 + spread @ draw.uniform(-0.1, 0.1, (8, int(np.prod(shape))))).float()
    train = (train.clamp(0, 1) * 255).round().view(-1, *shape) / 255
    rows = train.flatten(1).double().numpy()
    found = np.abs(fitted(ComponentClusters, train, TWO).code(train).numpy())
    expected = np.abs(PCA(30, svd_solver="full").fit(rows).transform(rows))
    np.testing.assert_allclose(found[:, :4], expected[:, :4], atol=1e-3)


def test_the_mixture_is_scikit_learns(digits):
    given, target = digits
    null = fitted(ComponentMixture, given[:1200], {"digit": (target[:1200], 10)}, clusters=12)
    rows = null.code(given).double().numpy()
    best = max(
        (GaussianMixture(12, random_state=seed).fit(rows[:1200]) for seed in range(5)), key=lambda one: one.lower_bound_
    )
    found = null.cluster(given)["k12"].numpy()
    means, factors = (null.get_buffer(f"{name}_k12").double().numpy() for name in ("centres", "whitening"))
    weights = np.exp(null.get_buffer("offsets_k12").numpy()) / np.linalg.det(factors)
    assert weights.sum() == pytest.approx(1, abs=1e-3)
    parts = [
        multivariate_normal(m, np.linalg.inv(w @ w.T), allow_singular=True) for m, w in zip(means, factors, strict=True)
    ]
    likelihoods = np.stack([part.logpdf(rows) + np.log(w) for part, w in zip(parts, weights, strict=True)], 1)
    assert (likelihoods.argmax(1) == found).mean() > 0.999
    assert np.logaddexp.reduce(likelihoods[:1200], 1).mean() > best.lower_bound_ - 1
    assert adjusted_rand_score(best.predict(rows), found) > 0.5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_images_of_any_shape_are_in_the_cluster_that_scikit_learn_predicts(shape):
    null = fitted(ComponentMixture, images(shape, 60), TWO)
    fit = GaussianMixture(5, random_state=0)
    fit.weights_ = np.full(5, 0.2)
    fit.means_, fit.precisions_cholesky_ = (null.get_buffer(f"{name}_k5").numpy() for name in ("centres", "whitening"))
    null.get_buffer("offsets_k5").copy_(torch.from_numpy(np.linalg.slogdet(fit.precisions_cholesky_)[1] - np.log(5)))
    test = images(shape, 40, seed=1)
    assert null.cluster(test)["k5"].tolist() == fit.predict(null.code(test).numpy()).tolist()


@pytest.mark.parametrize("null_class", [PixelClusters, ComponentClusters, ComponentMixture])
def test_more_clusters_than_images_are_refused(null_class):
    with pytest.raises(LatentbenchError, match="61 clusters need as many training images, and there are 60"):
        fitted(null_class, images((1, 8, 8), 60), TWO, clusters=61)


@pytest.mark.parametrize("null_class", [PixelClusters, ComponentClusters, ComponentMixture])
def test_equal_training_images_are_in_one_cluster_and_a_single_one_is_refused(null_class, recwarn):
    train = images((1, 8, 8), 1).expand(60, -1, -1, -1)
    found = fitted(null_class, train, TWO).cluster(train[:5])
    assert {len(values.unique()) for values in found.values()} == {1}
    with pytest.raises(LatentbenchError, match="and there are 1: take a dataset with more of them"):
        fitted(null_class, train[:1], {"left": (np.zeros(1), 3)})
    assert not recwarn.list


@pytest.mark.parametrize("null_class", [ChanceClusters, PixelClusters, ComponentClusters, ComponentMixture])
def test_a_number_of_clusters_is_refused_where_it_is_the_one_without_the_option(null_class):
    """Without the option there is one facet then, and the same one; of two numbers of values there are two."""
    labels = np.arange(60)
    train, one = images((1, 8, 8), 60), {"a": (labels % 3, 3), "b": (labels * 0, 1), "c": (labels % 3, 3)}
    assert fitted(null_class, train, one).cluster(train).keys() == {"k3"}
    with pytest.raises(LatentbenchError, match="'clusters' has no effect: the attributes have 3 values: leave it out"):
        fitted(null_class, train, one, clusters=3)
    assert fitted(null_class, train, one, clusters=4).cluster(train).keys() == {"k4"}
    assert fitted(null_class, train, TWO, clusters=3).cluster(train).keys() == {"k3"}
