"""All pixel metrics of a category against adeval's reference for AUPRO alone with 2,000 thresholds, in one run."""

from pathlib import Path
from timeit import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from adeval.au_pro import calculate_au_pro, trapezoid
from PIL import Image
from scipy.ndimage import gaussian_filter

from latentbench import Evaluation, Targets
from latentbench_metrics.localization import AUPRO5, AUPRO30, PixelAP, PixelAUROC

THRESHOLDS = 2000
METRICS = (PixelAUROC, PixelAP, AUPRO30, AUPRO5)
SHAPE = (160, 256, 256)

Masks = npt.NDArray[np.uint8]


def blobs() -> Masks:
    """One to three ellipses in each of the last 119 images: as many defects as screws have, and about as large."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SHAPE[1], : SHAPE[2]]
    masks = np.zeros(SHAPE, np.uint8)
    for mask in masks[41:]:
        for _ in range(rng.integers(1, 4)):
            (row, column), (height, width) = rng.uniform(20, 236, 2), rng.uniform(3, 13, 2)
            mask[((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 <= 1] = 1
    return masks


def screws(data_root: Path) -> Masks:
    """The masks of MVTec AD's screw test images."""
    screw = data_root / "mvtec_ad_256" / "screw"
    if not screw.is_dir():
        pytest.skip(f"no real data: no {screw}")
    masks = np.zeros(SHAPE, np.uint8)
    for mask, file in zip(masks, sorted((screw / "ground_truth").rglob("*_mask.png")), strict=False):
        mask[:] = np.asarray(Image.open(file)) > 127
    return masks


def maps_of(masks: Masks) -> npt.NDArray[np.float32]:
    """Smooth noise, brighter where the anomalies are: what a detector's smoothed residuals look like."""
    rng = np.random.default_rng(1)
    return np.stack([gaussian_filter(8 * rng.normal(size=mask.shape) + mask, 4) for mask in masks]).astype(np.float32)


@pytest.mark.parametrize("kind", ["blobs", pytest.param("screws", marks=pytest.mark.real)])
def test_all_pixel_metrics_together_take_no_longer_than_adeval_takes_for_one(
    benchmark: Any, kind: str, request: pytest.FixtureRequest
) -> None:
    masks = blobs() if kind == "blobs" else screws(request.getfixturevalue("data_root"))
    maps = maps_of(masks)

    def ours() -> list[float]:
        evaluation = Evaluation(maps, Targets(mask=masks), np.ones(len(maps)), {})  # a new one: nothing is shared yet
        return [metric().measure(evaluation)[""] for metric in METRICS]

    def adeval() -> tuple[float, tuple[list[float], list[float]]]:
        return calculate_au_pro(list(masks), list(maps), integration_limit=0.3, num_thresholds=THRESHOLDS)

    values = benchmark.pedantic(ours, rounds=3)
    area, (false_positives, overlaps) = adeval()
    area_at_5 = trapezoid(false_positives, overlaps, 0.05) / 0.05
    assert values[2:] == pytest.approx([area, area_at_5], abs=1e-4)

    seconds = {function: min(repeat(function, number=1, repeat=3)) for function in (ours, adeval)}
    benchmark.extra_info["times adeval's AUPRO"] = seconds[ours] / seconds[adeval]
    assert seconds[ours] <= seconds[adeval]
