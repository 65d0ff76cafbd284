"""Defects of surfaces: scratch, stain, hole and misprint, drawn on a whole batch of samples at once.

Lengths are in units of which an image has SIDE (64) a side. What varies is uniform in the ranges below, which were
chosen so that a person sees each defect, but none stands out far from the surface's own variation.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from latentbench_augment.blobs import RAGGEDNESS, ragged
from latentbench_augment.canvas import SIDE, coverage, mirrored, norm, pixel_centres, sign, uniform

__all__ = ["DEFECTS", "Defect", "hole", "misprint", "scratch", "stain"]

Defect = Callable[[Generator, Tensor], Tensor]
"""Takes a generator and surfaces, (N, 3, H, H) float32 in levels; returns the surfaces with one defect on each."""

#: The number of straight pieces of a scratch, and the range of their lengths.
SCRATCH_PIECES, SCRATCH_PIECE = 3, (6.0, 14.0)
#: Half of its width, and how many levels lighter or darker it is.
SCRATCH_HALF_WIDTH, SCRATCH_LEVELS = (0.5, 1.0), (35.0, 80.0)
#: A stain's radius.
STAIN_RADIUS = (5.0, 11.0)
#: The share of the light that it lets through, and what is added to it for each colour.
STAIN_LIGHT, STAIN_TINT = (0.6, 0.8), (-0.12, 0.12)
#: A hole's radius, and the level of the dark ground in it.
HOLE_RADIUS, HOLE_LEVEL = (2.0, 4.5), (12.0, 40.0)
#: The width of its rim, and how many levels the rim is lighter at the bottom and darker at the top.
HOLE_RIM, HOLE_RIM_LEVELS = 1.2, 45.0
#: A misprint's sides, and in each direction the displacement of its second print.
MISPRINT_SIDE, MISPRINT_SHIFT = (12.0, 26.0), (1.0, 3.0)
#: The share of the light that the second print lets through.
MISPRINT_LIGHT = (0.74, 0.88)


def scratch(generator: Generator, surfaces: Tensor) -> Tensor:
    """A thin line of a few straight pieces, lighter or darker than the surface. It may run out of the image."""
    count, _, size, _ = surfaces.shape
    x, y = _grid(size)
    distance = torch.tensor(torch.inf)
    start = uniform(generator, 0.2 * SIDE, 0.8 * SIDE, 2, count, 1, 1)
    heading = _direction(generator, count)
    for _ in range(SCRATCH_PIECES):
        heading = _normalised(heading + 0.45 * _direction(generator, count))
        length = uniform(generator, *SCRATCH_PIECE, count, 1, 1)
        dx, dy = x - start[0], y - start[1]
        along = (dx * heading[0] + dy * heading[1]).clamp(min=0).minimum(length)
        distance = torch.minimum(distance, norm(dx - along * heading[0], dy - along * heading[1]))
        start = start + heading * length
    inside = coverage(distance - uniform(generator, *SCRATCH_HALF_WIDTH, count, 1, 1), size)
    levels = uniform(generator, *SCRATCH_LEVELS, count, 1, 1) * sign(generator, count, 1, 1)
    return surfaces + (inside * levels)[:, None]


def stain(generator: Generator, surfaces: Tensor) -> Tensor:
    """A ragged spot that takes up light, with a tint of its own and an edge that is a little darker."""
    count, _, size, _ = surfaces.shape
    radius = uniform(generator, *STAIN_RADIUS, count, 1, 1)
    x, y = _from(_place(generator, radius), size)
    distance = ragged(generator, x, y, radius, size)
    inside = coverage(distance / 2, size)[:, None]  # its edge is two pixels wide: it soaks in
    edge = (1 + distance / 2.5).clamp(0, 1)[:, None]
    light = uniform(generator, *STAIN_LIGHT, count, 1, 1, 1) + uniform(generator, *STAIN_TINT, count, 3, 1, 1)
    return surfaces * (1 - inside * (1 - light) * (0.8 + 0.35 * edge))


def hole(generator: Generator, surfaces: Tensor) -> Tensor:
    """A small ragged opening on a dark ground, its rim light at the bottom and in shadow at the top."""
    count, _, size, _ = surfaces.shape
    radius = uniform(generator, *HOLE_RADIUS, count, 1, 1)
    x, y = _from(_place(generator, radius), size)
    distance = ragged(generator, x, y, radius, size)
    facing = (y / radius).clamp(-1, 1)
    rimmed = surfaces + (coverage(distance - HOLE_RIM, size) * facing * HOLE_RIM_LEVELS)[:, None]
    inside = coverage(distance, size)[:, None]
    return rimmed + inside * (uniform(generator, *HOLE_LEVEL, count, 1, 1, 1) - rimmed)


def misprint(generator: Generator, surfaces: Tensor) -> Tensor:
    """A rectangle in which one colour plane is printed twice, the second time out of register: it gets darker."""
    count, _, size, _ = surfaces.shape
    half = uniform(generator, *MISPRINT_SIDE, 2, count, 1, 1) / 2
    centre = half + uniform(generator, 0, 1, 2, count, 1, 1) * (SIDE - 2 * half)
    x, y = _grid(size)
    inside = coverage(torch.maximum((x - centre[0]).abs() - half[0], (y - centre[1]).abs() - half[1]), size)
    shift = uniform(generator, *MISPRINT_SHIFT, 2, count, 1) * sign(generator, 2, count, 1) * (size / SIDE)
    columns, rows = mirrored(torch.arange(size) + shift.round().to(torch.int64), size)
    image, plane = torch.arange(count), torch.randint(3, (count,), generator=generator)
    first = surfaces[image, plane]
    second = surfaces[image[:, None, None], plane[:, None, None], rows[:, :, None], columns[:, None, :]]
    twice = torch.minimum(first, second) * uniform(generator, *MISPRINT_LIGHT, count, 1, 1)
    misprinted = surfaces.clone()
    misprinted[image, plane] = first + inside * (twice - first)
    return misprinted


#: Every defect by name.
DEFECTS: Mapping[str, Defect] = {"scratch": scratch, "stain": stain, "hole": hole, "misprint": misprint}


def _grid(size: int) -> tuple[Tensor, Tensor]:
    """The coordinates of the pixel centres: x as (1, 1, size) and y as (1, size, 1)."""
    centres = pixel_centres(size)
    return centres[None, None, :], centres[None, :, None]


def _place(generator: Generator, radius: Tensor) -> Tensor:
    """Random centres for ragged discs of the radii (N, 1, 1), which lie inside the image: x and y as (2, N, 1, 1)."""
    reach = radius * (1 + RAGGEDNESS)
    return reach + uniform(generator, 0, 1, 2, *radius.shape) * (SIDE - 2 * reach)


def _from(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The way from places (2, N, 1, 1) to the pixel centres: to the right as (N, 1, size), and down as (N, size, 1)."""
    x, y = _grid(size)
    return x - place[0], y - place[1]


def _direction(generator: Generator, count: int) -> Tensor:
    """(2, count, 1, 1): random unit vectors. Neither of their components is near 0."""
    return _normalised(uniform(generator, 0.05, 1, 2, count, 1, 1) * sign(generator, 2, count, 1, 1))


def _normalised(vector: Tensor) -> Tensor:
    return vector / norm(vector[0], vector[1])
