"""A convolutional network with random weights, which are never trained, and its features as a code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo
from latentbench_nulls.null import Null

__all__ = ["UntrainedFeatures", "UntrainedNetwork"]

#: Channels of the layers.
_WIDTHS = (32, 64, 96, 128)
#: Images that are passed through at a time.
_AT_ONCE = 64


class UntrainedNetwork(nn.Module):
    """Four convolutions, 4x4 at stride 2, each followed by a leaky ReLU.

    Weights are those that He et al. (2015, eq. 10) start a training from, drawn with PyTorch's global generator.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (channels, *_WIDTHS[:-1])
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in zip(inputs, _WIDTHS, strict=True))
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, a=0.2)
            nn.init.zeros_(layer.bias)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """What each layer gives: (B, width, H / 2, W / 2), (B, width, H / 4, W / 4) and so on, all rounded up.

        Borders are repeated to the next multiple of 16 pixels, and what lies beyond the image is cut from each result.
        """
        height, width = images.shape[2:]
        x = F.pad(images, (0, -width % 16, 0, -height % 16), mode="replicate")
        maps = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.2)
            height, width = -(-height // 2), -(-width // 2)
            maps.append(x[:, :, :height, :width])
        return maps


class UntrainedFeatures(Null):
    """Features of an untrained network, averaged over the image; the harness reads them as it reads any code."""

    name = "null-untrained-features"

    def build(self, info: DataInfo) -> None:
        """Draw the network's weights."""
        self.network = UntrainedNetwork(info.channels)

    def encode(self, images: Tensor) -> Tensor:
        """(B, 320): the mean of each channel of each layer."""
        return torch.cat([self._means(part) for part in images.split(_AT_ONCE)])

    def _means(self, images: Tensor) -> Tensor:
        return torch.cat([features.mean((2, 3)) for features in self.network(images)], 1)
