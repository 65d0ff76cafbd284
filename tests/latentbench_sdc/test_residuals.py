"""Smoothing against SciPy, the choice on made residuals, and what counts as an outlier."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from sklearn.metrics import average_precision_score

from latentbench_sdc.residuals import CANDIDATES, Measure, Smoothing, best_map, best_pooling, outliers, pool
from latentbench_sdc.usual import Usual


@pytest.mark.parametrize(("kernel", "passes"), [(11, 1), (21, 2), (31, 3), (5, 4)])
def test_inside_it_is_the_box_filter_of_scipy_applied_again_and_again(kernel, passes):
    maps = np.random.default_rng(0).random((2, 256, 300))
    smooth = Smoothing(kernel, passes)
    found = smooth(torch.from_numpy(maps)).numpy()
    expected = maps
    for _ in range(passes):
        expected = uniform_filter(expected, (0, kernel, kernel), mode="constant")
    margin = passes * kernel
    inside = np.s_[:, margin:-margin, margin:-margin]
    np.testing.assert_allclose(found[inside], expected[inside], rtol=1e-9)


def test_at_the_border_the_window_is_cut_to_the_image():
    maps = torch.rand(1, 256, 256, dtype=torch.float64)
    found = Smoothing(11, 1)(maps)
    assert float(found[0, 0, 0]) == pytest.approx(float(maps[0, :6, :6].mean()))
    assert float(found[0, 255, 100]) == pytest.approx(float(maps[0, 250:, 95:106].mean()))
    ones = torch.ones(1, 64, 64)
    torch.testing.assert_close(Smoothing(31, 3)(ones), ones)


@pytest.mark.parametrize(("kernel", "passes"), [(11, 2), (21, 3)])
def test_the_spread_of_a_point_is_that_of_the_gaussian_that_it_stands_for(kernel, passes):
    point = torch.zeros(1, 257, 257, dtype=torch.float64)
    point[0, 128, 128] = 1
    weights = Smoothing(kernel, passes)(point)[0].numpy()
    rows = np.arange(257) - 128
    variance = (weights.sum(1) * rows**2).sum() / weights.sum()
    assert weights.sum() == pytest.approx(1)
    assert variance == pytest.approx(passes * (kernel**2 - 1) / 12)


@pytest.mark.parametrize(
    ("kernel", "height", "width", "side"),
    [(11, 256, 256, 11), (11, 128, 128, 5), (11, 64, 64, 3), (11, 32, 90, 1), (21, 320, 128, 11), (1, 512, 512, 3)],
)
def test_the_kernel_grows_with_the_shorter_side_and_is_odd(kernel, height, width, side):
    assert Smoothing(kernel, 1).side(height, width) == side


def test_no_pass_and_a_kernel_of_one_pixel_change_nothing():
    maps = torch.rand(2, 64, 64)
    assert torch.equal(Smoothing(31, 0)(maps), maps)
    assert torch.equal(Smoothing(3, 2)(maps), maps)


@pytest.mark.parametrize("radius", [1, 4, 10])
def test_the_choice_is_the_best_of_the_candidates_by_scikit_learn_and_grows_with_what_is_looked_for(radius):
    """Noise on all pixels, with something more in discs."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:128, :128]
    corrupted = np.zeros((6, 128, 128), bool)
    for image in corrupted:
        for _ in range(3):
            row, column = rng.uniform(20, 108, 2)
            image |= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
    residuals = rng.exponential(1, corrupted.shape) + 1.0 * corrupted
    values = {
        smooth: average_precision_score(corrupted.ravel(), smooth(torch.from_numpy(residuals)).numpy().ravel())
        for smooth in CANDIDATES
    }
    precision, measure, best = best_map(
        {"squared": torch.from_numpy(residuals)[None]}, torch.from_numpy(corrupted)[None]
    )
    assert measure == "squared"
    assert precision.tolist() == [values[best]] == [max(values.values())]
    width = best.passes * (best.side(128, 128) ** 2 - 1) / 12
    assert (width < 4) if radius == 1 else (width > 4) if radius == 10 else True


