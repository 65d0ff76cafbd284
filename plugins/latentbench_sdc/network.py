"""The network f: an encoder, stacked dilated convolutions on a map of an eighth of the image's size, and a decoder."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["STRIDE", "Denoiser", "Size", "Skips", "fitting"]

Size = Literal["small", "base"]
Skips = Literal["none", "convex"]

#: The sides of an image are padded to a multiple of this: the encoder halves them three times.
STRIDE = 8
#: Channels at a half, a quarter and an eighth of the image's size, and the number of stacked blocks.
_SIZES: dict[Size, tuple[tuple[int, int, int], int]] = {"small": ((24, 48, 96), 4), "base": ((48, 96, 192), 4)}


class Denoiser(nn.Module):
    """Images to images of the same size, whatever it is, in one pass.

    Args:
        channels: of the images.
        size: of the network; "small" has about 0.6 million parameters, "base" four times as many.
        dilations: of the parallel branches of a block.
        skips: what the decoder sees of the encoder's maps; "convex" mixes them in (``ConvexCombination``).
    """

    def __init__(self, channels: int, size: Size, dilations: Sequence[int], skips: Skips) -> None:
        super().__init__()
        widths, blocks = _SIZES[size]
        self.down = nn.ModuleList(_down(a, b) for a, b in pairwise((channels, *widths)))
        self.middle = nn.Sequential(*(StackedDilatedConvolution(widths[-1], dilations) for _ in range(blocks)))
        self.up = nn.ModuleList(_up(a, b) for a, b in pairwise(widths[::-1]))
        self.mix = nn.ModuleList(ConvexCombination(width) for width in widths[-2::-1]) if skips == "convex" else None
        self.out = nn.ConvTranspose2d(widths[0], channels, 4, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), any real values; the smaller side has at least 8 pixels."""
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % STRIDE, 0, -height % STRIDE), mode="reflect")
        encoded = []
        for down in self.down:
            x = down(x)
            encoded.append(x)
        x = self.middle(x)
        for level, up in enumerate(self.up):
            x = up(x)
            if self.mix is not None:
                x = self.mix[level](encoded[-2 - level], x)
        x = self.out(x)
        restored: Tensor = x[..., :height, :width]
        return restored


class StackedDilatedConvolution(nn.Module):
    """Parallel 3x3 convolutions of different dilations, whose results are concatenated (Schuster et al., CVPR 2019).

    The channels are divided among the branches, so a block costs the same whatever its dilations are.
    """

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        share, rest = divmod(channels, len(dilations))
        self.branches = nn.ModuleList(
            nn.Conv2d(channels, share + (branch < rest), 3, padding=dilation, dilation=dilation, bias=False)
            for branch, dilation in enumerate(dilations)
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return F.relu(self.norm(torch.cat([branch(x) for branch in self.branches], 1)))


class ConvexCombination(nn.Module):
    """A x + (1 - A) y of a decoder's map x and an encoder's map y, with A in [0, 1] a function of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.coefficients = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """(B, C, h, w) twice -> (B, C, h, w), nowhere outside of the two."""
        a = self.coefficients(torch.cat([encoded, decoded], 1)).sigmoid()
        return torch.lerp(encoded, decoded, a)


def fitting(dilations: Sequence[int], height: int, width: int) -> tuple[int, ...]:
    """The dilations whose outer taps reach another place of the map in at least half of its places.

    Args:
        dilations: some.
        height: of the image.
        width: of the image.

    >>> fitting((1, 2, 4, 8, 16, 32), 128, 128)
    (1, 2, 4, 8)
    """
    shorter = -(-min(height, width) // STRIDE)
    return tuple(dilation for dilation in dilations if dilation == 1 or dilation <= shorter / 2)


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
