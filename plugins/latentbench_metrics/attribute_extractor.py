"""Features of small classifiers of attributes: of faces (CelebA) and of rendered scenes, their weights shipped."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

from latentbench_datasets.celeba.files import ATTRIBUTES
from latentbench_datasets.synthetic.scene_rendering import FACTORS
from latentbench_metrics import weights

__all__ = ["FEATURES", "KNOWN", "LAYERS", "AttributeClassifier", "load", "pictures"]

#: The attributes that each extractor was trained on, with their numbers of values, in the order of its logits.
KNOWN: Mapping[str, Mapping[str, int]] = {
    weights.CELEBA_ATTRIBUTES.name: dict.fromkeys(ATTRIBUTES, 2),
    weights.SCENES.name: {str(factor): count for factor, count in FACTORS.items()},
}
#: Height and width that each extractor brings an image to.
_SIZES = {weights.CELEBA_ATTRIBUTES.name: 64, weights.SCENES.name: 32}
_CHANNELS = (3, 16, 32, 64, 64)
_EMBEDDING = 64
#: Features of the layers that they are taken from: the first two, which see noise, blur and colour, and the embedding.
LAYERS = (_CHANNELS[1], _CHANNELS[2], _EMBEDDING)
#: Features of an image.
FEATURES = sum(LAYERS)


class AttributeClassifier(nn.Module):
    """Four strided convolutions and an embedding of their last maps, from which every attribute is told.

    Each convolution is followed by a ReLU; the embedding is linear, so that no part of it can die. The means of the
    first and second layer's maps and the embedding are the features, 112 in all, each in units of its standard
    deviation over the training images. The embedding sees where in the last maps something lies: aligned faces and
    scenes differ by that.

    Args:
        name: of the extractor, a key of ``KNOWN``.
    """

    deviation: Tensor
    """(FEATURES,) of each feature over the training images."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.size = _SIZES[name]
        self.cardinalities = tuple(KNOWN[name].values())
        self.convolutions = nn.ModuleList(
            nn.Conv2d(fan_in, fan_out, 3, stride=2, padding=1) for fan_in, fan_out in pairwise(_CHANNELS)
        )
        last = self.size // 2 ** len(self.convolutions)
        self.embedding = nn.Linear(_CHANNELS[-1] * last**2, _EMBEDDING)
        self.values = nn.Linear(_EMBEDDING, sum(self.cardinalities))
        self.register_buffer("deviation", torch.ones(FEATURES))

    def raw_features(self, pictures: Tensor) -> Tensor:
        """Features before they are divided by ``deviation``: (B, 3, size, size) in [-1, 1] -> (B, FEATURES)."""
        means, maps = [], pictures
        for convolution in self.convolutions:
            maps = convolution(maps).relu()
            means.append(maps.mean((2, 3)))
        embedding = self.embedding(maps.flatten(1))
        return torch.cat([*means[:2], embedding], 1)

    def forward(self, pictures: Tensor) -> tuple[Tensor, ...]:
        """Logits of each attribute: (B, 3, size, size) in [-1, 1] -> (B, cardinality) each."""
        return self.values(self.raw_features(pictures)[:, -_EMBEDDING:]).split(self.cardinalities, 1)  # type: ignore[no-any-return]

    def features(self, images: Tensor) -> Tensor:
        """(B, C, H, W) uint8, C of 1 or 3 -> (B, FEATURES) float32."""
        return self.raw_features(pictures(images, self.size)) / self.deviation


def pictures(images: Tensor, size: int) -> Tensor:
    """(B, C, H, W) uint8 -> (B, 3, size, size) float32 in [-1, 1], by antialiased bilinear resampling.

    A grey image has three equal channels.
    """
    scaled = images.to(torch.float32) / 127.5 - 1
    resized = nn.functional.interpolate(scaled, (size, size), mode="bilinear", antialias=True)
    return resized.expand(-1, 3, -1, -1)


def load(shipped: weights.Shipped) -> AttributeClassifier:
    """A trained classifier, in eval mode and without gradients.

    Raises:
        LatentbenchError: the weights cannot be read, or are not those that were shipped.
    """
    from safetensors.torch import load as read

    classifier = AttributeClassifier(shipped.name)
    classifier.load_state_dict(read(shipped.content()))  # float16 in the file, float32 here
    return classifier.requires_grad_(False).eval()
