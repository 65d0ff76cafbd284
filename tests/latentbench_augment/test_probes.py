import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from latentbench.testing.simulated_device import count_synchronizations, simulated_device
from latentbench_augment import PROBES

#: Of images with a shorter side of 256 pixels, in which a unit of the canvas has four.
SIDE, UNIT = 256, 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def detailed(count: int = 4, channels: int = 3, height: int = SIDE, width: int = SIDE) -> Tensor:
    """Noise from 0.3 to 0.7, with a black and a white pixel, so that the range is [0, 1]."""
    images = 0.3 + 0.4 * torch.rand(count, channels, height, width, generator=generator(1))
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1
    return images


def smoothed(images: Tensor, width: float) -> Tensor:
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, width, width), mode="reflect"))


@pytest.mark.parametrize("name", PROBES)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    size=st.tuples(st.integers(8, 41), st.integers(8, 41)),
    channels=st.sampled_from([1, 3]),
)
def test_images_keep_their_range_and_what_is_not_in_the_mask(
    name: str, seed: int, size: tuple[int, int], channels: int
) -> None:
    images = 0.1 + 0.8 * torch.rand(3, channels, *size, generator=generator(seed))
    found, mask = PROBES[name](images, generator(seed))
    assert found.shape == images.shape
    assert mask.shape == (3, 1, *size)
    assert 0 <= float(mask.min()) <= float(mask.max()) <= 1
    assert float(images.min()) <= float(found.min()) <= float(found.max()) <= float(images.max())
    outside = (mask == 0).expand_as(images)
    assert torch.equal(found[outside], images[outside])
    assert torch.equal(found, PROBES[name](images, generator(seed)).images)


@pytest.mark.parametrize("name", PROBES)
def test_each_image_has_a_defect_of_its_own(name: str) -> None:
    images = detailed(8, 1, 128, 96)
    found, mask = PROBES[name](images, generator())
    assert (mask > 0.5).any(dim=3).any(dim=2).all()
    assert ((found - images).abs().amax((1, 2, 3)) > 0.05).all()
    assert len({each.numpy().tobytes() for each in mask}) == 8


def test_blur_is_a_gaussian_and_contrast_strengthens_what_a_wider_one_takes_away() -> None:
    images = detailed()
    found, mask = PROBES["blur"](images, generator())
    inside = (mask == 1).expand_as(images)
    assert inside.float().mean() > 0.005
    torch.testing.assert_close(found[inside], smoothed(images, 4)[inside], rtol=0, atol=1e-4)
    found, mask = PROBES["contrast"](images, generator())
    inside = (mask == 1).expand_as(images)
    coarse = smoothed(images, 12)
    expected = (coarse + 2.5 * (images - coarse)).clamp(0, 1)
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-4)


def test_grain_is_noise_of_each_pixel_and_channel() -> None:
    images = detailed(16)
    found, mask = PROBES["grain"](images, generator())
    red, green, _ = (found - images).unbind(1)
    inside = mask[:, 0] == 1
    assert float(red[inside].std()) == pytest.approx(0.12, rel=0.03)
    assert abs(float(torch.corrcoef(torch.stack([red[inside], green[inside]]))[0, 1])) < 0.05


@pytest.mark.parametrize("name", ["lines", "shade"])
def test_a_line_or_a_shade_has_one_brightness_in_an_image_lighter_or_darker(name: str) -> None:
    images = torch.full((64, 1, 64, 64), 0.5)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1
    found, mask = PROBES[name](images, generator())
    steps = []
    for image, clean, each in zip(found, images, mask, strict=True):
        step = ((image - clean) / each)[each > 0.5]
        if len(step):
            assert float(step.max() - step.min()) < 0.01
            steps.append(float(step.mean()))
    assert len(steps) > 55
    assert 0.14 < min(map(abs, steps)) < 0.2
    assert 0.4 < max(map(abs, steps)) < 0.51
    assert 0.3 < sum(step > 0 for step in steps) / len(steps) < 0.7


def test_lines_are_thin_and_long() -> None:
    _, mask = PROBES["lines"](detailed(32, 1), generator())
    for each in mask[:, 0].numpy() > 0.5:
        half_width = distance_transform_edt(each).max()
        assert half_width <= 1.5 * UNIT / 2 + 2
        assert each.sum() > 5 * UNIT * half_width  # it is longer than wide


def test_regions_cover_up_to_a_tenth() -> None:
    """Smoothing an edge keeps the mean of a mask."""
    _, mask = PROBES["grain"](detailed(64, 1), generator())
    shares = mask.mean((1, 2, 3))
    assert 0.004 < float(shares.min()) < 0.01
    assert 0.05 < float(shares.max()) < 0.101


@pytest.mark.parametrize("name", ["blur", "contrast"])
def test_where_there_is_no_detail_nothing_changes_and_nothing_counts(name: str) -> None:
    images = torch.full((4, 1, 64, 64), 0.5)
    images[0, :, 0, 0], images[0, :, 0, 1] = 0, 1
    found, mask = PROBES[name](images, generator())
    assert torch.equal(found[1:], images[1:])
    assert not mask[1:].any()


@pytest.mark.parametrize("name", PROBES)
def test_it_draws_on_the_device_without_waiting_for_it(name: str) -> None:
    images = detailed(3, 3, 32, 48)
    here = PROBES[name](images, generator(5))
    with simulated_device() as device:
        moved = images.to(device)
        with count_synchronizations() as waits:
            there = PROBES[name](moved, torch.Generator(device).manual_seed(5))
        assert not waits
        assert there.images.device == there.mask.device == device
        assert torch.equal(there.images.cpu(), here.images)
        assert torch.equal(there.mask.cpu(), here.mask)
