"""Square patches on a grid of cells, and maps from one number per cell."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812

__all__ = ["Grid", "reduced"]

#: An image whose shorter side is at least twice as long is reduced.
_SIDE = 128


@dataclass(frozen=True)
class Grid:
    """The reduced image is divided into cells, and a patch lies centred on each; cells at the border may be cut."""

    side: int
    """Of a patch, in pixels of the reduced image."""
    cell: int
    """Side of a cell, likewise."""

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """Cells down and across an image of this size.

        >>> Grid(8, 4).shape(128, 321), Grid(8, 4).shape(256, 256)
        ((32, 81), (32, 32))
        """
        side = self.cell * _block(height, width)
        return -(-height // side), -(-width // side)

    def patches(self, images: Tensor) -> Tensor:
        """The patch of every cell, borders being repeated outwards.

        Args:
            images: (B, C, H, W).

        Returns:
            (B, cells, C * side * side), cells row by row.
        """
        x = reduced(images)
        height, width = x.shape[2:]
        before = (self.side - self.cell) // 2
        after = self.side - self.cell - before
        x = F.pad(x, (before, after + -width % self.cell, before, after + -height % self.cell), mode="replicate")
        # as F.unfold does, but each patch lies in one piece, which whitening is twice as fast on
        windows = x.unfold(2, self.side, self.cell).unfold(3, self.side, self.cell)
        return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)

    def to_pixels(self, values: Tensor, height: int, width: int) -> Tensor:
        """A map of pixels (B, H, W), interpolated bilinearly between the centres of cells, from values (B, cells)."""
        cells = values.reshape(-1, 1, *self.shape(height, width))
        side = self.cell * _block(height, width)
        whole = F.interpolate(cells, scale_factor=side, mode="bilinear", align_corners=False)
        return whole[:, 0, :height, :width]


def reduced(images: Tensor) -> Tensor:
    """Images (B, C, H, W), averaged in blocks: from a shorter side of 256 pixels on, 2x2; from 384 on, 3x3; and so on.

    So patches cover a like share of the image, and large images take no longer. Borders are repeated outwards.
    """
    height, width = images.shape[2:]
    block = _block(height, width)
    whole = F.pad(images, (0, -width % block, 0, -height % block), mode="replicate")
    return F.avg_pool2d(whole, block)


def _block(height: int, width: int) -> int:
    return max(1, min(height, width) // _SIDE)
