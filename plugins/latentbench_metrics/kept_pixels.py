"""What a record keeps in the place of anomaly maps: their curve at fewer thresholds, and what each image adds to it."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from latentbench import Evaluation, Statistic
from latentbench_metrics.pixels import TOUCHING, PixelCurve, looked_at, shared_curve

__all__ = ["CURVE_TOLERANCE", "KeptCurve", "coarsened"]

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]

#: A curve of more thresholds than this is kept at fewer of them.
KEPT_THRESHOLDS = 4096

#: How far an area under a curve that is kept at fewer thresholds, or its average precision, may be from the exact one.
CURVE_TOLERANCE = 2e-4

#: The same of the curve that the counts of single images give: only how it varies with the images' weights is asked.
IMAGE_TOLERANCE = 1e-2


class KeptCurve(Statistic):
    """The curve that every pixel metric follows from, at no more thresholds than a record has room for.

    It is the exact one up to ``KEPT_THRESHOLDS`` thresholds, and ``coarsened`` beyond. Beside it stand the counts of
    single images at far fewer thresholds, by which it is known under other weights of the images.
    """

    name = "pixel-curve"

    def summarize(self, evaluation: Evaluation) -> dict[str, npt.NDArray[Any]]:
        """Arrays by the names of ``PixelCurve``, ``normal`` as (1,), and the counts of single images.

        The G thresholds of these counts are some of the curve's, descending, the lowest among them.

        - ``image_normal``, (N, G + 1) uint32: of each image, the normal pixels that score at least a threshold and less
          than the one before; in the last column those below all. Zeros for images without weight or known mask.
        - ``region_anomalous``, (R, G) uint32: the same of the pixels of each region.
        - ``region_image``, (R,) uint32: the image of each region.

        Raises:
            LatentbenchError: as ``pixel_curve``.
        """
        curve = shared_curve(evaluation)
        kept = curve if curve.pixels.size <= KEPT_THRESHOLDS else coarsened(curve)
        columns = {field.name: np.atleast_1d(getattr(kept, field.name)) for field in fields(kept)}
        return columns | _counts(evaluation, _ends(curve, IMAGE_TOLERANCE))

    def reweighted(self, kept: Arrays, weights: Floats) -> dict[str, Floats] | None:
        """The curve with these weights of the images, at the thresholds of the images' counts."""
        if "image_normal" not in kept:
            return None
        anomalous, of_region = kept["region_anomalous"], weights[kept["region_image"]]
        pixels, overlap = of_region @ anomalous, (of_region / anomalous.sum(axis=1)) @ anomalous
        normal = np.cumsum(weights @ kept["image_normal"])
        above, total = np.append(0.0, normal[:-2]), normal[-1:]
        found = pixels > 0  # the images of a threshold may have no weight
        curve = {"pixels": pixels, "overlap": overlap, "false_above": above, "false": normal[:-1]}
        return {name: array[found] for name, array in curve.items()} | {"normal": total}

    @staticmethod
    def curve(kept: Arrays) -> PixelCurve:
        """The curve in what ``summarize`` gave."""
        columns: dict[str, Any] = {field.name: kept[field.name] for field in fields(PixelCurve)}
        return PixelCurve(**columns | {"normal": float(kept["normal"][0])})


def coarsened(curve: PixelCurve, tolerance: float = CURVE_TOLERANCE) -> PixelCurve:
    """The curve at fewer thresholds: neighbours whose pixels are taken for found at once.

    Each group of them holds at most the share ``tolerance`` of the anomalous pixels and of the regions' overlap, and
    within it the precision differs from that at its end by at most ``tolerance``, unless the group is one threshold.

    So an area under the ROC or PRO curve up to any limit, as a share of the greatest possible, changes by at most
    ``tolerance``: the curve and the straight line that takes its place climb by that much within the group, and the
    groups lie side by side. The average precision changes by at most as much, for it is a mean of precisions.
    """
    ends = _ends(curve, tolerance)
    starts = np.array([0, *(end + 1 for end in ends[:-1])])
    return PixelCurve(
        pixels=np.add.reduceat(curve.pixels, starts),
        overlap=np.add.reduceat(curve.overlap, starts),
        false_above=curve.false_above[starts],
        false=curve.false[ends],
        normal=curve.normal,
    )


def _ends(curve: PixelCurve, tolerance: float) -> list[int]:
    """The last threshold of each group of ``coarsened``, ascending; that of the last group is the curve's last."""
    shares = (np.cumsum(gain) / np.sum(gain) for gain in (curve.pixels, curve.overlap))
    found = np.cumsum(curve.pixels)
    columns = [column.tolist() for column in (*shares, found / (found + curve.false))]
    ends = []
    last = [0.0, 0.0]  # shares that the groups so far hold
    least = most = columns[2][0]  # precision within the running group
    for place, (pixels, overlap, precision) in enumerate(zip(*columns, strict=True)):
        least, most = min(least, precision), max(most, precision)
        if place and (pixels - last[0] > tolerance or overlap - last[1] > tolerance or most - least > tolerance):
            ends.append(place - 1)
            last = [columns[0][place - 1], columns[1][place - 1]]
            least = most = precision
    ends.append(curve.pixels.size - 1)
    return ends


def _counts(evaluation: Evaluation, ends: list[int]) -> dict[str, npt.NDArray[np.uint32]]:
    """The arrays of single images, at the curve's thresholds of these places."""
    from scipy.ndimage import label

    maps, masks, images = evaluation.output, evaluation.targets.mask, looked_at(evaluation)
    assert masks is not None, "declared in `targets`"
    ascending = np.unique(np.concatenate([maps[image][masks[image] != 0] for image in images]))[::-1][ends][::-1]
    bins = ascending.size
    normal = np.zeros((len(maps), bins + 1), np.uint32)
    anomalous, of_image = [np.zeros((0, bins), np.uint32)], [np.zeros(0, np.uint32)]
    for image in images:
        defective = masks[image] != 0
        bin_of = bins - np.searchsorted(ascending, maps[image], "right")
        normal[image] = np.bincount(bin_of[~defective], minlength=bins + 1)
        region, regions = label(defective, TOUCHING[1])
        pixels = (region[defective] - 1) * bins + bin_of[defective]
        anomalous.append(np.bincount(pixels, minlength=regions * bins).reshape(regions, bins).astype(np.uint32))
        of_image.append(np.full(regions, image, np.uint32))
    return {
        "image_normal": normal,
        "region_anomalous": np.concatenate(anomalous),
        "region_image": np.concatenate(of_image),
    }
