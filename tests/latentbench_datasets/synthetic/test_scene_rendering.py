from collections.abc import Callable
from itertools import product
from math import pi

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d

from latentbench_datasets.synthetic.scene_rendering import (
    BACKGROUNDS,
    COLOURS,
    FACTORS,
    POSITIONS,
    RADII,
    SHAPES,
    UNITS,
    Factor,
    SceneRenderer,
)

Plane = npt.NDArray[np.float64]

#: Which points (x right, y down from the centroid, in radii) lie in each shape, told by its corners or its outline.
CONTAINS: dict[str, Callable[[Plane, Plane], npt.NDArray[np.bool_]]] = {
    "square": lambda x, y: (abs(x) < 1) & (abs(y) < 1),
    "disc": lambda x, y: np.hypot(x, y) < 1,
    "triangle": lambda x, y: in_triangle(x, y, [(0, -4 / 3), (16 / 15, 2 / 3), (-16 / 15, 2 / 3)]),
    "cross": lambda x, y: ((abs(x) < 1) & (abs(y) < 1 / 3)) | ((abs(x) < 1 / 3) & (abs(y) < 1)),
}
#: Areas in squared radii.
AREAS = {"square": 4, "disc": pi, "triangle": 32 / 15, "cross": 20 / 9}


def in_triangle(x: Plane, y: Plane, corners: list[tuple[float, float]]) -> npt.NDArray[np.bool_]:
    sides = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True)
    ]
    return np.all([side > 0 for side in sides], axis=0)


def scenes(count: int = 1, **values: int | Tensor) -> dict[Factor, Tensor]:
    """Factors of ``count`` scenes, 0 unless said otherwise."""
    return {factor: torch.as_tensor(values.get(factor, 0)).expand(count) for factor in FACTORS}


def every_outline() -> dict[Factor, Tensor]:
    """Each combination of shape, size, x and y once."""
    names: tuple[Factor, ...] = ("shape", "size", "x", "y")
    grid = torch.tensor(list(product(*(range(FACTORS[name]) for name in names))))
    return scenes(len(grid), **dict(zip(names, grid.unbind(1), strict=True)))


def coverage(images: Tensor) -> npt.NDArray[np.float64]:
    """Share of each pixel that the object covers, where colour and background are the first ones."""
    red, ground = COLOURS[0][0], BACKGROUNDS[0][0]
    return (images[:, 0].numpy().astype(np.float64) - ground) / (red - ground)


@settings(max_examples=40)
@given(
    pixels=st.integers(16, 80),
    values=st.fixed_dictionaries({factor: st.integers(0, count - 1) for factor, count in FACTORS.items()}),
)
def test_a_scene_is_what_sampling_each_pixel_finely_gives(pixels: int, values: dict[str, int]) -> None:
    fine = 16
    places = (np.arange(pixels * fine) + 0.5) * UNITS / (pixels * fine)
    radius = RADII[values["size"]]
    x = (places[None, :] - POSITIONS[values["x"]]) / radius
    y = (places[:, None] - POSITIONS[values["y"]]) / radius
    inside = CONTAINS[list(SHAPES)[values["shape"]]](x, y)
    share = inside.reshape(pixels, fine, pixels, fine).mean((1, 3))
    background = np.array(BACKGROUNDS[values["background"]])[:, None, None]
    contrast = np.array(COLOURS[values["colour"]])[:, None, None] - background

    image = SceneRenderer.of(pixels).render(scenes(**values))[0].numpy()
    assert image.shape == (3, pixels, pixels)
    assert image.dtype == np.float32
    # A distance becomes a share linearly: exact on upright edges, less so on slanted ones, and least at corners.
    error = np.abs(image - (background + share * contrast)) / np.abs(contrast).max()
    assert error.max() < 0.5
    assert error.mean() < 0.15 / pixels


@pytest.mark.parametrize("size", [32, 64])
def test_area_and_centroid_are_those_of_the_factors(size: int) -> None:
    factors = every_outline()
    shares = coverage(SceneRenderer.of(size).render(factors))
    places = (np.arange(size) + 0.5) * UNITS / size
    area = shares.sum((1, 2))
    radii = np.take(RADII, factors["size"]) * size / UNITS
    expected = np.take(list(AREAS.values()), factors["shape"]) * radii**2
    np.testing.assert_allclose(area, expected, rtol=0.06)
    places_along: dict[Factor, int] = {"x": 1, "y": 2}
    for factor, axis in places_along.items():
        centroid = (shares.sum(axis) * places).sum(1) / area
        np.testing.assert_allclose(centroid, np.take(POSITIONS, factors[factor]), rtol=0, atol=0.4)


def test_every_object_lies_in_the_image() -> None:
    """The outermost ring of pixels of an image of 128 is plain, but for the tip of a triangle at the very top."""
    shares = coverage(SceneRenderer.of(128).render(every_outline()))
    assert not shares[:, :, 0].any()
    assert not shares[:, :, -1].any()
    assert not shares[:, -1].any()
    assert shares[:, 0].max(1).max() < 0.6


def test_levels_are_whole_and_no_scene_is_rendered_otherwise_beside_others() -> None:
    renderer, factors = SceneRenderer.of(32), every_outline()
    together = renderer.render(factors)
    assert torch.equal(together, together.to(torch.uint8).to(torch.float32))
    for index in (0, 100, len(together) - 1):
        alone = renderer.render({factor: values[index : index + 1] for factor, values in factors.items()})
        assert torch.equal(alone[0], together[index])


def test_a_scene_looks_the_same_at_any_resolution() -> None:
    factors = every_outline()
    coarse, fine = SceneRenderer.of(32).render(factors), avg_pool2d(SceneRenderer.of(128).render(factors), 4)
    assert float((coarse - fine).abs().mean()) < 1.0


def test_every_colour_is_clearly_brighter_than_every_background() -> None:
    colours, backgrounds = (np.array(palette) @ (0.299, 0.587, 0.114) for palette in (COLOURS, BACKGROUNDS))
    assert colours.min() > 140
    assert backgrounds.max() < 80
    palette = np.array(COLOURS + BACKGROUNDS)
    distances = np.linalg.norm(palette[:, None] - palette, axis=2) + 1000 * np.eye(len(palette))
    assert distances.min() > 40


@pytest.mark.cuda
def test_a_gpu_renders_the_same_scenes_to_a_level() -> None:
    factors, device = every_outline(), torch.device("cuda")
    there = SceneRenderer.of(32).to(device).render({factor: values.to(device) for factor, values in factors.items()})
    assert there.device.type == "cuda"
    assert float((there.cpu() - SceneRenderer.of(32).render(factors)).abs().max()) <= 1
