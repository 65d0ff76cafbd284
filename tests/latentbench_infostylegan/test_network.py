"""The networks: modulation against its definition, groups of the minibatch deviation, where codes enter."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.latentbench_infostylegan.grouped import grouped
from torch import Tensor

from latentbench_infostylegan.codes import Codes
from latentbench_infostylegan.network import (
    GROUP,
    Discriminator,
    Generator,
    Injection,
    Mapping,
    MinibatchDeviation,
    ModulatedConvolution,
    QHead,
    pixel_norm,
)

CODES = Codes(2, (3,))


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def generator(size: int = 16, injection: Injection = "mapping") -> Generator:
    return Generator(size, 3, CODES, z=4, style=8, width=2, widest=8, injection=injection)


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_modulated_convolution_and_its_gradients_are_those_of_a_grouped_one(kernel: int, demodulate: bool) -> None:
    layer = ModulatedConvolution(5, 4, kernel, 6, demodulate=demodulate)
    x, w = (torch.randn(*shape, requires_grad=True) for shape in ((3, 5, 8, 8), (3, 6)))
    ours, theirs = layer(x, w), grouped(layer, x, w)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    of = [x, w, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad(ours.square().sum(), of), torch.autograd.grad(theirs.square().sum(), of), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_demodulated_maps_have_unit_variance_for_inputs_of_unit_variance_whatever_the_style() -> None:
    layer = ModulatedConvolution(16, 8, 3, 4)
    y = layer(torch.randn(64, 16, 16, 16), 5 * torch.randn(64, 4))
    assert y[:, :, 1:-1, 1:-1].var().item() == pytest.approx(1, abs=0.1)


@settings(max_examples=40)
@given(st.integers(1, 23))
def test_the_minibatch_deviation_is_that_of_an_images_own_group_for_any_batch(count: int) -> None:
    x = torch.randn(count, 3, 2, 2, generator=torch.Generator().manual_seed(count))
    y = MinibatchDeviation().train()(x)
    assert y.shape == (count, 4, 2, 2)
    assert torch.equal(y[:, :3], x)
    groups = max(1, count // GROUP)
    for group in range(groups):
        members = torch.arange(count) % groups == group
        assert GROUP <= members.sum() < 2 * GROUP or groups == 1
        expected = (x[members].var(0, correction=0) + 1e-8).sqrt().mean()
        torch.testing.assert_close(y[members, 3], expected.expand(int(members.sum()), 2, 2))


def test_images_that_are_alike_have_a_finite_gradient_through_their_deviation() -> None:
    x = torch.ones(8, 2, 4, 4, requires_grad=True)
    MinibatchDeviation().train()(x)[:, -1].sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert MinibatchDeviation.of_groups(x.detach()).tolist() == pytest.approx([1e-4] * 8)


def test_without_training_an_images_deviation_is_typical_and_its_logit_has_no_company() -> None:
    network = Discriminator(16, 1, 2, 8).eval()
    network.deviation.typical.fill_(0.3)
    x = torch.randn(6, 1, 16, 16)
    torch.testing.assert_close(network(x), torch.cat([network(one) for one in x.split(1)]))
    assert (network.deviation(network.trunk(x))[:, -1] == 0.3).all()
    company = network.train()(x)
    assert not torch.allclose(company[:1], network(x[:1]))


def test_heads_branch_off_before_the_minibatch_deviation() -> None:
    """What they read of an image does not depend on its company, even in training."""
    network, head = Discriminator(16, 1, 2, 8).train(), QHead(8, CODES.outputs).train()
    x = torch.randn(6, 1, 16, 16)
    torch.testing.assert_close(head(network.trunk(x))[:1], head(network.trunk(x[:1])), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_all_sizes_are_generated_and_judged(size: int) -> None:
    c = CODES.draw(2)
    x = Generator(size, 3, CODES, z=4, style=8, width=2, widest=8, injection="mapping")(torch.randn(2, 4), c)
    assert x.shape == (2, 3, size, size)
    maps = Discriminator(size, 3, 2, 8).trunk(x)
    assert maps.shape == (2, 8, 4, 4)


def test_z_is_normalised_by_itself_and_codes_keep_their_magnitude() -> None:
    mapping = Mapping(4, 2, 8)
    z, c = torch.randn(3, 4), torch.randn(3, 2)
    torch.testing.assert_close(mapping(7 * z, c), mapping(z, c))
    assert not torch.allclose(mapping(z, 2 * c), mapping(z, c), rtol=1e-2)
    torch.testing.assert_close(pixel_norm(z).square().mean(1), torch.ones(3))


def test_at_the_beginning_z_and_codes_have_equal_parts_in_w() -> None:
    count = 4000
    network = Generator(16, 1, Codes(3, (10,)), z=32, style=64, width=2, widest=8, injection="mapping")
    mapping, c = network.mapping, Codes(3, (10,)).draw(count)
    assert mapping.of_c is not None
    of_z, of_c = mapping.of_z(pixel_norm(torch.randn(count, 32))), mapping.of_c(c / network.roots)
    assert of_z.square().mean().item() == pytest.approx(of_c.square().mean().item(), rel=0.3)


def changed_by(code: int, injection: Injection) -> list[bool]:
    """For each resolution, whether its style depends on this number of c."""
    network = generator(32, injection)
    z, c = torch.randn(5, 4), CODES.draw(5)
    other = c.clone()
    other[:, code] += 0.5
    before, after = network.styles(z, c), network.styles(z, other)
    return [not torch.equal(one, two) for one, two in zip(before, after, strict=True)]


def test_codes_enter_every_resolution_through_the_mapping_or_one_of_their_own() -> None:
    assert changed_by(0, "mapping") == [True] * 4
    assert changed_by(0, "per_scale") == [True, False, False, False]
    assert changed_by(1, "per_scale") == [False, True, False, False]
    assert changed_by(2, "per_scale") == changed_by(4, "per_scale") == [False, False, True, False]


def test_without_noise_an_image_follows_from_z_and_c() -> None:
    network = generator()
    for strength in (p for name, p in network.named_parameters() if "strengths" in name):
        torch.nn.init.constant_(strength, 0.5)
    z, c = torch.randn(2, 4), CODES.draw(2)

    def twice(noisy: bool) -> tuple[Tensor, Tensor]:
        return network(z, c, noisy=noisy), network(z, c, noisy=noisy)

    assert torch.equal(*twice(False))
    assert not torch.allclose(*twice(True))


def test_a_heads_last_layer_begins_at_a_tenth() -> None:
    assert QHead(64, 50).last.weight.std().item() == pytest.approx(0.1, rel=0.05)
