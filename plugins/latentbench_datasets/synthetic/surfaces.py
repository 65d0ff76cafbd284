"""Procedurally made surfaces: woven cloth, wood grain, tiles and leather, a whole batch of samples at once.

A surface is made of a few closed forms and smooth noise; nothing is taken from a photograph. The side of an image
measures SIDE (64) units, and all lengths are in these units. As everywhere on the canvas, each step is correctly
rounded.
"""

from collections.abc import Callable, Mapping
from math import ceil

import torch
from torch import Generator, Tensor

from latentbench_augment.canvas import SIDE, coverage, pixel_centres, smooth_noise, square_root, uniform

__all__ = ["SURFACES", "Surface", "grain", "leather", "tiles", "weave"]

Surface = Callable[[Generator, int, int], Tensor]
"""Takes a generator, a count and a size; returns samples of the surface as RGB levels, (count, 3, size, size) float32.

Levels range from about 0 to about 255.
"""

#: Width of a thread of the weave.
THREAD = 6.4
#: Distance of the year rings of the grain.
RING = 7.0
#: Side of a tile with its joint, and the width of the joint.
TILE, JOINT = 16.0, 2.0
#: Side of the squares that hold the centre of one leather cell each.
CELL = 6.4


def weave(generator: Generator, count: int, size: int) -> Tensor:
    """Plain weave: blue warp (vertical) and pale weft (horizontal) take turns on top, each thread of its own shade."""
    x, column, y, row = _shifted_cells(generator, count, size, THREAD)
    across, along = _bump(x), _bump(y)
    warp = _own_shades(generator, 0.14, column, THREAD) * across * (0.5 + 0.5 * along)
    weft = _own_shades(generator, 0.14, row, THREAD) * along * (0.5 + 0.5 * across)
    warp_on_top = (column + row) % 2 == 0
    warp += 0.12 * smooth_noise(generator, count, size, (3.0, 1.0))  # fibres along the thread
    weft += 0.12 * smooth_noise(generator, count, size, (1.0, 3.0))
    height = torch.where(warp_on_top, warp, weft)[:, None]
    colour = torch.where(warp_on_top[:, None], _colour(92, 112, 158), _colour(206, 196, 172))
    return _lit(generator, colour * (0.4 + 0.6 * height))


def grain(generator: Generator, count: int, size: int) -> Tensor:
    """Wood: year rings cut lengthwise, bent by slow noise, each growing darker until the next; fibres along them."""
    bend = 11 * smooth_noise(generator, count, size, (20.0, 36.0))
    place = (pixel_centres(size)[:, None] + bend) / RING + uniform(generator, 0, 1, count, 1, 1)
    ring = place - place.floor()
    late_wood = ring * ring * ring * ((1 - ring) * 6).clamp(max=1)
    fibres = smooth_noise(generator, count, size, (1.0, 20.0)) + smooth_noise(generator, count, size, (1.6, 6.0))
    darkness = 0.25 + 0.7 * late_wood + 0.32 * fibres
    light, dark = _colour(214, 166, 112), _colour(128, 80, 44)
    return _lit(generator, light + darkness[:, None] * (dark - light))


def tiles(generator: Generator, count: int, size: int) -> Tensor:
    """Glazed square tiles, each of its own shade and mottled, with bevelled edges and pale joints."""
    x, column, y, row = _shifted_cells(generator, count, size, TILE)
    left, top = x * TILE - JOINT / 2, y * TILE - JOINT / 2  # distances from the tile's edges, positive inside
    right, bottom = TILE - JOINT - left, TILE - JOINT - top
    nearest = torch.minimum(torch.minimum(left, right), torch.minimum(top, bottom))
    bevel = _bevel(torch.minimum(left, top)) - _bevel(torch.minimum(right, bottom))  # the light comes from top left
    per_side = ceil(SIDE / TILE) + 1
    shades = uniform(generator, 0.86, 1.1, count, per_side * per_side)
    shade = shades.gather(1, (row * per_side + column).flatten(1)).view(count, size, size)
    mottling = smooth_noise(generator, count, size, (5.0, 5.0))
    tile = _colour(84, 142, 146) * (shade + 0.12 * mottling + 0.16 * bevel)[:, None]
    joint = _colour(206, 202, 190) * (1 + 0.1 * smooth_noise(generator, count, size, (1.5, 1.5)))[:, None]
    return _lit(generator, joint + coverage(-nearest, size)[:, None] * (tile - joint))


