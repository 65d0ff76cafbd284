"""Scores of hand-made readings: each is what its name says, and each detector sees what it is named for."""

from math import exp, log
from statistics import NormalDist

import pytest
import torch
from torch import Tensor

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.detectors import DETECTORS
from latentbench_infostylegan.scores import Readings, Scores

CODES = Codes(1, (3,))
FEATURES, COUNT = 4, 30


def readings(count: int, seed: int) -> Readings:
    generator = torch.Generator().manual_seed(seed)
    trunk, outputs = (torch.randn(count, size, generator=generator) for size in (FEATURES, CODES.outputs))
    return Readings(3 + trunk, outputs, torch.randn(count, generator=generator))


@pytest.fixture
def scores() -> Scores:
    found = Scores(CODES, FEATURES, COUNT)
    found.fit(readings(COUNT, 0))
    return found


def scored(scores: Scores, x: Readings, y: Readings | None = None) -> dict[str, Tensor]:
    """The scores of images in which only what is read matters, as they are rebuilt without an error."""
    images = torch.zeros(len(x.logit), 1, 2, 2)
    found: dict[str, Tensor] = scores(images, images, x, x if y is None else y)
    return found


def test_reconstruction_is_nine_tenths_of_the_error_of_pixels_and_one_of_that_of_features(scores: Scores) -> None:
    """The mean absolute error of pixels, and the root of the mean square error of features."""
    images = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 1.0, 0.0]]).reshape(2, 1, 2, 2)
    rebuilt = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 1.0, 0.4]]).reshape(2, 1, 2, 2)
    x, y = readings(2, 1), readings(2, 1)
    y.trunk[0] += torch.tensor([2.0, 0.0, 0.0, 0.0])
    found = scores(images, rebuilt, x, y)["reconstruction"]
    torch.testing.assert_close(found, torch.tensor([0.1 * 1.0, 0.9 * 1.4 / 4]))


def test_the_cycle_is_the_distance_of_the_means_that_are_read_before_and_after(scores: Scores) -> None:
    x, y = readings(2, 1), readings(2, 1)
    x.outputs[:, 2:] = y.outputs[:, 2:] = 0  # every category is as probable
    x.outputs[:, 0], y.outputs[:, 0] = torch.tensor([0.7, 0.2]), torch.tensor([0.7, -0.3])
    torch.testing.assert_close(scored(scores, x, y)["code_cycle"], torch.tensor([0.0, 0.5]))
    y.outputs[1, 2] = 100.0  # the first category, for certain
    distance = (0.5**2 + (2 / 3) ** 2 + 2 * (1 / 3) ** 2) ** 0.5
    torch.testing.assert_close(scored(scores, x, y)["code_cycle"], torch.tensor([0.0, distance]))


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, -2.0), (0.9, -2.0), (-3.0, 0.0)])
def test_surprise_is_minus_the_log_density_of_what_is_read_and_the_spread_of_the_reading(
    scores: Scores, mean: float, log_variance: float
) -> None:
    """For a number; for a category it is the entropy. It is larger where codes are improbable, or read with doubt."""
    x = readings(2, 1)
    sigma, normal = exp(log_variance / 2), NormalDist()
    density = (normal.cdf((mean + 1) / sigma) - normal.cdf((mean - 1) / sigma)) / 2
    x.outputs[:] = torch.tensor([[mean, log_variance, 0, 0, 0], [mean, log_variance, 100, 0, 0]])
    number = log(sigma) - log(density)
    torch.testing.assert_close(scored(scores, x)["code_surprise"], torch.tensor([number + log(3), number]))


def test_the_logit_is_that_of_the_image_with_its_sign_turned(scores: Scores) -> None:
    x = readings(5, 1)
    torch.testing.assert_close(scored(scores, x, readings(5, 2))["negative_logit"], -x.logit)


@pytest.mark.parametrize("name", DETECTORS)
def test_each_detector_sees_the_images_own_trunk_codes_or_both(scores: Scores, name: str) -> None:
    """Each score is that of a detector which is given these features here."""
    train, x = readings(COUNT, 0), readings(6, 1)
    found = scored(scores, x, readings(6, 2))

    def codes(of: Readings) -> Tensor:
        return torch.cat([of.outputs[:, :1], of.outputs[:, 2:].softmax(1)], 1)

    features = {
        "trunk": (train.trunk, x.trunk),
        "codes": (codes(train), codes(x)),
        "both": tuple(torch.cat([of.trunk, codes(of)], 1) for of in (train, x)),
    }
    for of, (fitted_to, seen) in features.items():
        detector = DETECTORS[name](seen.shape[1], COUNT)
        detector.fit(fitted_to)
        torch.testing.assert_close(found[f"{of}_{name}"], detector(seen))
