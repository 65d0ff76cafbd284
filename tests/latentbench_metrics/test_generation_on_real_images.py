"""What the shipped features see in real images: blur, noise, swirl and colour casts, the stronger the farther."""

from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch.nn.functional import grid_sample

from latentbench_metrics.extractor_training import read
from latentbench_metrics.fidelity import features, frechet_distance, kernel_distance, precision_and_recall
from latentbench_metrics.weights import CELEBA_ATTRIBUTES, MNIST_FASHION

SHIPPED = MNIST_FASHION.name

pytestmark = pytest.mark.real

HALF = 1000


@cache
def images(name, data_root):
    """(2 HALF, C, H, W) uint8: two halves of one distribution."""
    if name == "faces":
        folder = data_root / "celeba_10k" / "img_align_celeba"
        if not folder.is_dir():
            pytest.skip(f"no real data: {folder}")
        return np.stack([face(folder / f"{number:06d}.jpg") for number in range(1, 2 * HALF + 1)])
    test = read(data_root, train=False).images.numpy()
    return test[: 2 * HALF] if name == "digits" else test[10_000 : 10_000 + 2 * HALF]


def face(path):
    """The middle 64x64 pixels."""
    with Image.open(path) as image:
        left, top = (image.width - 64) // 2, (image.height - 64) // 2
        return np.asarray(image.crop((left, top, left + 64, top + 64))).transpose(2, 0, 1)


def as_bytes(values):
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def blur(given, share):
    """Gaussian, of a standard deviation that is a share of the width."""
    width = share * given.shape[-1]
    return as_bytes(ndimage.gaussian_filter(given.astype(np.float64), (0, 0, width, width)))


def noise(given, level):
    return as_bytes(given + np.random.default_rng(0).normal(0, level, given.shape))


def swirl(given, angle):
    """Turned by ``angle`` in the middle, and not at the rim."""
    count, _, side, _ = given.shape
    y, x = (np.indices((side, side)) - (side - 1) / 2) / (side / 2)
    turn = angle * np.clip(1 - np.hypot(y, x), 0, 1)
    where = np.stack([x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)], axis=-1)
    grid = torch.from_numpy(where).float().expand(count, -1, -1, -1)
    turned = grid_sample(torch.from_numpy(given).float(), grid, padding_mode="border", align_corners=False)
    return as_bytes(turned.numpy())


def cast(given, share):
    """Channels mixed with their neighbours."""
    return as_bytes(given * (1 - share) + np.roll(given, 1, axis=1) * share)


DISTORTIONS = {
    "blur": (blur, (0.02, 0.04, 0.08)),
    "noise": (noise, (20, 40, 80)),
    "swirl": (swirl, (0.5, 1.0, 2.0)),
    "cast": (cast, (0.15, 0.3, 0.6)),
}
NAMES = ["digits", "clothes", "faces"]
GREY = ("digits", "clothes")


@pytest.mark.parametrize(
    ("name", "distortion"),
    [(name, distortion) for name in NAMES for distortion in DISTORTIONS if (name in GREY) <= (distortion != "cast")],
)
def test_the_distance_grows_with_the_distortion_and_dwarfs_that_of_two_real_halves(data_root, name, distortion):
    for extractor in (SHIPPED, CELEBA_ATTRIBUTES.name) if name == "faces" else (SHIPPED,):
        grows(extractor, data_root, name, distortion)


def grows(extractor, data_root, name, distortion):
    distort, strengths = DISTORTIONS[distortion]
    whole = images(name, data_root)
    reals, others = whole[:HALF], whole[HALF:]
    sets = [others, *(distort(others, strength) for strength in strengths)]
    far = [frechet_distance(features(extractor, one), features(extractor, reals)) for one in sets]
    apart = [
        kernel_distance(features(extractor, one), features(extractor, reals), subsets=1, size=HALF) for one in sets
    ]
    assert far == sorted(far)
    assert apart == sorted(apart)
    assert far[-1] > 3 * far[0]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_image_of_the_kind_is_not_precise_and_what_is_all_alike_recalls_nothing(data_root, name):
    whole = images(name, data_root)
    reals, others = whole[:HALF], whole[HALF:]
    random = np.random.default_rng(0).integers(0, 256, others.shape, dtype=np.uint8)
    mean = np.repeat(as_bytes(others.mean(0, keepdims=True)), HALF, axis=0)
    ten = np.repeat(others[:10], HALF // 10, axis=0)
    of_reals = features(SHIPPED, reals)
    good = precision_and_recall(features(SHIPPED, others), of_reals)
    assert min(good) > 0.7
    assert precision_and_recall(features(SHIPPED, random), of_reals) == (0, 0)
    assert precision_and_recall(features(SHIPPED, mean), of_reals)[1] == 0
    precision, recall = precision_and_recall(features(SHIPPED, ten), of_reals)
    assert precision > 0.5
    assert recall < 0.02
