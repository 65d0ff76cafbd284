"""What the shipped features see in real images: blur, noise, swirl and colour casts, the stronger the farther."""

from functools import cache

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from latentbench_metrics.extractor_training import read
from latentbench_metrics.fidelity import features, frechet_distance, kernel_distance
from latentbench_metrics.weights import SHIPPED

pytestmark = pytest.mark.real

HALF = 600


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
    side = given.shape[-1]
    y, x = (np.indices((side, side)) - (side - 1) / 2) / (side / 2)
    turn = angle * np.clip(1 - np.hypot(y, x), 0, 1)
    where = np.stack([y * np.cos(turn) - x * np.sin(turn), y * np.sin(turn) + x * np.cos(turn)])
    where = where * (side / 2) + (side - 1) / 2
    return as_bytes(
        np.stack([[ndimage.map_coordinates(c.astype(float), where, order=1, mode="nearest") for c in i] for i in given])
    )


def cast(given, share):
    """Channels mixed with their neighbours."""
    return as_bytes(given * (1 - share) + np.roll(given, 1, axis=1) * share)


@pytest.mark.parametrize(
    ("distort", "strengths"),
    [(blur, (0.02, 0.04, 0.08)), (noise, (20, 40, 80)), (swirl, (0.5, 1.0, 2.0)), (cast, (0.15, 0.3, 0.6))],
    ids=["blur", "noise", "swirl", "cast"],
)
@pytest.mark.parametrize("name", ["digits", "clothes", "faces"])
def test_the_distance_grows_with_the_distortion_and_dwarfs_that_of_two_real_halves(data_root, name, distort, strengths):
    if distort is cast and name != "faces":
        pytest.skip("grey")
    whole = images(name, data_root)
    reals, others = whole[:HALF], whole[HALF:]
    sets = [others, *(distort(others, strength) for strength in strengths)]
    far = [frechet_distance(features(SHIPPED, one), features(SHIPPED, reals)) for one in sets]
    apart = [kernel_distance(features(SHIPPED, one), features(SHIPPED, reals), subsets=1, size=HALF) for one in sets]
    assert far == sorted(far)
    assert apart == sorted(apart)
    assert far[-1] > 3 * far[0]
