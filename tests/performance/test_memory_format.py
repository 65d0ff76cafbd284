"""What a step of a small convolutional network costs channels-last and in bfloat16, over float32, in one run."""

from collections import defaultdict
from itertools import pairwise
from statistics import median
from time import thread_time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from latentbench import Batch, DataInfo, Model
from latentbench.model import memory_format_of
from latentbench.running.fitting import in_memory_format
from latentbench.running.updates import Updates

CPU = torch.device("cpu")
INFO = DataInfo(channels=3, height=32, width=32, train_size=64)
STEPS = 15
#: Of a setting of which nothing is asserted: without the processor's support it takes ten times as long.
REPORTED_STEPS = 3
#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3
SETTINGS: dict[str, dict[str, str]] = {
    "float32": {},
    "channels-last": {"memory_format": "channels_last"},
    "bfloat16": {"precision": "bfloat16"},
    "both": {"memory_format": "channels_last", "precision": "bfloat16"},
}


class Convolutional(Model):
    """Three layers of 16 channels at 32 x 32 pixels."""

    def build(self, info: DataInfo) -> None:
        channels = [info.channels, 16, 16, info.channels]
        layers = [layer for pair in pairwise(channels) for layer in (nn.Conv2d(*pair, 3, padding=1), nn.LeakyReLU(0.2))]
        self.net = nn.Sequential(*layers[:-1])

    def optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)

    def training_step(self, batch: Batch) -> Tensor:
        return (self.net(batch.images) - batch.images).square().mean()


def trained(name: str) -> tuple[Convolutional, Updates]:
    torch.manual_seed(0)
    model = Convolutional(Convolutional.configure("test", SETTINGS[name]), INFO)
    model.to(memory_format=memory_format_of(model.config))  # type: ignore[call-overload]
    return model, Updates(model, Model.Config.parse(SETTINGS[name], "test"), CPU)


def ratios(images: Tensor) -> dict[str, float]:
    """Median seconds of each setting's step over those of float32; the settings take turns as long as they go."""
    models = {name: trained(name) for name in SETTINGS}
    seconds: dict[str, list[float]] = defaultdict(list)
    losses: dict[str, Tensor] = {}
    for number in range(STEPS):
        for name, (_, updates) in models.items():
            if name == "bfloat16" and number >= REPORTED_STEPS:
                continue
            begun = thread_time()
            batch = in_memory_format(Batch(images), Model.Config.parse(SETTINGS[name], "test"))
            ((_, step),) = updates.step(batch)
            seconds[name].append(thread_time() - begun)
            losses[name] = step["loss"].detach()
    torch.testing.assert_close(losses["channels-last"], losses["float32"], rtol=1e-4, atol=0)
    torch.testing.assert_close(losses["both"].float(), losses["float32"], rtol=3e-2, atol=0)
    return {name: median(times) / median(seconds["float32"]) for name, times in seconds.items()}


@pytest.mark.slow
def test_channels_last_takes_less_time_than_contiguous(benchmark: Any) -> None:
    """What bfloat16 brings depends on the CPU, and is only reported."""
    images = torch.rand((64, *INFO.image_shape), generator=torch.Generator().manual_seed(0))
    found: list[dict[str, float]] = []
    while len(found) < ATTEMPTS and not (found and found[-1]["channels-last"] <= 0.9):
        found.append(ratios(images))
    benchmark.extra_info |= found[-1]
    benchmark.pedantic(lambda: None)  # the steps are timed above; the report holds their ratios
    assert found[-1]["channels-last"] <= 0.9
