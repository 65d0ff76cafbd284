from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latentbench import LatentbenchError
from latentbench.testing.simulated_device import count_synchronizations, simulated_device
from latentbench_augment import Corrupted, Corruption, GridNoise
from latentbench_augment.blobs import OUTLINES
from latentbench_augment.fills import FILLS

SEEDS = st.integers(0, 2**31)
#: As a fill of images that hold 0 and 1, it is white, so that the corruption follows from mask and opacity.
WHITE = torch.ones(1, 3, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 8, channels: int = 3, height: int = 32, width: int = 32, seed: int = 1) -> Tensor:
    """Random images, the first of which is black and white, so that the range is [0, 1]."""
    images = torch.rand(count, channels, height, width, generator=generator(seed))
    images[0] = images[0].round()
    return images


@settings(max_examples=60)
@given(
    seed=SEEDS,
    size=st.tuples(st.integers(8, 41), st.integers(8, 41)),
    channels=st.sampled_from([1, 3]),
    shapes=st.sets(st.sampled_from(sorted(OUTLINES)), min_size=1),
    fills=st.sets(st.sampled_from([name for name in FILLS if name != "textures"]), min_size=1),
    blobs=st.tuples(st.integers(1, 4), st.integers(1, 4)).map(sorted),
    side=st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    coverage=st.tuples(st.floats(0, 0.2), st.floats(0.25, 1)),
    softness=st.floats(0, 20),
)
def test_masks_keep_the_coverage_and_images_their_range_and_what_is_not_in_the_mask(
    seed: int, size: tuple[int, int], channels: int, softness: float, coverage: tuple[float, float], **options: Any
) -> None:
    images = batch(4, channels, *size, seed)
    options = {name: tuple(sorted(values)) for name, values in options.items()}
    corruption = Corruption(**options, coverage=coverage, softness=softness, clean=0.0)
    found, mask = corruption(images, generator(seed))
    assert found.shape == images.shape
    assert mask.shape == (4, 1, *size)
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    for share in mask.mean((1, 2, 3)).tolist():
        assert max(coverage[0], 1 / mask[0].numel()) - 1e-6 <= share <= coverage[1] + 1e-6
    assert float(images.min()) <= float(found.min()) <= float(found.max()) <= float(images.max())
    outside = (mask == 0).expand_as(images)
    assert torch.equal(found[outside], images[outside])


@pytest.mark.parametrize("opacity", [0.25, 0.6, 1.0])
def test_compositing_equals_a_loop_over_pixels(opacity: float) -> None:
    images = batch(3, 3, 9, 14)
    found, mask = Corruption(fills=("textures",), opacity=(opacity, opacity))(images, generator(), textures=WHITE)
    x, M, t = images.double().numpy(), mask.double().numpy(), 1.0
    expected = np.empty_like(x)
    for index in np.ndindex(x.shape):
        bM = opacity * M[index[0], 0, index[2], index[3]]
        expected[index] = (1 - bM) * x[index] + bM * t
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
    assert 0 < M.mean() < 1


def test_opacities_are_uniform_in_their_range() -> None:
    images = torch.zeros(400, 1, 16, 16)
    images[0, 0, 0, 0] = 1  # for the range
    corruption = Corruption(fills=("textures",), opacity=(0.2, 0.7), clean=0.0, softness=0.0)
    found, mask = corruption(images, generator(), textures=WHITE[:, :1])
    opacity = (found * mask).flatten(1)[1:].amax(1)
    assert np.histogram(opacity.numpy(), 5, (0.2, 0.7))[0] == pytest.approx(80, abs=30)


def test_without_opacity_images_are_the_same_bit_for_bit() -> None:
    images = batch()
    found, mask = Corruption(opacity=(0.0, 0.0))(images, generator())
    assert torch.equal(found, images)
    assert float(mask.max()) > 0.9


@pytest.mark.parametrize("clean", [0.0, 0.1, 0.5, 1.0])
def test_the_stated_share_of_images_is_left_as_it_is(clean: float) -> None:
    images = batch(2000, 1, 8, 8)
    found, mask = Corruption(clean=clean, opacity=(1.0, 1.0), fills=("flat",))(images, generator())
    left = (mask == 0).flatten(1).all(1)
    assert abs(float(left.float().mean()) - clean) <= 4 * (clean * (1 - clean) / 2000) ** 0.5
    assert torch.equal(found[left], images[left])
    assert bool((found != images)[~left].flatten(1).any(1).all())


def test_a_wider_softness_makes_softer_edges_of_the_same_blobs() -> None:
    hard, soft = (Corruption(softness=width)(batch(), generator()).mask for width in (0.0, 16.0))
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    assert float(((soft > 0.05) & (soft < 0.95)).float().mean()) > 0.02
    torch.testing.assert_close(hard.mean((1, 2, 3)), soft.mean((1, 2, 3)))


