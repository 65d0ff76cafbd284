import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.latentbench_nulls.given import SHAPES, images

from latentbench_patches import Grid, reduced


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("grid", [Grid(8, 4), Grid(4, 2), Grid(5, 3), Grid(3, 3)], ids=str)
def test_patches_are_those_of_a_slow_loop_over_cells(shape, grid):
    pictures = images(shape, 3)
    channels, height, width = shape
    down, across = grid.shape(height, width)
    assert (down, across) == (-(-height // grid.cell), -(-width // grid.cell))
    found = grid.patches(pictures)
    assert found.shape == (3, down * across, channels * grid.side**2)
    before = (grid.side - grid.cell) // 2
    for row in range(down):
        for column in range(across):
            ys = np.clip(np.arange(grid.side) + grid.cell * row - before, 0, height - 1)
            xs = np.clip(np.arange(grid.side) + grid.cell * column - before, 0, width - 1)
            expected = pictures[:, :, ys][:, :, :, xs].flatten(1)
            assert torch.equal(found[:, row * across + column], expected)


@given(st.sampled_from([2, 3, 4]), st.integers(20, 50), st.integers(20, 50))
def test_a_map_that_is_linear_in_the_centres_of_cells_is_linear_in_pixels(cell, height, width):
    grid = Grid(2 * cell, cell)
    ys, xs = ((torch.arange(n) + 0.5) * cell - 0.5 for n in grid.shape(height, width))
    found = grid.to_pixels((2 * ys[:, None] + 3 * xs).flatten()[None], height, width)
    assert found.shape == (1, height, width)
    expected = 2 * torch.arange(float(height))[:, None] + 3 * torch.arange(float(width))
    inside = np.s_[cell : height - 2 * cell, cell : width - 2 * cell]
    torch.testing.assert_close(found[0][inside], expected[inside])


@pytest.mark.parametrize(("size", "block"), [((128, 320), 1), ((255, 255), 1), ((256, 256), 2), ((300, 641), 2)])
def test_large_images_are_averaged_in_blocks(size, block):
    grid, pictures = Grid(8, 4), images((1, *size), 1)
    small = reduced(pictures)
    assert small.shape[2:] == (-(-size[0] // block), -(-size[1] // block))
    torch.testing.assert_close(small[0, 0, 5, 7], pictures[0, 0, 5 * block : 6 * block, 7 * block : 8 * block].mean())
    values = torch.rand(1, grid.patches(pictures).shape[1])
    assert values.shape[1] == np.prod(grid.shape(*size))
    assert grid.to_pixels(values, *size).shape[1:] == size
