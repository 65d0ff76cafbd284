"""Training losses: they stay on the device until they are read, and are then averaged over images."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Loss", "Sums", "UnreadLosses", "add_losses", "means"]


class Loss(NamedTuple):
    """One loss of one step: its mean over a number of images."""

    step: int
    images: int
    name: str
    value: float


#: Loss name -> (sum over images, images).
Sums = dict[str, tuple[float, int]]


class UnreadLosses:
    """Losses that are still on the device. Adding one launches no kernel and does not wait."""

    def __init__(self) -> None:
        self._labels: list[tuple[int, int, str]] = []
        self._values: list[Tensor] = []

    def add(self, step: int, images: int, optimizer: str, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of one update; those of a named optimizer are called ``optimizer/loss``."""
        for name, value in losses.items():
            self._labels.append((step, images, f"{optimizer}/{name}" if optimizer else name))
            self._values.append(value.detach())

    def read(self, device: torch.device) -> list[Loss]:
        """Remove and return all losses in the order of addition; waits for the device once."""
        if not self._values:
            return []
        values = torch.stack([value.to(device) for value in self._values]).tolist()
        losses = [Loss(*label, value) for label, value in zip(self._labels, values, strict=True)]
        self._labels, self._values = [], []
        return losses


def add_losses(sums: Sums, losses: Iterable[Loss]) -> Sums:
    """Add losses to ``sums`` one by one, so that the result does not depend on their grouping."""
    for loss in losses:
        total, images = sums.get(loss.name, (0.0, 0))
        sums[loss.name] = (total + loss.value * loss.images, images + loss.images)
    return sums


def means(sums: Sums) -> dict[str, float]:
    """Mean over the images, by the loss's name."""
    return {name: total / images for name, (total, images) in sums.items()}
