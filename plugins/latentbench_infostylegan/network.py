"""The networks: a generator whose layers are steered by styles, a discriminator, and heads that read the codes.

The generator is of the kind of StyleGAN 2 (Karras et al., CVPR 2020), written from its equations: a mapping network
gives w, each convolution is modulated by a style of w and demodulated, every resolution adds to an RGB image, and noise
enters at every resolution. Weights are drawn from N(0, 1) and scaled at run time by their fan-in (Karras et al., ICLR
2018, section 4.1). Resampling is bilinear upwards and by averages of 2x2 pixels downwards. Images are in [-1, 1].
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log2, sqrt
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, leaky_relu, linear

from latentbench_infostylegan.codes import Codes

__all__ = [
    "Convolution",
    "Dense",
    "Discriminator",
    "Generator",
    "Injection",
    "Mapping",
    "MinibatchDeviation",
    "ModulatedConvolution",
    "QHead",
    "Trunk",
    "activate",
    "pixel_norm",
]

Injection = Literal["mapping", "per_scale"]

#: Side of the lowest resolution.
LOWEST = 4
#: Layers of the mapping network, and units of a hidden layer of the heads.
MAPPING_LAYERS, HIDDEN = 2, 128
#: Images among which the minibatch deviation is taken, where the batch has as many.
GROUP = 4


class Dense(nn.Module):
    """A linear layer with a run-time scale of 1 / sqrt(inputs).

    Args:
        inputs: numbers in.
        outputs: numbers out.
        bias: the first value of each bias.
        start: standard deviation of the weights at the beginning, before they are scaled.
    """

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, start: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(start * torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale = 1 / sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return linear(x, self.weight * self.scale, self.bias)


class Convolution(nn.Module):
    """A convolution that keeps the size, with a run-time scale of 1 / sqrt(fan-in)."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / sqrt(inputs * kernel**2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        return conv2d(x, self.weight * self.scale, self.bias, padding=self.weight.shape[-1] // 2)


