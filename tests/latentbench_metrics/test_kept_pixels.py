"""What is kept of anomaly maps: against the metrics of the maps themselves, also under other weights of the images."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from latentbench import Evaluation, Targets
from latentbench.evaluation.bootstrap import bootstrap_replicates, bootstrap_replicates_of_kept
from latentbench.records.arrays import pack
from latentbench.testing import check_metric
from latentbench_metrics.kept_pixels import IMAGE_TOLERANCE, KeptCurve, coarsened
from latentbench_metrics.localization import AUPRO5, AUPRO30, Localization, PixelAP, PixelAUROC
from latentbench_metrics.pixels import pixel_curve

METRICS: list[type[Localization]] = [PixelAUROC, PixelAP, AUPRO30, AUPRO5]

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.uint8]


def _kept(maps: Maps, masks: Masks, weights: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
    return KeptCurve().summarize(Evaluation(maps, Targets(mask=masks), weights, {}))


@pytest.mark.parametrize("metric", METRICS)
@given(st.integers(0, 10**6), st.integers(1, 40))
def test_from_a_kept_curve_of_few_thresholds_values_are_the_same_bit_for_bit(metric, seed: int, levels: int):
    draw = np.random.default_rng(seed)
    maps = draw.integers(0, levels, (4, 8, 8)).astype(np.float32)
    masks = (draw.random((4, 8, 8)) < 0.3).astype(np.uint8)
    assume(0 < masks.sum() < masks.size)
    weights = draw.integers(1, 4, 4).astype(np.float64)
    evaluation = Evaluation(maps, Targets(mask=masks), weights, {})
    assert metric().measure_kept(_kept(maps, masks, weights)) == metric().measure(evaluation)


@pytest.mark.parametrize("skill", [0.0, 0.5, 3.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_a_coarsened_curve_is_small_and_within_its_tolerance(skill: float, tolerance: float):
    draw = np.random.default_rng(5)
    masks = np.zeros((12, 64, 64), np.uint8)
    masks[:6, 10:50, 10:50] = 1
    masks[6:9, 3:5, 3:60] = 1
    maps = (draw.normal(size=masks.shape) + skill * masks).astype(np.float32)
    exact = pixel_curve(Evaluation(maps, Targets(mask=masks), np.ones(12), {}))
    coarse = coarsened(exact, tolerance)
    assert coarse.pixels.size < min(exact.pixels.size, 12 / tolerance)
    assert coarse.pixels.sum() == exact.pixels.sum()
    assert coarse.overlap.sum() == pytest.approx(exact.overlap.sum())
    assert (coarse.false[-1], coarse.normal) == (exact.false[-1], exact.normal)
    for metric in METRICS:
        assert metric().value(coarse) == pytest.approx(metric().value(exact), abs=tolerance)


def test_what_is_kept_of_large_maps_takes_little_room():
    draw = np.random.default_rng(6)
    masks = np.zeros((20, 256, 256), np.uint8)
    masks[:10, 50:150, 50:150] = 1
    maps = (draw.normal(size=masks.shape) + masks).astype(np.float32)
    kept = _kept(maps, masks, np.ones(20))
    assert sum(array.nbytes for array in kept.values()) < 600_000  # before compression, of 5 MB of maps
    evaluation = Evaluation(maps, Targets(mask=masks), np.ones(20), {})
    for metric in METRICS:
        exact, again = metric().measure(evaluation)[""], metric().measure_kept(kept)[""]
        assert again == pytest.approx(exact, abs=metric.tolerance)


# Counts of single images


def defects(images: int, side: int, skill: float = 2.0) -> tuple[Maps, Masks]:
    """Maps and masks of images of which two in three have up to three defects, some found more easily than others."""
    draw = np.random.default_rng(images)
    masks = np.zeros((images, side, side), np.uint8)
    maps = draw.normal(size=masks.shape)
    for image in range(images):
        maps[image] += draw.normal(scale=0.5)
        for _ in range(image % 3 and 1 + image % 3):
            row, column = draw.integers(0, side - 6, 2)
            part = image, slice(row, row + draw.integers(2, 6)), slice(column, column + draw.integers(2, 6))
            masks[part] = 1
            maps[part] += skill * draw.random()
    return maps.astype(np.float32), masks


def under(weights: Any, maps: Maps, masks: Masks, metric: type[Localization]) -> float:
    return metric().measure(Evaluation(maps, Targets(mask=masks), np.asarray(weights, np.float64), {}))[""]


def from_counts(kept: Any, weights: Any, metric: type[Localization]) -> float:
    arrays = KeptCurve().reweighted(kept, np.asarray(weights, np.float64))
    assert arrays is not None
    return metric().measure_kept(arrays)[""]


@pytest.mark.parametrize("metric", METRICS)
def test_they_keep_what_a_metric_with_a_statistic_promises(metric) -> None:
    assert any(line.startswith("under other weights of the images") for line in check_metric(metric))


@pytest.mark.parametrize("metric", METRICS)
def test_with_the_weights_at_hand_the_counts_give_the_value_to_within_their_tolerance(metric) -> None:
    maps, masks = defects(30, 32)
    exact = under(np.ones(30), maps, masks, metric)
    again = from_counts(_kept(maps, masks, np.ones(30)), np.ones(30), metric)
    assert again == pytest.approx(exact, abs=IMAGE_TOLERANCE)


@pytest.mark.parametrize("metric", METRICS)
def test_images_without_weight_are_as_if_they_were_not_there(metric) -> None:
    maps, masks = defects(30, 32)
    weights = np.arange(30) % 2
    found = from_counts(_kept(maps, masks, np.ones(30)), weights, metric)
    # thresholds are those of all images, so that a group can hold twice its share
    assert found == pytest.approx(under(np.ones(15), maps[1::2], masks[1::2], metric), abs=2 * IMAGE_TOLERANCE)


@pytest.mark.parametrize("metric", METRICS)
@given(st.integers(0, 10**6))
def test_where_every_score_is_a_threshold_of_its_own_the_counts_are_exact(metric, seed: int) -> None:
    draw = np.random.default_rng(seed)
    masks = (draw.random((4, 6, 6)) < 0.3).astype(np.uint8)
    assume(all(0 < mask.sum() < mask.size for mask in masks))
    # each anomalous pixel is followed by normal ones that score the same: no normal pixel lies between two thresholds
    levels = draw.permutation(np.repeat(np.arange(8), 18)).reshape(masks.shape).astype(np.float32)
    assume(set(levels[masks != 0]) == set(levels[masks == 0]))
    weights = draw.integers(1, 4, 4)
    assert from_counts(_kept(levels, masks, np.ones(4)), weights, metric) == pytest.approx(
        under(weights, levels, masks, metric), abs=1e-12
    )


@pytest.mark.parametrize("metric", METRICS)
def test_replicates_from_counts_are_those_of_the_maps_but_for_a_fiftieth(metric) -> None:
    maps, masks = defects(40, 32)
    own = np.where(np.arange(40) % 5 == 0, 0.0, 1.0 + np.arange(40) % 2)
    evaluation = Evaluation(maps, Targets(mask=masks), own, {})
    exact = bootstrap_replicates(metric(), evaluation, "a split", 60)[""]
    found = bootstrap_replicates_of_kept(metric(), _kept(maps, masks, own), own, "a split", 60)[""]
    assert np.corrcoef(exact, found)[0, 1] > 0.995
    assert found.std() == pytest.approx(exact.std(), rel=0.02)


def test_images_whose_mask_is_not_known_count_nowhere() -> None:
    maps, masks = defects(9, 16)
    known = np.arange(9) != 4
    kept = KeptCurve().summarize(Evaluation(maps, Targets(mask=masks, mask_known=known), np.ones(9), {}))
    assert not kept["image_normal"][4].any()
    assert 4 not in kept["region_image"]
    assert kept["image_normal"].sum() + kept["region_anomalous"].sum() == 8 * 16 * 16


def test_a_record_from_before_there_were_counts_has_no_replicates() -> None:
    maps, masks = defects(9, 16)
    kept = {name: array for name, array in _kept(maps, masks, np.ones(9)).items() if name != "image_normal"}
    assert bootstrap_replicates_of_kept(AUPRO30(), kept, np.ones(9), "a split", 3) == {}


def test_counts_of_many_images_take_little_room() -> None:
    maps, masks = defects(600, 64)
    kept = _kept(maps, masks, np.ones(600))
    counts = {name: array for name, array in kept.items() if name in ("image_normal", "region_anomalous")}
    assert len(pack(counts)) < 100_000
