"""FactorVAE and BetaVAE scores and IRS against loops that draw and compare image by image, and known codes."""

import random

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from latentbench import Evaluation, LatentbenchError, Targets
from latentbench_metrics.intervention import IRS, BetaVAEScore, FactorVAEScore

ALL = [IRS, BetaVAEScore, FactorVAEScore]


def measure(metric, codes, factors) -> float:
    attributes = {f"factor{number}": values for number, values in enumerate(np.asarray(factors, np.int64).T)}
    output = {"z": np.asarray(codes, np.float32)}
    return metric().measure(Evaluation(output, Targets(attributes=attributes), np.ones(len(factors)), {}))[""]


def crossed(sizes, copies: int = 1):
    """Every combination of the factors' values, ``copies`` times."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).reshape(-1, len(sizes))
    return np.repeat(grid, copies, axis=0)


def mixed_case(seed: int = 0):
    """Factors of 2 and 3 values, unequal cells, and codes that separate them in part."""
    rng = np.random.default_rng(seed)
    factors = np.repeat(crossed([2, 3]), [40, 80, 120, 30, 60, 200], axis=0)
    mixing = np.array([[0.6, 0.16, 0.0], [0.12, 0.32, 0.0]])
    return factors @ mixing + rng.normal(0, [0.5, 0.5, 0.2], (len(factors), 3)), factors


class Drawer:
    """A generator of images in which every cell of the factors is as likely as any other: one image at a time."""

    def __init__(self, codes, factors) -> None:
        scaled = codes - codes.mean(axis=0)
        self.cells: dict[tuple[int, ...], list] = {}
        for code, cell in zip((scaled / scaled.std(axis=0).max()).tolist(), map(tuple, factors), strict=True):
            self.cells.setdefault(cell, []).append(code)
        self.random = random.Random(0)

    def cell(self, factor: int | None = None, value: int | None = None):
        choices = [cell for cell in self.cells if factor is None or cell[factor] == value]
        return self.random.choice(choices)

    def code(self, cell):
        return self.random.choice(self.cells[cell])


def slow_factor_vae(codes, factors, votes: int = 1000) -> float:
    drawer = Drawer(codes, factors)
    spread = np.var([drawer.code(drawer.cell()) for _ in range(5000)], axis=0)
    table = np.zeros((codes.shape[1], factors.shape[1]))
    for vote in range(votes):
        factor = vote % factors.shape[1]
        value = drawer.cell()[factor]
        batch = [drawer.code(drawer.cell(factor, value)) for _ in range(64)]
        table[np.argmin(np.var(batch, axis=0) / spread), factor] += 1
    return table.max(axis=1).sum() / votes


def slow_beta_vae(codes, factors, draws: int = 1500) -> float:
    drawer = Drawer(codes, factors)
    points, labels = [], []
    for draw in range(draws):
        factor = draw % factors.shape[1]
        apart = []
        for _ in range(64):
            one = drawer.cell()
            other = drawer.cell(factor, one[factor])
            apart.append(np.abs(np.subtract(drawer.code(one), drawer.code(other))))
        points.append(np.mean(apart, axis=0))
        labels.append(factor)
    half = draws // 2
    return LogisticRegression(C=10_000 / half).fit(points[:half], labels[:half]).score(points[half:], labels[half:])


def slow_irs(codes, factors) -> float:
    """Suter et al.'s score where every cell has as many images: their mean is the plain mean."""
    value = total = 0.0
    for code in codes.T:
        reach = max(abs(code - code.mean()))
        best = -1.0
        for factor in factors.T:
            distances = []
            for held in set(factor):
                group = code[factor == held]
                ordered = sorted(abs(group - group.mean()))
                distances.append(next(d for rank, d in enumerate(ordered, 1) if rank >= 0.99 * len(ordered)))
            best = max(best, 1 - np.mean(distances) / reach)
        value, total = value + reach * best, total + reach
    return value / total


# The definitions, slowly


@pytest.mark.parametrize(("metric", "slow"), [(FactorVAEScore, slow_factor_vae), (BetaVAEScore, slow_beta_vae)])
def test_a_score_is_that_of_a_loop_that_draws_image_by_image(metric, slow):
    codes, factors = mixed_case()
    expected = slow(codes, factors)
    assert 0.6 < expected < 0.99  # neither chance nor perfect, so that the comparison says something
    assert measure(metric, codes, factors) == pytest.approx(expected, abs=0.04)  # 3 standard errors


@pytest.mark.parametrize("seed", range(4))
def test_irs_is_that_of_a_loop_over_dimensions_factors_and_values(seed):
    rng = np.random.default_rng(seed)
    factors = crossed([2, 5], copies=37)
    codes = (factors @ rng.normal(size=(2, 4)) + rng.normal(0, 0.5, (len(factors), 4))).astype(np.float32)
    assert measure(IRS, codes, factors) == pytest.approx(slow_irs(codes.astype(np.float64), factors), abs=1e-9)


