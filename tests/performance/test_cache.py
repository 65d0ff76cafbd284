"""What it costs to go on after a kill and to check what was prepared, against the decoding that is saved by it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from latentbench.data.cache import HalfMade
from latentbench.data.splits import content_hash
from latentbench_datasets.images import read_image

IMAGES, SIZE = 1000, 64
#: A crowded disk can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def photograph(path: Path) -> Path:
    """A JPEG of CelebA's aligned size."""
    y, x = np.mgrid[:218, :178]
    pixels = np.dstack([x, y, x + y]) + np.random.default_rng(0).integers(0, 40, (218, 178, 3))
    Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def test_checking_prepared_arrays_takes_at_most_a_tenth_of_decoding_them(benchmark: Any, tmp_path: Path) -> None:
    """Their SHA-256, which is computed on loading where it is not known that no file has changed."""
    face = photograph(tmp_path / "face.jpg")
    images = np.zeros((IMAGES, 3, SIZE, SIZE), np.uint8)

    def decode() -> None:
        for number in range(IMAGES):
            images[number] = read_image(face, 3, SIZE)

    def check() -> None:
        content_hash({"images": images})

    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and max(ratios, default=0.0) < 10:
        ratios.append(seconds(decode) / seconds(check))
    benchmark(check)
    benchmark.extra_info["decoding takes times checking"] = max(ratios)
    benchmark.extra_info["MB per second"] = images.nbytes / 1e6 / seconds(check)
    assert max(ratios) >= 10


def test_writing_rows_and_comparing_them_take_at_most_a_fifth_of_decoding_them(benchmark: Any, tmp_path: Path) -> None:
    """JPEGs of CelebA's aligned size, decoded to 64x64; digests, flushes to the disk and notes included."""
    face = photograph(tmp_path / "face.jpg")
    rows = [np.zeros((3, SIZE, SIZE), np.uint8)] * IMAGES
    origins = [f"img_align_celeba/{number:06}.jpg".encode() for number in range(IMAGES)]

    def decode() -> None:
        for number in range(IMAGES):
            rows[number] = read_image(face, 3, SIZE)

    def save() -> None:
        HalfMade(folder).save("images", (IMAGES, 3, SIZE, SIZE), lambda start: rows[start:], origins)

    ratios: list[tuple[float, float]] = []
    while len(ratios) < ATTEMPTS and max(map(min, ratios), default=0.0) < 5:
        folder = tmp_path / str(len(ratios))
        folder.mkdir()
        decoding, saving, comparing = map(seconds, (decode, save, save))
        ratios.append((decoding / saving, decoding / comparing))
    benchmark(save)
    benchmark.extra_info["decoding takes times saving, times comparing"] = max(ratios, key=min)
    assert max(map(min, ratios)) >= 5
