"""The identities of Lemma 1 on random distributions, the values of known channels, and what does not follow."""

from collections.abc import Callable
from itertools import product
from math import log, prod, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy as entropy_of_scipy
from scipy.stats import multivariate_normal
from sklearn.metrics import mutual_info_score

from latentbench import LatentbenchError
from latentbench_infostylegan.lemma import (
    LinearGaussian,
    divergence_of_each,
    entropy,
    factorized_bound,
    information,
    information_of_each,
    joint_of,
    posterior_of_each,
    posterior_total_correlation,
    total_correlation,
)

#: Numbers of values of each code, then of images.
shapes = st.lists(st.integers(1, 4), min_size=1, max_size=3).flatmap(
    lambda values: st.integers(1, 6).map(lambda images: (*values, images))
)
seeds = st.integers(0, 2**32 - 1)


def random_joint(shape: tuple[int, ...], seed: int, *, independent: bool = False) -> np.ndarray:
    """p(c, x) with some zeros; with independent codes, p(c_1) ... p(c_m) p(x|c)."""
    draw = np.random.default_rng(seed)
    joint = draw.gamma(0.5, size=shape) * (draw.random(shape) < 0.8) + 1e-9
    if not independent:
        return joint / joint.sum()
    joint /= joint.sum(-1, keepdims=True)
    for axis, values in enumerate(shape[:-1]):
        prior = draw.dirichlet(np.ones(values))
        joint *= np.expand_dims(prior, [other for other in range(len(shape)) if other != axis])
    return joint


def random_q(shape: tuple[int, ...], seed: int) -> list[np.ndarray]:
    draw = np.random.default_rng(seed + 1)
    return [draw.dirichlet(np.ones(values), size=shape[-1]).T for values in shape[:-1]]


def by_loop(joint: np.ndarray) -> tuple[float, list[float], float, float]:
    """I(c; x), I(c_i; x), TC(c), TC(c|x) by their definitions as divergences, one event at a time."""
    *values, images = joint.shape
    m = len(values)

    def p(code: dict[int, int], x: int | None) -> float:
        """Probability that these codes and this image have these values."""
        index = tuple(code.get(i, slice(None)) for i in range(m))
        return float(joint[(*index, slice(None) if x is None else x)].sum())

    of_all, of_each, prior, posterior = 0.0, [0.0] * m, 0.0, 0.0
    for c in product(*map(range, values)):
        whole = dict(enumerate(c))
        if p(whole, None) > 0:
            prior += p(whole, None) * log(p(whole, None) / prod(p({i: c[i]}, None) for i in range(m)))
        for x in range(images):
            both, image = p(whole, x), p({}, x)
            if both > 0:
                of_all += both * log(both / (p(whole, None) * image))
                posterior += both * log(both / image / prod(p({i: c[i]}, x) / image for i in range(m)))
    for i, x in product(range(m), range(images)):
        for value in range(values[i]):
            both = p({i: value}, x)
            if both > 0:
                of_each[i] += both * log(both / (p({i: value}, None) * p({}, x)))
    return of_all, of_each, prior, posterior


@settings(max_examples=60)
@given(shape=shapes, seed=seeds)
def test_all_quantities_are_those_of_a_loop_over_events(shape, seed):
    joint = random_joint(shape, seed)
    of_all, of_each, prior, posterior = by_loop(joint)
    assert information(joint) == pytest.approx(of_all, abs=1e-10)
    np.testing.assert_allclose(information_of_each(joint), of_each, atol=1e-10)
    assert total_correlation(joint) == pytest.approx(prior, abs=1e-10)
    assert posterior_total_correlation(joint) == pytest.approx(posterior, abs=1e-10)


@settings(max_examples=30)
@given(seed=seeds)
def test_entropy_and_information_are_those_of_scipy_and_scikit_learn(seed):
    counts = np.random.default_rng(seed).integers(0, 9, (3, 5)) + np.eye(3, 5, dtype=np.int64)
    joint = counts / counts.sum()
    assert entropy(joint) == pytest.approx(entropy_of_scipy(counts.ravel()), abs=1e-12)
    assert information(joint) == pytest.approx(mutual_info_score(None, None, contingency=counts), abs=1e-9)


@settings(max_examples=200)
@given(shape=shapes, seed=seeds)
def test_identity_a_holds_for_any_distribution(shape, seed):
    joint = random_joint(shape, seed)
    right = information_of_each(joint).sum() - total_correlation(joint) + posterior_total_correlation(joint)
    assert information(joint) == pytest.approx(right, abs=1e-10)
    assert total_correlation(joint) >= -1e-10
    assert posterior_total_correlation(joint) >= -1e-10


