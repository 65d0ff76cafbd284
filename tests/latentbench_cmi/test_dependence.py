import runpy
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chisquare
from torch import Tensor, nn

from latentbench_cmi.dependence import (
    Contrast,
    Discriminators,
    conditional,
    maximum_mean_discrepancy,
    permutation_within,
    two_sided,
    unconditional,
)

LOOP = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "cmi_loop.py"))
ATTRIBUTES, VALUES, DIMS = 3, 4, 2


@pytest.fixture
def z() -> Tensor:
    return torch.randn(40, ATTRIBUTES, DIMS, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def s() -> Tensor:
    """Three attributes of up to four values; the second has two; every fifth label or so is missing."""
    generator = torch.Generator().manual_seed(1)
    s = torch.stack([torch.randint(-1, values, (40,), generator=generator) for values in (4, 2, 4)])
    s[0, s[0] == 3] = -1
    s[0, 7] = 3  # a group of one
    return s


@given(arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(1, 30)), elements=st.integers(-1, 5)))
def test_items_are_permuted_within_their_groups(groups: np.ndarray) -> None:
    partner = permutation_within(torch.from_numpy(groups)).numpy()
    np.testing.assert_array_equal(np.sort(partner, axis=1), np.tile(np.arange(groups.shape[1]), (len(groups), 1)))
    np.testing.assert_array_equal(np.take_along_axis(groups, partner, axis=1), groups)


def test_every_permutation_of_a_group_is_as_frequent() -> None:
    torch.manual_seed(0)
    groups = torch.tensor([5, 0, 5, -1, 5, 0]).repeat(6000, 1)
    found = Counter(tuple(row) for row in permutation_within(groups)[:, [0, 2, 4]].tolist())
    expected = [found[order] for order in permutations((0, 2, 4))]
    assert sum(expected) == 6000
    assert chisquare(expected).pvalue > 0.001


def test_conditions_have_permutations_of_their_own() -> None:
    torch.manual_seed(0)
    first, second = permutation_within(torch.zeros(2, 50, dtype=torch.int64))
    assert not torch.equal(first, second)


def test_conditional_fakes_swap_one_subspace_and_keep_the_rest_together(z: Tensor, s: Tensor) -> None:
    torch.manual_seed(3)
    contrast = conditional(z, s, VALUES)
    torch.manual_seed(3)
    partner = permutation_within(s)
    fake = contrast.fake.view(ATTRIBUTES, 40, ATTRIBUTES, DIMS)
    for k in range(ATTRIBUTES):
        torch.testing.assert_close(contrast.real[k], z.flatten(1))
        for item in range(0, 40, 3):
            for subspace in range(ATTRIBUTES):
                source = partner[k, item] if subspace == k else item
                assert torch.equal(fake[k, item, subspace], z[source, subspace])


def test_unconditional_fakes_put_subspaces_of_different_items_together(z: Tensor) -> None:
    torch.manual_seed(3)
    contrast = unconditional(z)
    torch.manual_seed(3)
    partner = permutation_within(torch.zeros(ATTRIBUTES, 40, dtype=torch.int64))
    assert contrast.real.shape == contrast.fake.shape == (1, 40, ATTRIBUTES * DIMS)
    expected = torch.stack([z[partner[k], k] for k in range(ATTRIBUTES)], dim=1)
    assert torch.equal(contrast.fake[0], expected.flatten(1))
    assert contrast.count == 1
    torch.testing.assert_close(contrast.shares, torch.full((1, 40, 1), 1 / 40))


def test_each_group_shares_one_among_its_items_and_lone_or_unlabelled_items_have_none(z: Tensor, s: Tensor) -> None:
    contrast = conditional(z, s, VALUES)
    counted = 0
    for k in range(ATTRIBUTES):
        for v in range(VALUES):
            members = s[k] == v
            counted += int(members.sum() >= 2)
            share = 1 / members.sum() if members.sum() >= 2 else torch.tensor(0.0)
            torch.testing.assert_close(contrast.shares[k, :, v], torch.where(members, share, 0.0))
    assert contrast.count == counted == 3 + 2 + 4


