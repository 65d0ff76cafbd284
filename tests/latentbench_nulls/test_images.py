from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench import DataInfo
from latentbench_nulls.images import Brightness, CompressedSize, Contrast, Darkness, Entropy


@pytest.fixture(params=SHAPES, ids=str)
def test_images(request):
    return images(request.param, 6)


def test_brightness_and_darkness_are_the_mean_both_ways(test_images):
    means = [sum(map(float, image.flatten())) / image.numel() for image in test_images]
    np.testing.assert_allclose(fitted(Brightness, test_images).score(test_images), means, rtol=1e-12)
    np.testing.assert_allclose(fitted(Darkness, test_images).score(test_images), np.negative(means), rtol=1e-12)


def test_contrast_is_the_standard_deviation(test_images):
    expected = np.std(test_images.double().numpy(), axis=(1, 2, 3))
    np.testing.assert_allclose(fitted(Contrast, test_images).score(test_images), expected, rtol=1e-12)


def test_entropy_is_that_of_bernoulli_variables(test_images):
    expected = stats.bernoulli(test_images.double().numpy()).entropy().sum((1, 2, 3))
    np.testing.assert_allclose(fitted(Entropy, test_images).score(test_images), expected, rtol=1e-12)


def test_entropy_is_the_least_negative_log_likelihood_and_finite_at_the_ends_and_beyond():
    x = torch.tensor([0.0, 0.2, 0.7, 1.0, 3.0, -1.0]).view(-1, 1, 1, 1)
    q = torch.linspace(0.001, 0.999, 999)
    inside = x.flatten().clamp(0, 1)[:, None]
    likelihoods = -(inside * q.log() + (1 - inside) * (1 - q).log())
    null = fitted(Entropy, torch.zeros(2, 1, 1, 1))
    np.testing.assert_allclose(null.score(x), likelihoods.amin(1), atol=2e-3)


def test_compressed_size_is_that_of_the_file(test_images, tmp_path: Path):
    levels = torch.arange(1, 7).view(6, 1, 1, 1)
    test_images = (test_images * levels).round() / levels  # of 2 to 7 gray levels, so that sizes differ
    sizes = []
    for number, image in enumerate((test_images * 255).round().to(torch.uint8).numpy()):
        path = tmp_path / f"{number}.png"
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(path)
        assert np.array_equal(np.asarray(Image.open(path)).reshape(*image.shape[1:], -1), image.transpose(1, 2, 0))
        sizes.append(path.stat().st_size)
    found = fitted(CompressedSize, test_images).score(test_images)
    assert found.tolist() == sizes
    assert sizes[0] < sizes[-1]


def test_a_flat_image_is_smaller_than_noise_and_pixels_beyond_the_range_are_clamped():
    null = fitted(CompressedSize, images((3, 13, 17), 2))
    flat, noise = null.score(torch.stack([torch.full((3, 13, 17), 0.5), images((3, 13, 17), 1)[0]]))
    assert flat < noise
    assert null.score(torch.full((1, 3, 13, 17), 7.0)) == null.score(torch.ones(1, 3, 13, 17))


def test_images_that_are_neither_gray_nor_rgb_have_no_file():
    assert CompressedSize.suits(DataInfo(1, 8, 8, 1)) is None
    assert CompressedSize.suits(DataInfo(4, 8, 8, 1)) == "a PNG file cannot hold 4 channels"
