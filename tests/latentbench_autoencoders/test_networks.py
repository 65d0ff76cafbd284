from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from latentbench import DataInfo, LatentbenchError
from latentbench_autoencoders.networks import Tiles, Trunk, conv_sizes, decoder, encoder, initialize

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


@settings(max_examples=60)
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


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
def test_initialized_layers_keep_the_scale_of_what_they_are_given(trunk: Trunk) -> None:
    torch.manual_seed(0)
    info = _info(1, 64, 64)
    network = nn.Sequential(encoder(info, 256, trunk, 32), decoder(info, 256, trunk, 32))
    images = torch.randn(16, 1, 64, 64)
    with torch.inference_mode():
        shrunk = network(images).std(0).mean()
        initialize(network)
        first = network(images).std(0).mean()
        brighter = network(4 * images)
    assert shrunk < 0.1
    assert 0.5 < first < 2
    torch.testing.assert_close(brighter, 4 * network(images))  # there are no biases


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_images_are_cut_row_by_row_and_laid_together_again(
    batch: int, channels: int, rows: int, columns: int, side: int
) -> None:
    tiles = Tiles(_info(channels, rows * side, columns * side), side)
    images = torch.rand(batch, channels, rows * side, columns * side)
    cut = tiles.cut(images)
    expected = [
        image[:, row * side : (row + 1) * side, column * side : (column + 1) * side]
        for image in images
        for row in range(rows)
        for column in range(columns)
    ]
    assert torch.equal(cut, torch.stack(expected))
    assert torch.equal(tiles.lay(cut), images)


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5))
def test_the_halves_of_joined_codes_are_those_of_the_tiles(batch: int, count: int, half: int) -> None:
    """A posterior's outputs are halved: its means, and its log variances."""
    tiles = Tiles(_info(1, 4, 4 * count), 4)
    codes = torch.rand(batch * count, 2 * half)
    joined = tiles.join(codes)
    assert torch.equal(tiles.split(joined), codes)
    first, second = joined.chunk(2, dim=1)
    assert torch.equal(torch.cat([tiles.split(first), tiles.split(second)], dim=1), codes)


@pytest.mark.parametrize("trunk", ["mlp", "conv"])
def test_each_tile_passes_through_the_networks_of_an_image_of_its_size(trunk: Trunk) -> None:
    image, tile = _info(3, 16, 24), _info(3, 8, 8)
    torch.manual_seed(0)
    whole = nn.Sequential(encoder(image, 5 * 6, trunk, 2, 8), decoder(image, 5 * 6, trunk, 2, 8))
    torch.manual_seed(0)
    alone = nn.Sequential(encoder(tile, 5, trunk, 2), decoder(tile, 5, trunk, 2))
    images = torch.rand(2, 3, 16, 24)
    expected = torch.cat(
        [torch.cat([alone(part) for part in row.split(8, dim=3)], dim=3) for row in images.split(8, dim=2)], dim=2
    )
    torch.testing.assert_close(whole(images), expected)


def test_what_is_not_a_whole_number_of_tiles_is_refused() -> None:
    with pytest.raises(LatentbenchError, match=r"images of 12x8 pixels .* a whole number of tiles of 8x8: set tile"):
        encoder(_info(1, 12, 8), 4, "conv", 2, 8)
    with pytest.raises(LatentbenchError, match=r"a code of 7 values .* 2 tiles: set latent_dim to a multiple of 2"):
        decoder(_info(1, 16, 8), 7, "conv", 2, 8)
