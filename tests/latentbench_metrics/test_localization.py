"""Localization metrics against a slow loop over all thresholds, scikit-learn, adeval, anomalib's values and hand."""

import json
import runpy
import tracemalloc
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import numpy.typing as npt
import pytest
from adeval.au_pro import calculate_au_pro
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, roc_auc_score

from latentbench import Evaluation, LatentbenchError, Targets
from latentbench_metrics import pixels
from latentbench_metrics.localization import AUPRO5, AUPRO30, Localization, MissingMasks, PixelAP, PixelAUROC

SETTINGS = settings(max_examples=40)
OVERLAPS: list[type[Localization]] = [AUPRO30, AUPRO5]
METRICS: list[type[Localization]] = [PixelAUROC, PixelAP, *OVERLAPS]
LIMITS = {AUPRO30: 0.3, AUPRO5: 0.05}
FIXTURES = Path(__file__).parents[1] / "fixtures"

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.uint8]
Case = tuple[Maps, Masks, npt.NDArray[np.float64]]


def evaluation_of(maps: Any, masks: Any, weights: Any = None, known: Any = None) -> Evaluation:
    maps, masks = np.asarray(maps, np.float32), np.asarray(masks, np.uint8)
    weights = np.ones(len(maps)) if weights is None else np.asarray(weights, np.float64)
    return Evaluation(maps, Targets(mask=masks, mask_known=known), weights, {})


def measure(metric: type[Localization], *case: Any) -> float:
    return metric().measure(evaluation_of(*case))[""]


def measure_all(*case: Any) -> list[float]:
    """The values of METRICS, in their order, of one evaluation."""
    evaluation = evaluation_of(*case)
    return [metric().measure(evaluation)[""] for metric in METRICS]


def about(values: list[float]) -> Any:
    return pytest.approx(values, abs=1e-12)


