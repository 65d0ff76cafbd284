"""Random symmetries: which images come of one, how often, and that rows are drawn independently."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from latentbench_sdc.symmetries import transformed

#: Every member of the group as NumPy has it.
MEMBERS: dict[str, list[Callable[[Any], Any]]] = {
    "none": [lambda a: a],
    "mirror": [lambda a: a, np.fliplr],
    "half_turn": [lambda a: a, lambda a: np.rot90(a, 2)],
    "flips": [lambda a: a, np.fliplr, np.flipud, lambda a: np.rot90(a, 2)],
    "rotations": [partial(np.rot90, k=turns) for turns in range(4)],
    "dihedral": [
        *(partial(np.rot90, k=turns) for turns in range(4)),
        *(lambda a, turns=turns: np.fliplr(np.rot90(a, turns)) for turns in range(4)),
    ],
}


@pytest.mark.parametrize("symmetry", MEMBERS)
def test_an_image_becomes_each_member_of_the_group_equally_often_and_nothing_else(symmetry):
    image = np.arange(25, dtype=np.float32).reshape(5, 5)
    count = 4000
    found = transformed(
        torch.from_numpy(image).expand(count, 1, 5, 5), symmetry, torch.Generator().manual_seed(0)
    ).numpy()
    members = [member(image) for member in MEMBERS[symmetry]]
    times = [int((found[:, 0] == member).all((1, 2)).sum()) for member in members]
    assert sum(times) == count
    share = 1 / len(members)
    assert np.allclose(times, count * share, atol=5 * np.sqrt(count * share * (1 - share)))  # 5 standard deviations


@pytest.mark.parametrize("symmetry", ["mirror", "half_turn", "flips"])
def test_images_that_are_not_square_keep_their_shape_and_their_pixels(symmetry):
    images = torch.rand(6, 3, 4, 7)
    found = transformed(images, symmetry, torch.Generator().manual_seed(1))
    assert found.shape == images.shape
    assert torch.equal(found.flatten(2).sort().values, images.flatten(2).sort().values)


def test_channels_stay_in_place():
    images = torch.arange(3.0).view(1, 3, 1, 1).expand(8, 3, 4, 4)
    assert torch.equal(transformed(images, "dihedral", torch.Generator().manual_seed(0)), images)
