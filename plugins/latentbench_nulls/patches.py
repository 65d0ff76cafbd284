"""Square patches on a grid of cells, and maps from one number per cell."""

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo

__all__ = ["PATCH", "cells", "patches", "reduced", "to_pixels"]

#: Side of a patch, in pixels of the reduced image.
PATCH = 8
#: Side of a cell: the reduced image is divided into cells, and the patch of a cell lies centred on it.
_CELL = 4
#: An image whose shorter side is at least twice as long is reduced.
_SIDE = 128


def reduced(images: Tensor) -> Tensor:
    """Images (B, C, H, W), averaged in blocks: from a shorter side of 256 pixels on, 2x2; from 384 on, 3x3; and so on.

    So patches cover a like share of the image, and large images take no longer. Borders are repeated outwards.
    """
    height, width = images.shape[2:]
    block = _block(height, width)
    whole = F.pad(images, (0, -width % block, 0, -height % block), mode="replicate")
    return F.avg_pool2d(whole, block)


def cells(info: DataInfo) -> tuple[int, int]:
    """Cells down and across; those at the lower and right border may be cut."""
    side = _CELL * _block(info.height, info.width)
    return -(-info.height // side), -(-info.width // side)


def patches(images: Tensor) -> Tensor:
    """The patch of every cell, borders being repeated outwards.

    Args:
        images: (B, C, H, W).

    Returns:
        (B, cells, C * PATCH * PATCH), cells row by row.
    """
    x = reduced(images)
    height, width = x.shape[2:]
    margin = (PATCH - _CELL) // 2
    x = F.pad(x, (margin, margin + -width % _CELL, margin, margin + -height % _CELL), mode="replicate")
    return F.unfold(x, PATCH, stride=_CELL).transpose(1, 2)


def to_pixels(values: Tensor, info: DataInfo) -> Tensor:
    """A map of pixels (B, H, W), interpolated bilinearly between the centres of cells, from values (B, cells)."""
    down, across = cells(info)
    grid = values.reshape(-1, 1, down, across)
    side = _CELL * _block(info.height, info.width)
    whole = F.interpolate(grid, scale_factor=side, mode="bilinear", align_corners=False)
    return whole[:, 0, : info.height, : info.width]


def _block(height: int, width: int) -> int:
    return max(1, min(height, width) // _SIDE)
