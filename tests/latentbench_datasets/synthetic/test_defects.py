import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentbench_augment.canvas import SIDE
from latentbench_datasets.synthetic import defects
from latentbench_datasets.synthetic.defects import DEFECTS, hole, misprint, scratch, stain

SEEDS = st.integers(0, 2**31)


def blank(count: int, size: int, level: float = 128.0) -> Tensor:
    return torch.full((count, 3, size, size), level)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", DEFECTS)
@settings(max_examples=10)
@given(seed=SEEDS, size=st.sampled_from([32, 64, 100]))
@example(seed=4892, size=64)
def test_a_defect_is_one_spot_and_leaves_the_surface_given_alone(name: str, seed: int, size: int) -> None:
    """But for some pixels that the ragged edge of one stain in several hundred leaves beside it."""
    surface = blank(4, size)
    changed = (DEFECTS[name](generator(seed), surface) - surface).abs().amax(1) > 4
    assert bool((surface == 128).all())
    for spot in changed.numpy():
        assert 0.002 < spot.mean() < 0.25
        spots, _ = ndimage.label(spot, np.ones((3, 3)))
        assert np.bincount(spots[spot]).max() > 0.95 * spot.sum()


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_looks_the_same_at_any_resolution(name: str) -> None:
    coarse = DEFECTS[name](generator(0), blank(16, 64)) - 128
    fine = avg_pool2d(DEFECTS[name](generator(0), blank(16, 256)) - 128, 4)
    assert float((coarse - fine).square().mean()) < 0.1 * float(coarse.square().mean())


@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_scratch_is_thin_and_of_one_contrast(seed: int) -> None:
    change = scratch(generator(seed), blank(4, 256)) - 128
    assert bool((change == change[:, :1]).all())
    low, high = defects.SCRATCH_LEVELS
    for line in change[:, 0].numpy():
        assert (line >= 0).all() or (line <= 0).all()
        assert low - 1e-3 <= np.abs(line).max() <= high + 1e-3
        thickest = ndimage.distance_transform_edt(np.pad(np.abs(line) > 4, 1)).max() * SIDE / 256
        assert thickest < defects.SCRATCH_HALF_WIDTH[1] + 0.6  # a bend is a little wider


@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_stain_darkens_every_colour_and_lies_in_the_image(seed: int) -> None:
    surface = blank(4, 128, 200.0)
    ratio = stain(generator(seed), surface) / surface
    assert float(ratio.max()) == 1
    inside = (ratio < 0.99).all(1).numpy()
    for spot in inside:
        assert spot[1:-1, 1:-1].sum() == spot.sum()
        radius = np.sqrt(spot.mean() * SIDE**2 / np.pi)
        assert defects.STAIN_RADIUS[0] * 0.6 < radius < defects.STAIN_RADIUS[1] * 1.4


@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_hole_shows_one_dark_level_whatever_the_surface(seed: int) -> None:
    low, high = defects.HOLE_LEVEL
    bottoms = []
    for level in (90.0, 220.0):
        result = hole(generator(seed), blank(4, 128, level))
        bottom = result.amin((1, 2, 3))
        assert bool(((bottom > low - 1e-3) & (bottom < high + 1e-3)).all())
        bottoms.append((result - bottom[:, None, None, None] < 1e-3).all(1))
    shared = (bottoms[0] & bottoms[1]).float().mean((1, 2)) * SIDE**2
    assert bool((shared > 3).all())


@settings(max_examples=10)
@given(seed=SEEDS)
def test_a_misprint_darkens_one_colour_plane_in_a_rectangle(seed: int) -> None:
    surface = torch.rand(4, 3, 128, 128, generator=generator(1)) * 100 + 100
    result = misprint(generator(seed), surface)
    for before, after in zip(surface, result, strict=True):
        changed = (before != after).numpy()
        (plane,) = np.flatnonzero(changed.any((1, 2)))
        assert bool((after <= before).all())
        rows, columns = (np.flatnonzero(changed[plane].any(axis)) for axis in (1, 0))
        assert changed[plane].sum() == len(rows) * len(columns)
        for side in (rows, columns):
            assert side[-1] - side[0] + 1 == len(side)
            assert defects.MISPRINT_SIDE[0] - 1 <= len(side) * SIDE / 128 <= defects.MISPRINT_SIDE[1] + 1
        weakest = float((after / before)[plane, rows[2] : rows[-2], columns[2] : columns[-2]].max())
        assert weakest <= defects.MISPRINT_LIGHT[1] + 1e-6


def test_the_second_print_is_displaced() -> None:
    surface = blank(40, 64)
    surface[:, :, :, 30:34] = 40.0  # a line on every plane; at this distance of columns a print of it may lie beside
    result = misprint(generator(4), surface)
    beside = torch.cat([result[:, :, :, 27:30], result[:, :, :, 34:37]], dim=3)
    assert int((beside.amin((1, 2, 3)) < 0.5 * 128).sum()) > 5
