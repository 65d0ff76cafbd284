"""Blobs: closed outlines, given by their radius in each direction, with a ragged edge.

Lengths are in units of the canvas, of which the shorter side of an image has SIDE (64).
"""

from collections.abc import Callable, Mapping
from math import pi

import torch
from torch import Generator, Tensor

from latentbench_augment.canvas import norm, smooth_noise, uniform

__all__ = [
    "DIRECTIONS",
    "OUTLINES",
    "RAGGEDNESS",
    "Outline",
    "curve",
    "ellipse",
    "radius_towards",
    "ragged",
    "rectangle",
]

#: How far the edge of a blob strays from its outline, as a share of the radius.
RAGGEDNESS = 0.45
#: Height and width of the cells of the smooth noise by which it strays.
RAGGED_CELL = (4.0, 4.0)
#: The number of directions, evenly spaced from 0, in which the radius of an outline is tabulated; a power of 2.
DIRECTIONS = 1024
#: The number of control radii of a curve, a divisor of DIRECTIONS, and their range as shares of the ellipse's radius.
CONTROL_RADII, CONTROL_RADIUS = 8, (0.3, 1.0)

Outline = Callable[[Generator, Tensor, Tensor], Tensor]
"""Takes a generator and half of the width and of the height, both (N, 1) float32; returns the outline's radius in each
direction, (N, DIRECTIONS) float32."""


def ragged(generator: Generator, x: Tensor, y: Tensor, radius: Tensor, size: int | tuple[int, int]) -> Tensor:
    """How far each pixel lies beyond the ragged edge of a blob, on the ray from its centre.

    For a disc it is approximately the signed distance.

    Args:
        generator: what the raggedness is drawn from.
        x: to the right from the blob's centre to the pixel, (N, 1, W) float32.
        y: down from it, (N, H, 1) float32.
        radius: of the blob in the pixel's direction, (N, 1, 1) or (N, H, W) float32.
        size: height and width in pixels; one number for a square.

    Returns:
        (N, H, W) float32, negative inside.
    """
    edge = 1 + RAGGEDNESS * smooth_noise(generator, len(radius), size, RAGGED_CELL)
    return norm(x, y) - radius * edge


def ellipse(generator: Generator, half_width: Tensor, half_height: Tensor) -> Tensor:
    """An ellipse, without random numbers."""
    cosine, sine = _directions(generator.device)
    across, along = half_height * cosine, half_width * sine
    return half_width * half_height / (across * across + along * along).sqrt()


def rectangle(generator: Generator, half_width: Tensor, half_height: Tensor) -> Tensor:
    """A rectangle, without random numbers."""
    cosine, sine = _directions(generator.device)
    return torch.minimum(half_width / cosine.abs(), half_height / sine.abs())


def curve(generator: Generator, half_width: Tensor, half_height: Tensor) -> Tensor:
    """A closed curve within the ellipse: its share of the ellipse's radius is a quadratic Bezier spline of the angle.

    Between the midpoints of neighbouring control radii, which are drawn uniformly, lies one Bezier segment each.
    """
    control = uniform(generator, *CONTROL_RADIUS, *half_width.shape[:-1], CONTROL_RADII, 1)
    before, after = (control + control.roll(shift, -2) for shift in (1, -1))
    t = torch.arange(DIRECTIONS // CONTROL_RADII, device=generator.device) * (CONTROL_RADII / DIRECTIONS)
    share = before / 2 * (1 - t) * (1 - t) + control * 2 * t * (1 - t) + after / 2 * t * t
    return ellipse(generator, half_width, half_height) * share.flatten(-2)


#: Every outline by name.
OUTLINES: Mapping[str, Outline] = {"ellipse": ellipse, "rectangle": rectangle, "curve": curve}


def radius_towards(table: Tensor, x: Tensor, y: Tensor, turn: Tensor) -> Tensor:
    """The radius of turned outlines in the direction of each pixel, to the nearest of the tabulated directions.

    Args:
        table: their radius in each direction, (N, DIRECTIONS) float32.
        x: to the right from the outline's centre to the pixel, (N, 1, W) float32.
        y: down from it, (N, H, 1) float32.
        turn: by which they are turned, as a share of a full turn, in [0, 1): (N, 1, 1) float32.

    Returns:
        (N, H, W) float32.
    """
    angle = torch.atan2(y, x) * (DIRECTIONS / (2 * pi)) + (2 - turn) * DIRECTIONS + 0.5  # > 0: it is truncated down
    direction = angle.to(torch.int64) & (DIRECTIONS - 1)
    return table.gather(1, direction.flatten(1)).view_as(angle)


def _directions(device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine of the DIRECTIONS, each (DIRECTIONS,) float32."""
    angle = torch.arange(DIRECTIONS, device=device) * (2 * pi / DIRECTIONS)
    return angle.cos(), angle.sin()
