import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch import distributions as dist

from latentbench.torchvision_compat import import_torchvision
from latentbench_autoencoders.likelihoods import SSIM, Bernoulli, Gaussian, Likelihood, likelihood

ALL = [Bernoulli(), Gaussian(0.3), SSIM()]


@pytest.fixture
def outputs() -> Tensor:
    return 2 * torch.randn(3, 2, 12, 13, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def x() -> Tensor:
    return torch.rand(3, 2, 12, 13, generator=torch.Generator().manual_seed(1))


def _perfect(kind: Likelihood, x: Tensor) -> Tensor:
    """The outputs whose mean is x."""
    return x if isinstance(kind, Gaussian) else torch.logit(x)


@pytest.mark.parametrize("kind", ALL)
def test_shapes_and_range(kind: Likelihood, outputs: Tensor, x: Tensor) -> None:
    assert kind.negative_log(outputs, x).shape == (3,)
    assert kind.error(outputs, x).shape == (3, 12, 13)
    mean = kind.mean(outputs)
    assert mean.shape == x.shape
    assert 0 <= mean.min() < mean.max() <= 1


def test_bernoulli_is_that_of_torch_distributions(outputs: Tensor, x: Tensor) -> None:
    for target in (x, x.round()):
        expected = -dist.Bernoulli(logits=outputs, validate_args=False).log_prob(target).sum((1, 2, 3))
        torch.testing.assert_close(Bernoulli().negative_log(outputs, target), expected)


def test_gray_targets_stand_for_the_mean_over_binary_images(outputs: Tensor, x: Tensor) -> None:
    binary = torch.bernoulli(x.expand(2000, *x.shape), generator=torch.Generator().manual_seed(2))
    each = Bernoulli().negative_log(outputs.repeat(2000, 1, 1, 1), binary.flatten(0, 1)).view(2000, -1)
    error = (each.mean(0) - Bernoulli().negative_log(outputs, x)).abs()
    assert (error < 5 * each.std(0) / 2000**0.5).all()


def test_bernoulli_error_is_the_divergence_of_two_coins(outputs: Tensor, x: Tensor) -> None:
    expected = dist.kl_divergence(dist.Bernoulli(x), dist.Bernoulli(logits=outputs)).sum(1)
    torch.testing.assert_close(Bernoulli().error(outputs, x), expected, atol=1e-5, rtol=1e-5)


def test_gaussian_is_that_of_torch_distributions(outputs: Tensor, x: Tensor) -> None:
    expected = -dist.Normal(outputs, 0.3).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(Gaussian(0.3).negative_log(outputs, x), expected)


@pytest.mark.parametrize("kind", ALL)
def test_the_error_map_sums_to_the_excess_over_a_perfect_reconstruction(
    kind: Likelihood, outputs: Tensor, x: Tensor
) -> None:
    perfect = _perfect(kind, x)
    excess = kind.negative_log(outputs, x) - kind.negative_log(perfect, x)
    torch.testing.assert_close(kind.error(outputs, x).sum((1, 2)), excess, rtol=1e-4, atol=1e-3)
    assert kind.error(perfect, x).abs().max() < 1e-5
    torch.testing.assert_close(kind.mean(perfect), x)


@pytest.mark.parametrize("kind", [Bernoulli(), Gaussian(0.3)])
def test_errors_are_never_negative_and_finite_for_black_and_white(kind: Likelihood) -> None:
    x = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 1, 4, 2)
    for scale in (0.0, 1.0, 80.0):
        error = kind.error(scale * (2 * x - 1), x)
        assert error.isfinite().all()
        assert (error >= 0).all()


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.integers(4, 24), st.integers(4, 24))
def test_ssim_of_constant_images_has_its_closed_form(a: float, b: float, height: int, width: int) -> None:
    x, outputs = torch.full((1, 1, height, width), a), torch.full((1, 1, height, width), b).logit()
    expected = 1 - (2 * a * b + 0.01**2) / (a**2 + b**2 + 0.01**2)
    torch.testing.assert_close(SSIM().error(outputs, x), torch.full((1, height, width), expected), atol=5e-3, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(20, 30), (11, 11), (8, 16), (4, 4)])
def test_ssim_is_that_of_a_gaussian_filter(height: int, width: int) -> None:
    draw = torch.Generator().manual_seed(3)
    x, y = torch.rand(1, 1, height, width, generator=draw), torch.rand(1, 1, height, width, generator=draw)
    sigma = 1.5 * min(1, min(height, width) / 11)

    def local(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, sigma, mode="mirror", truncate=3.5)

    a, b = x[0, 0].double().numpy(), y[0, 0].double().numpy()
    mean_a, mean_b = local(a), local(b)
    covariance = local(a * b) - mean_a * mean_b
    variances = local(a * a) - mean_a**2 + local(b * b) - mean_b**2
    similarity = (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4)
    similarity /= (mean_a**2 + mean_b**2 + 1e-4) * (variances + 9e-4)
    np.testing.assert_allclose(SSIM().error(y.logit(), x)[0].numpy(), 1 - similarity, atol=2e-4)


def test_ssim_of_a_large_image_is_that_of_torchmetrics(outputs: Tensor, x: Tensor) -> None:
    import_torchvision()
    from torchmetrics.functional.image import structural_similarity_index_measure

    expected = structural_similarity_index_measure(outputs.sigmoid(), x, data_range=1.0, reduction="none")
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(SSIM().negative_log(outputs, x), (1 - expected) * x[0].numel())


def test_the_name_chooses_the_likelihood() -> None:
    assert isinstance(likelihood("bernoulli", 0.1), Bernoulli)
    assert isinstance(likelihood("ssim", 0.1), SSIM)
    gaussian = likelihood("gaussian", 0.2)
    assert isinstance(gaussian, Gaussian)
    assert gaussian.sigma == 0.2
