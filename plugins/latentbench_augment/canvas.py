"""The canvas that surfaces, defects and blobs are drawn on: coordinates, antialiased edges, draws and smooth noise.

Every step is one basic operation that IEEE 754 rounds correctly (no sine, no power), or a sum that is exact: on the CPU
the same draws give the same bits, whatever the machine.
"""

from math import ceil

import torch
from torch import Generator, Tensor

__all__ = ["SIDE", "coverage", "mirrored", "norm", "pixel_centres", "sign", "smooth_noise", "square_root", "uniform"]

#: Shorter side of an image, in the units of what is drawn: it looks the same at any resolution.
SIDE = 64

#: B-spline weights are multiples of 1 / _WEIGHT_LEVELS and coefficients whole numbers below 2**8, so that a product of
#: two weights and a coefficient has no more than 32 bits: float64 sums of such products are exact in any order.
_WEIGHT_LEVELS = 2**12
_COEFFICIENT_LEVELS = 255


def pixel_centres(size: int, side: int | None = None, device: torch.device | None = None) -> Tensor:
    """Coordinates of the centres of a row of ``size`` pixels, in units: (size,) float32.

    Args:
        size: number of pixels.
        side: how many of them are SIDE units long; None: all.
        device: where the result is; None: on the CPU.
    """
    return (torch.arange(size, device=device) * 2 + 1) * (SIDE / 2) / (side or size)


def coverage(distance: Tensor, size: int) -> Tensor:
    """The share of each pixel that a shape covers, in [0, 1], for an antialiased edge one pixel wide.

    Args:
        distance: of the pixel's centre from the edge of the shape, in units, negative inside; float32 of any shape.
        size: height and width of the image in pixels.
    """
    return (0.5 - distance * (size / SIDE)).clamp(0, 1)


def mirrored(index: Tensor, size: int) -> Tensor:
    """Indices within [0, size): those that lie outside are mirrored at the image's border, as often as it takes."""
    index = index % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def square_root(x: Tensor) -> Tensor:
    """The square root of a float32 x >= 0, correctly rounded.

    ``Tensor.sqrt`` itself is not correctly rounded: on some CPUs it calls a library whose last bit may be wrong. The
    root is therefore computed in float64, where that error is too small to change the result in float32.
    """
    return x.double().sqrt().float()


def norm(x: Tensor, y: Tensor) -> Tensor:
    """The Euclidean length of vectors (x, y), correctly rounded in each step; float32."""
    return square_root(x * x + y * y)


def uniform(generator: Generator, low: float, high: float, *shape: int) -> Tensor:
    """Random numbers of this shape, float32, uniform in [low, high)."""
    return low + (high - low) * torch.rand(shape, generator=generator, device=generator.device)


def sign(generator: Generator, *shape: int) -> Tensor:
    """Random signs of this shape, float32, each -1 or 1 with equal probability."""
    return torch.randint(2, shape, generator=generator, device=generator.device) * 2.0 - 1


def smooth_noise(generator: Generator, count: int, size: int | tuple[int, int], cell: tuple[float, float]) -> Tensor:
    """Random fields, twice continuously differentiable: cubic B-splines with uniform coefficients on a lattice.

    Args:
        generator: what the coefficients are drawn from; the fields are on its device.
        count: number of fields.
        size: height and width in pixels; one number for a square.
        cell: height and width of the lattice's cells, in units, of which the shorter side has SIDE.

    Returns:
        (count, height, width) float32, mean 0, in [-1, 1].
    """
    sizes = (size, size) if isinstance(size, int) else size
    device = generator.device
    vertical, horizontal = (
        _spline_weights(length, min(sizes), step, device) for length, step in zip(sizes, cell, strict=True)
    )
    shape = (count, vertical.shape[1], horizontal.shape[1])
    levels = torch.randint(-_COEFFICIENT_LEVELS, _COEFFICIENT_LEVELS + 1, shape, generator=generator, device=device)
    return (vertical @ levels.to(torch.float64) @ horizontal.T / _COEFFICIENT_LEVELS).to(torch.float32)


def _spline_weights(size: int, side: int, cell: float, device: torch.device) -> Tensor:
    """The B-spline weight of each coefficient at each of ``size`` pixel centres, ``side`` of which are SIDE units long.

    Returns:
        (size, knots) float64; every row sums to 1.
    """
    place = (torch.arange(size, dtype=torch.float64, device=device) + 0.5) * SIDE / side / cell
    first = place.floor()
    t = place - first
    left, middle, right = (1 - t) * (1 - t) * (1 - t) / 6, 2 / 3 - t * t + t * t * t / 2, t * t * t / 6
    left, middle, right = ((part * _WEIGHT_LEVELS).round() for part in (left, middle, right))
    four = torch.stack([left, middle, _WEIGHT_LEVELS - left - middle - right, right], dim=1) / _WEIGHT_LEVELS
    knots = first.to(torch.int64)[:, None] + torch.arange(4, device=device)
    weights = torch.zeros(size, ceil(SIDE * size / side / cell) + 3, dtype=torch.float64, device=device)
    return weights.scatter_(1, knots, four)
