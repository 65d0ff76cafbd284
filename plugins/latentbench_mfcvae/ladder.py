"""The ladder: an encoder that climbs from the pixels, a decoder that descends to them, and a rung for each facet.

As in variational ladder autoencoders (Zhao et al., ICML 2017), the levels of one encoder give all q(z_j | x), and z_j
joins the decoder at its level. Facets are numbered from the pixels upwards, and sit on the upper levels. A ladder can
be used without its lowest facets, whose rungs are then not computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, relu
from torch.nn.utils.parametrizations import weight_norm

from latentbench import DataInfo
from latentbench_mfcvae.mixture import Posterior

__all__ = ["Convolutional", "FullyConnected", "Ladder"]

#: What a rung is weighted with where the fully connected decoder adds it.
GATE = 0.1


class Ladder(nn.Module, ABC):
    """Encoder and decoder of J facets."""

    @abstractmethod
    def encode(self, x: Tensor, first: int = 0) -> list[Posterior]:
        """q(z_j | x) for the facets j from ``first`` on, lowest first, of images (B, C, H, W)."""

    @abstractmethod
    def decode(self, z: Sequence[Tensor], alpha: float = 1.0) -> Tensor:
        """(B, C, H, W), any real numbers.

        Args:
            z: of the uppermost facets, lowest first, each (B, D_j). Facets below them take no part.
            alpha: weight of the lowest facet that is given, in [0, 1].
        """


class FullyConnected(Ladder):
    """Fully connected levels, as the authors have them for MNIST; a rung joins by a gated addition.

    Args:
        info: the images' shape.
        dims: D_j of each facet.
        widths: units of each level; at least as many levels as facets.
    """

    def __init__(self, info: DataInfo, dims: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.shape = info.image_shape
        self.lowest = len(widths) - len(dims)  # the level of facet 0
        faceted = widths[self.lowest :]
        self.up = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise([info.image_numel, *widths]))
        self.heads = nn.ModuleList(nn.Linear(width, 2 * dim) for width, dim in zip(faceted, dims, strict=True))
        self.rungs = nn.ModuleList(nn.Linear(dim, width) for width, dim in zip(faceted, dims, strict=True))
        self.down = nn.ModuleList(nn.Linear(b, a) for a, b in pairwise(widths))
        self.join = nn.ModuleList(nn.Linear(width, width) for width in widths[:-1])
        self.output = nn.Linear(widths[0], info.image_numel)

    def encode(self, x: Tensor, first: int = 0) -> list[Posterior]:
        """As ``Ladder.encode``."""
        h, found = x.flatten(1), []
        for level, up in enumerate(self.up):
            h = relu(up(h))
            if level >= self.lowest + first:
                found.append(Posterior.of(self.heads[level - self.lowest](h)))
        return found

    def decode(self, z: Sequence[Tensor], alpha: float = 1.0) -> Tensor:
        """As ``Ladder.decode``."""
        first = len(self.rungs) - len(z)
        h = relu(self.rungs[-1](z[-1]))
        for level in reversed(range(len(self.down))):
            h = relu(self.down[level](h))
            facet = level - self.lowest
            if facet >= first:
                gate = GATE * (alpha if facet == first else 1.0)
                h = h + gate * relu(self.rungs[facet](z[facet - first]))
            h = relu(self.join[level](h))
        images: Tensor = self.output(h).unflatten(1, self.shape)
        return images


class Convolutional(Ladder):
    """Levels of convolutions, each of half the sides of the one below; a rung joins by concatenation.

    With two levels and images of 32x32 it is the authors' network for 3DShapes and SVHN. As there, the encoder's
    convolutions have normalized weights and the decoder's have not, and the decoder ends with ELU and batch
    normalization.

    Args:
        info: the images' shape; see ``fits``.
        dims: D_j of each facet.
        widths: channels of each level; at least as many levels as facets.
    """

    def __init__(self, info: DataInfo, dims: Sequence[int], widths: Sequence[int]) -> None:
        super().__init__()
        self.lowest = len(widths) - len(dims)
        top = len(widths) - 1
        sides = [(info.height >> level + 1, info.width >> level + 1) for level in range(len(widths))]
        self.up = nn.ModuleList(_convolution(a, b, 2) for a, b in pairwise([info.channels, *widths]))
        self.branches, self.heads, self.rungs = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for level, dim in enumerate(dims, self.lowest):
            width, side = widths[level], sides[level]
            if level == top:
                last, grid, channels = _convolution(width, 2 * width, 2), [n // 4 for n in side], 2 * width
            else:
                last, grid, channels = _convolution(width, width, 1), [n // 2 - 1 for n in side], width
            self.branches.append(nn.Sequential(_convolution(width, width, 2), last, nn.Flatten()))
            self.heads.append(nn.Linear(channels * prod(grid), 2 * dim))
            units = channels * prod(side)
            self.rungs.append(
                nn.Sequential(
                    nn.Linear(dim, units), nn.ELU(), nn.BatchNorm1d(units), nn.Unflatten(1, (channels, *side))
                )
            )
        inputs = [2 * width if level >= self.lowest else width for level, width in enumerate(widths)]
        self.down = nn.ModuleList(
            nn.Sequential(_enlargement(inputs[level + 1], b), _same_size(b, a))
            for level, (a, b) in enumerate(pairwise(widths))
        )
        self.output = _enlargement(inputs[0], info.channels)

    @staticmethod
    def fits(info: DataInfo, levels: int) -> bool:
        """Whether the sides can be halved once for each level, and are at least 4 afterwards."""
        return all(side % 2**levels == 0 and side >> levels >= 4 for side in (info.height, info.width))

    def encode(self, x: Tensor, first: int = 0) -> list[Posterior]:
        """As ``Ladder.encode``."""
        h, found = x, []
        for level, up in enumerate(self.up):
            h = up(h)
            if level >= self.lowest + first:
                facet = level - self.lowest
                found.append(Posterior.of(self.heads[facet](self.branches[facet](h))))
        return found

    def decode(self, z: Sequence[Tensor], alpha: float = 1.0) -> Tensor:
        """As ``Ladder.decode``."""
        first = len(self.rungs) - len(z)
        h: Tensor = self.rungs[-1](z[-1])
        for level in reversed(range(len(self.down))):
            h = self.down[level](h)
            facet = level - self.lowest
            if facet >= first:
                rung = self.rungs[facet](z[facet - first])
                h = torch.cat([alpha * rung if facet == first else rung, h], dim=1)
        images: Tensor = self.output(h)
        return images


class _Joining(nn.ConvTranspose2d):
    """Of an input with fewer channels than it takes, the first ones are taken to be 0, and cost nothing."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        return conv_transpose2d(x, self.weight[-x.shape[1] :], self.bias, self.stride, self.padding)  # type: ignore[arg-type]


def _convolution(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, outputs, h / 2, w / 2) with stride 2, and sides shorter by 1 with stride 1."""
    return nn.Sequential(weight_norm(nn.Conv2d(inputs, outputs, 4, stride, 1)), nn.ELU(), nn.BatchNorm2d(outputs))


def _enlargement(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs or fewer, h, w) -> (B, outputs, 2 h, 2 w)."""
    return nn.Sequential(_Joining(inputs, outputs, 4, 2, 1), nn.ELU(), nn.BatchNorm2d(outputs))


def _same_size(inputs: int, outputs: int) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, outputs, h, w)."""
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 3, 1, 1), nn.ELU(), nn.BatchNorm2d(outputs))
