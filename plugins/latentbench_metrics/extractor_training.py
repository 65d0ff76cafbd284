"""Training of the extractor ``mnist-fashion``: on a CPU, one thread, and the same bytes every time."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from latentbench_datasets.digits import fashion_mnist_files as fashion_mnist
from latentbench_datasets.digits import mnist_files as mnist
from latentbench_metrics.extractor import Classifier, pictures

__all__ = ["SETS", "Labelled", "accuracy", "one_cycle", "read", "serialize", "train"]

#: The sets, in the order of their classes.
SETS = {"MNIST": mnist.FILES, "FashionMNIST": fashion_mnist.FILES}

_EPOCHS = 6
_BATCH = 256
_LEARNING_RATE = 4e-3
#: Least contrast of an augmented image.
_CONTRAST = 0.5
#: A feature that hardly varies is not blown up.
_LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Labelled:
    """Images and their classes."""

    images: Tensor
    """(N, 1, 28, 28) uint8."""
    labels: Tensor
    """(N,) int64 in [0, 20)."""


def read(data_root: Path, *, train: bool) -> Labelled:
    """Both sets' training or test images, from their published files.

    Raises:
        LatentbenchError: a file is missing, or not the published one.
    """
    images, labels = [], []
    for number, files in enumerate(SETS.values()):
        digits = files.read(data_root, "ood")[0 if train else 1]
        images.append(digits.images[:, None])
        labels.append(digits.labels + 10 * number)
    return Labelled(torch.cat(images), torch.cat(labels))


def train(data: Labelled, told: Callable[[int, int, float], None] = lambda epoch, epochs, loss: None) -> Classifier:
    """Train a classifier; the same data give the same weights, bit for bit on one machine with one thread.

    Every image is seen at a random contrast, brightness and polarity, so that the features do not expect bright
    objects on black ground. Adam, one cycle of the learning rate (Smith & Topin 2018), cross-entropy.

    Args:
        data: what to train on.
        told: hears the number of the epoch, of how many, and its mean loss.
    """
    classifier = Classifier()

    def loss(batch: Tensor) -> Tensor:
        return cross_entropy(classifier(_vary(pictures(data.images[batch]))), data.labels[batch])

    one_cycle(classifier, loss, len(data.images), epochs=_EPOCHS, batch=_BATCH, rate=_LEARNING_RATE, told=told)
    with torch.no_grad():
        features = [classifier.raw_features(pictures(images)) for images in torch.split(data.images, _BATCH)]
        classifier.deviation.copy_(torch.cat(features).std(0).clamp_min(_LEAST_DEVIATION))
    return classifier.eval()


def one_cycle(
    classifier: nn.Module,
    loss_of: Callable[[Tensor], Tensor],
    count: int,
    *,
    epochs: int,
    batch: int,
    rate: float,
    told: Callable[[int, int, float], None],
) -> None:
    """Train by Adam and one cycle of the learning rate; a last batch that is not full is left out.

    Args:
        classifier: what to train.
        loss_of: the loss, (), of the images at these places, (B,) int64.
        count: images in all.
        epochs: passes.
        batch: B.
        rate: the greatest learning rate.
        told: hears the number of the epoch, of how many, and its mean loss.
    """
    steps = count // batch
    optimizer = torch.optim.Adam(classifier.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * steps)
    for epoch in range(epochs):
        order, total = torch.randperm(count), 0.0
        for places in torch.split(order[: steps * batch], batch):
            loss = loss_of(places)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += loss.item()
        told(epoch + 1, epochs, total / steps)


def accuracy(classifier: Classifier, data: Labelled) -> dict[str, float]:
    """Set -> share of its images whose class among all twenty is the right one."""
    with torch.no_grad():
        found = torch.cat([classifier(pictures(images)).argmax(1) for images in torch.split(data.images, _BATCH)])
    right, of = found == data.labels, data.labels // 10
    return {name: float(right[of == number].float().mean()) for number, name in enumerate(SETS)}


def serialize(classifier: nn.Module) -> bytes:
    """The weights in float16, as safetensors."""
    from safetensors.torch import save

    return save({name: tensor.to(torch.float16).contiguous() for name, tensor in classifier.state_dict().items()})


def _vary(images: Tensor) -> Tensor:
    """Each image at a contrast, brightness and polarity of its own, still in [-1, 1]."""
    shape = (len(images), 1, 1, 1)
    contrast = torch.empty(shape).uniform_(_CONTRAST, 1)
    polarity = torch.randint(0, 2, shape) * 2 - 1
    brightness = torch.empty(shape).uniform_(-1, 1) * (1 - contrast)
    return images * contrast * polarity + brightness
