"""A convolutional network with random weights, which are never trained, and its features as a code."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from latentbench import DataInfo, Split
from latentbench_nulls.null import Null, draw
from latentbench_patches import reduced, whitening

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["UntrainedFeatures", "UntrainedNetwork"]

#: Channels of the layers.
_WIDTHS = (16, 32, 64)
#: Images that are passed through at a time.
_AT_ONCE = 64
#: Share of the mean variance that is added to each, because features depend on each other.
_NOISE = 1e-6
#: Variance that is added at least: that of rounding errors. Training images that are all equal have no other.
_LEAST_NOISE = torch.finfo(torch.float32).eps ** 2


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
    """Features of an untrained network, averaged over the image and whitened; the harness reads them as any code."""

    name = "null-untrained-features"

    mean: Tensor
    whitening: Tensor

    def build(self, info: DataInfo) -> None:
        """Draw the network's weights, and make the buffers of the whitening."""
        self.network = UntrainedNetwork(info.channels)
        self.register_buffer("mean", torch.zeros(sum(_WIDTHS)))
        self.register_buffer("whitening", torch.eye(sum(_WIDTHS)))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit mean and covariance of the features to the training images, or to 10,000 of them."""
        features = torch.cat([self._features(batch.images) for batch in draw(train, trainer)]).double()
        covariance = features.T.cov(correction=0)
        noise = (_NOISE * covariance.diagonal().mean()).clamp_min(_LEAST_NOISE)
        self.mean.copy_(features.mean(0))
        self.whitening.copy_(whitening(covariance + noise * torch.eye(len(covariance), device=covariance.device)))

    def encode(self, images: Tensor) -> Tensor:
        """(B, 112): the mean of each channel of each layer, then centred and decorrelated."""
        return (self._features(images) - self.mean) @ self.whitening.T

    def _features(self, images: Tensor) -> Tensor:
        parts = [self.network(part) for part in torch.split(images, _AT_ONCE)]
        return torch.cat([torch.cat([layer.mean((2, 3)) for layer in layers], 1) for layers in parts])