@settings(max_examples=200)
@given(shape=shapes, seed=seeds)
def test_identities_b_and_d_and_the_bound_c_hold_for_independent_codes(shape, seed):
    joint, q = random_joint(shape, seed, independent=True), random_q(shape, seed)
    assert total_correlation(joint) == pytest.approx(0, abs=1e-10)
    of_all, of_each = information(joint), information_of_each(joint).sum()
    posterior = posterior_total_correlation(joint)
    assert of_all == pytest.approx(of_each + posterior, abs=1e-10)
    assert posterior <= entropy(joint.sum(-1)) - of_each + 1e-10
    bound, lost = factorized_bound(joint, q), divergence_of_each(joint, q)
    assert (lost >= -1e-10).all()
    assert of_all - bound == pytest.approx(posterior + lost.sum(), abs=1e-10)
    assert bound <= of_all + 1e-10


@settings(max_examples=50)
@given(shape=shapes, seed=seeds)
def test_the_bound_is_tight_in_q_at_the_posteriors(shape, seed):
    joint = random_joint(shape, seed, independent=True)
    q = posterior_of_each(joint)
    assert factorized_bound(joint, q) == pytest.approx(information_of_each(joint).sum(), abs=1e-10)
    np.testing.assert_allclose(divergence_of_each(joint, q), 0, atol=1e-10)


#: Image as a function of two fair bits -> number of images, I(c; x), I(c_i; x), TC(c|x).
CHANNELS: dict[str, tuple[Callable[[int, int], int], int, float, tuple[float, float], float]] = {
    "(c1, c2)": (lambda a, b: 2 * a + b, 4, 1.3863, (0.6931, 0.6931), 0),
    "c1 XOR c2": (lambda a, b: a ^ b, 2, 0.6931, (0, 0), 0.6931),
    "c1": (lambda a, b: a, 2, 0.6931, (0.6931, 0), 0),
    "c1 AND c2": (lambda a, b: a & b, 2, 0.5623, (0.2158, 0.2158), 0.1308),
    "(c1, c1 XOR c2)": (lambda a, b: 2 * a + (a ^ b), 4, 1.3863, (0.6931, 0.6931), 0),
}


@pytest.mark.parametrize("channel", CHANNELS)
def test_known_channels(channel):
    image, images, of_all, of_each, posterior = CHANNELS[channel]
    joint = joint_of(image, (2, 2), images)
    assert information(joint) == pytest.approx(of_all, abs=6e-5)
    np.testing.assert_allclose(information_of_each(joint), of_each, atol=6e-5)
    assert posterior_total_correlation(joint) == pytest.approx(posterior, abs=6e-5)
    assert total_correlation(joint) == pytest.approx(0, abs=1e-12)


def test_two_parts_of_an_image_may_share_all_their_information_about_the_codes():
    """The image (c1, c1 XOR c2) is perfect by the lemma, though the second part of the image mixes both codes."""
    joint = joint_of(lambda a, b: 2 * a + (a ^ b), (2, 2), 4)
    assert posterior_total_correlation(joint) == pytest.approx(0, abs=1e-12)
    second_part = joint.reshape(2, 2, 2, 2).sum(2)
    np.testing.assert_allclose(information_of_each(second_part), 0, atol=1e-12)
    assert information(second_part) == pytest.approx(log(2))


def test_full_control_of_discrete_codes_leaves_no_total_correlation():
    """Images that show more and more of both codes: sum I(c_i; x) -> H(c), and (c) squeezes TC(c|x) to 0."""
    copy = joint_of(lambda a, b: 3 * a + b, (3, 3), 9)
    found = []
    for share in (0, 0.5, 0.9, 0.99, 1):
        noisy = share * copy + (1 - share) / 81
        room = 2 * log(3) - information_of_each(noisy).sum()
        posterior = posterior_total_correlation(noisy)
        assert -1e-12 <= posterior <= room + 1e-12
        found.append(room)
    assert found == sorted(found, reverse=True)
    assert found[-1] == pytest.approx(0, abs=1e-12)


def slanted(rho: float) -> np.ndarray:
    """Columns of length 1 and correlation rho."""
    return np.array([[1, rho], [0, sqrt(1 - rho**2)]])


@pytest.mark.parametrize(
    ("sigma", "of_all", "of_each", "posterior"), [(1, 0.6060, 0.5188, 0.0872), (0.1, 4.1215, 3.6279, 0.4936)]
)
def test_linear_gaussian_values(sigma, of_all, of_each, posterior):
    case = LinearGaussian(slanted(0.8), sigma)
    assert case.information == pytest.approx(of_all, abs=6e-5)
    assert case.information_of_each.sum() == pytest.approx(of_each, abs=6e-5)
    assert case.posterior_total_correlation == pytest.approx(posterior, abs=6e-5)