def regions_of(mask: Masks) -> list[list[tuple[int, int]]]:
    """Sets of anomalous pixels that touch at an edge or a corner, by filling."""
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    regions = []
    while left:
        region = [left.pop()]
        for row, column in region:  # grows while it is read
            touching = {(row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= touching
            region += touching
        regions.append(region)
    return regions


def slow_points(maps: Maps, masks: Masks, weights: npt.NDArray[np.float64]) -> list[tuple[float, float, float, float]]:
    """(FPR, TPR, overlap, precision) at every distinct score, descending: each is counted over all pixels again."""
    regions = [(w, a, r) for w, a, mask in zip(weights, maps, masks, strict=True) for r in regions_of(mask)]
    labelled = [
        (w, s, m)
        for w, a, mask in zip(weights, maps, masks, strict=True)
        for s, m in zip(a.flat, mask.flat, strict=True)
    ]
    normal, anomalous = (sum(w for w, _, m in labelled if m == kind) for kind in (0, 1))
    points = []
    for threshold in sorted({s for w, s, _ in labelled if w > 0}, reverse=True):
        false, true = (sum(w for w, s, m in labelled if m == kind and s >= threshold) for kind in (0, 1))
        shares = [(w, sum(a[pixel] >= threshold for pixel in region) / len(region)) for w, a, region in regions]
        overlap = sum(w * share for w, share in shares) / sum(w for w, _ in shares)
        points.append((false / normal, true / anomalous, overlap, true / (true + false)))
    return points


def slow_area(points: list[tuple[float, float]], limit: float) -> float:
    """Area under the straight lines from (0, 0) through the points, cut off at the limit."""
    area, (x, y) = 0.0, (0.0, 0.0)
    for right, top in points:
        if right > limit:
            top, right = y + (top - y) * (limit - x) / (right - x), limit
        area += (right - x) * (y + top) / 2
        x, y = right, top
        if x == limit:
            break
    return area


def slow(case: Case) -> list[float]:
    """The values of METRICS by their definitions."""
    points = slow_points(*case)
    recall = [0.0, *(true for _, true, _, _ in points)]
    precision = sum((now - before) * p[3] for before, now, p in zip(recall, recall[1:], points, strict=False))
    roc, pro = [(p[0], p[1]) for p in points], [(p[0], p[2]) for p in points]
    return [slow_area(roc, 1), precision, *(slow_area(pro, limit) / limit for limit in (0.3, 0.05))]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Few distinct scores, many ties, whole weights: counts are exact."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)))
    maps = draw(arrays(np.float32, shape, elements=st.integers(-4, 4).map(float)))
    masks = draw(arrays(np.uint8, shape, elements=st.integers(0, 1)))
    weights = draw(arrays(np.float64, shape[0], elements=st.integers(0, 3).map(float)))
    assume({0, 1} <= set(masks[weights > 0].flat))
    return maps, masks, weights


def distinct(seed: int, shape: tuple[int, int, int], share: float = 0.1) -> tuple[Maps, Masks]:
    """Maps without a tie, and blocks of anomalous pixels that score somewhat higher."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((shape[0], -(-shape[1] // 4), -(-shape[2] // 4))) < share
    masks = np.kron(coarse, np.ones((1, 4, 4)))[:, : shape[1], : shape[2]].astype(np.uint8)
    order = np.argsort((rng.normal(size=shape) + 0.7 * masks).reshape(-1))
    maps = np.empty(order.size, np.float32)
    maps[order] = np.arange(order.size)
    return maps.reshape(shape), masks


@SETTINGS
@given(case=cases())
def test_every_metric_equals_its_definition_as_a_slow_loop_over_all_thresholds(case):
    assert measure_all(*case) == about(slow(case))


@pytest.mark.parametrize("decimals", [1, 7])  # many ties, and hardly any
@pytest.mark.parametrize("weighted", [False, True])
def test_pixel_areas_equal_scikit_learn(decimals, weighted):
    rng = np.random.default_rng(0)
    masks = (rng.random((9, 128, 96)) < 0.02).astype(np.uint8)
    maps = np.round(rng.normal(masks, 1), decimals).astype(np.float32)
    weights = rng.random(9) if weighted else np.ones(9)
    sample_weight = np.broadcast_to(weights[:, None, None], masks.shape).reshape(-1) if weighted else None
    labels, scores = masks.reshape(-1), maps.reshape(-1)
    expected = [f(labels, scores, sample_weight=sample_weight) for f in (roc_auc_score, average_precision_score)]
    assert measure_all(maps, masks, weights)[:2] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", OVERLAPS)
@pytest.mark.parametrize("seed", range(3))
def test_overlap_equals_adeval_with_a_threshold_at_every_normal_pixel(metric, seed):
    maps, masks = distinct(seed, (6, 50, 40))
    normal, limit = int(np.sum(masks == 0)), LIMITS[metric]
    reference, _ = calculate_au_pro(list(masks), list(maps), limit, num_thresholds=normal)
    # adeval has no threshold at the anomalous pixels between two normal ones: it slopes where the curve is upright,
    # which adds half a normal pixel's width of the climb between 0 and the limit.
    assert 0 <= reference - measure(metric, maps, masks) <= 1 / (2 * normal * limit)


ANOMALIB = runpy.run_path(str(FIXTURES / "anomalib_aupro.py"))


@pytest.mark.parametrize("metric", OVERLAPS)
@pytest.mark.parametrize("case", ANOMALIB["CASES"])
def test_overlap_equals_the_values_that_anomalib_gave(metric, case):
    values = json.loads((FIXTURES / "anomalib_aupro.json").read_text())["aupro"]
    maps, masks = ANOMALIB["maps_and_masks"](case)
    assert measure(metric, maps, masks) == pytest.approx(values[case][str(LIMITS[metric])], abs=1e-6)  # it has float32


@pytest.mark.parametrize("metric", OVERLAPS)
@pytest.mark.parametrize("seed", range(3))
def test_overlap_of_a_single_region_is_the_partial_area_under_the_roc_curve(metric, seed):
    maps = np.random.default_rng(seed).integers(0, 30, (4, 20, 20)).astype(np.float32)
    masks = np.zeros(maps.shape, np.uint8)
    masks[2, 3:9, 4:7] = 1
    maps[2, 3:9, 4:7] += 12
    limit = LIMITS[metric]
    standardized = roc_auc_score(masks.reshape(-1), maps.reshape(-1), max_fpr=limit)  # McClish, 1989: 1/2 is chance
    least, greatest = limit**2 / 2, limit
    area = least + (2 * standardized - 1) * (greatest - least)
    assert measure(metric, maps, masks) == pytest.approx(area / limit, abs=1e-12)


@SETTINGS
@given(case=cases())
def test_an_integer_weight_is_that_many_repetitions_of_the_image(case):
    maps, masks, weights = case
    repeats = weights.astype(int)
    repeated = measure_all(np.repeat(maps, repeats, axis=0), np.repeat(masks, repeats, axis=0))
    assert measure_all(*case) == about(repeated)


@SETTINGS
@given(case=cases(), factor=st.sampled_from([1 / 3, 0.1, 7.0, 1e-6]))
def test_only_the_ratio_of_weights_counts(case, factor):
    maps, masks, weights = case
    assert measure_all(maps, masks, weights * factor) == about(measure_all(*case))


@SETTINGS
@given(case=cases())
def test_an_increasing_transform_of_the_scores_changes_nothing(case):
    maps, masks, weights = case
    for transformed in (3 * maps - 5, np.exp(maps / 2), np.arctan(maps)):
        assert measure_all(transformed, masks, weights) == measure_all(*case)


@SETTINGS
@given(case=cases(), seed=st.integers(0, 99))
def test_the_order_of_the_images_and_their_orientation_change_nothing(case, seed):
    maps, masks, weights = case
    order = np.random.default_rng(seed).permutation(len(maps))
    assert measure_all(maps[order], masks[order], weights[order]) == about(measure_all(*case))
    turned = np.rot90(maps, axes=(1, 2)), np.rot90(masks, axes=(1, 2)), weights
    assert measure_all(*turned) == about(measure_all(*case))


@SETTINGS
@given(case=cases(), left_out=st.integers(1, 3))
def test_images_without_a_mask_or_a_weight_do_not_count_whatever_is_in_them(case, left_out):
    maps, masks, weights = case
    more_maps = np.concatenate([maps, np.full((left_out, *maps.shape[1:]), np.nan, np.float32)])
    more_masks = np.concatenate([masks, np.zeros((left_out, *masks.shape[1:]), np.uint8)])
    known = np.arange(len(more_maps)) < len(maps)
    without_mask = measure_all(more_maps, more_masks, [*weights, *[2.0] * left_out], known)
    without_weight = measure_all(more_maps, more_masks, [*weights, *[0.0] * left_out])
    assert without_mask == without_weight == measure_all(*case)


@pytest.mark.parametrize("weights", [np.ones(7), np.array([1.0, 0.5, 1.0, 0.5, 0.25, 3.0, 1.0])])
@pytest.mark.parametrize("block", [1, 2000, 2**30])
def test_the_size_of_the_blocks_changes_no_bit(monkeypatch, weights, block):
    maps, masks = distinct(0, (7, 40, 30))
    expected = measure_all(maps, masks, weights)
    monkeypatch.setattr(pixels, "BLOCK_PIXELS", block)
    assert measure_all(maps, masks, weights) == expected


def test_memory_beside_the_maps_does_not_grow_with_the_number_of_images(monkeypatch):
    monkeypatch.setattr(pixels, "BLOCK_PIXELS", 4 * 64 * 64)

    def peak(images: int) -> int:
        maps = np.random.default_rng(0).random((images, 64, 64), dtype=np.float32)
        masks = np.zeros(maps.shape, np.uint8)
        masks[0, 10:14, 10:14] = 1
        measure(PixelAUROC, maps[:8], masks[:8])  # what is imported on first use
        tracemalloc.start()
        measure(PixelAUROC, maps, masks)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(20), peak(400)
    assert many < few + 64 * 64 * 4  # less than one more map, for 380 more images


def test_metrics_of_one_evaluation_share_their_curve_and_keep_none_of_its_arrays_alive():
    maps, masks = distinct(0, (3, 20, 20))
    targets, weights = Targets(mask=masks), np.ones(3)

    def curve(weights: npt.NDArray[np.float64], maps: Maps = maps) -> pixels.PixelCurve:
        return pixels.shared_curve(Evaluation(maps, targets, weights, {}))

    first = curve(weights)
    assert curve(weights) is first
    assert curve(np.array([1.0, 2.0, 3.0])).normal != first.normal
    assert curve(weights, -maps).false[0] != first.false[0]
    gone = ref(other := maps + 1)
    curve(weights, other)
    del other
    assert gone() is None


def test_every_region_counts_alike_and_pixels_that_touch_at_a_corner_are_one_region():
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[0, 0, 0] = 1
    masks[0, 4:7, 4:7] = 1
    maps = np.zeros(masks.shape, np.float32)
    maps[0, 0, 0] = 1  # the small region is found before any normal pixel, the large one is tied with all of them
    normal = 128 - 10
    assert measure(AUPRO30, maps, masks) == pytest.approx(0.5 + 0.5 * 0.15, abs=1e-12)
    assert measure(PixelAUROC, maps, masks) == pytest.approx(0.1 + 0.9 * 0.5, abs=1e-12)
    assert measure(PixelAP, maps, masks) == pytest.approx(0.1 + 0.9 * 10 / (10 + normal), abs=1e-12)
    masks[0, [1, 2, 3], [1, 2, 3]] = 1  # a bridge of corners: one region of thirteen pixels
    assert measure(AUPRO30, maps, masks) == pytest.approx(1 / 13 + 12 / 13 * 0.15, abs=1e-12)


def test_the_curve_is_straight_between_points_and_at_the_limit():
    # One region of two pixels, ten normal pixels. Points (FPR, PRO): (0.2, 0), (0.6, 0.5) by a tie, (0.6, 1), (1, 1).
    maps = [[[9, 8, 5, 5, 5, 5, 5, 4, 3, 2, 1, 0]]]
    masks = [[[0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0]]]
    assert measure(AUPRO30, maps, masks) == pytest.approx(0.1 * 0.125 / 2 / 0.3, abs=1e-12)
    assert measure(AUPRO5, maps, masks) == 0
    assert measure(PixelAUROC, maps, masks) == pytest.approx(0.4 * 0.25 + 0.4, abs=1e-12)


@pytest.mark.parametrize(("metric", "expected"), [(PixelAUROC, 0.5), (PixelAP, 0.3), (AUPRO30, 0.15), (AUPRO5, 0.025)])
def test_equal_scores_are_chance_which_for_the_overlap_is_half_the_limit(metric, expected):
    masks = [[[1, 0, 1, 1, 0, 0, 0, 0, 0, 0]]] * 2
    assert measure(metric, np.full((2, 1, 10), 7.0), masks, [0.5, 0.25]) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_map_has_one_and_a_reversed_map_has_no_area(metric):
    _, masks = distinct(1, (5, 30, 30))
    weights = np.random.default_rng(1).random(5)  # sums of fractions: the bounds hold all the same
    assert measure(metric, masks, masks, weights) == pytest.approx(1, abs=1e-12)
    if metric is not PixelAP:
        assert measure(metric, 1 - masks, masks, weights) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_an_error(metric, broken):
    maps, masks = distinct(0, (3, 8, 8))
    maps[1, 2, 3] = broken
    with pytest.raises(LatentbenchError, match="1 of 192 map values are NaN or infinite: it needs finite maps"):
        measure(metric, maps, masks)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("images", "weights", "kind"),
    [
        (["normal", "normal"], [1, 1], "anomalous"),
        (["anomalous", "anomalous"], [1, 1], "normal"),
        (["normal", "anomalous"], [1, 0], "anomalous"),
        (["normal", "anomalous"], [0, 1], "normal"),
    ],
)
def test_pixels_of_one_kind_alone_are_an_error_that_names_the_other(metric, images, weights, kind):
    masks = np.stack([np.full((4, 4), image == "anomalous", np.uint8) for image in images])
    with pytest.raises(LatentbenchError, match=f"no {kind} pixel in the known masks: it needs normal and anomalous"):
        measure(metric, np.zeros(masks.shape), masks, weights)


@pytest.mark.parametrize("metric", METRICS)
def test_a_map_of_another_size_than_its_mask_is_an_error(metric):
    with pytest.raises(LatentbenchError, match=r"maps are \(2, 4, 4\), masks \(2, 8, 8\): it needs one score for each"):
        measure(metric, np.zeros((2, 4, 4)), np.eye(8)[None].repeat(2, axis=0))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("images", "weights", "known"),
    [(0, [], None), (2, [0, 0], None), (2, [1, 1], [False, False]), (2, [1, 0], [False, True])],
)
def test_no_image_with_weight_and_mask_is_an_error(metric, images, weights, known):
    masks = np.eye(4)[None].repeat(images, axis=0)
    with pytest.raises(LatentbenchError, match="no image that has weight has a mask: it needs the mask of at least"):
        measure(metric, np.zeros(masks.shape), masks, weights, None if known is None else np.array(known))


@pytest.mark.parametrize("metric", METRICS)
def test_images_without_a_pixel_are_an_error(metric):
    with pytest.raises(LatentbenchError, match="no anomalous pixel"):
        measure(metric, np.zeros((2, 0, 5)), np.zeros((2, 0, 5)))


def with_masks(*images: list[int], known: list[bool] | None = None) -> Targets:
    return Targets(
        mask=np.array([images], np.uint8).transpose(1, 0, 2), mask_known=None if known is None else np.array(known)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_splits_whose_known_masks_lack_a_kind_of_pixel_are_not_measured(metric):
    assert metric().applies(with_masks([0, 0], [0, 1]), {})
    assert metric().applies(with_masks([0, 0], [1, 1]), {})
    assert metric().applies(with_masks([0, 1], [0, 0], known=[True, False]), {})
    assert not metric().applies(with_masks([0, 0], [0, 0]), {})
    assert not metric().applies(with_masks([1, 1], [1, 1]), {})
    assert not metric().applies(with_masks([0, 0], [0, 1], known=[True, False]), {})
    assert not metric().applies(with_masks([0, 1], known=[False]), {})
    assert not metric().applies(Targets(anomaly=np.array([0, 1], np.uint8)), {})


def test_missing_masks_are_counted_among_images_of_weight_and_reported_only_where_there_are_any():
    metric = MissingMasks()
    targets = with_masks([0, 1], [0, 0], [0, 0], [0, 0], known=[True, False, False, False])
    weights = np.array([1.0, 2.0, 0.0, 0.5])
    assert metric.measure(Evaluation(np.zeros((4, 1, 2)), targets, weights, {})) == {"": 2.0}
    assert metric.applies(targets, {})
    assert metric.applies(with_masks([0, 0], known=[False]), {})
    assert not metric.applies(with_masks([0, 1], known=[True]), {})
    assert not metric.applies(with_masks([0, 1]), {})
    assert not metric.applies(Targets(), {})
