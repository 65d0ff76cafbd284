"""Random images in the sizes that the nulls have to work on, and fitted nulls."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentbench import DataInfo, Model, Role, StoredSplit, Targets
from latentbench.running.training import TrainingLoop

#: Gray and RGB, square and odd-sized.
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 13, 17), (3, 13, 17)]


def images(shape: tuple[int, int, int], number: int, seed: int = 0) -> Tensor:
    """(number, C, H, W) in 256 gray levels, smooth enough that neighbouring pixels are alike."""
    draw = np.random.default_rng(seed)
    noise = draw.integers(0, 256, (number, *shape)) + np.linspace(0, 255, shape[2])
    return torch.from_numpy((noise / 2).astype(np.uint8)).float() / 255


def fitted(
    model: type[Model], train: Tensor, attributes: dict[str, Any] | None = None, seed: int = 0, **options: Any
) -> Any:
    """The null, fitted to the images (and attributes: name -> (labels, cardinality)), in eval mode."""
    attributes = attributes or {}
    labels = {name: np.asarray(values, dtype=np.int64) for name, (values, _) in attributes.items()}
    split = StoredSplit(Role.TRAIN, (train * 255).round().to(torch.uint8), Targets(attributes=labels))
    counts = {name: cardinality for name, (_, cardinality) in attributes.items()}
    channels, height, width = train.shape[1:]
    info = DataInfo(channels, height, width, len(train), counts)
    torch.manual_seed(seed)
    null = model(model.configure("none", options), info).eval()
    null.fit(split, None, TrainingLoop(device=torch.device("cpu"), seed=seed))
    return null
