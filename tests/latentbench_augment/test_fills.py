import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from latentbench_augment.canvas import SIDE
from latentbench_augment.fills import COLOUR_SHIFT, ELASTIC, ENLARGEMENT, FILLS, TEXTURES, fill

WITHOUT_TEXTURES = tuple(name for name in FILLS if name != TEXTURES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def places(count: int, height: int, width: int) -> Tensor:
    """Images whose first channel is the column of each pixel and whose second one is its row."""
    x, y = torch.meshgrid(torch.arange(width), torch.arange(height), indexing="xy")
    return torch.stack([x, y]).float().repeat(count, 1, 1, 1)


def middle(images: Tensor) -> Tensor:
    """The images without the quarter next to each border."""
    height, width = images.shape[2] // 4, images.shape[3] // 4
    return images[:, :, height:-height, width:-width]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    fills=st.sets(st.sampled_from(FILLS), min_size=1),
    size=st.tuples(st.integers(8, 20), st.integers(8, 20)),
    channels=st.sampled_from([1, 3]),
    bounds=st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)).map(sorted),
)
def test_fills_stay_within_the_range_of_the_clean_images(
    seed: int, fills: set[str], size: tuple[int, int], channels: int, bounds: list[float]
) -> None:
    low, high = bounds
    images = (low + (high - low) * torch.rand(4, channels, *size, generator=generator(seed))).clamp(low, high)
    textures = torch.rand(3, channels, 16, 16) if TEXTURES in fills else None
    content = fill(images, generator(seed), tuple(sorted(fills)), textures)
    assert content.shape == images.shape
    assert content.dtype == torch.float32
    assert float(content.min()) >= float(images.min())
    assert float(content.max()) <= float(images.max())


@pytest.mark.parametrize("name", FILLS)
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_where_all_images_are_one_constant_every_fill_is_that_constant(name: str, value: float) -> None:
    images = torch.full((5, 3, 17, 24), value)
    textures = torch.rand(2, 3, 16, 16) if name == TEXTURES else None
    assert torch.equal(fill(images, generator(), (name,), textures), images)


def test_other_images_of_the_batch_are_shown() -> None:
    images = torch.arange(40.0)[:, None, None, None].expand(40, 1, 12, 12) / 40
    content = fill(images, generator(), ("images",), None).flatten(1)
    torch.testing.assert_close(content, content[:, :1].expand_as(content))
    source = (content[:, 0] * 40).round()
    assert set(source.tolist()) <= set(range(40))
    assert len(set(source.tolist())) > 15
    assert float((source == torch.arange(40)).float().mean()) < 0.2


def test_another_image_is_turned_enlarged_and_displaced_without_a_change_of_its_shape() -> None:
    content = fill(places(64, 96, 144), generator(), ("images",), None)
    # How the place in the source changes from pixel to pixel; without signs, because it is mirrored here and there.
    right, down = (content.diff(dim=dim).abs().flatten(2).median(2).values for dim in (3, 2))
    torch.testing.assert_close(right, down.flip(1), rtol=0, atol=0.02)  # (|cos|, |sin|) and (|sin|, |cos|), enlarged
    enlarged = 1 / right.norm(dim=1)
    assert float(enlarged.min()) == pytest.approx(ENLARGEMENT[0], abs=0.05)
    assert float(enlarged.max()) == pytest.approx(ENLARGEMENT[1], abs=0.05)
    angle = torch.atan2(right[:, 1], right[:, 0])
    assert np.histogram(angle.numpy(), 4, (0, np.pi / 2))[0] == pytest.approx(16, abs=14)
    middles = content[:, :, 48, 72]
    assert middles.std(0).tolist() == pytest.approx([144 / 12**0.5, 96 / 12**0.5], rel=0.25)  # uniform in the source


def test_an_elastic_warp_displaces_by_smooth_fields_of_the_stated_size() -> None:
    images = places(30, 64, 96)
    displacement = middle(fill(images, generator(), ("elastic",), None) - images)
    pixels_per_unit = 64 / SIDE
    assert float(displacement.abs().max()) <= ELASTIC * pixels_per_unit + 1e-3
    assert float(displacement.std()) == pytest.approx(0.28 * ELASTIC * pixels_per_unit, rel=0.2)
    assert float(displacement.mean().abs()) < 0.3
    assert float(displacement.diff(dim=3).abs().max()) < 1.5  # smooth: a pixel's neighbour comes from close by
    for field in displacement.flatten(2).numpy():
        assert abs(np.corrcoef(field)[0, 1]) < 0.9  # x and y have fields of their own


def test_colours_are_shifted_by_a_constant_for_each_channel_and_clipped() -> None:
    images = torch.rand(40, 3, 16, 16, generator=generator(1)) * 0.6 + 0.2
    low, high = float(images.min()), float(images.max())
    content = fill(images, generator(), ("colour",), None)
    inside = (content > low) & (content < high)
    shifts = []
    for image, shifted, kept in zip(images.flatten(0, 1), content.flatten(0, 1), inside.flatten(0, 1), strict=True):
        shift = (shifted - image)[kept]
        torch.testing.assert_close(shift, shift[:1].expand_as(shift), atol=1e-5, rtol=0)
        torch.testing.assert_close(shifted, (image + shift[0]).clamp(low, high), atol=1e-5, rtol=0)
        shifts.append(float(shift[0]))
    assert max(np.abs(shifts)) <= COLOUR_SHIFT * (high - low)
    assert np.std(shifts) == pytest.approx(COLOUR_SHIFT * (high - low) / 3**0.5, rel=0.15)


def test_a_flat_colour_is_uniform_in_the_range_of_the_clean_images() -> None:
    images = torch.rand(300, 3, 8, 8, generator=generator(1)) * 0.5 + 0.25
    colours = fill(images, generator(), ("flat",), None).flatten(2)
    assert torch.equal(colours, colours[..., :1].expand_as(colours))
    shares = ((colours[..., 0] - 0.25) / 0.5).flatten()
    assert np.histogram(shares.numpy(), 5, (0, 1))[0] == pytest.approx(180, abs=50)


def test_textures_are_scaled_to_the_range_of_the_clean_images() -> None:
    images = torch.rand(50, 1, 20, 20, generator=generator(1)) * 0.5 + 0.25
    low, high = float(images.min()), float(images.max())
    shades = torch.tensor([0.0, 0.4, 1.0])[:, None, None, None].expand(3, 1, 7, 9)
    content = fill(images, generator(), (TEXTURES,), shades).flatten(1)
    found = content[:, :1].expand_as(content)
    torch.testing.assert_close(content, found)
    levels = {round(value, 5) for value in found[:, 0].tolist()}
    assert sorted(levels) == pytest.approx([low, low + 0.4 * (high - low), high], abs=1e-4)


def test_each_image_has_one_fill_and_each_fill_is_drawn_equally_often() -> None:
    images = torch.rand(600, 1, 8, 8, generator=generator(1))
    drawn = fill(images, generator(), ("flat", "colour", TEXTURES), torch.full((1, 1, 4, 4), 0.5)).flatten(1)
    constant = ((drawn - drawn[:, :1]).abs() < 1e-5).all(1)
    textured = constant & ((drawn[:, 0] - 0.5).abs() < 1e-3)
    shares = [float(found.float().mean()) for found in (textured, constant & ~textured, ~constant)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.07)
