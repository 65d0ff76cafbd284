"""Each detector against scikit-learn or SciPy, its state, and what it does where there is little to fit to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, mahalanobis
from scipy.stats import multivariate_normal
from sklearn import mixture, svm
from sklearn.covariance import LedoitWolf
from sklearn.preprocessing import StandardScaler

from latentbench import LatentbenchError
from latentbench.testing.simulated_device import simulated_device
from latentbench_infostylegan.detectors import DETECTORS, GaussianMixture, Mahalanobis, NearestNeighbours, OneClassSVM


def vectors(n: int, dim: int = 6, seed: int = 0) -> torch.Tensor:
    """(n, dim): two clusters, correlated, of very different scales."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, dim)) @ (np.eye(dim) + 0.4) + 6 * draw.integers(0, 2, (n, 1))
    return torch.from_numpy((x * 10.0 ** (np.arange(dim) % 4 - 1) + 5).astype(np.float32))


def fitted(name: str, train: torch.Tensor, count: int | None = None, **options):
    detector = DETECTORS[name](train.shape[1], count or len(train), **options)
    detector.fit(train)
    return detector


def standardized(train: torch.Tensor, test: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    scaler = StandardScaler().fit(train.double().numpy())
    return scaler.transform(train.double().numpy()), scaler.transform(test.double().numpy())


def svm_of_sklearn(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return -svm.OneClassSVM(kernel="rbf", nu=0.1, gamma="scale").fit(x).decision_function(y)


def neighbours_of_scipy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sort(cdist(y, x), axis=1)[:, :5].mean(1)


def mahalanobis_of_scipy(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    gaussian = LedoitWolf().fit(x)
    return np.array([mahalanobis(row, gaussian.location_, gaussian.precision_) for row in y])


def mixture_of_sklearn(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    options = {"covariance_type": "tied", "reg_covar": 1e-3, "tol": 0.01, "random_state": 0}
    return -mixture.GaussianMixture(min(10, len(x)), **options).fit(x).score_samples(y)


ORACLES = {
    "one_class_svm": svm_of_sklearn,
    "nearest_neighbours": neighbours_of_scipy,
    "mahalanobis": mahalanobis_of_scipy,
    "gaussian_mixture": mixture_of_sklearn,
}

every = pytest.mark.parametrize("name", DETECTORS)


@every
@pytest.mark.parametrize(("n", "dim"), [(300, 6), (40, 24), (200, 1), (3, 4)])
def test_scores_are_those_of_scikit_learn_and_scipy(name, n, dim):
    train = vectors(n, dim)
    test = torch.cat([vectors(50, dim, seed=1), 3 * vectors(10, dim, seed=2), train[:3]])
    found = fitted(name, train)(test)
    assert found.shape == (len(test),)
    assert found.dtype == torch.float32
    expected = ORACLES[name](*standardized(train, test))
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-4, atol=2e-4)


@every
def test_anomalies_score_higher(name):
    detector = fitted(name, vectors(300))
    far = vectors(1000).mean(0) + 4 * vectors(1000).std(0) * torch.tensor([1.0, -1, 1, -1, 1, -1])
    assert detector(far[None]) > detector(vectors(200, seed=1)).quantile(0.98)


def test_the_mixture_is_the_density_of_its_components():
    train, test = vectors(300), vectors(20, seed=1)
    detector = GaussianMixture(6, 300, components=3)
    detector.fit(train)
    whitening = detector.whitening.double().numpy()
    covariance = np.linalg.inv(whitening @ whitening.T)
    means = detector.centres.double().numpy() @ np.linalg.inv(whitening)
    _, y = standardized(train, test)
    density = sum(
        share * multivariate_normal(mean, covariance).pdf(y)
        for share, mean in zip(detector.shares.double().numpy(), means, strict=True)
    )
    np.testing.assert_allclose(detector(test).numpy(), -np.log(density), rtol=1e-4)


@every
def test_a_state_goes_into_a_detector_that_was_never_fitted(name):
    detector = fitted(name, vectors(70), count=100)
    other = DETECTORS[name](6, 100)
    other.load_state_dict(detector.state_dict())
    test = vectors(20, seed=1)
    assert torch.equal(other(test), detector(test))
    assert all(value.isfinite().all() for value in detector.state_dict().values())
    assert not list(detector.parameters())


@every
def test_a_second_fit_forgets_the_first(name):
    again = fitted(name, vectors(90, seed=3), count=100)
    again.fit(vectors(50))
    assert all(
        map(torch.equal, again.state_dict().values(), fitted(name, vectors(50), count=100).state_dict().values())
    )


@every
@settings(max_examples=20)
@given(data=st.data())
def test_a_score_does_not_depend_on_the_rest_of_the_batch(name, data):
    dim, n = data.draw(st.integers(1, 12)), data.draw(st.integers(2, 40))
    detector = fitted(name, vectors(n, dim))
    test = torch.cat([vectors(9, dim, seed=1), 100 * vectors(2, dim, seed=2), vectors(n, dim)[:1]])
    together = detector(test)
    some = torch.tensor(data.draw(st.lists(st.integers(0, len(test) - 1), min_size=1, max_size=30)))
    torch.testing.assert_close(detector(test[some]), together[some], rtol=1e-5, atol=1e-5)


@every
def test_large_batches_are_scored_in_parts(name, monkeypatch):
    detector, test = fitted(name, vectors(50)), vectors(40, seed=1)
    whole = detector(test)
    monkeypatch.setattr("latentbench_infostylegan.detectors._TABLE", 130)
    torch.testing.assert_close(detector(test), whole)


@every
def test_a_constant_feature_changes_nothing_until_it_moves(name):
    train, test = vectors(60, 3), vectors(20, 3, seed=1)
    constant = torch.full((60, 1), 0.1)
    detector = fitted(name, torch.cat([train, constant], 1))
    assert detector.deviation[3] == 1
    still = torch.cat([test, constant[:20]], 1)
    expected = ORACLES[name](*standardized(torch.cat([train, constant], 1), still))
    np.testing.assert_allclose(detector(still).numpy(), expected, rtol=1e-3, atol=1e-3)
    moved = still + torch.tensor([0, 0, 0, 1.0])
    assert (detector(moved) > detector(still)).all()


@every
def test_a_feature_that_is_constant_but_for_rounding_is_not_blown_up(name):
    rounding = torch.full((60, 1), 1000.0).nextafter(torch.tensor(2000.0) * (torch.arange(60) % 2)[:, None])
    assert len(rounding.unique()) == 2
    train = torch.cat([vectors(60, 3), rounding], 1)
    detector = fitted(name, train)
    other = torch.cat([train[:, :3], rounding.flip(0)], 1)
    torch.testing.assert_close(detector(train), detector(other), rtol=1e-3, atol=1e-3)


@every
def test_one_training_vector(name):
    train = vectors(1, 3)
    if DETECTORS[name].least == 2:
        with pytest.raises(LatentbenchError, match="cannot be fitted to 1 vectors of 3 dimensions: it takes 2"):
            DETECTORS[name](3, 1)
        with pytest.raises(LatentbenchError, match="was given 1 vectors to fit: it takes 2 to 5"):
            DETECTORS[name](3, 5).fit(train)
        return
    detector = fitted(name, train, count=5)
    near, far = detector(train), detector(train + 1)
    assert far > near
    if name == "nearest_neighbours":
        assert near == 0
        torch.testing.assert_close(far, torch.tensor([3**0.5]))
    else:
        np.testing.assert_allclose(far, svm_of_sklearn(np.zeros((1, 3)), np.ones((1, 3))), rtol=1e-5)


def test_equal_training_vectors():
    train = vectors(1, 3).expand(8, 3)
    for name in ("one_class_svm", "nearest_neighbours", "gaussian_mixture"):
        detector = fitted(name, train)
        assert detector(train + 1).isfinite().all()
        assert (detector(train + 1) > detector(train)).all()
    with pytest.raises(LatentbenchError, match="Mahalanobis was given 8 vectors to fit that are all equal"):
        fitted("mahalanobis", train)


def test_with_fewer_vectors_than_neighbours_it_is_the_mean_distance_to_all():
    detector = NearestNeighbours(1, 10)
    detector.fit(torch.tensor([[-1.0], [1.0], [0.0]]))
    expected = (2.0 + 1 + 3) / 3 / np.sqrt(2 / 3)
    torch.testing.assert_close(detector(torch.tensor([[2.0]])), torch.tensor([expected], dtype=torch.float32))


def test_small_distances_are_exact_far_from_the_mean():
    train = torch.cat([vectors(2000, 64), 1e4 * torch.ones(1, 64)])
    detector = NearestNeighbours(64, 2001, k=1)
    detector.fit(train)
    assert detector(train).max() == 0


def test_a_direction_without_variance_counts_for_the_mahalanobis_distance():
    detector = Mahalanobis(2, 2)
    detector.fit(torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    along, across = detector(torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    torch.testing.assert_close(along, torch.tensor(1.0))
    assert across > 100


def test_a_mixture_has_no_more_components_than_different_vectors(recwarn):
    detector = fitted("gaussian_mixture", vectors(3).repeat(20, 1))
    assert int((detector.shares > 0).sum()) == 3
    assert not recwarn.list


def test_a_share_of_about_nu_of_the_training_vectors_lies_outside():
    detector = OneClassSVM(6, 400)
    detector.fit(vectors(400))
    assert (detector(vectors(400)) > 1e-3).float().mean() <= 0.1
    assert int(detector.supports) >= 40


@every
def test_on_an_accelerator_scores_stay_there_and_are_the_same(name):
    train, test = vectors(60), vectors(20, seed=1)
    expected = fitted(name, train)(test)
    with simulated_device() as device:
        detector = DETECTORS[name](6, 60).to(device)
        detector.fit(train.to(device))
        assert all(value.device == device for value in detector.state_dict().values())
        found = detector(test.to(device))
        assert found.device == device
        torch.testing.assert_close(found.cpu(), expected)


@every
def test_bad_input_is_refused_in_a_line(name):
    detector = DETECTORS[name](4, 10)
    kind = DETECTORS[name].__name__
    with pytest.raises(LatentbenchError, match=f"{kind} is not fitted: call fit"):
        detector(torch.zeros(2, 4))
    with pytest.raises(LatentbenchError, match=rf"{kind} was given features of shape \(8, 3\): it takes \(N, 4\)"):
        detector.fit(torch.zeros(8, 3))
    with pytest.raises(LatentbenchError, match=f"{kind} was given 11 vectors to fit: it takes {detector.least} to 10"):
        detector.fit(torch.zeros(11, 4))
    with pytest.raises(LatentbenchError, match=f"{kind} was given a vector to fit that is not finite: the network"):
        detector.fit(torch.full((5, 4), torch.nan))
    with pytest.raises(LatentbenchError, match=f"{kind} cannot be fitted to 10 vectors of 0 dimensions"):
        DETECTORS[name](0, 10)
    detector.fit(vectors(10, 4))
    with pytest.raises(LatentbenchError, match=rf"{kind} was given features of shape \(4,\)"):
        detector(torch.zeros(4))
