"""The canvas that surfaces and defects are drawn on: coordinates, antialiased edges, draws and smooth noise.

Every step is one basic operation that IEEE 754 rounds correctly (no sine, no power), or a sum that is exact: on the CPU
the same draws give the same bits, whatever the machine.
"""

from math import ceil

import torch
from torch import Generator, Tensor

__all__ = ["SIDE", "coverage", "pixel_centres", "sign", "smooth_noise", "square_root", "uniform"]

#: Side of an image, in the units that surfaces and defects are described in: they look the same at any resolution.
SIDE = 64

#: B-spline weights are multiples of 1 / _WEIGHT_LEVELS and coefficients whole numbers below 2**8, so that a product of
#: two weights and a coefficient has no more than 32 bits: float64 sums of such products are exact in any order.
_WEIGHT_LEVELS = 2**12
_COEFFICIENT_LEVELS = 255


def pixel_centres(size: int) -> Tensor:
    """Coordinates of the centres of a row of ``size`` pixels, in units: (size,) float32, between 0 and SIDE."""
    return (torch.arange(size) * 2 + 1) * (SIDE / 2) / size


def coverage(distance: Tensor, size: int) -> Tensor:
    """The share of each pixel that a shape covers, in [0, 1], for an antialiased edge one pixel wide.

    Args:
        distance: of the pixel's centre from the edge of the shape, in units, negative inside; float32 of any shape.
        size: height and width of the image in pixels.
    """
    return (0.5 - distance * (size / SIDE)).clamp(0, 1)


def square_root(x: Tensor) -> Tensor:
    """The square root of a float32 x >= 0, correctly rounded.

    ``Tensor.sqrt`` itself is not correctly rounded: on some CPUs it calls a library whose last bit may be wrong. The
    root is therefore computed in float64, where that error is too small to change the result in float32.
    """
    return x.double().sqrt().float()


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random numbers of this shape, float32, uniform in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def sign(generator: Generator, *shape: int) -> Tensor:
    """Random signs of this shape, float32, each -1 or 1 with equal probability."""
    return torch.randint(2, shape, generator=generator) * 2.0 - 1


def smooth_noise(generator: Generator, count: int, size: int, cell: tuple[float, float]) -> Tensor:
    """Random fields, twice continuously differentiable: cubic B-splines with uniform coefficients on a lattice.

    Args:
        generator: what the coefficients are drawn from.
        count: number of fields.
        size: height and width in pixels.
        cell: height and width of the lattice's cells, where the image has SIDE by SIDE units.

    Returns:
        (count, size, size) float32, mean 0, in [-1, 1].
    """
    vertical, horizontal = (_spline_weights(size, length) for length in cell)
    shape = (count, vertical.shape[1], horizontal.shape[1])
    coefficients = torch.randint(-_COEFFICIENT_LEVELS, _COEFFICIENT_LEVELS + 1, shape, generator=generator)
    return (vertical @ coefficients.to(torch.float64) @ horizontal.T / _COEFFICIENT_LEVELS).to(torch.float32)


def _spline_weights(size: int, cell: float) -> Tensor:
    """The B-spline weight of each coefficient at each pixel centre: (size, knots) float64; every row sums to 1."""
    place = (torch.arange(size, dtype=torch.float64) + 0.5) * SIDE / size / cell
    first = place.floor()
    t = place - first
    left, middle, right = (1 - t) * (1 - t) * (1 - t) / 6, 2 / 3 - t * t + t * t * t / 2, t * t * t / 6
    left, middle, right = ((part * _WEIGHT_LEVELS).round() for part in (left, middle, right))
    four = torch.stack([left, middle, _WEIGHT_LEVELS - left - middle - right, right], dim=1) / _WEIGHT_LEVELS
    knots = first.to(torch.int64)[:, None] + torch.arange(4)
    return torch.zeros(size, ceil(SIDE / cell) + 3, dtype=torch.float64).scatter_(1, knots, four)
