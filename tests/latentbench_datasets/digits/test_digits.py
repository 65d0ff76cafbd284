from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from latentbench_datasets.digits.digits import Digits


def random_digits(count: int, size: int) -> Digits:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (count, size, size), dtype=np.uint8)
    return Digits(torch.from_numpy(images), torch.from_numpy(random.integers(0, 10, count)))


def by_pillow(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.stack(
        [np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)) for image in images]
    )


def test_resizing_is_pillows_bilinear() -> None:
    digits = random_digits(50, 28)
    resized = digits.resized(32).images.numpy()
    assert resized.shape == (50, 32, 32)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, np.rint(by_pillow(digits.images.numpy().astype(np.float32))))
    # On 8-bit images Pillow rounds between its two passes as well, which may cost one level.
    assert np.abs(resized.astype(int) - by_pillow(digits.images.numpy())).max() <= 1


def test_resizing_to_the_size_that_they_have_changes_nothing() -> None:
    digits = random_digits(5, 8)
    assert torch.equal(digits.resized(8).images, digits.images)


def test_choosing_classes_keeps_all_digits_of_these_in_their_order() -> None:
    digits = random_digits(200, 4)
    chosen = digits.of((8, 3))
    places = [i for i, label in enumerate(digits.labels.tolist()) if label in (3, 8)]
    assert len(places) > 20
    assert chosen.labels.tolist() == [digits.labels[i].item() for i in places]
    assert torch.equal(chosen.images, digits.images[places])
