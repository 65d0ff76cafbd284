import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from latentbench_augment.blobs import (
    CONTROL_RADII,
    CONTROL_RADIUS,
    DIRECTIONS,
    OUTLINES,
    RAGGED_CELL,
    RAGGEDNESS,
    curve,
    ellipse,
    radius_towards,
    ragged,
    rectangle,
)
from latentbench_augment.canvas import SIDE, pixel_centres, smooth_noise

ANGLES = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
HALVES = st.floats(0.5, 30.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def table(name: str, half_width: float, half_height: float, seed: int = 0) -> torch.Tensor:
    return OUTLINES[name](generator(seed), torch.tensor([[half_width]]), torch.tensor([[half_height]]))


@given(a=HALVES, b=HALVES)
def test_the_radii_of_an_ellipse_lead_to_points_that_fulfil_its_equation(a: float, b: float) -> None:
    radius = table("ellipse", a, b)[0].numpy()
    equation = (radius * np.cos(ANGLES) / a) ** 2 + (radius * np.sin(ANGLES) / b) ** 2
    np.testing.assert_allclose(equation, 1, atol=1e-4)


@given(a=HALVES, b=HALVES)
def test_the_radii_of_a_rectangle_lead_to_points_on_its_sides(a: float, b: float) -> None:
    radius = table("rectangle", a, b)[0].numpy()
    sides = np.maximum(np.abs(radius * np.cos(ANGLES)) / a, np.abs(radius * np.sin(ANGLES)) / b)
    np.testing.assert_allclose(sides, 1, atol=1e-4)


def test_the_radii_of_a_curve_are_the_closed_quadratic_spline_of_its_control_radii() -> None:
    low, high = CONTROL_RADIUS
    control = low + (high - low) * torch.rand(3, CONTROL_RADII, 1, generator=generator(1))[..., 0].double().numpy()
    knots = np.arange(CONTROL_RADII + 5) - 2.0
    place = np.arange(DIRECTIONS) / DIRECTIONS * CONTROL_RADII
    # The spline's k-th segment lies between the midpoints around the k-th control radius.
    wrapped = control[:, np.arange(-1, CONTROL_RADII + 1) % CONTROL_RADII]
    expected = BSpline(knots, wrapped.T, 2)(place).T
    found = curve(generator(1), torch.ones(3, 1), torch.ones(3, 1)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_curve_is_stretched_like_the_ellipse_around_it() -> None:
    halves = torch.tensor([[3.0], [9.0]]), torch.tensor([[5.0], [2.0]])
    share = curve(generator(), torch.ones(2, 1), torch.ones(2, 1))
    torch.testing.assert_close(curve(generator(), *halves), share * ellipse(generator(), *halves))
    assert float(share.max()) <= 1


@settings(max_examples=25)
@given(name=st.sampled_from(["ellipse", "rectangle"]), a=st.floats(3, 20), b=st.floats(3, 20), turn=st.floats(0, 0.999))
def test_an_outline_that_is_turned_has_the_same_area(name: str, a: float, b: float, turn: float) -> None:
    size = 1024  # a pixel more or less in width and height is at most 2.1 % of the area
    centre = pixel_centres(size) - SIDE / 2
    x, y = centre[None, None, :], centre[None, :, None]
    radius = radius_towards(table(name, a, b), x, y, torch.full((1, 1, 1), turn))
    area = float((torch.hypot(x, y) <= radius).float().mean()) * SIDE**2
    assert area == pytest.approx({"ellipse": np.pi, "rectangle": 4.0}[name] * a * b, rel=0.03)


def test_an_outline_is_turned_by_its_share_of_a_full_turn() -> None:
    long = rectangle(generator(), torch.tensor([[10.0]]), torch.tensor([[1.0]]))
    x, y = torch.tensor([[[6.0, 0.0]]]), torch.tensor([[[0.0], [6.0]]])
    radius = radius_towards(long.expand(2, -1), x, y, torch.tensor([0.0, 0.25])[:, None, None])
    torch.testing.assert_close(radius[0, 0, 0], torch.tensor(10.0))  # to the right
    torch.testing.assert_close(radius[0, 1, 1], torch.tensor(1.0))  # down
    torch.testing.assert_close(radius[1, 0, 0], torch.tensor(1.0))
    torch.testing.assert_close(radius[1, 1, 1], torch.tensor(10.0))


def test_the_edge_strays_by_smooth_noise() -> None:
    x, y = pixel_centres(40, 30)[None, None, :] - 20, pixel_centres(30)[None, :, None] - 25
    noise = smooth_noise(generator(3), 1, (30, 40), RAGGED_CELL)
    expected = torch.hypot(x, y) - 7 * (1 + RAGGEDNESS * noise)
    torch.testing.assert_close(ragged(generator(3), x, y, torch.full((1, 1, 1), 7.0), (30, 40)), expected)
