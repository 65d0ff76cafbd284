import numpy as np
import pytest
import torch
from tests.latentbench_nulls.given import SHAPES, images

from latentbench import DataInfo
from latentbench_nulls.patches import cells, patches, reduced, to_pixels


def _info(height: int, width: int, channels: int = 1) -> DataInfo:
    return DataInfo(channels, height, width, 1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_patches_are_those_of_a_slow_loop_over_cells(shape):
    given = images(shape, 3)
    channels, height, width = shape
    down, across = cells(_info(height, width))
    assert (down, across) == (-(-height // 4), -(-width // 4))
    found = patches(given)
    assert found.shape == (3, down * across, channels * 64)
    for row in range(down):
        for column in range(across):
            ys = np.clip(np.arange(4 * row - 2, 4 * row + 6), 0, height - 1)
            xs = np.clip(np.arange(4 * column - 2, 4 * column + 6), 0, width - 1)
            expected = given[:, :, ys][:, :, :, xs].flatten(1)
            assert torch.equal(found[:, row * across + column], expected)


def test_a_map_that_is_linear_in_the_centres_of_cells_is_linear_in_pixels():
    info = _info(30, 45)
    down, across = cells(info)
    ys, xs = torch.arange(down) * 4 + 1.5, torch.arange(across) * 4 + 1.5
    found = to_pixels((2 * ys[:, None] + 3 * xs).flatten()[None], info)
    assert found.shape == (1, 30, 45)
    expected = 2 * torch.arange(30.0)[:, None] + 3 * torch.arange(45.0)
    torch.testing.assert_close(found[0, 2:28, 2:42], expected[2:28, 2:42])


@pytest.mark.parametrize(("size", "block"), [((128, 320), 1), ((255, 255), 1), ((256, 256), 2), ((300, 641), 2)])
def test_large_images_are_averaged_in_blocks(size, block):
    given = images((1, *size), 1)
    small = reduced(given)
    assert small.shape[2:] == (-(-size[0] // block), -(-size[1] // block))
    torch.testing.assert_close(small[0, 0, 5, 7], given[0, 0, 5 * block : 6 * block, 7 * block : 8 * block].mean())
    values = torch.rand(1, patches(given).shape[1])
    assert values.shape[1] == np.prod(cells(_info(*size)))
    assert to_pixels(values, _info(*size)).shape[1:] == size
