"""Encoders and decoders for images of any size: multilayer perceptrons or strided convolutions."""

from itertools import pairwise
from math import log2, prod
from typing import Literal

from torch import nn

from latentbench import DataInfo, LatentbenchError

__all__ = ["Trunk", "conv_sizes", "decoder", "encoder"]

Trunk = Literal["mlp", "conv"]


def encoder(info: DataInfo, outputs: int, trunk: Trunk, width: int) -> nn.Sequential:
    """(B, C, H, W) -> (B, outputs).

    Args:
        info: the images' shape; both sides at least 2 for "conv".
        outputs: size of the result.
        trunk: "mlp" has two hidden layers of 32 and 16 times ``width`` units. "conv" halves the sides by 4x4
            convolutions of stride 2 until the shorter one is about 4, then goes straight to the outputs.
        width: channels after the first convolution; they double at each one, up to four times ``width``.

    Raises:
        LatentbenchError: "conv", and a side has a single pixel.
    """
    if trunk == "conv":
        channels, grid = _conv_channels(info, width), conv_sizes(info)[-1]
        convolutions = [layer for a, b in pairwise(channels) for layer in (nn.Conv2d(a, b, 4, 2, 1), _rectifier())]
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(channels[-1] * prod(grid), outputs))
    units = _mlp_units(info, width)
    hidden = [layer for a, b in pairwise(units) for layer in (nn.Linear(a, b), _rectifier())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(units[-1], outputs))


def decoder(info: DataInfo, inputs: int, trunk: Trunk, width: int) -> nn.Sequential:
    """(B, inputs) -> (B, C, H, W), any real values: the encoder's layers mirrored. Arguments as there."""
    if trunk == "conv":
        channels, sizes = _conv_channels(info, width)[::-1], conv_sizes(info)[::-1]
        layers = [nn.Linear(inputs, channels[0] * prod(sizes[0])), nn.Unflatten(1, (channels[0], *sizes[0]))]
        for (a, b), (rows, columns) in zip(pairwise(channels), sizes[1:], strict=True):
            odd = (rows % 2, columns % 2)  # 2n + 1 pixels were halved to n: add the last one again
            layers += [_rectifier(), nn.ConvTranspose2d(a, b, 4, 2, 1, output_padding=odd)]
        return nn.Sequential(*layers)
    units = _mlp_units(info, width)[::-1]
    hidden = [layer for a, b in pairwise([inputs, *units[:-1]]) for layer in (nn.Linear(a, b), _rectifier())]
    return nn.Sequential(*hidden, nn.Linear(units[-2], units[-1]), nn.Unflatten(1, info.image_shape))


def conv_sizes(info: DataInfo) -> list[tuple[int, int]]:
    """(height, width) before, between and after the convolutions: (28, 28), (14, 14), (7, 7), (3, 3).

    >>> conv_sizes(DataInfo(channels=3, height=32, width=64, train_size=1))
    [(32, 64), (16, 32), (8, 16), (4, 8)]
    """
    if min(info.height, info.width) < 2:
        raise LatentbenchError(f"images of {info.height}x{info.width} pixels cannot be halved", "set trunk to mlp")
    convolutions = max(1, round(log2(min(info.height, info.width) / 4)))
    return [(info.height >> halvings, info.width >> halvings) for halvings in range(convolutions + 1)]


def _rectifier() -> nn.Module:
    """Leaky, with slope 0.2: plain rectifiers can die in the first steps, and then only the mean image is learned."""
    return nn.LeakyReLU(0.2)


def _conv_channels(info: DataInfo, width: int) -> list[int]:
    return [info.channels, *(min(width << stage, 4 * width) for stage in range(len(conv_sizes(info)) - 1))]


def _mlp_units(info: DataInfo, width: int) -> list[int]:
    return [info.image_numel, 32 * width, 16 * width]