def test_the_measure_is_standardized_where_places_differ_and_squared_where_both_find_the_same():
    """Half of an image is restored three times worse than the other, and defects lie in both."""
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(64) < 32, 0.1, 0.03).astype(np.float32)
    defects = np.zeros((8, 1, 64, 64), np.float32)
    defects[:, :, 20:26, 10:16] = defects[:, :, 40:46, 50:56] = 3
    training = torch.from_numpy(spread * rng.normal(0, 1, (32, 1, 64, 64)).astype(np.float32))
    residuals = torch.from_numpy(spread * (defects + rng.normal(0, 1, (8, 1, 64, 64)).astype(np.float32)))
    maps: dict[Measure, torch.Tensor] = {
        "squared": residuals.square().mean(1)[None],
        "standardized": Usual.of([training]).standardized(residuals).mean(1)[None],
    }
    truth = torch.from_numpy(defects[:, 0] > 0)[None]
    precision, measure, smooth = best_map(maps, truth)
    assert measure == "standardized"
    assert float(precision) == average_precision_score(truth.flatten(), smooth(maps[measure][0]).flatten())
    assert float(precision) > 1.3 * float(best_map({"squared": maps["squared"]}, truth)[0])
    assert best_map({"squared": maps["squared"], "standardized": maps["squared"]}, truth)[1] == "squared"


def test_kinds_of_defects_count_alike_however_many_pixels_they_have_and_not_at_all_without_any():
    """Dots are found best without smoothing and discs with much of it; the mean of both decides."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(3, 4, 64, 64, dtype=torch.bool)
    truth[0, :, 10::20, 10::20] = True
    truth[1, :, 20:44, 20:44] = True
    noise = torch.rand(3, 4, 64, 64, generator=generator)
    maps: dict[Measure, torch.Tensor] = {"squared": noise + truth * torch.tensor([1.0, 0.2, 0.0]).view(3, 1, 1, 1)}

    def precisions(kind: int, smooth: Smoothing) -> float:
        return float(average_precision_score(truth[kind].flatten(), smooth(maps["squared"][kind]).flatten()))

    found, _, best = best_map(maps, truth)
    expected = {smooth: (precisions(0, smooth), precisions(1, smooth)) for smooth in CANDIDATES}
    assert tuple(found.tolist()[:2]) == expected[best]
    assert found[2].isnan()
    assert sum(expected[best]) == max(sum(both) for both in expected.values())
    assert best != best_map(maps, truth & torch.tensor([False, True, False]).view(3, 1, 1, 1))[2]


def test_pooling_is_the_maximum_for_small_defects_and_the_mean_for_a_change_of_everything():
    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(40, 32, 32, generator=generator)
    small = torch.rand(40, 32, 32, generator=generator)
    small[:, 5, 5] = 2
    assert best_pooling(clean, small) == "maximum"
    assert best_pooling(clean, torch.rand(40, 32, 32, generator=generator) ** 0.9) == "mean"
    assert best_pooling(clean, clean + 5) == "maximum"  # both are perfect


def test_pool_is_numpys_maximum_and_mean():
    maps = np.random.default_rng(0).random((3, 5, 6)).astype(np.float32)
    np.testing.assert_array_equal(pool(torch.from_numpy(maps), "maximum"), maps.max((1, 2)))
    np.testing.assert_allclose(pool(torch.from_numpy(maps), "mean"), maps.mean((1, 2)), rtol=1e-6)


@pytest.mark.parametrize("count", [9, 200, 2000])
def test_scores_of_one_kind_have_no_outliers_and_a_few_far_above_them_are_found(count):
    scores = torch.from_numpy(np.random.default_rng(0).lognormal(-6, 0.3, count))
    assert not outliers(scores).any()
    scores[[1, 5]] *= 40
    assert outliers(scores).nonzero().flatten().tolist() == [1, 5]


def test_neither_a_third_of_the_scores_nor_a_slight_rise_above_equal_ones_are_outliers():
    generator = np.random.default_rng(0)
    spots = torch.from_numpy(np.concatenate([generator.lognormal(-4, 0.01, 120), generator.lognormal(-3, 0.4, 60)]))
    assert not outliers(spots).any()
    nearly_equal = torch.from_numpy(generator.normal(0.05, 1e-4, 100))
    nearly_equal[:3] = 0.09
    assert not outliers(nearly_equal).any()
    nearly_equal[:3] = 0.2
    assert outliers(nearly_equal).nonzero().flatten().tolist() == [0, 1, 2]


def test_equal_scores_and_zeros_have_no_outliers():
    assert not outliers(torch.full((20,), 0.1)).any()
    assert not outliers(torch.zeros(20)).any()
