"""Corrupting a batch against the forward pass of a small autoencoder on it, on one thread, in one run."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.performance.turns import least_seconds
from torch import nn

from latentbench_augment import Corrupted, Corruption, GridNoise

BATCH, SIZE = 16, 128
#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


def autoencoder() -> nn.Module:
    """Convolutional, with 0.6 million parameters: four steps down to 8 x 8 and up again, without skips."""
    channels = (3, 32, 64, 128, 64)
    down = [nn.Conv2d(*pair, 4, 2, 1) for pair in pairwise(channels)]
    up = [nn.ConvTranspose2d(*pair, 4, 2, 1) for pair in pairwise(channels[::-1])]
    return nn.Sequential(*(layer for convolution in [*down, *up] for layer in (convolution, nn.ReLU())))


@pytest.mark.parametrize("textures", [False, True], ids=["", "textures"])
def test_a_corruption_costs_no_more_than_the_forward_pass_of_a_small_autoencoder(
    benchmark: Any, textures: bool
) -> None:
    bank = torch.rand(20, 3, SIZE, SIZE) if textures else None
    compare(benchmark, lambda images, generator: Corruption()(images, generator, textures=bank))


def test_grid_noise_costs_no_more_than_the_forward_pass_of_a_small_autoencoder(benchmark: Any) -> None:
    compare(benchmark, GridNoise())


def compare(benchmark: Any, corrupt: Callable[[torch.Tensor, torch.Generator], Corrupted]) -> None:
    torch.manual_seed(0)
    images, generator, net = torch.rand(BATCH, 3, SIZE, SIZE), torch.Generator().manual_seed(0), autoencoder()
    assert 0.5e6 < sum(parameter.numel() for parameter in net.parameters()) < 0.7e6

    @torch.no_grad()
    def forward() -> None:
        net(images)

    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and min(ratios, default=2.0) > 1:
        corrupting, passing = least_seconds(lambda: corrupt(images, generator), forward, rounds=8)
        ratios.append(corrupting / passing)
    benchmark.extra_info |= {"over a forward pass": ratios[-1], "ms per image": 1e3 * corrupting / BATCH}
    benchmark(corrupt, images, generator)
    assert ratios[-1] <= 1
