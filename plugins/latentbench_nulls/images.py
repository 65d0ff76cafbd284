"""Nulls for image scores: one number of the image itself, without a look at the training images."""

from io import BytesIO

import torch
from PIL import Image
from torch import Tensor

from latentbench import DataInfo
from latentbench_nulls.null import Null, as_bytes

__all__ = ["Brightness", "CompressedSize", "Contrast", "Darkness", "Entropy"]


class Brightness(Null):
    """Mean of all pixels and channels: the brighter, the more anomalous."""

    name = "null-brightness"
    deterministic = True

    def score(self, images: Tensor) -> Tensor:
        """(B,) float64: the mean."""
        return images.double().flatten(1).mean(1)


class Darkness(Null):
    """The same with its sign reversed: the darker, the more anomalous."""

    name = "null-darkness"
    deterministic = True

    def score(self, images: Tensor) -> Tensor:
        """(B,) float64: minus the mean."""
        return -images.double().flatten(1).mean(1)


class Contrast(Null):
    """RMS contrast (Peli 1990): the standard deviation of all pixels and channels."""

    name = "null-contrast"
    deterministic = True

    def score(self, images: Tensor) -> Tensor:
        """(B,) float64: the standard deviation, over N values and not N - 1."""
        return images.double().flatten(1).std(1, correction=0)


class Entropy(Null):
    """Summed entropy of the pixels x, each taken for the probability of a Bernoulli variable.

    It is a floor under -log p(x) of every Bernoulli likelihood: sum of -x log q - (1 - x) log(1 - q) is least at q = x.
    """

    name = "null-entropy"
    deterministic = True

    def score(self, images: Tensor) -> Tensor:
        """(B,) float64: the sum of -x log x - (1 - x) log(1 - x), in nats; x outside of [0, 1] is clamped."""
        x = images.double().flatten(1).clamp(0, 1)
        entropy: Tensor = torch.special.entr(x) + torch.special.entr(1 - x)
        return entropy.sum(1)


class CompressedSize(Null):
    """Length of the image as a PNG file, one of the complexities of Serrà et al. (2020, section 3)."""

    name = "null-compressed-size"
    deterministic = True

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """PNG has gray and RGB images."""
        return None if info.channels in (1, 3) else f"a PNG file cannot hold {info.channels} channels"

    def score(self, images: Tensor) -> Tensor:
        """(B,): bytes of the file; pixels are clamped to [0, 1] and rounded to 8 bits."""
        pixels = as_bytes(images.clamp(0, 1)).movedim(1, 3).squeeze(3).cpu().numpy()
        lengths = []
        for image in pixels:
            file = BytesIO()
            Image.fromarray(image).save(file, "PNG")
            lengths.append(file.tell())
        return torch.tensor(lengths, dtype=images.dtype, device=images.device)
