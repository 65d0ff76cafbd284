import numpy as np
import pytest
from scipy import ndimage
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench import DataInfo
from latentbench_nulls.gaussians import PatchGaussian, UntrainedPatchGaussian
from latentbench_nulls.maps import LocalContrast, MedianImage
from latentbench_nulls.neighbours import NearestPatch


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_local_contrast_is_the_variance_in_scipys_windows(shape):
    test = images(shape, 4)
    null = fitted(LocalContrast, test)
    squared = np.zeros((4, *shape[1:]))
    for channel in test.double().numpy().transpose(1, 0, 2, 3):
        squared += [ndimage.generic_filter(image, np.var, 9, mode="nearest") for image in channel]
    np.testing.assert_allclose(null.localize(test), np.sqrt(squared), rtol=1e-9)
    np.testing.assert_allclose(null.score(test), np.sqrt(squared).max((1, 2)), rtol=1e-9)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("number", [7, 8])
def test_the_distance_to_the_median_image_is_numpys(shape, number):
    train, test = images(shape, number), images(shape, 4, seed=1)
    null = fitted(MedianImage, train)
    median = np.percentile(train.double().numpy(), 50, axis=0, method="lower")
    expected = ((test.double().numpy() - median) ** 2).sum(1)
    np.testing.assert_allclose(null.localize(test), expected, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(null.score(test), expected.sum((1, 2)), rtol=1e-5)


def test_maps_are_left_out_where_images_have_attributes():
    reason = "it locates defects, and images with attributes have none"
    for null in (LocalContrast, MedianImage, NearestPatch, PatchGaussian, UntrainedPatchGaussian):
        assert null.suits(DataInfo(1, 8, 8, 1, {"digit": 10})) == reason
        assert null.suits(DataInfo(1, 8, 8, 1)) is None
