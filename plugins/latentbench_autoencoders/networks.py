"""Encoders and decoders for images of any size: multilayer perceptrons or strided convolutions, whole or by tiles."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from math import log2, prod, sqrt
from typing import Literal

from torch import Tensor, nn

from latentbench import DataInfo, LatentbenchError

__all__ = ["Tiles", "Trunk", "conv_sizes", "decoder", "encoder", "initialize", "last_layer"]

Trunk = Literal["mlp", "conv"]

#: Of rectifiers, below 0.
_SLOPE = 0.2


def encoder(info: DataInfo, outputs: int, trunk: Trunk, width: int, tile: int | None = None) -> nn.Sequential:
    """(B, C, H, W) -> (B, outputs).

    Args:
        info: the images' shape; both sides at least 2 for "conv".
        outputs: size of the result.
        trunk: "mlp" has two hidden layers of 32 and 16 times ``width`` units. "conv" halves the sides by 4x4
            convolutions of stride 2 until the shorter one is about 4, then goes straight to the outputs.
        width: channels after the first convolution; they double at each one, up to four times ``width``.
        tile: side of the tiles that this network takes one by one, if not the whole image.

    Raises:
        LatentbenchError: "conv", and a side has a single pixel; or the image or the outputs cannot be divided.
    """
    if tile is not None:
        tiles = Tiles(info, tile)
        network = encoder(tiles.info, tiles.share(outputs), trunk, width)
        return nn.Sequential(_Layer(tiles.cut), *network, _Layer(tiles.join))
    if trunk == "conv":
        channels, grid = _conv_channels(info, width), conv_sizes(info)[-1]
        convolutions = [layer for a, b in pairwise(channels) for layer in (nn.Conv2d(a, b, 4, 2, 1), _rectifier())]
        return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(channels[-1] * prod(grid), outputs))
    units = _mlp_units(info, width)
    hidden = [layer for a, b in pairwise(units) for layer in (nn.Linear(a, b), _rectifier())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(units[-1], outputs))


def decoder(info: DataInfo, inputs: int, trunk: Trunk, width: int, tile: int | None = None) -> nn.Sequential:
    """(B, inputs) -> (B, C, H, W), any real values: the encoder's layers mirrored. Arguments as there."""
    if tile is not None:
        tiles = Tiles(info, tile)
        network = decoder(tiles.info, tiles.share(inputs), trunk, width)
        return nn.Sequential(_Layer(tiles.split), *network, _Layer(tiles.lay))
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


class Tiles:
    """The T square tiles of an image, row by row, and the T parts of its code.

    Args:
        info: the images.
        side: of a tile, in pixels.

    Raises:
        LatentbenchError: an image is not a whole number of tiles high or wide.
    """

    def __init__(self, info: DataInfo, side: int) -> None:
        if info.height % side or info.width % side:
            raise LatentbenchError(
                f"images of {info.height}x{info.width} pixels are not a whole number of tiles of {side}x{side}",
                "set tile to a divisor of both sides",
            )
        self.rows, self.columns, self.side = info.height // side, info.width // side, side
        self.count = self.rows * self.columns
        self.info = replace(info, height=side, width=side)
        """What describes a tile as an image."""

    def share(self, values: int) -> int:
        """How many of an image's values belong to each tile.

        Raises:
            LatentbenchError: they cannot be divided equally.
        """
        if values % self.count:
            raise LatentbenchError(
                f"a code of {values} values cannot be divided among {self.count} tiles",
                f"set latent_dim to a multiple of {self.count}",
            )
        return values // self.count

    def cut(self, images: Tensor) -> Tensor:
        """(B, C, H, W) -> (B T, C, side, side)."""
        channels, side = self.info.channels, self.side
        grid = images.reshape(-1, channels, self.rows, side, self.columns, side)
        return grid.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, side, side)

    def lay(self, tiles: Tensor) -> Tensor:
        """(B T, C, side, side) -> (B, C, H, W)."""
        channels, side = self.info.channels, self.side
        grid = tiles.reshape(-1, self.rows, self.columns, channels, side, side)
        return grid.permute(0, 3, 1, 4, 2, 5).reshape(-1, channels, self.rows * side, self.columns * side)

    def join(self, codes: Tensor) -> Tensor:
        """(B T, K) -> (B, K T): the first value of every tile, then the second, so that halves remain halves."""
        return codes.reshape(-1, self.count, codes.shape[1]).transpose(1, 2).flatten(1)

    def split(self, codes: Tensor) -> Tensor:
        """(B, K T) -> (B T, K)."""
        return codes.reshape(len(codes), -1, self.count).transpose(1, 2).flatten(0, 1)


class _Layer(nn.Module):
    """A function without parameters."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def conv_sizes(info: DataInfo) -> list[tuple[int, int]]:
    """(height, width) before, between and after the convolutions: (28, 28), (14, 14), (7, 7), (3, 3).

    >>> conv_sizes(DataInfo(channels=3, height=32, width=64, train_size=1))
    [(32, 64), (16, 32), (8, 16), (4, 8)]
    """
    if min(info.height, info.width) < 2:
        raise LatentbenchError(f"images of {info.height}x{info.width} pixels cannot be halved", "set trunk to mlp")
    convolutions = max(1, round(log2(min(info.height, info.width) / 4)))
    return [(info.height >> halvings, info.width >> halvings) for halvings in range(convolutions + 1)]


def initialize(network: nn.Module) -> None:
    """Draw weights anew so that layers keep the scale of what differs between images; biases are 0.

    Weights are N(0, 2 / ((1 + a^2) n)) for rectifiers of slope a and outputs that are sums of n products (He et al.,
    2015, eq. 15). A transposed convolution of stride s has s^2 times fewer of these than its kernels have weights.
    PyTorch's own weights are smaller, so that in deep networks biases drown these differences.
    """
    for layer in network.modules():
        match layer:
            case nn.Linear():
                products = layer.in_features
            case nn.Conv2d():
                products = layer.in_channels * prod(layer.kernel_size)
            case nn.ConvTranspose2d():
                products = layer.in_channels * prod(layer.kernel_size) // prod(layer.stride)
            case _:
                continue
        nn.init.normal_(layer.weight, std=sqrt(2 / ((1 + _SLOPE**2) * products)))
        assert layer.bias is not None
        nn.init.zeros_(layer.bias)


def last_layer(network: nn.Module) -> nn.Linear | nn.ConvTranspose2d:
    """The layer of an encoder or decoder that makes its outputs."""
    *_, last = (layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.ConvTranspose2d))
    return last


def _rectifier() -> nn.Module:
    """Leaky: plain rectifiers can die in the first steps, and then only the mean image is learned."""
    return nn.LeakyReLU(_SLOPE)


def _conv_channels(info: DataInfo, width: int) -> list[int]:
    return [info.channels, *(min(width << stage, 4 * width) for stage in range(len(conv_sizes(info)) - 1))]


def _mlp_units(info: DataInfo, width: int) -> list[int]:
    return [info.image_numel, 32 * width, 16 * width]
