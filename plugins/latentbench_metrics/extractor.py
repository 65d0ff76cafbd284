"""The features that stand in for Inception's: a small classifier of MNIST and Fashion-MNIST, its weights shipped."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from latentbench_metrics import weights

__all__ = ["FEATURES", "SIZE", "Classifier", "load", "pictures"]

#: Height and width that every image is brought to.
SIZE = 32
_CHANNELS = (1, 16, 32, 64, 64)
#: The layers that features are taken from: the early ones see noise and blur, the last one shapes.
_LAYERS = (0, 1, 3)
#: Features of a grey image.
FEATURES = 16 + 32 + 64


class Classifier(nn.Module):
    """Four strided convolutions, each followed by a ReLU; the means of the last maps decide among 20 classes.

    The means of the first, second and last layer's maps are the features, 112 for each channel of an image, each in
    units of its standard deviation over the training images. The first ten classes are MNIST's, the others
    Fashion-MNIST's.
    """

    deviation: Tensor
    """(FEATURES,) of each feature over the training images."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1) for fan_in, fan_out in pairwise(_CHANNELS)
        )
        self.classes = nn.Linear(_CHANNELS[-1], 20)
        self.register_buffer("deviation", torch.ones(FEATURES))

    def means(self, pictures: Tensor) -> list[Tensor]:
        """Of each layer's maps: (B, 1, SIZE, SIZE) in [-1, 1] -> (B, channels) each."""
        means, maps = [], pictures
        for convolution in self.convolutions:
            maps = convolution(maps).relu()
            means.append(maps.mean((2, 3)))
        return means

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits: (B, 1, SIZE, SIZE) in [-1, 1] -> (B, 20)."""
        logits: Tensor = self.classes(self.means(pictures)[-1])
        return logits

    def raw_features(self, pictures: Tensor) -> Tensor:
        """Features before they are divided by ``deviation``: (B, 1, SIZE, SIZE) in [-1, 1] -> (B, FEATURES)."""
        means = self.means(pictures)
        return torch.cat([means[layer] for layer in _LAYERS], 1)

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8 -> (B, FEATURES C) float32: those of each channel side by side.

        A channel is read as a grey image, so colours show in how the channels' features go together.
        """
        each = self.raw_features(pictures(images.flatten(0, 1)[:, None])) / self.deviation
        return each.view(len(images), -1)


def pictures(images: Tensor) -> Tensor:
    """(B, 1, H, W) uint8 -> (B, 1, SIZE, SIZE) float32 in [-1, 1], by antialiased bilinear resampling."""
    scaled = images.to(torch.float32) / 127.5 - 1
    return nn.functional.interpolate(scaled, (SIZE, SIZE), mode="bilinear", antialias=True)


def load() -> Classifier:
    """The trained classifier, in eval mode and without gradients.

    Raises:
        LatentbenchError: the weights cannot be read, or are not those that were shipped.
    """
    from safetensors.torch import load as read

    classifier = Classifier()
    classifier.load_state_dict(read(weights.MNIST_FASHION.content()))  # float16 in the file, float32 here
    return classifier.requires_grad_(False).eval()
