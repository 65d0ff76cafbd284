"""Training of the extractors ``celeba-attributes`` and ``scenes``: on a CPU, one thread, the same bytes every time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from latentbench import Batch, DataInfo
from latentbench_datasets.celeba import files
from latentbench_datasets.celeba.dataset import CelebASubset
from latentbench_datasets.synthetic.scenes import Scenes
from latentbench_metrics import weights
from latentbench_metrics.attribute_extractor import KNOWN, LAYERS, AttributeClassifier, pictures
from latentbench_metrics.extractor_training import one_cycle

__all__ = ["Attributed", "accuracy", "commonest", "read", "train"]

_BATCH = 128
_LEARNING_RATE = 3e-3
_EPOCHS = 12
#: Side of a face in pixels.
_FACE = 64
#: A face is as often seen in a mirror; a scene is not, because x is one of its factors.
_MIRRORED = {weights.CELEBA_ATTRIBUTES.name: True, weights.SCENES.name: False}
#: Scenes that are drawn for training, and the seed that they are drawn by.
_SCENES, _SCENES_SEED = 12_000, 1
#: Least deviation of a feature, as a share of its layer's median: one that training images hardly move, and other
#: images do, would decide any distance.
_LEAST_DEVIATION = 0.1


@dataclass(frozen=True)
class Attributed:
    """Images and their attributes."""

    images: Tensor
    """(N, 3, H, W) uint8."""
    values: Tensor
    """(N, A) int64, the attributes in the order of ``KNOWN``."""


def read(name: str, data_root: Path, *, train: bool) -> Attributed:
    """The images that an extractor is trained on, or those that are held out.

    Args:
        name: of the extractor, a key of ``KNOWN``.
        data_root: is read for faces alone.
        train: whether it is the training images.

    Raises:
        LatentbenchError: the subset of CelebA is missing, or wrong.
    """
    return _faces(data_root, train=train) if name == weights.CELEBA_ATTRIBUTES.name else _scenes(train=train)


def _faces(data_root: Path, *, train: bool) -> Attributed:
    """The training or test part of the dataset ``celeba-subset`` with all 40 attributes, at 64 pixels."""
    dataset = CelebASubset(CelebASubset.Config(image_size=_FACE))
    source = dataset.locate(data_root)
    listing = files.read_listing(source.folder, [file for file in source.files if file.parent != source.folder])
    dataset.check_count(len(listing.images))
    rows = np.flatnonzero(listing.partition == (0 if train else 2))
    info = DataInfo(3, _FACE, _FACE, len(rows), {})
    images = np.stack([dataset.read_picture(listing.images[row], info) for row in rows])
    return Attributed(torch.from_numpy(images), torch.from_numpy(listing.attributes[rows].astype(np.int64)))


def _scenes(*, train: bool) -> Attributed:
    """The test scenes of the dataset ``scenes``, or scenes drawn as it draws for training, none like a test scene."""
    data = Scenes(Scenes.Config()).load(Path())
    test = data.splits["test"]
    every = torch.arange(len(test))
    held_out = _attributed(test.batch(every, torch.Generator()))
    if not train:
        return held_out
    drawn = _attributed(data.train.batch(torch.arange(_SCENES), torch.Generator().manual_seed(_SCENES_SEED)))
    tested = {*map(tuple, held_out.values.tolist())}
    new = torch.tensor([tuple(values) not in tested for values in drawn.values.tolist()])
    return Attributed(drawn.images[new], drawn.values[new])


def train(
    name: str, data: Attributed, told: Callable[[int, int, float], None] = lambda epoch, epochs, loss: None
) -> AttributeClassifier:
    """Train a classifier; the same data give the same weights, bit for bit on one machine with one thread.

    Adam, one cycle of the learning rate (Smith & Topin 2018), the mean of the attributes' cross-entropies.

    Args:
        name: of the extractor, a key of ``KNOWN``.
        data: what to train on.
        told: hears the number of the epoch, of how many, and its mean loss.
    """
    classifier = AttributeClassifier(name)

    def loss(batch: Tensor) -> Tensor:
        seen = pictures(data.images[batch], classifier.size)
        logits = classifier(_mirrored(seen) if _MIRRORED[name] else seen)
        return torch.stack([cross_entropy(*pair) for pair in zip(logits, data.values[batch].T, strict=True)]).mean()

    one_cycle(classifier, loss, len(data.images), epochs=_EPOCHS, batch=_BATCH, rate=_LEARNING_RATE, told=told)
    with torch.no_grad():
        features = [
            classifier.raw_features(pictures(images, classifier.size)) for images in torch.split(data.images, _BATCH)
        ]
        layers = torch.split(torch.cat(features).std(0), [*LAYERS])
        floored = [deviation.clamp_min(_LEAST_DEVIATION * deviation.median()) for deviation in layers]
        classifier.deviation.copy_(torch.cat(floored))
    return classifier.eval()


def accuracy(classifier: AttributeClassifier, data: Attributed, name: str) -> dict[str, float]:
    """Attribute -> share of the images of which its value is told right."""
    found = []
    with torch.no_grad():
        for images in torch.split(data.images, _BATCH):
            logits = classifier(pictures(images, classifier.size))
            found.append(torch.stack([of_attribute.argmax(1) for of_attribute in logits], 1))
    return _shares(torch.cat(found) == data.values, name)


def commonest(train: Attributed, data: Attributed, name: str) -> dict[str, float]:
    """Attribute -> share of the images that have its commonest value among the training images."""
    return _shares(data.values == train.values.mode(0).values, name)


def _attributed(batch: Batch) -> Attributed:
    """Scenes as bytes."""
    values = [batch.attributes[attribute] for attribute in KNOWN[weights.SCENES.name]]
    return Attributed((batch.images * 255).round().to(torch.uint8), torch.stack(values, 1))


def _mirrored(images: Tensor) -> Tensor:
    """Half of them, drawn at random, with left and right exchanged."""
    chosen = torch.rand(len(images), 1, 1, 1) < 0.5
    return torch.where(chosen, images.flip(3), images)


def _shares(right: Tensor, name: str) -> dict[str, float]:
    return dict(zip(KNOWN[name], right.double().mean(0).tolist(), strict=True))
