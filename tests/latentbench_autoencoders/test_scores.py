"""The compressor's length, and the score that is made of it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from latentbench import LatentbenchError
from latentbench_autoencoders.scores import compressed_bits, input_complexity


def _gray(*images: torch.Tensor) -> torch.Tensor:
    return torch.stack(images)[:, None]


FLAT = torch.full((28, 28), 0.5)
RAMP = torch.linspace(0, 1, 28).expand(28, 28)
NOISE = torch.rand(28, 28, generator=torch.Generator().manual_seed(0))


def test_what_is_harder_to_compress_is_longer() -> None:
    flat, ramp, noise = compressed_bits(_gray(FLAT, RAMP, NOISE)).tolist()
    assert flat < ramp < noise
    assert noise > 28 * 28 * 7.5  # nothing compresses noise of 8 bits
    assert flat % 8 == 0


def test_the_compression_loses_nothing() -> None:
    pixels = (NOISE * 255).round().to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG2000", no_jp2=True)
    assert compressed_bits(_gray(NOISE)).item() == 8 * len(file.getvalue())
    assert np.array_equal(np.asarray(Image.open(file)), pixels)
    assert file.getvalue()[:2] == b"\xff\x4f"  # a bare codestream begins with its marker, a file with a box


def test_gray_and_rgb_images_are_compressed_one_by_one() -> None:
    rgb = torch.rand(3, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    together = compressed_bits(rgb)
    assert together.tolist() == [compressed_bits(image[None]).item() for image in rgb]
    assert (together.dtype, together.shape) == (torch.float32, (3,))


def test_the_score_is_in_bits_per_dimension() -> None:
    images = _gray(FLAT, NOISE)
    log_likelihood = torch.tensor([-100.0, -200.0])
    expected = (torch.tensor([100.0, 200.0]) / np.log(2) - compressed_bits(images)) / 784
    torch.testing.assert_close(input_complexity(log_likelihood, images), expected)


def test_the_score_of_brighter_images_is_that_of_their_clamped_pixels() -> None:
    bright = 3 * _gray(RAMP)
    bits = compressed_bits(bright.clamp(0, 1))
    expected = (torch.tensor([100.0]) / np.log(2) - bits) / 784
    torch.testing.assert_close(input_complexity(torch.tensor([-100.0]), bright), expected)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (_gray(FLAT, NOISE + 1), r"pixels outside \[0, 1\] cannot be compressed: clamp them"),
        (_gray(torch.full((4, 4), float("nan"))), r"pixels outside \[0, 1\]"),
        (torch.zeros(1, 2, 8, 8), "images of 2 channels cannot be compressed"),
    ],
)
def test_what_cannot_be_compressed_is_refused(images: torch.Tensor, message: str) -> None:
    with pytest.raises(LatentbenchError, match=message):
        compressed_bits(images)
