"""Anomaly maps held against masks: the normal pixels above and at every anomalous pixel's score, counted exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import ref

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, LatentbenchError

__all__ = ["TOUCHING", "PixelCurve", "looked_at", "pixel_curve", "shared_curve"]

Floats = npt.NDArray[np.float64]
Scores = npt.NDArray[np.floating]
Indices = npt.NDArray[np.intp]

#: Pixels that are looked at, and sorted, at a time; one image at the least.
BLOCK_PIXELS = 2**22

#: Pixels that touch, at an edge or a corner, within an image of a block of images: 8-connectivity.
TOUCHING = np.array([np.zeros((3, 3)), np.ones((3, 3)), np.zeros((3, 3))])


@dataclass(frozen=True)
class PixelCurve:
    """The thresholds at which anomalous pixels are found, descending, and what each one finds.

    These are the T distinct scores of anomalous pixels. Between two of them a threshold passes normal pixels alone, so
    the ROC, precision-recall and PRO curves through *every* distinct score follow from these. Pixels are called
    anomalous where they score at least the threshold. Everything is a sum of the images' weights.
    """

    pixels: Floats
    """(T,) anomalous pixels found at the threshold itself."""
    overlap: Floats
    """(T,) the same, each as the share of its region that it is: a region sums to its image's weight."""
    false_above: Floats
    """(T,) normal pixels that score above the threshold."""
    false: Floats
    """(T,) normal pixels that score at least the threshold."""
    normal: float
    """All normal pixels."""


def looked_at(evaluation: Evaluation) -> Indices:
    """The indices of the images that have weight and whose mask is known."""
    known = evaluation.targets.mask_known
    has_weight = evaluation.weights > 0
    return np.flatnonzero(has_weight if known is None else known & has_weight)


def pixel_curve(evaluation: Evaluation) -> PixelCurve:
    """The curve over the images that have weight and whose mask is known.

    A region is a maximal set of anomalous pixels of one image that touch at an edge or a corner. Beside the maps and
    masks it holds a block of pixels (``BLOCK_PIXELS``) and the scores of the anomalous ones, however many images there
    are: counts of normal pixels add up over blocks, so no sorted copy of all of them is needed.

    Args:
        evaluation: of ``localize``, with masks.

    Raises:
        LatentbenchError: maps and masks differ in shape, no mask is known, a map's value is NaN or infinite, or there
            is no normal or no anomalous pixel.
    """
    maps, masks, weights = evaluation.output, evaluation.targets.mask, evaluation.weights
    assert masks is not None, "declared in `targets`"
    if maps.shape != masks.shape:
        raise LatentbenchError(f"maps are {maps.shape}, masks {masks.shape}", "it needs one score for each mask pixel")
    images = looked_at(evaluation)
    if not images.size:
        raise LatentbenchError("no image that has weight has a mask", "it needs the mask of at least one")
    total = images.size * maps[0].size
    if broken := sum(int(np.count_nonzero(~np.isfinite(maps[image]))) for image in images):
        raise LatentbenchError(f"{broken} of {total} map values are NaN or infinite", "it needs finite maps")
    anomalous = np.array([np.count_nonzero(masks[image]) for image in images])
    for kind, count in (("anomalous", anomalous.sum()), ("normal", total - anomalous.sum())):
        if not count:
            raise LatentbenchError(f"no {kind} pixel in the known masks", "it needs normal and anomalous pixels")

    scores, pixels, overlap = _anomalous(maps, masks, weights, images[anomalous > 0])
    thresholds, at = np.unique(scores, return_inverse=True)
    false_above, false = _false(maps, masks, weights, images, thresholds)
    return PixelCurve(
        pixels=np.asarray(np.bincount(at, pixels), np.float64)[::-1],
        overlap=np.asarray(np.bincount(at, overlap), np.float64)[::-1],
        false_above=false_above[::-1],
        false=false[::-1],
        normal=float(np.sum(weights[images] * (maps[0].size - anomalous))),
    )


#: The last curve and what it was made from: an evaluation's metrics share it, and it keeps none of their arrays alive.
_last: tuple[tuple["ref[Any]", ...], PixelCurve] | None = None


def shared_curve(evaluation: Evaluation) -> PixelCurve:
    """``pixel_curve``, made once for metrics that are computed one after the other on the same arrays."""
    global _last
    made_from = (evaluation.output, evaluation.targets, evaluation.weights)
    last = _last
    if last is None or any(source() is not given for source, given in zip(last[0], made_from, strict=True)):
        last = _last = tuple(ref(source) for source in made_from), pixel_curve(evaluation)
    return last[1]


def _anomalous(
    maps: Scores, masks: npt.NDArray[np.uint8], weights: Floats, images: Indices
) -> tuple[Scores, Floats, Floats]:
    """Every anomalous pixel's score, its weight, and its weight as a share of its region: each (P,)."""
    from scipy.ndimage import label

    parts = []
    for block in _blocks(images, maps[0].size):
        anomalous = masks[block] != 0
        region = label(anomalous, TOUCHING)[0][anomalous]
        pixels = np.repeat(weights[block], np.count_nonzero(anomalous, axis=(1, 2)))
        parts.append((maps[block][anomalous], pixels, pixels / np.bincount(region)[region]))
    scores, pixels, overlap = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return scores, pixels, overlap


def _false(
    maps: Scores, masks: npt.NDArray[np.uint8], weights: Floats, images: Indices, thresholds: Scores
) -> tuple[Floats, Floats]:
    """The weight of normal pixels above, and at or above, each of the ascending thresholds: each (T,)."""
    above, at_least = np.zeros(thresholds.size), np.zeros(thresholds.size)
    for weight in np.unique(weights[images]):  # images of one weight are counted in whole numbers
        for block in _blocks(images[weights[images] == weight], maps[0].size):
            normal = maps[block][masks[block] == 0]
            normal.sort()
            above += weight * (normal.size - np.searchsorted(normal, thresholds, "right"))
            at_least += weight * (normal.size - np.searchsorted(normal, thresholds, "left"))
    return above, at_least


def _blocks(images: Indices, image_size: int) -> Iterator[Indices]:
    """The images' indices, as many at a time as make a block of pixels."""
    step = max(1, BLOCK_PIXELS // image_size)
    return (images[start : start + step] for start in range(0, images.size, step))
