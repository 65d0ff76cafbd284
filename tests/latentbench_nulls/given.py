"""Random images in the sizes that the nulls have to work on, and fitted nulls."""

from typing import Any

import numpy as np
import torch
from scipy.signal import correlate2d
from torch import Tensor, nn

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


def slow_layers(network: nn.Module, image: np.ndarray) -> list[np.ndarray]:
    """What each layer of an untrained network gives for an image (C, H, W): (16, ...), (32, ...), (64, ...)."""
    maps = [image]
    for weight in network.parameters():
        maps.append(_layer(maps[-1], weight.double().numpy()))
    return maps[1:]


def _layer(maps: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolution by SciPy, leaky ReLU, and means of 2x2 blocks, those at the border of fewer pixels."""
    x = np.stack(
        [sum(correlate2d(m, k, mode="same") for m, k in zip(maps, kernels, strict=True)) for kernels in weight]
    )
    x = np.where(x > 0, x, 0.2 * x)
    height, width = x.shape[1:]
    rows = [[x[:, y : y + 2, z : z + 2].mean((1, 2)) for z in range(0, width, 2)] for y in range(0, height, 2)]
    return np.array(rows).transpose(2, 0, 1)
