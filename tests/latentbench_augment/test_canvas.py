import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from latentbench_augment.canvas import SIDE, coverage, pixel_centres, smooth_noise, square_root, uniform


@pytest.mark.parametrize("cell", [1.0, 2.4, 7.0, 20.0, 64.0])
@pytest.mark.parametrize("size", [32, 64, 100])
def test_smooth_noise_is_the_cubic_spline_of_its_coefficients(size: int, cell: float) -> None:
    noise = smooth_noise(torch.Generator().manual_seed(1), 2, size, (cell, 20.0)).numpy()
    knots = [int(np.ceil(SIDE / length)) + 3 for length in (cell, 20.0)]
    drawn = torch.randint(-255, 256, (2, *knots), generator=torch.Generator().manual_seed(1)).numpy() / 255
    places = (np.arange(size) + 0.5) * SIDE / size
    rows, columns = (
        BSpline.design_matrix(places / length, np.arange(-3, count + 1.0), 3).toarray()
        for length, count in zip((cell, 20.0), knots, strict=True)
    )
    np.testing.assert_allclose(noise, rows @ drawn @ columns.T, rtol=0, atol=2e-3)


def test_smooth_noise_has_mean_zero_and_stays_within_one() -> None:
    noise = smooth_noise(torch.Generator().manual_seed(2), 2000, 32, (30.0, 30.0))
    assert noise.dtype == torch.float32
    assert float(noise.abs().max()) <= 1
    means = noise.mean((1, 2))
    assert abs(float(means.mean())) < 4 * float(means.std()) / 2000**0.5


@settings(max_examples=30)
@given(size=st.integers(1, 300), edge=st.floats(0, SIDE))
def test_coverage_of_a_half_plane_adds_up_to_its_area(size: int, edge: float) -> None:
    covered = coverage(pixel_centres(size) - edge, size).sum() * SIDE / size
    assert float(covered) == pytest.approx(edge, abs=2e-3)


def test_uniform_draws_fill_their_range() -> None:
    draws = uniform(torch.Generator().manual_seed(3), 2, 5, 10_000)
    assert 2 <= float(draws.min()) < 2.01
    assert 4.99 < float(draws.max()) < 5


def test_square_roots_are_rounded_correctly() -> None:
    x = torch.cat([torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 100, torch.zeros(1)])
    assert np.array_equal(square_root(x).numpy(), np.sqrt(x.numpy()))
