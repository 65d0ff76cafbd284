"""Nulls that learn from attributes: their frequencies, and the attributes of the nearest training image."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latentbench import MISSING, DataInfo, LatentbenchError, Split
from latentbench_nulls.neighbours import nearest
from latentbench_nulls.null import MOST_IMAGES, Null, as_bytes, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["FactorRotation", "Majority"]


class Majority(Null):
    """The value of each attribute that is most frequent in training, for every image."""

    name = "null-majority"
    needs = ("attributes",)

    def build(self, info: DataInfo) -> None:
        """Make a buffer for the frequencies of each attribute's values."""
        self.frequencies = [f"frequencies_{number}" for number in range(len(info.attributes))]
        for name, values in zip(self.frequencies, info.attributes.values(), strict=True):
            self.register_buffer(name, torch.zeros(values))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Count the values in one pass over the training split; a missing label counts nowhere."""
        for batch in draw(train, trainer, len(train)):
            for name, (attribute, values) in zip(self.frequencies, self.info.attributes.items(), strict=True):
                labels = batch.attributes[attribute]
                self.get_buffer(name).add_((labels[:, None] == torch.arange(values, device=labels.device)).sum(0))
        for name in self.frequencies:
            self.get_buffer(name).div_(self.get_buffer(name).sum().clamp_min(1))

    def predict(self, images: Tensor) -> dict[str, Tensor]:
        """Attribute -> (B, cardinality): the frequencies of its values, the same for every image."""
        pairs = zip(self.frequencies, self.info.attributes, strict=True)
        return {attribute: self.get_buffer(name).expand(len(images), -1) for name, attribute in pairs}


class FactorRotation(Null):
    """The attributes of the nearest training image, each standardized, then rotated together at random.

    A model is handed images alone, so the true factors of a test image cannot be had from its labels. Where every
    possible image is in training, the nearest one has them; elsewhere they are as good as that neighbour. The rotation
    takes away nothing but the axes: it is what disentanglement is measured against.
    """

    name = "null-factor-rotation"
    needs = ("attributes",)

    references: Tensor
    codes: Tensor

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """A rotation takes two dimensions."""
        return None if len(info.attributes) >= 2 else "a rotation needs two attributes"

    def build(self, info: DataInfo) -> None:
        """Make the buffers of the training images, (N, C H W) in 256 gray levels, and of their codes, (N, K)."""
        number = min(info.train_size, MOST_IMAGES)
        self.register_buffer("references", torch.zeros(number, info.image_numel, dtype=torch.uint8))
        self.register_buffer("codes", torch.zeros(number, len(info.attributes)))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Keep the training images, or 10,000 of them, rounded to 8 bits; one that lacks a label is kept as another.

        Raises:
            LatentbenchError: no image has all of its labels.
        """
        batches = list(draw(train, trainer))
        factors = torch.cat([torch.stack([b.attributes[name] for name in self.info.attributes], 1) for b in batches])
        labelled = (factors != MISSING).all(1).nonzero()[:, 0]
        if not len(labelled):
            raise LatentbenchError(f"model '{self.name}': no training image has all of its labels")
        kept = labelled[torch.arange(len(factors), device=labelled.device) % len(labelled)]
        known = factors[kept].float()
        standardized = (known - known.mean(0)) / known.std(0).clamp_min(1e-6)
        rotation = nn.init.orthogonal_(torch.empty(len(self.info.attributes), len(self.info.attributes)))
        self.codes.copy_(standardized @ rotation.to(known.device))
        self.references.copy_(torch.cat([as_bytes(batch.images).flatten(1) for batch in batches])[kept])

    def encode(self, images: Tensor) -> Tensor:
        """(B, K) for K attributes: the code of the training image that is nearest in Euclidean distance."""
        return self.codes[nearest(images.flatten(1), self.references)]
