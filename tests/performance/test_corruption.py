"""Corrupting a batch against the forward pass of the network of sdc on it, on one thread, in one run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.performance.turns import least_seconds

from latentbench_augment import Corrupted, Corruption, GridNoise
from latentbench_sdc.network import Denoiser, fitting

BATCH, SIZE = 16, 128
#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


@pytest.mark.parametrize("textures", [False, True], ids=["", "textures"])
def test_a_corruption_costs_no_more_than_the_forward_pass_of_a_denoiser(benchmark: Any, textures: bool) -> None:
    bank = torch.rand(20, 3, SIZE, SIZE) if textures else None
    compare(benchmark, lambda images, generator: Corruption()(images, generator, textures=bank))


def test_grid_noise_costs_no_more_than_the_forward_pass_of_a_denoiser(benchmark: Any) -> None:
    compare(benchmark, GridNoise())


def compare(benchmark: Any, corrupt: Callable[[torch.Tensor, torch.Generator], Corrupted]) -> None:
    torch.manual_seed(0)
    images, generator = torch.rand(BATCH, 3, SIZE, SIZE), torch.Generator().manual_seed(0)
    net = Denoiser(3, "small", fitting((1, 2, 4, 8, 16, 32), SIZE, SIZE), "convex").eval()

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
