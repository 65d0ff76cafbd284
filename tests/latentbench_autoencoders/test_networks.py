from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from latentbench import DataInfo, LatentbenchError
from latentbench_autoencoders.networks import Trunk, conv_sizes, decoder, encoder

SIZES = [(8, 16), (28, 28), (32, 64), (64, 64), (256, 256), (31, 45), (37, 64), (4, 4)]


def _info(channels: int, height: int, width: int) -> DataInfo:
    return DataInfo(channels=channels, height=height, width=width, train_size=1)


def _pass(info: DataInfo, trunk: Trunk) -> tuple[torch.Size, torch.Size]:
    """Shapes of the code and of what is decoded from it."""
    with torch.inference_mode():
        z = encoder(info, 5, trunk, width=2)(torch.rand(2, *info.image_shape))
        return z.shape, decoder(info, 5, trunk, width=2)(z).shape


def _is_conv(network: nn.Module) -> bool:
    return any(isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) for layer in network.modules())


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_benchmarks_sizes_are_encoded_and_decoded(height: int, width: int, trunk: Trunk) -> None:
    info = _info(3, height, width)
    assert _pass(info, trunk) == ((2, 5), (2, 3, height, width))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(4, 40), st.integers(4, 40), st.sampled_from(["mlp", "conv"]))
def test_every_size_is_encoded_and_decoded(channels: int, height: int, width: int, trunk: Trunk) -> None:
    assert _pass(_info(channels, height, width), trunk) == ((2, 5), (2, channels, height, width))


@given(st.integers(4, 600), st.integers(4, 600))
def test_convolutions_halve_the_sides_until_the_shorter_is_about_four(height: int, width: int) -> None:
    sizes = conv_sizes(_info(1, height, width))
    assert sizes[0] == (height, width)
    assert all(after == (before[0] // 2, before[1] // 2) for before, after in pairwise(sizes))
    assert 2 <= min(sizes[-1]) <= 5
    assert min(sizes[-2]) >= 4


def test_channels_double_up_to_four_times_the_width() -> None:
    layers = encoder(_info(3, 256, 256), 5, "conv", width=8)
    assert [layer.out_channels for layer in layers if isinstance(layer, nn.Conv2d)] == [8, 16, 32, 32, 32, 32]


def test_a_side_of_one_pixel_needs_the_fully_connected_trunk() -> None:
    info = _info(1, 1, 8)
    assert _pass(info, "mlp") == ((2, 5), (2, 1, 1, 8))
    with pytest.raises(LatentbenchError, match="images of 1x8 pixels cannot be halved: set trunk to mlp"):
        encoder(info, 5, "conv", width=2)


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
@pytest.mark.parametrize(("height", "width"), [(8, 16), (13, 9), (31, 45)])
def test_every_pixel_is_read_and_written_and_every_parameter_used(height: int, width: int, trunk: Trunk) -> None:
    torch.manual_seed(0)
    info = _info(2, height, width)
    network = nn.Sequential(encoder(info, 5, trunk, width=16), decoder(info, 5, trunk, width=16))
    images = torch.rand(16, *info.image_shape, requires_grad=True)
    outputs = network(images)
    outputs.square().sum().backward()
    assert (outputs.std(0) > 0).all()
    assert images.grad is not None
    assert (images.grad.abs().sum(0) > 0).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
