"""Square patches on a grid of cells, and maps from one number per cell."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo

__all__ = ["CELL", "PATCH", "cells", "patches", "to_pixels"]

#: Side of a patch.
PATCH = 8
#: Side of a cell: the image is divided into cells, and the patch of a cell lies centred on it.
CELL = 4


def cells(info: DataInfo) -> tuple[int, int]:
    """Cells down and across; those at the lower and right border may be cut."""
    return -(-info.height // CELL), -(-info.width // CELL)


def patches(images: Tensor) -> Tensor:
    """The patch of every cell, borders being repeated outwards.

    Args:
        images: (B, C, H, W).

    Returns:
        (B, cells, C * PATCH * PATCH), cells row by row.
    """
    height, width = images.shape[2:]
    margin = (PATCH - CELL) // 2
    x = F.pad(images, (margin, margin - width % -CELL, margin, margin - height % -CELL), mode="replicate")
    return F.unfold(x, PATCH, stride=CELL).transpose(1, 2)


def to_pixels(values: Tensor, info: DataInfo) -> Tensor:
    """A map of pixels (B, H, W), interpolated bilinearly between the centres of cells, from values (B, cells)."""
    down, across = cells(info)
    grid = values.view(-1, 1, down, across)
    whole = F.interpolate(grid, scale_factor=CELL, mode="bilinear", align_corners=False)
    return whole[:, 0, : info.height, : info.width]
