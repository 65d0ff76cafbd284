"""A convolutional network with random weights, which are never trained, and its features as a code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo
from latentbench_nulls.null import Null
from latentbench_nulls.patches import reduced

__all__ = ["UntrainedFeatures", "UntrainedNetwork"]

#: Channels of the layers.
_WIDTHS = (16, 32, 64)
#: Images that are passed through at a time.
_AT_ONCE = 64


class UntrainedNetwork(nn.Module):
    """Three convolutions, 3x3, each followed by a leaky ReLU and averages of 2x2 pixels: 23,184 weights for gray.

    Weights are those that He et al. (2015, eq. 10) start a training from, drawn with PyTorch's global generator.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *_WIDTHS[:-1])
        layers = [nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in zip(inputs, _WIDTHS, strict=True)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, a=0.2)
        self.layers = nn.ModuleList(layers)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """What each layer gives: (B, 16, H / 2, W / 2), (B, 32, H / 4, W / 4), (B, 64, H / 8, W / 8), sides rounded up.

        Large images are reduced first, and H and W are those of the reduced image.
        """
        x = reduced(images)
        maps = []
        for layer in self.layers:
            x = F.avg_pool2d(F.leaky_relu(layer(x), 0.2), 2, ceil_mode=True)
            maps.append(x)
        return maps


class UntrainedFeatures(Null):
    """Features of an untrained network, averaged over the image; the harness reads them as it reads any code."""

    name = "null-untrained-features"

    def build(self, info: DataInfo) -> None:
        """Draw the network's weights."""
        self.network = UntrainedNetwork(info.channels)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 112): the mean of each channel of each layer."""
        return torch.cat([self._means(part) for part in torch.split(images, _AT_ONCE)])

    def _means(self, images: Tensor) -> Tensor:
        return torch.cat([features.mean((2, 3)) for features in self.network(images)], 1)
