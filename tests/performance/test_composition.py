"""Composing training pairs on the device against the usual per-item loader, on one thread, in one run."""

from collections.abc import Iterator
from timeit import repeat, timeit
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch.utils.data import default_collate

from latentbench_datasets.digits import Digits
from latentbench_datasets.joint import joint
from latentbench_datasets.pairs import PairSplit

BATCH = 100
CORRELATION = 0.9
NOISE = 0.6


class PillowLoader:
    """Pairs as a map-style data set makes them: one at a time, resized and occluded by Pillow, then stacked."""

    def __init__(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
        self.images = images
        self.members = [np.flatnonzero(labels == value) for value in (0, 1)]
        self.joint = joint(CORRELATION).ravel()
        self.random = np.random.default_rng(0)

    def digit(self, value: int) -> npt.NDArray[np.uint8]:
        image = Image.fromarray(self.images[self.random.choice(self.members[value])])
        pixels = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
        patch = Image.fromarray(self.random.random((4, 4), dtype=np.float32))
        kept = np.asarray(patch.resize((32, 32), Image.Resampling.BILINEAR)) > NOISE
        return np.where(kept, pixels, np.uint8(128))

    def item(self) -> tuple[torch.Tensor, int, int]:
        left, right = divmod(int(self.random.choice(4, p=self.joint)), 2)
        pair = np.concatenate([self.digit(left), self.digit(right)], axis=1)
        return torch.from_numpy(pair)[None].to(torch.float32).div(255), left, right

    def batch(self) -> list[torch.Tensor]:
        return default_collate([self.item() for _ in range(BATCH)])


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


@pytest.mark.usefixtures("one_thread")
def test_composing_gives_at_least_fifty_times_the_pairs_per_second_of_a_per_item_loader(benchmark: Any) -> None:
    random = np.random.default_rng(1)
    images = random.integers(0, 256, (9943, 28, 28), dtype=np.uint8)  # as many as MNIST has for the classes 3 and 8
    labels = random.integers(0, 2, len(images))
    digits = Digits(torch.from_numpy(images), torch.from_numpy(labels)).resized(32)
    split = PairSplit(digits, (0, 1), CORRELATION, NOISE, len(images))
    index, generator = torch.arange(BATCH), torch.Generator().manual_seed(0)
    loader = PillowLoader(images, labels)

    benchmark(split.batch, index, generator)
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and max(ratios, default=0.0) < 50:
        # Taken in turns, so that what else the machine does falls on both.
        rounds = [
            (min(repeat(lambda: split.batch(index, generator), number=1, repeat=20)), timeit(loader.batch, number=1))
            for _ in range(40)
        ]
        composed, loaded = map(min, zip(*rounds, strict=True))
        ratios.append(loaded / composed)
    benchmark.extra_info["times the pairs per second of a per-item loader"] = ratios[-1]
    assert ratios[-1] >= 50
