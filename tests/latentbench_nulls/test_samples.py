import numpy as np
import pytest
import torch
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench_nulls.samples import PixelGaussian, TrainingImages


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_are_training_images_each_as_likely(shape):
    train = images(shape, 10)
    null = fitted(TrainingImages, train)
    torch.manual_seed(0)
    distances = torch.cdist(null.sample(5000).flatten(1), train.flatten(1), compute_mode="donot_use_mm_for_euclid_dist")
    assert distances.min(1).values.max() == 0
    counts = np.bincount(distances.argmin(1), minlength=10)
    np.testing.assert_allclose(counts / 5000, 0.1, atol=0.02)


def test_its_picture_of_samples_is_its_own_because_it_shows_the_dataset():
    train = images((1, 8, 8), 10)
    shown = fitted(TrainingImages, train).pictures(train)
    assert shown.keys() == {"samples"}
    assert torch.cdist(shown["samples"].flatten(1), train.flatten(1)).min(1).values.max() < 1e-2


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_noise_has_the_moments_of_each_pixel(shape):
    train = images(shape, 300) / 4 + 0.4  # far from the ends of [0, 1], so that nothing is cut
    null = fitted(PixelGaussian, train)
    rows = ((train * 255).round() / 255).double().numpy()
    np.testing.assert_allclose(null.mean, rows.mean(0), atol=1e-6)
    np.testing.assert_allclose(null.std, rows.std(0), atol=1e-6)
    torch.manual_seed(0)
    samples = null.sample(20_000)
    np.testing.assert_allclose(samples.mean(0), rows.mean(0), atol=0.003)
    np.testing.assert_allclose(samples.std(0), rows.std(0), atol=0.003)
    correlations = np.corrcoef(samples.flatten(1).numpy()[:, :20].T)
    np.testing.assert_allclose(correlations, np.eye(20), atol=0.04)
    assert null.sample(7).shape == (7, *shape)