class ModulatedConvolution(nn.Module):
    """A convolution whose weights are scaled for each image by its style, and then to unit norm (eqs. 1 and 3).

    w'_oik = s_i w_oik, and with ``demodulate`` w''_oik = w'_oik / sqrt(sum_ik w'_oik^2 + 1e-8). A convolution with w''
    is one with w of inputs that are multiplied by s_i, whose outputs are divided by the root. So all images share one
    convolution, and no weights are made for each image.

    Args:
        inputs: channels in.
        outputs: channels out.
        kernel: side of the kernel.
        style: numbers that the style s is read from.
        demodulate: whether outputs are divided by the root.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, style: int, *, demodulate: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel))
        self.scale = 1 / sqrt(inputs * kernel**2)
        self.style = Dense(style, inputs, bias=1.0)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """(B, inputs, h, w) and (B, style) -> (B, outputs, h, w)."""
        s, weight = self.style(w), self.weight * self.scale
        y = conv2d(x * s[:, :, None, None], weight, padding=weight.shape[-1] // 2)
        if not self.demodulate:
            return y
        with torch.autocast(x.device.type, enabled=False):
            squares = linear(s.float().square(), weight.square().sum((2, 3)))
            return y * (squares + 1e-8).rsqrt().to(y.dtype)[:, :, None, None]


class Mapping(nn.Module):
    """From noise z, and c where codes enter here, to w: dense layers (Karras et al., CVPR 2019, section 2).

    z is normalised by itself and c is not: in few dimensions normalisation would take from a code its magnitude. Each
    has a first layer of its own, so that at the beginning half of the variance is from c, whatever the sizes. Ours.

    Args:
        z: size of z.
        c: size of c, or 0.
        width: size of w and of the layers.
    """

    def __init__(self, z: int, c: int, width: int) -> None:
        super().__init__()
        self.of_z = Dense(z, width)
        self.of_c = Dense(c, width) if c else None
        self.layers = nn.ModuleList(Dense(width, width) for _ in range(MAPPING_LAYERS - 1))

    def forward(self, z: Tensor, c: Tensor) -> Tensor:
        """(B, z) and (B, c) -> (B, width)."""
        w = self.of_z(pixel_norm(z))
        if self.of_c is not None:
            w = (w + self.of_c(c)) / sqrt(2)
        w = activate(w)
        for layer in self.layers:
            w = activate(layer(w))
        return w


class Level(nn.Module):
    """What the generator does at one resolution: it enlarges the maps of the one below, and adds to the image.

    Args:
        below: channels of the maps of the resolution below; None at the lowest.
        width: channels here.
        channels: of the image.
        style: numbers that the styles are read from.
    """

    def __init__(self, below: int | None, width: int, channels: int, style: int) -> None:
        super().__init__()
        self.enlarging = None if below is None else ModulatedConvolution(below, width, 3, style)
        self.same = ModulatedConvolution(width, width, 3, style)
        self.image = ModulatedConvolution(width, channels, 1, style, demodulate=False)
        layers = 1 if below is None else 2
        self.biases = nn.ParameterList(torch.zeros(width, 1, 1) for _ in range(layers))
        self.strengths = nn.ParameterList(torch.zeros(()) for _ in range(layers))
        self.image_bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, image: Tensor | None, w: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """Maps and image of the resolution below, and w (B, style) -> those of this one."""
        layers = [self.same] if self.enlarging is None else [self.enlarging, self.same]
        for layer, bias, strength in zip(layers, self.biases, self.strengths, strict=True):
            x = layer(x, w)
            if layer is self.enlarging:
                x = _twice(x)
            if noisy:
                x = x + strength * torch.randn(len(x), 1, *x.shape[2:], device=x.device)
            x = activate(x + bias)
        here = self.image(x, w) + self.image_bias
        return x, here if image is None else here + _twice(image)


class Generator(nn.Module):
    """G(z, c): from noise and codes to images.

    By ``injection`` the codes enter the mapping network beside z, or ("per_scale") each enters the styles of one
    resolution alone: the first codes the lowest, the last codes the highest.

    Args:
        size: of the images, a power of two.
        channels: of the images.
        codes: c.
        z: size of z.
        style: size of w.
        width: channels of the highest resolution; each resolution below has twice as many.
        widest: but at most so many.
        injection: where codes enter.
    """

    roots: Tensor

    def __init__(
        self,
        size: int,
        channels: int,
        codes: Codes,
        *,
        z: int,
        style: int,
        width: int,
        widest: int,
        injection: Injection,
    ) -> None:
        super().__init__()
        widths = _widths(size, width, widest)
        self.register_buffer("roots", torch.tensor(codes.roots))
        #: Numbers of c that enter at each resolution, or nothing.
        self.slices = _slices(codes.widths, len(widths)) if injection == "per_scale" else []
        self.mapping = Mapping(z, 0 if self.slices else codes.size, style)
        self.entrances = nn.ModuleList(Dense(part, style) if part else nn.Identity() for part in self.slices)
        self.constant = nn.Parameter(torch.randn(1, widths[0], LOWEST, LOWEST))
        self.levels = nn.ModuleList(
            Level(below, here, channels, style) for below, here in zip([None, *widths], widths, strict=False)
        )

    def forward(self, z: Tensor, c: Tensor, *, noisy: bool = True) -> Tensor:
        """Images (B, C, size, size), about [-1, 1].

        Args:
            z: (B, z).
            c: (B, D).
            noisy: with noise at every resolution, by PyTorch's global generator.
        """
        x = self.constant.expand(len(z), -1, -1, -1)
        image: Tensor | None = None
        for level, w in zip(self.levels, self.styles(z, c), strict=True):
            x, image = level(x, image, w, noisy=noisy)
        assert image is not None, "there is a level"
        return image

    def styles(self, z: Tensor, c: Tensor) -> list[Tensor]:
        """The style w of each resolution, the lowest first, each (B, style)."""
        c = c / self.roots
        if not self.slices:
            return [self.mapping(z, c)] * len(self.levels)
        w, found = self.mapping(z, c), []
        for entrance, part in zip(self.entrances, torch.split(c, self.slices, 1), strict=True):
            found.append((w + entrance(part)) / sqrt(2) if part.shape[1] else w)
        return found


class Trunk(nn.Module):
    """What the discriminator and the heads see of an image: convolutions, down to the lowest resolution."""

    def __init__(self, size: int, channels: int, width: int, widest: int) -> None:
        super().__init__()
        widths = _widths(size, width, widest)[::-1]
        #: Channels of the maps.
        self.features = widths[-1]
        self.image = Convolution(channels, widths[0], 1)
        self.same = nn.ModuleList(Convolution(here, here) for here in widths[:-1])
        self.reducing = nn.ModuleList(Convolution(here, below) for here, below in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) -> (B, features, 4, 4)."""
        x = activate(self.image(x))
        for same, reducing in zip(self.same, self.reducing, strict=True):
            x = activate(reducing(avg_pool2d(activate(same(x)), 2)))
        return x


