from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA as Reference  # noqa: N811
from torch import Tensor

from latentbench import Batch, DataInfo, LatentbenchError, Role, Split, StoredSplit
from latentbench.capabilities import capabilities_of
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_pca import model as module
from latentbench_pca.model import PCA

INFO = DataInfo(channels=1, height=8, width=8, train_size=400)


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """(500, 1, 8, 8) in [0, 1]: 400 to fit, 100 to test."""
    return torch.from_numpy(load_digits().images[:500, None] / 16).float()


def _split(images: Tensor) -> StoredSplit:
    return StoredSplit(Role.TRAIN, (images * 255).round().to(torch.uint8))


def _fitted(images: Tensor, **options: Any) -> PCA:
    model = PCA(PCA.Config.parse(options, "model 'pca'"), INFO).eval()
    model.fit(_split(images), None, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model


def _rows(images: Tensor) -> np.ndarray:
    return ((images * 255).round() / 255).flatten(1).numpy()


@pytest.fixture(scope="module")
def fitted(digits: Tensor) -> PCA:
    return _fitted(digits[:400], components=10)


@pytest.fixture(scope="module")
def reference(digits: Tensor) -> Reference:
    return Reference(10, svd_solver="full").fit(_rows(digits[:400]).astype(np.float64))


def test_it_keeps_what_a_model_promises() -> None:
    check_model(PCA)
    check_model(PCA, channels=3, height=5, width=7, options={"components": 1})


def test_it_brings_its_own_fit_and_has_no_training_options() -> None:
    assert PCA.name == "pca"
    assert set(PCA.Config.model_fields) == {"components"}
    expected = ["score", "localize", "encode", "decode", "reconstruct", "sample", "log_likelihood"]
    assert capabilities_of(PCA) == expected


def test_codes_reconstructions_and_densities_are_those_of_scikit_learn(
    fitted: PCA, reference: Reference, digits: Tensor
) -> None:
    test = digits[400:]
    rows = test.flatten(1).numpy().astype(np.float64)
    codes = reference.transform(rows)
    back = reference.inverse_transform(codes)
    np.testing.assert_allclose(fitted.encode(test), codes, atol=1e-3)
    np.testing.assert_allclose(fitted.reconstruct(test).flatten(1), back.clip(0, 1), atol=1e-3)
    np.testing.assert_allclose(fitted.localize(test).flatten(1), (rows - back) ** 2, atol=1e-3)
    np.testing.assert_allclose(fitted.score(test), ((rows - back) ** 2).sum(1), rtol=1e-3)
    np.testing.assert_allclose(fitted.log_likelihood(test), reference.score_samples(rows), rtol=1e-3, atol=0.05)


def test_the_density_is_the_normal_of_its_covariance(fitted: PCA, digits: Tensor) -> None:
    w, noise = fitted.components, fitted.noise_variance
    covariance = noise * torch.eye(64) + w.T @ torch.diag(fitted.variances - noise) @ w
    expected = multivariate_normal(fitted.mean, covariance).logpdf(digits[400:].flatten(1))
    np.testing.assert_allclose(fitted.log_likelihood(digits[400:]), expected, rtol=1e-4, atol=1e-2)


def test_samples_have_the_moments_of_the_model_without_the_noise_of_its_pixels() -> None:
    model = PCA(PCA.Config(components=2), DataInfo(channels=1, height=1, width=4, train_size=1))
    model.mean.fill_(0.5)
    model.components.copy_(torch.eye(2, 4))
    model.variances.copy_(torch.tensor([0.01, 0.005]))
    model.noise_variance.fill_(0.001)
    torch.manual_seed(0)
    samples = model.sample(40_000)
    assert samples.shape == (40_000, 1, 1, 4)
    covariance = torch.cov(samples.flatten(1).T)
    torch.testing.assert_close(samples.mean(0).flatten(), torch.full((4,), 0.5), atol=0.005, rtol=0)
    torch.testing.assert_close(covariance, torch.diag(torch.tensor([0.009, 0.004, 0.0, 0.0])), atol=3e-4, rtol=0)
    assert torch.equal(samples[..., 2:], torch.full((40_000, 1, 1, 2), 0.5))  # no noise across the subspace


def test_decoding_is_the_inverse_of_coding_within_the_subspace(fitted: PCA, digits: Tensor) -> None:
    codes = fitted.encode(digits[400:])
    assert torch.equal(fitted.decode(codes), fitted.reconstruct(digits[400:]))
    near = 0.05 * codes / codes.norm(dim=1, keepdim=True)
    fitted_inside = deepcopy(fitted)
    fitted_inside.mean.fill_(0.5)  # far from the border of [0, 1], so that nothing is cut
    torch.testing.assert_close(fitted_inside.encode(fitted_inside.decode(near)), near, atol=1e-5, rtol=0)


def test_samples_at_given_coordinates_are_the_points_that_have_them(fitted: PCA, digits: Tensor) -> None:
    codes = fitted.encode(digits[400:])
    assert torch.equal(fitted.sample(len(codes), codes), fitted.reconstruct(digits[400:]))


def test_samples_and_reconstructions_are_images(fitted: PCA, digits: Tensor) -> None:
    for images in (fitted.sample(50), fitted.reconstruct(digits[400:])):
        assert images.shape[1:] == (1, 8, 8)
        assert images.min() == 0  # cut: digits lie at the border of [0, 1]
        assert images.max() <= 1


def test_the_fit_is_deterministic(digits: Tensor) -> None:
    first, second = (_fitted(digits[:400], components=10).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_saved_model_scores_as_before(fitted: PCA, digits: Tensor) -> None:
    other = PCA(fitted.config, INFO)
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.score(digits), fitted.score(digits))
    assert torch.equal(other.log_likelihood(digits), fitted.log_likelihood(digits))


def test_a_score_does_not_depend_on_the_batch(fitted: PCA, digits: Tensor) -> None:
    alone = torch.cat([fitted.score(image[None]) for image in digits[:20]])
    torch.testing.assert_close(fitted.score(digits)[:20], alone)


class Composed(Split):
    """Images drawn afresh for every batch, as a composed split does."""

    role = Role.TRAIN
    content_hash = "composed"

    def __init__(self) -> None:
        self.drawn: list[Tensor] = []

    def __len__(self) -> int:
        return 100

    def to(self, device: torch.device) -> "Composed":
        return self

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        self.drawn.append(torch.rand(len(index), 1, 8, 8, generator=generator))
        return Batch(self.drawn[-1])


def test_it_sees_one_pass_of_a_composed_split_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWN_AT_ONCE", 30)
    model, split = PCA(PCA.Config(components=5), INFO), Composed()
    model.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=0))
    assert [len(images) for images in split.drawn] == [30, 30, 30, 10]
    torch.testing.assert_close(model.mean, torch.cat(split.drawn).mean(0).flatten())


def test_too_few_images_are_refused(digits: Tensor) -> None:
    with pytest.raises(LatentbenchError, match="32 components need more training images than 32: use at most 31"):
        _fitted(digits[:32])
    _fitted(digits[:33])


def test_as_many_components_as_values_are_refused() -> None:
    with pytest.raises(LatentbenchError, match="64 components leave nothing of 64 values: use at most 63"):
        PCA(PCA.Config(components=64), INFO)


@pytest.mark.parametrize("different", [1, 3])
def test_images_that_the_subspace_holds_have_finite_samples_and_densities(digits, different):
    model = _fitted(digits[:different].repeat(-(-400 // different), 1, 1, 1)[:400], components=8)
    assert model.noise_variance > 0
    with torch.inference_mode():
        assert model.sample(50).isfinite().all()
        assert model.log_likelihood(digits[:different]).isfinite().all()
