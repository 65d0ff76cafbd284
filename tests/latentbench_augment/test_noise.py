import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline
from torch import Tensor

from latentbench import LatentbenchError
from latentbench_augment import GridNoise

#: The convolution of two hat functions, of the distance in cells.
TWO_HATS = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)


def noise(corrupt: GridNoise, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """What is added to grey images; with a small ``sd`` nothing is clipped."""
    grey = torch.full(shape, 0.5)
    return corrupt(grey, torch.Generator().manual_seed(seed)).images - grey


@pytest.mark.parametrize("cells", [1, 4, 10])
def test_variance_and_correlation_are_those_of_bilinear_noise_at_a_random_place(cells: int) -> None:
    """Cov(e(0), e(d)) = sd^2 B(d_x / cell) B(d_y / cell): B is the cubic B-spline, and 0 beyond two cells."""
    sd, cell = 0.02, 40 / cells
    e = noise(GridNoise(cells, sd), (20_000, 1, 40, 50))[:, 0].numpy()
    assert abs(e[:, 20, 20].mean()) < 4 * sd / 20_000**0.5
    for dy, dx in [(0, 0), (0, 2), (3, 0), (4, 4), (0, 12), (19, 3)]:
        expected = sd**2 * np.prod([np.nan_to_num(TWO_HATS(distance / cell)) for distance in (dy, dx)])
        found = (e[:, 5, 7] * e[:, 5 + dy, 7 + dx]).mean()
        assert found == pytest.approx(expected, abs=5 * sd**2 / 20_000**0.5), (dy, dx)


def test_a_pixels_standard_deviation_is_two_thirds_of_the_nodes() -> None:
    e = noise(GridNoise(8, 0.03), (500, 3, 32, 32))
    assert float(e.std()) == pytest.approx(0.02, rel=0.03)


def test_noise_of_pixels_is_independent_and_has_the_whole_standard_deviation() -> None:
    e = noise(GridNoise(None, 0.03), (100, 3, 32, 32))
    assert float(e.std()) == pytest.approx(0.03, rel=0.01)
    assert abs(float((e[..., 1:] * e[..., :-1]).mean())) < 0.03**2 * 0.02


@pytest.mark.parametrize("cells", [None, 4])
def test_channels_and_images_have_noise_of_their_own(cells: int | None) -> None:
    e = noise(GridNoise(cells, 0.02), (50, 2, 24, 24))
    first, second = e[:, 0].flatten(), e[:, 1].flatten()
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.2
    assert not torch.equal(e[0], e[1])


def test_it_is_linear_between_nodes_whose_distance_is_a_cell_of_the_shorter_side() -> None:
    e = noise(GridNoise(4, 0.02), (1, 1, 80, 120)).double()[0, 0]  # cells of 20 pixels
    bends = e.diff(n=2, dim=1).abs().amax(0) > 1e-6  # by column; about two columns in each cell
    columns = torch.nonzero(bends).flatten()
    assert len(columns) <= 2 * (120 // 20 + 1)
    assert {int(step) for step in columns.diff() if step > 1} <= {18, 19, 20}


def test_results_are_clipped_and_every_pixel_counts_as_corrupted() -> None:
    images = torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    found, mask = GridNoise(4, 2.0)(images, torch.Generator().manual_seed(0))
    assert (float(found.min()), float(found.max())) == (0, 1)
    assert torch.equal(mask, torch.ones(4, 1, 16, 24))


def test_without_deviation_images_are_the_same() -> None:
    images = torch.rand(4, 3, 16, 24)
    assert torch.equal(GridNoise(4, 0.0)(images, torch.Generator()).images, images)


@pytest.mark.parametrize(("options", "name"), [({"cells": 0}, "cells=0"), ({"sd": -0.1}, "sd=-0.1")])
def test_options_that_cannot_be_are_refused(options: dict[str, float], name: str) -> None:
    with pytest.raises(LatentbenchError, match=f"grid noise cannot have {name}"):
        GridNoise(**options)  # type: ignore[arg-type]
