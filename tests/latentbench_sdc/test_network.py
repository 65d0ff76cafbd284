"""The network: any size of image, the reach of dilations, parameters that do not depend on them, and skips."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import conv2d, interpolate, pad

from latentbench_sdc.network import ConvexCombination, Denoiser, ResizeConvolution, StackedDilatedConvolution, fitting


def network(*, channels: int = 1, size="small", dilations=(1, 2, 4), skips="none") -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(channels, size, dilations, skips).eval()


@pytest.mark.parametrize("skips", ["none", "convex", "full"])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (33, 47), (40, 31), (8, 15), (39, 32)])
def test_sides_that_eight_does_not_divide_are_mirrored_at_the_far_end_and_cut_again(skips, height, width):
    f = network(channels=3, skips=skips)
    images = torch.rand(2, 3, height, width)
    with torch.inference_mode():
        whole = f(pad(images, (0, -width % 8, 0, -height % 8), mode="reflect"))
        restored = f(images)
    assert restored.shape == images.shape
    torch.testing.assert_close(restored, whole[..., :height, :width])


@pytest.mark.parametrize(("size", "millions"), [("small", 0.5), ("base", 2.1)])
def test_it_is_as_large_as_its_option_says(size, millions):
    count = sum(weight.numel() for weight in network(channels=3, size=size).parameters())
    assert count == pytest.approx(1e6 * millions, rel=0.1)


@pytest.mark.parametrize("dilations", [(1,), (1, 2), (1, 2, 4, 8, 16), (3, 5, 7)])
def test_dilations_neither_add_nor_take_parameters(dilations):
    """So turning them off changes how far a place sees, and not how much the network can learn."""

    def count(f: nn.Module) -> int:
        return sum(weight.numel() for weight in f.parameters())

    assert count(network(dilations=dilations)) == count(network(dilations=(1, 2, 4, 8)))


@pytest.mark.parametrize("dilations", [(1,), (1, 2, 4), (2, 6)])
def test_a_place_sees_the_places_that_the_dilations_reach_and_no_others(dilations):
    block: Any = StackedDilatedConvolution(6, dilations).eval()
    x = torch.rand(1, 6, 17, 17, requires_grad=True)
    with torch.no_grad():
        for branch in block.branches:
            branch.weight.fill_(1.0)  # so that no ReLU hides a tap
    block(x)[0, :, 8, 8].sum().backward()
    assert x.grad is not None
    seen = x.grad[0].abs().sum(0).nonzero().tolist()
    taps = {(8 + d * down, 8 + d * across) for d in dilations for down in (-1, 0, 1) for across in (-1, 0, 1)}
    assert {tuple(place) for place in seen} == taps


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [
        (32, 32, (1, 2)),
        (64, 64, (1, 2, 4)),
        (128, 320, (1, 2, 4, 8)),
        (130, 130, (1, 2, 4, 8)),
        (256, 256, (1, 2, 4, 8, 16)),
        (512, 512, (1, 2, 4, 8, 16, 32)),
    ],
)
def test_dilations_that_leave_the_map_from_most_places_are_left_out(height, width, expected):
    assert fitting((1, 2, 4, 8, 16, 32), height, width) == expected


@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 100))
@settings(max_examples=20)
def test_a_convex_combination_is_nowhere_outside_of_what_it_combines(seed, scale):
    torch.manual_seed(seed)
    combine = ConvexCombination(4)
    encoded, decoded = scale * torch.randn(2, 3, 4, 5, 6)
    with torch.inference_mode():
        mixed = combine(encoded, decoded)
    rounding = 1e-6 * scale * 10
    assert (mixed >= torch.minimum(encoded, decoded) - rounding).all()
    assert (mixed <= torch.maximum(encoded, decoded) + rounding).all()


@pytest.mark.parametrize(("bias", "which"), [(50.0, "decoded"), (-50.0, "encoded")])
def test_its_coefficients_turn_to_the_decoder_where_they_are_one(bias, which):
    combine: Any = ConvexCombination(2)
    nn.init.zeros_(combine.coefficients.weight)
    nn.init.constant_(combine.coefficients.bias, bias)
    maps = dict(zip(("encoded", "decoded"), torch.randn(2, 1, 2, 3, 3), strict=True))
    torch.testing.assert_close(combine(**maps), maps[which])


def test_a_skip_lets_the_image_through_that_the_bottleneck_does_not_have():
    """With a bottleneck of zeros the output depends on the image only where there are skips."""
    for skips, passes in (("none", False), ("convex", True)):
        f: Any = network(skips=skips)
        nn.init.zeros_(f.down[-1][0].weight)
        with torch.inference_mode():
            first, second = f(torch.rand(2, 1, 32, 32))
        assert torch.equal(first, second) != passes


@pytest.mark.parametrize(("bias", "passes"), [(-50.0, True), (50.0, False)])
def test_a_full_skip_turns_to_the_image_where_its_coefficients_are_zero(bias, passes):
    f: Any = network(channels=3, skips="full")
    nn.init.zeros_(f.out.weight)
    with torch.no_grad():
        f.out.bias.copy_(torch.tensor([0.25] * 3 + [bias] * 3))
    images = torch.rand(2, 3, 33, 40)
    torch.testing.assert_close(f(images), images if passes else torch.full_like(images, 0.25))


@pytest.mark.parametrize("skips", ["none", "convex", "full"])
def test_in_bfloat16_it_restores_nearly_the_same_and_a_full_skip_does_not_round_the_image(skips):
    f: Any = network(skips=skips)
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        exact = f(images)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(f(images).float(), exact, rtol=0, atol=0.03)
            if skips == "full":
                f.out.bias[1] = -torch.inf  # of the coefficients, which are 0 then
                assert torch.equal(f(images), images)


@given(sizes=st.tuples(*4 * [st.integers(1, 6)]), bias=st.booleans())
@settings(max_examples=20, deadline=None)
def test_a_resize_convolution_repeats_places_and_then_convolves(sizes, bias):
    inputs, outputs, height, width = sizes
    f = ResizeConvolution(inputs, outputs, bias=bias).double()
    x = torch.randn(2, inputs, height, width, dtype=torch.double, requires_grad=True)
    both = [f(x), conv2d(interpolate(x, scale_factor=2), f.weight, f.bias, padding=1)]
    torch.testing.assert_close(*both)
    seen = torch.randn_like(both[0])
    torch.testing.assert_close(*(torch.autograd.grad(y, (x, *f.parameters()), seen) for y in both))
