"""Whether an image's result depends on the other images in its batch: some images are given to the model again.

A metric takes results for properties of images. Where a model ranks within its batch, or normalizes by its statistics,
they are properties of the other images, too: the model is transductive (Vapnik, Statistical Learning Theory, 1998).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from latentbench.evaluation.inference import Parts

__all__ = ["TOLERANCE", "TOLERANCE_OF_ACCELERATORS", "change_in_batches", "change_in_company", "largest_change"]

#: How much a result may change with the batch, relative to the largest result. Kernels add in an order that depends on
#: the size of the batch: a float32 sum of n terms moves by about sqrt(n) 2^-24 of its size, 6e-6 for n = 10,000, and
#: the errors of some ten layers add up.
TOLERANCE = 1e-4
#: The same on an accelerator, which may take another kernel for another size, in TF32: 2^-11, in some ten layers.
TOLERANCE_OF_ACCELERATORS = 5e-3
#: Up to this a change may be rounding that the model has amplified: the standard deviation of large numbers is a small
#: difference of them. Exchanging the other images alone, at equal shapes, tells whether it is.
_AMPLIFIED = 1e-2
#: Changes up to this are rounding whatever the results' size: they come from numbers of size one, such as pixels.
_FLOOR = 1e-6

#: Images that are given again, and the batches that they are given in. None is of one image, in which statistics of the
#: batch fail rather than differ.
_AGAIN, _SIZES = 8, (5, 3)
#: The same for labels, most of which stay where the company changes.
_AGAIN_FOR_LABELS = 32

#: (batches of indices of images, seed) -> the results of all batches as one.
Run = Callable[[Sequence[npt.NDArray[np.int64]], int], Parts]


def change_in_batches(run: Run, results: Parts, *, labels: bool) -> float:
    """How far results of some images change in other batches: of other images, in another order, of another size.

    A model that draws random numbers draws others for another batch. There, for labels, which rounding may turn, and
    for changes that may be rounding which the model amplifies, the other images alone are exchanged
    (``change_in_company``).

    Args:
        run: runs one capability on images by index.
        results: what it gave for all images.
        labels: whether the results are labels.

    Returns:
        As ``largest_change`` does.
    """
    images = len(next(iter(results.values())))
    count = _AGAIN_FOR_LABELS if labels else _AGAIN
    again = np.unique(np.linspace(0, images - 1, count).round().astype(np.int64))
    again = np.flip(again).copy()  # PyTorch takes no negative strides
    if labels:
        return change_in_company(run, again)
    batches = [batch for batch in np.split(again, np.cumsum(_SIZES)[:-1]) if len(batch)]
    found = run(batches, 0)
    change = largest_change(found, {part: array[again] for part, array in results.items()})
    if change <= TOLERANCE:
        return change
    random = largest_change(run(batches, 1), found) > 0
    return change_in_company(run, again) if random or change <= _AMPLIFIED else change


def change_in_company(run: Run, images: npt.NDArray[np.int64]) -> float:
    """How far results of the first half of a batch change if each image of the second half becomes the first image.

    Shapes, places and the seed stay, and with them kernels and random numbers.

    Returns:
        As ``largest_change`` does.
    """
    half = len(images) // 2
    if half == 0:
        return 0.0
    stay = images[:half]
    first, second = run([images[: 2 * half]], 0), run([np.concatenate([stay, np.repeat(stay[:1], half)])], 0)
    return largest_change(
        {part: array[:half] for part, array in second.items()}, {part: array[:half] for part, array in first.items()}
    )


def largest_change(found: Parts, expected: Parts) -> float:
    """The largest change of a number relative to the largest number of its part; of labels, the share that changed."""
    return max(_change(found[part], array) if part in found else 1.0 for part, array in expected.items())


def _change(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> float:
    if found.shape != expected.shape:
        return 1.0
    if np.issubdtype(expected.dtype, np.integer):
        return float(np.mean(found != expected))
    moved = float(np.abs(np.subtract(found, expected, dtype=np.float64)).max())
    largest = max(float(np.abs(found).max()), float(np.abs(expected).max()))
    return moved / largest if moved > _FLOOR else 0.0