def test_softness_is_in_pixels_of_an_image_of_256() -> None:
    """The width of the edge, from 16 % to 84 %, is two standard deviations."""
    corruption = Corruption(shapes=("rectangle",), side=(0.4, 0.4), blobs=(1, 1), clean=0.0, softness=4.0)
    for size in (128, 256):
        mask = corruption(batch(20, 1, size, size), generator()).mask
        edges = ((mask > 0.16) & (mask < 0.84)).float().sum((1, 2, 3))
        perimeter = 4 * 0.4 * size
        assert float(edges.median()) / perimeter == pytest.approx(2 * 4.0 * size / 256, rel=0.25)


@pytest.mark.parametrize("corrupt", [Corruption(), GridNoise(), GridNoise(cells=None)])
def test_the_generator_alone_decides(corrupt: Callable[..., Corrupted]) -> None:
    images = batch()
    torch.manual_seed(1)
    first = corrupt(images, generator())
    torch.manual_seed(2)
    state = torch.get_rng_state()
    again, other = corrupt(images, generator()), corrupt(images, generator(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.images, other.images)


@pytest.mark.parametrize("corrupt", [Corruption(), GridNoise(), GridNoise(cells=None)])
def test_autocast_changes_nothing(corrupt: Callable[..., Corrupted]) -> None:
    plain = corrupt(batch(), generator())
    with torch.autocast("cpu", torch.bfloat16):
        cast = corrupt(batch(), generator())
    assert torch.equal(plain.images, cast.images)
    assert torch.equal(plain.mask, cast.mask)


@pytest.mark.parametrize("corrupt", [Corruption(), GridNoise(), GridNoise(cells=None)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_floating_dtypes_give_the_same_up_to_their_rounding(
    corrupt: Callable[..., Corrupted], dtype: torch.dtype
) -> None:
    images = batch().to(dtype)
    found = corrupt(images, generator())
    expected = corrupt(images.float(), generator())
    assert found.images.dtype == dtype
    assert found.mask.dtype == torch.float32
    assert torch.equal(found.mask, expected.mask)
    torch.testing.assert_close(found.images.float(), expected.images, atol=2**-7, rtol=0)
    clean = (found.mask == 0).flatten(1).all(1)
    assert torch.equal(found.images[clean], images[clean])


@pytest.mark.parametrize("textures", [False, True])
@pytest.mark.parametrize("corrupt", [Corruption(), GridNoise(), GridNoise(cells=None)])
def test_on_an_accelerator_it_does_the_same_and_never_waits(corrupt: Callable[..., Corrupted], textures: bool) -> None:
    images = batch(6, 3, 20, 33)
    given = {"textures": torch.rand(3, 3, 16, 16)} if textures and isinstance(corrupt, Corruption) else {}
    here = corrupt(images, generator(5), **given)
    with simulated_device() as device:
        moved, on_device = images.to(device), {name: value.to(device) for name, value in given.items()}
        with count_synchronizations() as found:
            there = corrupt(moved, torch.Generator(device).manual_seed(5), **on_device)
        assert not found
        assert there.images.device == there.mask.device == device
        assert torch.equal(there.images.cpu(), here.images)
        assert torch.equal(there.mask.cpu(), here.mask)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shapes": ("elipse",)}, "unknown shape 'elipse' of a corruption: did you mean 'ellipse'"),
        ({"fills": ("texture",)}, "unknown fill 'texture' of a corruption: did you mean 'textures'"),
        ({"fills": ("flat", "flat")}, r"a corruption cannot have fills=\('flat', 'flat'\): name each fill once"),
        ({"shapes": ("curve", "ellipse", "curve")}, r"cannot have shapes=.*: name each shape once"),
        ({"shapes": ()}, r"a corruption cannot have shapes=\(\): name one or more"),
        ({"blobs": (0, 2)}, r"a corruption cannot have blobs=\(0, 2\): two rising whole numbers from 1"),
        ({"side": (0.3, 0.2)}, "cannot have side="),
        ({"opacity": (0.5, 1.1)}, "cannot have opacity="),
        ({"coverage": (0.3, 0.3)}, "cannot have coverage="),
        ({"softness": -1.0}, "cannot have softness="),
        ({"clean": 1.5}, "cannot have clean="),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError, match=message):
        Corruption(**options)


def test_textures_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LatentbenchError, match="with the fill 'textures' was given none"):
        Corruption(fills=("textures",))(batch(), generator())
    with pytest.raises(LatentbenchError, match="a corruption has no fill"):
        Corruption(fills=())(batch(), generator())
    with pytest.raises(LatentbenchError, match="textures have 3 channels, and the images 1: read them with channels=1"):
        Corruption()(batch(channels=1), generator(), textures=WHITE)


def test_textures_are_one_fill_more() -> None:
    white = torch.ones(1, 1, 8, 8)
    images = batch(400, 1, 8, 8)
    options: dict[str, Any] = {"opacity": (1.0, 1.0), "clean": 0.0, "softness": 0.0}
    found, mask = Corruption(fills=("colour",), **options)(images, generator(), textures=white)
    filled = ((found == 1) | (mask == 0)).flatten(1).all(1)
    assert float(filled.float().mean()) == pytest.approx(0.5, abs=0.1)
