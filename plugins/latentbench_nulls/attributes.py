"""Nulls that learn from attributes: their frequencies, and the attributes of the nearest training image."""

from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latentbench import MISSING, Batch, DataInfo, LatentbenchError, Split
from latentbench_nulls.neighbours import fingerprint, nearest
from latentbench_nulls.null import MOST_IMAGES, Null, as_bytes, draw

if TYPE_CHECKING:
    from latentbench import Trainer

__all__ = ["FactorRotation", "Majority"]

#: Combinations of attributes of which an image each may be kept.
_MOST_COMBINATIONS = 30_000


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

    A model is handed images alone, so the true factors of a test image cannot be had from its labels. Where an image is
    determined by its attributes, as a rendered scene is, the nearest one has them once every combination has been seen:
    the training split is then passed through until that is so. Elsewhere they are as good as that neighbour. The
    rotation takes away nothing but the axes: it is what disentanglement is measured against.
    """

    name = "null-factor-rotation"
    version = 2  # 1 knew one pass of scenes, a fifth of the combinations of six factors
    needs = ("attributes",)

    references: Tensor
    fingerprints: Tensor
    codes: Tensor

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """A rotation takes two dimensions."""
        return None if len(info.attributes) >= 2 else "a rotation needs two attributes"

    def build(self, info: DataInfo) -> None:
        """Make the buffers of the training images, (N, C H W) in 256 gray levels, and of their codes, (N, K)."""
        self.combinations = prod(info.attributes.values())
        number = min(info.train_size, MOST_IMAGES)
        if self.combinations <= _MOST_COMBINATIONS:
            number = max(number, self.combinations)
        self.register_buffer("references", torch.zeros(number, info.image_numel, dtype=torch.uint8))
        self.register_buffer("fingerprints", torch.zeros(number, dtype=torch.int64))
        self.register_buffer("codes", torch.zeros(number, len(info.attributes)))

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Keep the training images, or 10,000 of them, rounded to 8 bits; one that lacks a label is kept as another.

        Where attributes determine the image, one of each combination is kept instead.

        Raises:
            LatentbenchError: no image has all of its labels.
        """
        batches = [self._labelled(batch) for batch in draw(train, trainer)]
        images, factors = (torch.cat(parts) for parts in zip(*batches, strict=True))
        if not len(images):
            raise LatentbenchError(f"model '{self.name}': no training image has all of its labels")
        correction = min(1, len(factors) - 1)  # of one image: 0
        mean, std = factors.float().mean(0), factors.float().std(0, correction=correction).clamp_min(1e-6)
        if self._determined(images, factors):
            images, factors = self._every_combination(images, factors, train, trainer)
        kept = torch.arange(len(self.codes), device=images.device) % len(images)
        kept = kept[fingerprint(images[kept]).argsort(stable=True)]
        rotation = nn.init.orthogonal_(torch.empty(len(self.info.attributes), len(self.info.attributes)))
        self.codes.copy_(((factors[kept].float() - mean) / std) @ rotation.to(images.device))
        self.references.copy_(images[kept])
        self.fingerprints.copy_(fingerprint(self.references))

    def encode(self, images: Tensor) -> Tensor:
        """(B, K) for K attributes: the code of the training image that is nearest in Euclidean distance."""
        x = images.flatten(1)
        levels = as_bytes(x)
        index = torch.searchsorted(self.fingerprints, fingerprint(levels)).clamp_max(len(self.codes) - 1)
        # what rounds to a reference is nearest to it
        others = (self.references[index] != levels).any(1).nonzero()[:, 0]
        if len(others):
            index[others] = nearest(x[others], self.references)
        return self.codes[index]

    def _labelled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The images, (N, C H W) in 256 gray levels, that have all of their labels, and these, (N, K)."""
        factors = torch.stack([batch.attributes[name] for name in self.info.attributes], 1)
        known = (factors != MISSING).all(1)
        return as_bytes(batch.images[known]).flatten(1), factors[known]

    def _number(self, factors: Tensor) -> Tensor:
        """(N,): the number of each combination (N, K), the last attribute counting fastest."""
        number = torch.zeros(len(factors), dtype=torch.int64, device=factors.device)
        for column, values in enumerate(self.info.attributes.values()):
            number = number * values + factors[:, column]
        return number

    def _determined(self, images: Tensor, factors: Tensor) -> bool:
        """Whether there are few enough combinations, some were seen twice, and all of these with the same image."""
        if self.combinations > _MOST_COMBINATIONS:
            return False
        number = self._number(factors)
        one = torch.zeros(self.combinations, dtype=torch.int64, device=images.device)
        one[number] = torch.arange(len(images), device=images.device)
        repeated = int(number.bincount().amax()) > 1
        return repeated and torch.equal(images[one[number]], images)

    def _every_combination(
        self, images: Tensor, factors: Tensor, train: Split, trainer: "Trainer"
    ) -> tuple[Tensor, Tensor]:
        """The image and the labels of each combination, drawn until all are seen or a pass has brought none."""
        table = images.new_zeros(self.combinations, images.shape[1])
        labels = factors.new_full((self.combinations, factors.shape[1]), MISSING)
        more: Iterable[tuple[Tensor, Tensor]] = [(images, factors)]
        before, seen = -1, 0
        while before < seen < self.combinations:
            for drawn, values in more:
                number = self._number(values)
                table[number], labels[number] = drawn, values
            before, seen = seen, int((labels[:, 0] != MISSING).sum())
            more = map(self._labelled, draw(train, trainer, len(train)))
        found = (labels[:, 0] != MISSING).nonzero()[:, 0]
        return table[found], labels[found]