class MinibatchDeviation(nn.Module):
    """One more map: how much an image's group in the batch varies, the same number everywhere (Karras et al., 2018).

    It is the standard deviation over the group, the population's, its mean over places and channels. Image i belongs to
    group i modulo the number of groups, and a batch that groups of four do not divide has some that are larger. A root
    has no finite slope at 0, where a group's images are alike: 1e-8 is added to variances.

    In eval mode an image has no company. The map is then ``typical``, which ``measure`` sets.
    """

    typical: Tensor
    """(): what the deviation is in batches of training images."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("typical", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C + 1, h, w)."""
        values = self.of_groups(x) if self.training else self.typical.expand(len(x))
        return torch.cat([x, values.to(x.dtype)[:, None, None, None].expand(-1, 1, *x.shape[2:])], 1)

    @staticmethod
    def of_groups(x: Tensor) -> Tensor:
        """(B,) float32: the deviation of the group of each image of x, (B, C, h, w)."""
        groups = max(1, len(x) // GROUP)
        member = torch.arange(len(x), device=x.device) % groups
        belongs = (member == torch.arange(groups, device=x.device)[:, None]).float()
        with torch.autocast(x.device.type, enabled=False):
            flat, share = x.float().flatten(1), belongs / belongs.sum(1, keepdim=True)
            deviations = flat - (belongs.T @ (share @ flat))
            each = (share @ deviations.square() + 1e-8).sqrt().mean(1)
            return belongs.T @ each


class Discriminator(nn.Module):
    """D(x): a trunk, the minibatch deviation, and a head with one logit. Heads for codes branch off the trunk."""

    def __init__(self, size: int, channels: int, width: int, widest: int) -> None:
        super().__init__()
        self.trunk = Trunk(size, channels, width, widest)
        features = self.trunk.features
        self.deviation = MinibatchDeviation()
        self.last = Convolution(features + 1, features)
        self.hidden = Dense(features * LOWEST**2, HIDDEN)
        self.logit = Dense(HIDDEN, 1)

    def judge(self, maps: Tensor) -> Tensor:
        """The trunk's maps (B, features, 4, 4) -> logits (B,) float32, larger for real images."""
        x = activate(self.last(self.deviation(maps)))
        logits: Tensor = self.logit(activate(self.hidden(x.flatten(1))))
        return logits.float().squeeze(1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, size, size) -> logits (B,)."""
        return self.judge(self.trunk(x))


class QHead(nn.Module):
    """From a trunk's maps to the outputs that ``Codes`` reads. Its last layer begins at a tenth."""

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.hidden = Dense(features * LOWEST**2, HIDDEN)
        self.last = Dense(HIDDEN, outputs, start=0.1)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, features, 4, 4) -> (B, outputs)."""
        outputs: Tensor = self.last(activate(self.hidden(maps.flatten(1))))
        return outputs


def activate(x: Tensor) -> Tensor:
    """A leaky ReLU that keeps the variance, of any shape."""
    return leaky_relu(x, 0.2) * sqrt(2)


def pixel_norm(z: Tensor) -> Tensor:
    """(B, D) -> (B, D) with a mean square of 1 over D.

    >>> pixel_norm(torch.tensor([[3.0, 4.0]])).square().mean()
    tensor(1.)
    """
    return z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _twice(x: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, 2 h, 2 w)."""
    return interpolate(x, scale_factor=2, mode="bilinear")


def _widths(size: int, width: int, widest: int) -> list[int]:
    """Channels of each resolution from 4 up to ``size``.

    >>> _widths(32, 16, 64)
    [64, 64, 32, 16]
    """
    levels = int(log2(size // LOWEST))
    return [min(widest, width * 2**level) for level in reversed(range(levels + 1))]


def _slices(widths: Sequence[int], levels: int) -> list[int]:
    """How many numbers of codes of these widths enter at each level: codes in order, spread evenly over the levels.

    >>> _slices([1, 1, 10], 4)
    [1, 1, 10, 0]
    >>> _slices([1] * 6, 4)
    [2, 1, 2, 1]
    """
    found = [0] * levels
    for place, width in enumerate(widths):
        found[place * levels // max(levels, len(widths))] += width
    return found
