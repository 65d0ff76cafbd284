"""The network f: an encoder, dilated convolutions on a map of an eighth of the image's size, a decoder, and skips."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

__all__ = ["STRIDE", "Denoiser", "Size", "Skips", "fitting", "largest_dilation", "most_dilations"]

Size = Literal["small", "base"]
Skips = Literal["none", "convex", "full"]

#: The sides of an image are padded to a multiple of this: the encoder halves them three times.
STRIDE = 8
#: Channels at a half, a quarter and an eighth of the image's size, and the number of stacked blocks.
_SIZES: dict[Size, tuple[tuple[int, int, int], int]] = {"small": ((24, 48, 96), 4), "base": ((48, 96, 192), 4)}


class Denoiser(nn.Module):
    """Images to images of the same size, whatever it is, in one pass.

    Args:
        channels: of the images.
        size: of the network; "small" has about half a million parameters, "base" four times as many.
        dilations: of the parallel branches of a block, at least one and no more than ``most_dilations``.
        skips: what the decoder mixes in: nothing; "convex", the encoder's maps (``ConvexCombination``); "full", these
            and in the end the image itself, so that what is normal need not be drawn anew.
    """

    def __init__(self, channels: int, size: Size, dilations: Sequence[int], skips: Skips) -> None:
        super().__init__()
        widths, blocks = _SIZES[size]
        self.down = nn.ModuleList(_down(a, b) for a, b in pairwise((channels, *widths)))
        self.middle = nn.Sequential(*(StackedDilatedConvolution(widths[-1], dilations) for _ in range(blocks)))
        self.up = nn.ModuleList(_up(a, b) for a, b in pairwise(widths[::-1]))
        self.mix = nn.ModuleList(ConvexCombination(width) for width in widths[-2::-1]) if skips != "none" else None
        self.out = ResizeConvolution(widths[0], 2 * channels if skips == "full" else channels)
        self.skips = skips

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
        restored: Tensor = self.out(x)[..., :height, :width]
        if self.skips == "full":
            # in the image's precision, which may be higher than that of the convolutions
            restored, logits = restored.to(images.dtype).chunk(2, 1)
            restored = torch.lerp(images, restored, logits.sigmoid())
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


class ResizeConvolution(nn.Conv2d):
    """Each place is repeated twice down and across; then comes a 3x3 convolution (Odena, Dumoulin & Olah 2016).

    A transposed convolution with 4x4 free weights leaves a chequered pattern behind. Here these are sums of the 3x3
    weights that fall on repeats of one place: the same map, with 16 multiplications for a place instead of 36.
    """

    def __init__(self, inputs: int, outputs: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C', 2 h, 2 w)."""
        weight = self.weight.flip(2, 3).transpose(0, 1)
        moved = [F.pad(weight, (left, 1 - left, up, 1 - up)) for left in (0, 1) for up in (0, 1)]
        return F.conv_transpose2d(x, torch.stack(moved).sum(0), self.bias, stride=2, padding=1)


def fitting(dilations: Sequence[int], height: int, width: int) -> tuple[int, ...]:
    """Those of some dilations that fit into an image of this size.

    >>> fitting((1, 2, 4, 8, 16, 32), 128, 128)
    (1, 2, 4, 8)
    """
    return tuple(dilation for dilation in dilations if dilation <= largest_dilation(height, width))


def largest_dilation(height: int, width: int) -> int:
    """The largest one whose outer taps reach another place of the map in at least half of its places, or else 1.

    Args:
        height: of the image.
        width: of the image.

    >>> largest_dilation(128, 128), largest_dilation(16, 128)
    (8, 1)
    """
    return max(1, -(-min(height, width) // STRIDE) // 2)


def most_dilations(size: Size) -> int:
    """The number of channels of a block, which its branches share.

    >>> most_dilations("small")
    96
    """
    widths, _ = _SIZES[size]
    return widths[-1]


def _down(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(ResizeConvolution(inputs, outputs, bias=False), nn.BatchNorm2d(outputs), nn.ReLU())