def leather(generator: Generator, count: int, size: int) -> Tensor:
    """Leather: cells that bulge between dark creases.

    A crease is where the two nearest centres of a jittered lattice are equally far away: F2 - F1 of Worley's cellular
    texture (SIGGRAPH 1996), computed from the centres in the 3x3 squares around a pixel.
    """
    place = pixel_centres(size) / CELL + 2  # so that warped places and their neighbours have squares
    x = place + 0.35 * smooth_noise(generator, count, size, (7.0, 7.0))
    y = place[:, None] + 0.35 * smooth_noise(generator, count, size, (7.0, 7.0))
    column, row = x.floor(), y.floor()
    squares = ceil(SIDE / CELL) + 4
    centres_x, centres_y = uniform(generator, 0.1, 0.9, 2, count, squares * squares)
    nearest = torch.full((count, size, size), torch.inf)
    second = nearest
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            square = ((row + down) * squares + column + right).to(torch.int64).flatten(1)
            dx = centres_x.gather(1, square).view_as(x) + (column + right) - x
            dy = centres_y.gather(1, square).view_as(y) + (row + down) - y
            squared = dx * dx + dy * dy
            second = torch.minimum(second, torch.maximum(nearest, squared))
            nearest = torch.minimum(nearest, squared)
    bulge = ((square_root(second) - square_root(nearest)) * 1.6).clamp(max=1)
    shade = 0.52 + 0.4 * bulge * (2 - bulge)
    shade += 0.16 * smooth_noise(generator, count, size, (14.0, 14.0))
    shade += 0.12 * smooth_noise(generator, count, size, (1.5, 1.5))
    return _lit(generator, _colour(158, 92, 58) * shade[:, None])


#: Every kind of surface by name.
SURFACES: Mapping[str, Surface] = {"weave": weave, "grain": grain, "tiles": tiles, "leather": leather}


def _shifted_cells(generator: Generator, count: int, size: int, cell: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cell of each pixel centre in a regular pattern, which is shifted at random in each image.

    Returns:
        The horizontal position in the cell, float32 from 0 to 1, and the number of the cell from the left, int64: both
        (count, 1, size). Then the vertical position and the number of the cell from the top: both (count, size, 1).
    """
    place = pixel_centres(size) / cell + uniform(generator, 0, 1, 2, count, 1)
    number = place.floor()
    (x, y), (column, row) = place - number, number.to(torch.int64)
    return x[:, None, :], column[:, None, :], y[:, :, None], row[:, :, None]


def _own_shades(generator: Generator, spread: float, number: Tensor, cell: float) -> Tensor:
    """The shade of the thread that has the given number, drawn for each thread of each image from 1 +- spread."""
    shades = uniform(generator, 1 - spread, 1 + spread, len(number), ceil(SIDE / cell) + 1)
    return shades.gather(1, number.flatten(1)).view(number.shape)


def _bump(t: Tensor) -> Tensor:
    """A parabola that is 0 at t = 0 and at t = 1, and has its maximum 1 at t = 1/2."""
    return 4 * t * (1 - t)


def _bevel(distance: Tensor) -> Tensor:
    """The strength of a bevel: 1 up to 1.2 units inside the edge, then falling linearly to 0 at 2.2 units."""
    return (2.2 - distance).clamp(0, 1)


def _colour(red: int, green: int, blue: int) -> Tensor:
    """A colour as levels, (3, 1, 1) float32."""
    return torch.tensor([red, green, blue], dtype=torch.float32)[:, None, None]


def _lit(generator: Generator, surface: Tensor) -> Tensor:
    """The surface under a light whose strength differs slightly between images and falls off in some direction."""
    count, _, size, _ = surface.shape
    place = pixel_centres(size) / SIDE - 0.5
    strength = uniform(generator, 0.94, 1.06, count, 1, 1)
    to_right, to_bottom = uniform(generator, -0.1, 0.1, 2, count, 1, 1)
    light: Tensor = strength + to_right * place + to_bottom * place[:, None]
    return surface * light[:, None]
