"""Random symmetries of training images, where a surface or object has them: what is turned has to stay normal."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Generator, Tensor

__all__ = ["SQUARE", "Symmetry", "transformed"]

Symmetry = Literal["none", "mirror", "half_turn", "flips", "rotations", "dihedral"]

#: Those that exchange rows and columns.
SQUARE: tuple[Symmetry, ...] = ("rotations", "dihedral")


def transformed(images: Tensor, symmetry: Symmetry, generator: Generator) -> Tensor:
    """Apply a random member of a group to each image, every member with equal probability.

    Args:
        images: (B, C, H, W); square for "rotations" and "dihedral".
        symmetry: "none"; "mirror", left and right exchanged or not; "half_turn", by 0 or 180 degrees; "flips", in
            either direction, both or none; "rotations", by multiples of 90 degrees; "dihedral", rotations and flips.
        generator: what is drawn from, of the images' device.

    Returns:
        (B, C, H, W).
    """

    def half(x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """Change each image with probability 1/2."""
        return torch.where(torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device) < 0.5, change(x), x)

    if symmetry in ("rotations", "dihedral"):
        images = half(images, lambda x: x.rot90(1, (2, 3)))
    if symmetry in ("half_turn", "rotations"):
        images = half(images, lambda x: x.flip(2, 3))
    if symmetry in ("mirror", "flips", "dihedral"):
        images = half(images, lambda x: x.flip(3))
    if symmetry in ("flips", "dihedral"):
        images = half(images, lambda x: x.flip(2))
    return images