def test_losses_and_gradients_are_those_of_a_loop_over_values(z: Tensor, s: Tensor) -> None:
    torch.manual_seed(0)
    discriminators = Discriminators(ATTRIBUTES, ATTRIBUTES * DIMS, VALUES, hidden=16)
    networks = LOOP["as_modules"](discriminators)
    for real_is in (0, 1):
        codes = [z.clone().requires_grad_() for _ in range(2)]
        torch.manual_seed(5)
        contrast = conditional(codes[0], s, VALUES)
        real, fake = discriminators(contrast)
        ours = two_sided(real, fake, contrast) if real_is else two_sided(fake, real, contrast)
        torch.manual_seed(5)
        partner = permutation_within(s)
        looped = LOOP["cmi_losses"](
            codes[1], s, networks, VALUES, lambda k, items, partner=partner: partner[k, items], real_is=real_is
        )
        torch.testing.assert_close(ours, looped)
        by_ours = torch.autograd.grad(ours, [codes[0], *discriminators.parameters()])
        by_loop = torch.autograd.grad(looped, [codes[1], *(p for net in networks for p in net.parameters())])
        torch.testing.assert_close(by_ours[0], by_loop[0])
        first_weights = torch.stack([gradient.T for gradient in by_loop[1::6]])
        torch.testing.assert_close(by_ours[1], first_weights)


def test_a_discriminator_that_knows_nothing_has_two_log_two_a_group(z: Tensor, s: Tensor) -> None:
    contrast = conditional(z, s, VALUES)
    nothing = torch.zeros(ATTRIBUTES, 40)
    torch.testing.assert_close(two_sided(nothing, nothing, contrast), contrast.count * 2 * torch.tensor(2.0).log())


def test_groups_without_two_items_give_no_loss_and_no_nan() -> None:
    z = torch.randn(3, 2, 1, requires_grad=True)
    s = torch.tensor([[0, 1, 2], [-1, -1, -1]])
    contrast = conditional(z, s, 3)
    discriminators = Discriminators(2, 2, 3, hidden=4)
    assert contrast.count == 0
    real, fake = discriminators(contrast)
    for loss in (two_sided(real, fake, contrast), maximum_mean_discrepancy(contrast, 1.0)):
        (gradient,) = torch.autograd.grad(loss, z, retain_graph=True)
        assert loss == 0
        assert not gradient.any()


def test_discriminators_begin_as_linear_layers_do() -> None:
    torch.manual_seed(0)
    ours = Discriminators(1, 30, 20, hidden=400)
    theirs = [nn.Linear(50, 400), nn.Linear(400, 400), nn.Linear(400, 1)]
    for weight, bias, linear in zip(ours.weights, ours.biases, theirs, strict=True):
        assert weight.shape[1:] == linear.weight.T.shape
        for mine, other in ((weight, linear.weight), (bias, linear.bias)):
            assert mine.abs().max() <= 1 / linear.in_features**0.5
            if mine.numel() > 300:
                assert mine.std().item() == pytest.approx(other.std().item(), rel=0.1)


def test_a_discriminator_without_groups_does_not_see_them(z: Tensor) -> None:
    contrast = unconditional(z)
    other = Contrast.of(contrast.real, contrast.fake, torch.zeros_like(contrast.groups))
    discriminators = Discriminators(1, ATTRIBUTES * DIMS, 0, hidden=8)
    assert all(torch.equal(a, b) for a, b in zip(discriminators(contrast), discriminators(other), strict=True))


def test_mmd_is_that_of_a_loop_over_values_and_pairs(z: Tensor, s: Tensor) -> None:
    contrast = conditional(z, s, VALUES)
    expected = 0.0
    for k in range(ATTRIBUTES):
        for v in range(VALUES):
            members = s[k] == v
            if members.sum() < 2:
                continue
            real, fake = contrast.real[k, members].numpy(), contrast.fake[k, members].numpy()

            def kernel(a: np.ndarray, b: np.ndarray) -> float:
                return float(np.mean([[np.exp(-np.square(x - y).sum() / (2 * 0.7**2)) for x in a] for y in b]))

            expected += max(0.0, kernel(real, real) + kernel(fake, fake) - 2 * kernel(real, fake)) ** 0.5
    assert maximum_mean_discrepancy(contrast, 0.7).item() == pytest.approx(expected, rel=1e-4)


def test_dependent_subspaces_are_further_from_their_product_than_independent_ones() -> None:
    torch.manual_seed(0)
    apart = torch.randn(300, 2, 1)
    together = apart[:, :1].expand(-1, 2, -1)
    far, near = (maximum_mean_discrepancy(unconditional(code), 1.0) for code in (together, apart))
    assert far > 3 * near