def test_irs_weighs_unequal_cells_as_if_each_had_as_many_images():
    codes, factors = mixed_case()
    codes = codes.astype(np.float32)
    _, cell, sizes = np.unique(factors, axis=0, return_inverse=True, return_counts=True)
    copies = 1200 // sizes[cell]  # 1,200 of every cell
    balanced = slow_irs(np.repeat(codes, copies, axis=0).astype(np.float64), np.repeat(factors, copies, axis=0))
    assert measure(IRS, codes, factors) == pytest.approx(balanced, abs=1e-9)


# Known codes


@pytest.mark.parametrize("metric", ALL)
def test_perfect_codes_have_one_and_a_constant_code_has_nothing(metric):
    factors = crossed([3, 4, 5], copies=4)
    assert measure(metric, factors, factors) == 1
    assert measure(metric, np.full(factors.shape, 0.1), factors) == 0


@pytest.mark.parametrize("metric", [FactorVAEScore, BetaVAEScore])
def test_noise_is_told_by_chance(metric):
    factors = crossed([2, 3, 4], copies=100)
    noise = np.random.default_rng(0).normal(size=(len(factors), 5))
    assert measure(metric, noise, factors) == pytest.approx(1 / 3, abs=0.1)


def test_irs_of_a_code_that_mixes_two_factors_evenly_is_a_half():
    factors = crossed([2, 2], copies=10)
    mixture = factors.sum(axis=1)[:, None]  # 0, 1, 1, 2: half a unit from the mean of a value, one from that of all
    assert measure(IRS, mixture, factors) == pytest.approx(0.5)


def test_irs_is_below_zero_where_the_few_images_of_a_value_are_far_from_its_mean():
    value = np.repeat([0, 1], 100)
    code = np.where(np.arange(200) % 10 == 0, -1, 1) * np.where(value == 0, -1, 1)
    assert measure(IRS, code[:, None], value[:, None]) == pytest.approx(1 - 1.8)


def test_irs_leaves_constant_dimensions_out():
    codes, factors = mixed_case()
    more = np.column_stack([codes, np.full(len(codes), 0.1)])
    assert measure(IRS, more, factors) == measure(IRS, codes, factors)


@pytest.mark.parametrize("seed", range(3))
def test_the_toy_of_ten_binary_factors_has_its_published_values(seed):
    rng = np.random.default_rng(seed)  # Funke et al., 2022, table 5: W = I, variance 0.1, about 1,000 images
    factors = rng.integers(0, 2, (1000, 10))
    codes = 2 * factors - 1 + rng.normal(0, np.sqrt(0.1), factors.shape)
    assert measure(IRS, codes, factors) == pytest.approx(0.600, abs=0.025)  # 3 standard deviations over draws
    assert measure(FactorVAEScore, codes, factors) == 1
    assert measure(BetaVAEScore, codes, factors) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(("scale", "expected"), [(0.06, 1), (0.04, 0.5)])
def test_factor_vae_leaves_out_a_dimension_of_less_than_five_percent_of_the_widest_ones_deviation(scale, expected):
    factors = crossed([4, 4], copies=30)
    codes = factors + np.random.default_rng(0).normal(0, 0.1, factors.shape)
    assert measure(FactorVAEScore, codes / codes.std(axis=0) * [1, scale], factors) == expected


# Interventions bring their own distribution


@pytest.mark.parametrize("metric", ALL)
def test_how_many_images_a_cell_has_does_not_count(metric):
    codes, factors = mixed_case()
    rare = np.where((factors == [0, 2]).all(axis=1), 7, 1)
    repeated = measure(metric, np.repeat(codes, rare, axis=0), np.repeat(factors, rare, axis=0))
    assert repeated == pytest.approx(measure(metric, codes, factors), abs=1e-12)


def test_irs_leaves_out_a_value_that_one_image_alone_has_because_it_cannot_be_far_from_itself():
    value = np.repeat([0, 1, 2], [100, 100, 1])
    code = np.where(np.arange(201) % 10 == 0, -1, 1) * np.where(value == 0, -1, 1)
    code[-1] = 0
    assert measure(IRS, code[:, None], value[:, None]) == pytest.approx(1 - 1.8)


def test_factor_vae_leaves_out_a_value_that_one_image_alone_has_because_no_dimension_varies():
    grid = crossed([4, 4], copies=10)
    alone = np.column_stack([np.arange(16) % 4, np.arange(4, 20)])
    factors = np.concatenate([grid, alone])
    noise = np.random.default_rng(0).normal(0, 0.1, factors.shape)
    assert measure(FactorVAEScore, factors + noise, factors) == 1


@pytest.mark.parametrize("metric", ALL)
def test_a_factor_of_which_no_two_images_share_a_value_is_an_error_that_names_it(metric):
    factors = np.column_stack([np.arange(30) % 2, np.arange(30)])
    with pytest.raises(LatentbenchError, match="no two images share a value of the factor 'factor1'"):
        measure(metric, np.random.default_rng(0).normal(size=(30, 2)), factors)


@pytest.mark.parametrize("metric", ALL)
def test_neither_order_nor_scale_counts_and_a_repetition_is_exact(metric):
    codes, factors = mixed_case()
    codes = np.round(codes, 2).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(codes))
    expected = measure(metric, codes, factors)
    assert measure(metric, codes[order], factors[order]) == expected
    assert measure(metric, codes * 2.0**-12, factors) == pytest.approx(expected, abs=1e-9)
