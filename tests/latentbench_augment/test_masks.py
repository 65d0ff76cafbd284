from math import ceil

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from latentbench import LatentbenchError
from latentbench_augment.canvas import SIDE
from latentbench_augment.masks import covering, draw_blobs, softened

SEEDS = st.integers(0, 2**31)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=60)
@given(
    seed=SEEDS,
    size=st.tuples(st.integers(8, 30), st.integers(8, 30)),
    bounds=st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
    shift=st.floats(-3, 3),
)
def test_the_share_inside_keeps_its_bounds_and_changes_no_more_than_it_has_to(
    seed: int, size: tuple[int, int], bounds: list[float], shift: float
) -> None:
    pixels = size[0] * size[1]
    low, high = bounds
    assume(max(1, ceil(low * pixels)) <= int(high * pixels))
    distance = torch.randn(3, *size, generator=generator(seed)) + shift
    found = covering(distance, (low, high)).numpy()
    for inside, values in zip(found, distance.numpy(), strict=True):
        by_hand = np.clip((values <= 0).sum(), max(1, ceil(low * pixels)), int(high * pixels))
        assert inside.sum() == by_hand
        assert inside.all() or values[inside].max() < values[~inside].min()


def test_pixels_at_one_distance_do_not_exceed_the_largest_share() -> None:
    distance = torch.tensor([-1.0, -1.0, -1.0, 2.0]).repeat(1, 4, 1)
    assert covering(distance, (0.0, 0.5)).sum() == 0  # the twelve that are equal are in or out together
    assert covering(distance, (0.0, 0.75)).sum() == 12


def test_a_coverage_that_no_number_of_pixels_has_is_refused() -> None:
    with pytest.raises(LatentbenchError, match=r"no number of 8x9 pixels covers between 0\.003 and 0\.01 of them"):
        covering(torch.zeros(1, 9, 8), (0.003, 0.01))


@settings(max_examples=25)
@given(seed=SEEDS, size=st.tuples(st.integers(8, 40), st.integers(8, 40)), width=st.floats(0.1, 12))
def test_edges_are_those_of_scipys_gaussian_filter_and_the_mean_stays(
    seed: int, size: tuple[int, int], width: float
) -> None:
    mask = (torch.rand(2, *size, generator=generator(seed)) < 0.3).float()
    found = softened(mask, width)
    reach = ceil(4 * width)
    expected = ndimage.gaussian_filter(
        mask.double().numpy(), (0, width, width), mode="reflect", radius=(0, reach, reach)
    )
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(found.mean((1, 2)), mask.mean((1, 2)), rtol=1e-5, atol=1e-7)


def test_edges_without_width_stay_hard() -> None:
    mask = (torch.rand(2, 9, 12, generator=generator()) < 0.3).float()
    assert torch.equal(softened(mask, 0.0), mask)


def drawn(**options: object) -> torch.Tensor:
    given: dict = {"shapes": ("ellipse",), "blobs": (1, 1), "side": (0.1, 0.1), **options}
    return draw_blobs(generator(), 200, (96, 128), **given)


def test_images_have_each_number_of_blobs_equally_often() -> None:
    distance = drawn(blobs=(2, 4), side=(0.03, 0.03)).numpy()
    spots = np.array([ndimage.label(image <= 0.3)[1] for image in distance])
    assert spots.max() <= 4
    # Rarely do such small blobs touch, or lie between the border and the pixels.
    assert [(spots == number).mean() for number in (2, 3, 4)] == pytest.approx([1 / 3] * 3, abs=0.12)


def test_blobs_are_spread_over_the_whole_of_an_image_that_is_not_square() -> None:
    y, x = np.array([np.unravel_index(image.argmin(), image.shape) for image in drawn().numpy()]).T
    assert np.histogram(y, 4, (0, 96))[0] == pytest.approx(50, abs=25)
    assert np.histogram(x, 4, (0, 128))[0] == pytest.approx(50, abs=25)


@pytest.mark.parametrize(("shape", "factor"), [("ellipse", np.pi / 4), ("rectangle", 1.0)])
def test_sides_are_shares_of_the_shorter_side(shape: str, factor: float) -> None:
    areas = (drawn(shapes=(shape,), side=(0.2, 0.2)) <= 0).float().mean((1, 2)) * SIDE * SIDE * 128 / 96
    largest = areas.sort().values[100:]  # those that do not run out of the image; a ragged edge adds and takes alike
    assert float(largest.mean()) == pytest.approx(factor * (0.2 * SIDE) ** 2, rel=0.15)


def test_sides_are_log_uniform() -> None:
    low, high = 0.02, 0.2
    areas = (drawn(side=(low, high)) <= 0).float().mean((1, 2)) * 128 / 96
    # The median of the product of two sides is low * high; were they uniform, it would be three times that.
    assert float(areas.median()) == pytest.approx(np.pi / 4 * low * high, rel=0.35)


def test_each_shape_is_drawn() -> None:
    names = ("ellipse", "rectangle", "curve")
    alone = {name: float((drawn(shapes=(name,), side=(0.3, 0.3)) <= 0).float().mean()) for name in names}
    together = float((drawn(shapes=names, side=(0.3, 0.3)) <= 0).float().mean())
    assert alone["curve"] < alone["ellipse"] < alone["rectangle"]
    assert together == pytest.approx(np.mean(list(alone.values())), rel=0.1)
