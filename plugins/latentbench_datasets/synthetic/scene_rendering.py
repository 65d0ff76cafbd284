"""Rendering of scenes: one coloured shape on a plain ground, from factors, a whole batch at a time on the device.

Shapes are given by signed distances, so that edges are antialiased and every resolution shows the same scene. The side
of an image measures UNITS (64) units, and all lengths are in these units. Every step is one basic float32 operation
(sum, product, quotient, minimum, square root) that IEEE 754 rounds correctly, and the result is rounded to whole
levels: on the CPU the same factors give the same levels, whatever the machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from latentbench_augment.canvas import square_root

__all__ = ["BACKGROUNDS", "COLOURS", "FACTORS", "POSITIONS", "RADII", "SHAPES", "UNITS", "Factor", "SceneRenderer"]

Factor = Literal["shape", "size", "x", "y", "colour", "background"]

#: Side of an image, in the units of all lengths.
UNITS = 64
#: Radii of the shapes; multiples of 3, so that thirds of them are whole.
RADII = (9, 12, 15)
#: Where the centroid lies from the left and from the top; the largest shape stays in the image at every position.
POSITIONS = (20, 24, 28, 32, 36, 40, 44)
#: Colours of the object: red, yellow, green, cyan, blue, magenta. Each is brighter than every background: Rec. 601
#: luma above 140.
COLOURS = ((255, 108, 92), (252, 220, 72), (104, 232, 104), (84, 224, 240), (128, 152, 255), (255, 120, 228))
#: Colours of the background, the same hues but dark: luma below 80.
BACKGROUNDS = ((112, 36, 36), (88, 76, 20), (28, 84, 40), (20, 80, 88), (36, 44, 116), (92, 32, 96))

#: Takes dx, dy and the radius; returns the signed distance, negative inside. dx points to the right and dy downwards
#: from the centroid.
SignedDistance = Callable[[Tensor, Tensor, Tensor], Tensor]


def _square(dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """A square whose sides are two radii long."""
    return torch.maximum(dx.abs(), dy.abs()) - radius


def _disc(dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    return square_root(dx * dx + dy * dy) - radius


def _triangle(dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """An isosceles triangle on its base, two radii high and 32/15 wide: its sides have the normals (+-15, -8) / 17."""
    third = radius / 3
    side = (15 * dx.abs() - 8 * (dy + 4 * third)) / 17
    return torch.maximum(side, dy - 2 * third)


def _cross(dx: Tensor, dy: Tensor, radius: Tensor) -> Tensor:
    """A cross whose arms reach one radius from the centre and are two thirds of a radius wide."""
    far, near = torch.maximum(dx.abs(), dy.abs()), torch.minimum(dx.abs(), dy.abs())
    return torch.maximum(far - radius, near - radius / 3)


#: The shapes by name. Distances are Euclidean inside and along the edges; outside a corner they are shorter, which
#: leaves corners sharp.
SHAPES: Mapping[str, SignedDistance] = {"square": _square, "disc": _disc, "triangle": _triangle, "cross": _cross}

#: The factors and their cardinalities.
FACTORS: Mapping[Factor, int] = {
    "shape": len(SHAPES),
    "size": len(RADII),
    "x": len(POSITIONS),
    "y": len(POSITIONS),
    "colour": len(COLOURS),
    "background": len(BACKGROUNDS),
}


@dataclass(frozen=True)
class SceneRenderer:
    """Renders scenes at one resolution, H pixels a side. Build it with ``SceneRenderer.of``.

    Lengths are measured in 1 / UNITS of a pixel, so that the centres of pixels, the positions and the radii are all
    whole numbers.
    """

    pixels: Tensor
    """(H,) float32: the coordinates of the centres of a row of pixels."""
    positions: Tensor
    """(7,) float32: the coordinates of the centroid that the factors x and y choose from."""
    radii: Tensor
    """(3,) float32: the radii that the factor size chooses from."""
    colours: Tensor
    """(6, 3) float32: the RGB levels that the factor colour chooses from."""
    backgrounds: Tensor
    """(6, 3) float32: the RGB levels that the factor background chooses from."""

    @classmethod
    def of(cls, size: int) -> "SceneRenderer":
        """A renderer of (3, size, size) images."""
        return cls(
            pixels=(torch.arange(size, dtype=torch.float32) * 2 + 1) * (UNITS // 2),
            positions=torch.tensor(POSITIONS, dtype=torch.float32) * size,
            radii=torch.tensor(RADII, dtype=torch.float32) * size,
            colours=torch.tensor(COLOURS, dtype=torch.float32),
            backgrounds=torch.tensor(BACKGROUNDS, dtype=torch.float32),
        )

    def to(self, device: torch.device) -> "SceneRenderer":
        """The same renderer with its tables on ``device``."""
        return replace(self, **{name: table.to(device) for name, table in vars(self).items()})

    def render(self, factors: Mapping[Factor, Tensor]) -> Tensor:
        """Render the scenes of these factors, (B,) int64 each.

        Returns:
            (B, 3, H, H) float32, whole levels from 0 to 255.
        """
        shape = factors["shape"][:, None, None]
        dx = self.pixels - self.positions[factors["x"]][:, None, None]
        dy = self.pixels[:, None] - self.positions[factors["y"]][:, None, None]
        radius = self.radii[factors["size"]][:, None, None]
        distance = torch.full_like(dx + dy, torch.inf)
        for index, signed_distance in enumerate(SHAPES.values()):
            distance = torch.where(shape == index, signed_distance(dx, dy, radius), distance)
        coverage = (0.5 - distance / UNITS).clamp_(0, 1)[:, None]
        background = self.backgrounds[factors["background"]][:, :, None, None]
        colour = self.colours[factors["colour"]][:, :, None, None]
        return (background + coverage * (colour - background)).round_()
