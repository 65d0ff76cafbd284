"""Whether an image's result depends on the other images in its batch: some images are given to the model again.

A metric takes results for properties of images. Where a model ranks within its batch, or normalizes by its statistics,
they are properties of the other images, too: the model is transductive (Vapnik, Statistical Learning Theory, 1998).

What counts is a change's part of the spread of the results: most metrics are the same for scores of another unit or
offset. The spread is that of most results, since one that is extreme, as of a saturated image, would hide any change.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from latentbench.evaluation.inference import Parts

__all__ = ["TOLERANCE", "TOLERANCE_OF_ACCELERATORS", "change_in_batches", "change_in_company", "largest_change"]

#: How much a result may change with the batch, relative to the spread of the results. Kernels add in an order that
#: depends on the size of the batch: a float32 sum of n terms moves by about sqrt(n) 2^-24 of its size, 6e-6 for
#: n = 10,000, and the errors of some ten layers add up.
TOLERANCE = 1e-4
#: The same on an accelerator, which may take another kernel for another size, in TF32: 2^-11, in some ten layers.
TOLERANCE_OF_ACCELERATORS = 5e-3
#: Up to this part of the spread, or of the largest result, a change may be rounding that the model has amplified: the
#: standard deviation of large numbers is a small difference of them. Exchanging the other images alone, at equal
#: shapes, tells whether it is.
_AMPLIFIED = 1e-2
#: Changes up to this may be rounding whatever the results' size: they come from numbers of size one, such as pixels.
_FLOOR = 1e-6
#: Units in the last place of an image's largest number by which its numbers move at equal shapes, at most, if only by
#: rounding.
_LAST_PLACES = 8

#: The spread is from one of these quantiles of the results to the other.
_LOW, _HIGH = 0.05, 0.95
#: About as many numbers as the quantiles are taken of: those of images that are evenly spaced, where there are more.
_MOST_NUMBERS = 2**20

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
    found, before = run(batches, 0), {part: array[again] for part, array in results.items()}
    change = largest_change(found, before, results)
    if change <= TOLERANCE:
        return change
    random = largest_change(run(batches, 1), found) > 0
    unclear = random or change <= _AMPLIFIED or _may_be_rounding(found, before)
    return change_in_company(run, again, results) if unclear else change


def change_in_company(run: Run, images: npt.NDArray[np.int64], results: Parts | None = None) -> float:
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
    found, before = ({part: array[:half] for part, array in one.items()} for one in (second, first))
    if all(_is_rounding(found[part], array) for part, array in before.items() if part in found):
        return 0.0 if found.keys() >= before.keys() else 1.0
    return largest_change(found, before, results)


def largest_change(found: Parts, expected: Parts, results: Parts | None = None) -> float:
    """The largest change of a number relative to the spread of its part; of labels, the share that changed.

    Args:
        found: the results of some images.
        expected: what they were.
        results: those of all images, whose spread counts where they are given: from their quantile of 5 % to that of
            95 %, both rounded outwards to a number that is there. If these are equal, and without ``results``, it is
            from the least of all numbers to the greatest.
    """
    return max(
        _change(found[part], array, (results or {}).get(part)) if part in found else 1.0
        for part, array in expected.items()
    )


def _change(
    found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], results: npt.NDArray[np.generic] | None
) -> float:
    if found.shape != expected.shape:
        return 1.0
    if np.issubdtype(expected.dtype, np.integer):
        return float(np.mean(found != expected))
    moved = _moved(found, expected)
    return moved / _spread(found, expected, results) if moved else 0.0


def _spread(
    found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic], results: npt.NDArray[np.generic] | None
) -> float:
    """That of most results, or of all numbers; not 0 if a number has changed."""
    if results is not None:
        some = results[:: -(-results.size // _MOST_NUMBERS)].astype(np.float64)
        low, high = np.quantile(some, _LOW, method="lower"), np.quantile(some, _HIGH, method="higher")
        if high > low:
            return float(high - low)
    everything = [one for one in (found, expected, results) if one is not None]
    return max(float(one.max()) for one in everything) - min(float(one.min()) for one in everything)


def _is_rounding(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> bool:
    """Whether each image's numbers have moved by no more than the last places of the largest of them."""
    if np.issubdtype(expected.dtype, np.integer) or found.shape != expected.shape:
        return False
    last_places = _LAST_PLACES * _epsilon(found, expected)
    pairs = zip(found, expected, strict=True)
    return all(_moved(one, other) <= last_places * _largest(one, other) for one, other in pairs)


def _may_be_rounding(found: Parts, expected: Parts) -> bool:
    """Whether the numbers of each part have moved by no more than a model may amplify rounding to."""
    parts = [(found.get(part), array) for part, array in expected.items()]
    return all(
        one is not None
        and one.shape == array.shape
        and _moved(one, array) <= max(_FLOOR, _AMPLIFIED * _largest(one, array))
        for one, array in parts
    )


def _moved(found: npt.NDArray[np.generic], expected: npt.NDArray[np.generic]) -> float:
    return float(np.abs(np.subtract(found, expected, dtype=np.float64)).max())


def _largest(*arrays: npt.NDArray[np.generic]) -> float:
    return max(float(np.abs(array).max()) for array in arrays)


def _epsilon(*arrays: npt.NDArray[np.generic]) -> float:
    """That of float64 for numbers that float32 does not hold, and of float32 for others, whatever their type."""
    doubles = any((array.astype(np.float32) != array).any() for array in arrays)
    return float(np.finfo(np.float64 if doubles else np.float32).eps)
