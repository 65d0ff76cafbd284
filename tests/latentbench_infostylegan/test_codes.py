"""Codes: draws of the prior, and the bound on information against closed forms and torch.distributions."""

from math import exp, log, pi

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from torch import Tensor
from torch.distributions import Categorical, Normal

from latentbench_infostylegan.codes import LOG_VARIANCE, Codes

SHAPES = st.tuples(st.integers(0, 3), st.lists(st.integers(2, 5), max_size=3).map(tuple)).filter(any)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@settings(max_examples=25)
@given(SHAPES)
def test_draws_are_of_the_prior_and_as_long_as_the_code_says(shape: tuple[int, tuple[int, ...]]) -> None:
    codes = Codes(*shape)
    drawn = codes.draw(400)
    assert drawn.shape == (400, codes.size)
    assert sum(codes.widths) == codes.size
    assert len(codes.names) == len(codes.widths) == len(codes.entropies)
    x, *blocks = torch.split(drawn, [codes.continuous, *codes.categorical], 1)
    assert ((x >= -1) & (x <= 1)).all()
    for block in blocks:
        assert torch.equal(block.sum(1), torch.ones(400))
        assert (block.sum(0) > 0).all()  # 400 draws of at most five values
    torch.testing.assert_close(drawn.square().mean(0).sqrt(), torch.tensor(codes.roots), rtol=0.2, atol=0.05)
    assert torch.equal(codes.nearest(drawn), drawn)


def test_log_q_is_that_of_independent_gaussians_and_categoricals() -> None:
    codes = Codes(2, (3, 4))
    outputs, c = torch.randn(50, codes.outputs), codes.draw(50)
    found = codes.log_q(outputs, c)
    mean, log_var = outputs[:, :2], outputs[:, 2:4].clamp(*LOG_VARIANCE)
    assert found.shape == (50, 4)
    torch.testing.assert_close(found[:, :2], Normal(mean, (log_var / 2).exp()).log_prob(c[:, :2]))
    torch.testing.assert_close(found[:, 2], Categorical(logits=outputs[:, 4:7]).log_prob(c[:, 2:5].argmax(1)))
    torch.testing.assert_close(found[:, 3], Categorical(logits=outputs[:, 7:]).log_prob(c[:, 5:].argmax(1)))


def test_a_perfect_reading_has_the_entropy_of_a_category_and_what_the_least_variance_allows_of_a_number() -> None:
    codes = Codes(1, (10,))
    c = codes.draw(200)
    outputs = torch.cat([c[:, :1], torch.full((200, 1), -50.0), 100 * c[:, 1:]], 1)
    nats = codes.log_q(outputs, c).mean(0) + torch.tensor(codes.entropies)
    assert nats[1] == pytest.approx(log(10))
    assert nats[0] == pytest.approx(log(2) - 0.5 * (log(2 * pi) + LOG_VARIANCE[0]))
    assert codes.entropy == pytest.approx(log(2) + log(10))


def test_a_reading_of_nothing_is_worth_nothing_and_one_of_shuffled_codes_less() -> None:
    """The best Gaussian for U(-1, 1) has its variance, 1/3, and is worse than the prior: the bound is below 0."""
    codes, count = Codes(1, (4,)), 20_000
    c = codes.draw(count)
    prior = torch.tensor([[0.0, log(1 / 3), 0, 0, 0, 0]]).expand(count, -1)
    nats = codes.log_q(prior, c).mean(0) + torch.tensor(codes.entropies)
    assert nats[1] == pytest.approx(0, abs=1e-5)
    assert nats[0] == pytest.approx(log(2) - 0.5 * log(2 * pi * exp(1) / 3), abs=0.01)
    sure = torch.cat([c[:, :1], torch.full((count, 1), -4.0), 5 * c[:, 1:]], 1)
    shuffled = codes.log_q(sure.roll(1, 0), c).mean(0) + torch.tensor(codes.entropies)
    assert (shuffled < 0).all()


def test_a_continuous_code_is_read_in_its_own_range() -> None:
    """Means are not squeezed into [0, 1], where codes are in [-1, 1]."""
    codes = Codes(1, (3,))
    means = codes.mean(torch.tensor([[-0.8, 0.0, 1.0, 2.0, 3.0], [0.9, 0.0, 1.0, 1.0, 1.0]]))
    assert means[:, 0].tolist() == pytest.approx([-0.8, 0.9])
    torch.testing.assert_close(means[:, 1:].sum(1), torch.ones(2))


@pytest.mark.parametrize(("mean", "log_var"), [(0.0, -1.0), (0.9, -3.0), (-1.3, 0.5), (1.8, -4.0)])
def test_the_surprise_of_a_number_is_that_of_a_draw_read_with_an_error(mean: float, log_var: float) -> None:
    """Its density by quadrature over U(-1, 1)."""
    sigma = exp(log_var / 2)
    density, _ = integrate.quad(lambda u: 0.5 * stats.norm.pdf(mean, u, sigma), -1, 1, points=[max(-1, min(1, mean))])
    found = Codes(1, ()).surprise(torch.tensor([[mean, log_var]]))
    assert found.item() == pytest.approx(-log(density) + log(sigma), rel=1e-4)


def test_the_surprise_is_finite_far_outside_and_grows_with_distance() -> None:
    codes = Codes(1, ())
    far: Tensor = codes.surprise(torch.tensor([[1.0, -4.0], [3.0, -4.0], [50.0, -4.0], [-50.0, -4.0]]))
    assert far.isfinite().all()
    assert far[0] < far[1] < far[2]
    assert far[2] == far[3]


def test_the_surprise_of_a_category_is_the_entropy_of_its_reading() -> None:
    codes = Codes(0, (4,))
    found = codes.surprise(torch.tensor([[0.0, 0.0, 0.0, 0.0], [100.0, 0.0, 0.0, 0.0]]))
    assert found.tolist() == pytest.approx([log(4), 0], abs=1e-5)