@pytest.mark.parametrize("rho", [0.8, 0.3, -0.5])
def test_for_continuous_codes_less_noise_does_not_remove_the_total_correlation(rho):
    cases = [LinearGaussian(slanted(rho), sigma) for sigma in (1, 0.1, 1e-2, 1e-4)]
    of_each = [case.information_of_each.sum() for case in cases]
    posterior = [case.posterior_total_correlation for case in cases]
    assert of_each == sorted(of_each)  # ever more control ...
    assert posterior == sorted(posterior)  # ... and ever more, not less, total correlation
    assert posterior[-1] == pytest.approx(-log(1 - rho**2) / 2, abs=1e-6)
    of_prior = entropy_of_standard_normal(2)
    assert of_each[-1] > of_prior  # the entropy is no bound, so (c) says nothing
    assert posterior[-1] > of_prior - of_each[-1]


def test_the_limit_at_a_correlation_of_four_fifths():
    assert LinearGaussian(slanted(0.8), 1e-5).posterior_total_correlation == pytest.approx(0.5108, abs=6e-5)


@pytest.mark.parametrize("sigma", [10, 1, 0.1, 1e-3])
def test_orthogonal_columns_have_no_total_correlation_at_any_noise(sigma):
    assert LinearGaussian(slanted(0), sigma).posterior_total_correlation == pytest.approx(0, abs=1e-9)


def entropy_of_standard_normal(dimensions: int) -> float:
    return float(multivariate_normal(np.zeros(dimensions)).entropy())


@settings(max_examples=50)
@given(m=st.integers(1, 4), d=st.integers(1, 5), sigma=st.floats(0.1, 10), seed=seeds)
def test_linear_gaussian_information_follows_from_the_entropies_of_scipy(m, d, sigma, seed):
    A = np.random.default_rng(seed).normal(size=(d, m))
    case = LinearGaussian(A, sigma)
    both = np.block([[np.eye(m), A.T], [A, A @ A.T + sigma**2 * np.eye(d)]])

    def h(index: list[int]) -> float:
        return float(multivariate_normal(np.zeros(len(index)), both[np.ix_(index, index)]).entropy())

    codes, image = list(range(m)), list(range(m, m + d))
    assert case.information == pytest.approx(h(codes) + h(image) - h(codes + image), abs=1e-8)
    expected = [h([i]) + h(image) - h([i, *image]) for i in codes]
    np.testing.assert_allclose(case.information_of_each, expected, atol=1e-8)
    posterior = sum(h([i, *image]) - h(image) for i in codes) - (h(codes + image) - h(image))
    assert case.posterior_total_correlation == pytest.approx(posterior, abs=1e-8)


def test_a_q_that_rules_out_what_occurs_has_a_bound_of_minus_infinity():
    joint = joint_of(lambda a: a, (2,), 2)
    wrong = [np.array([[0.0, 1.0], [1.0, 0.0]])]
    assert factorized_bound(joint, wrong) == -np.inf
    assert divergence_of_each(joint, wrong).tolist() == [np.inf]


def test_an_image_that_does_not_occur_has_uniform_posteriors():
    (posterior,) = posterior_of_each(joint_of(lambda a: a, (2,), 3))
    assert posterior.tolist() == [[1, 0, 0.5], [0, 1, 0.5]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: entropy(np.array([0.5, 0.6])), "these are no probabilities: they have to be 0 or more and to add up"),
        (lambda: entropy(np.array([1.5, -0.5])), "these are no probabilities"),
        (lambda: entropy(np.array([np.nan, 1.0])), "these are no probabilities"),
        (lambda: total_correlation(np.array([1.0])), r"a joint distribution of one axis has no code: it takes \(K_1"),
        (lambda: factorized_bound(joint_of(lambda a: a, (2,), 2), [np.ones((3, 2)) / 3]), "q has the shapes"),
        (lambda: factorized_bound(joint_of(lambda a: a, (2,), 2), [np.ones((2, 2))]), "these are no probabilities"),
        (lambda: LinearGaussian(np.ones(2), 1), r"A has shape \(2,\): it takes a matrix \(d, m\)"),
        (lambda: LinearGaussian(np.ones((2, 2)), 0), "sigma is 0: it takes a finite number above 0"),
    ],
)
def test_bad_input_is_refused_in_a_line(call, message):
    with pytest.raises(LatentbenchError, match=message):
        call()
