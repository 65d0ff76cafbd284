"""The estimate of TC(c|x) on generators whose total correlation is known, and its permutations."""

from collections import Counter
from itertools import permutations
from math import log, prod

import numpy as np
import pytest
import torch

from latentbench import LatentbenchError
from latentbench_infostylegan.lemma import information, information_of_each, joint_of, posterior_total_correlation
from latentbench_infostylegan.posterior_total_correlation import conditional_permutations, estimate

#: The bits that an image shows of the codes c_1 and c_2.
GENERATORS = {
    "both": lambda a, b: (a, b),
    "XOR": lambda a, b: (a ^ b,),
    "AND": lambda a, b: (a & b,),
    "first": lambda a, b: (a,),
    "first and XOR": lambda a, b: (a, a ^ b),
}


def sampler(name: str, noise: float = 0.3):
    """Images (N, 1, 8, 8): a bit is the brightness of a half; noise is drawn with the global generator."""

    def sample(codes):
        bits = GENERATORS[name](*codes.T)
        images = noise * torch.randn(len(codes), 1, 8, 8)
        for place, bit in enumerate(bits):
            images[:, 0, :, 4 * place : 4 * place + 4] += bit[:, None, None]
        return images

    return sample


@pytest.mark.parametrize("name", GENERATORS)
def test_known_generators(name):
    joint = joint_of(lambda a, b: sum(int(bit) << n for n, bit in enumerate(GENERATORS[name](a, b))), (2, 2), 4)
    found = estimate(sampler(name), (2, 2), steps=120, held_out=1500, permutations=39)
    np.testing.assert_allclose(found.information_of_each, information_of_each(joint), atol=0.03)
    assert found.information == pytest.approx(information(joint), abs=0.04)
    expected = posterior_total_correlation(joint)
    assert found.total_correlation == pytest.approx(expected, abs=0.01 + 3 * found.error)
    assert found.entropies == (log(2), log(2))
    assert found.p_value == 1 / 40 if expected > 0.1 else found.p_value > 0.1
    low, high = found.interval
    assert high - low == pytest.approx(2 * 1.96 * found.error)


def test_codes_that_are_read_badly_alike_are_not_taken_for_dependent():
    found = estimate(sampler("both", noise=6), (2, 2), steps=120, held_out=1500, permutations=39)
    assert 0 < found.information < 0.5
    assert abs(found.total_correlation) < 0.02
    assert found.p_value > 0.1


def test_codes_of_several_sizes_and_color_images_of_odd_size():
    def sample(codes):
        first, second, third = codes.T
        images = torch.rand(len(codes), 3, 6, 13) / 2
        images[:, 0] += first[:, None, None]
        images[:, 1] += (second == third)[:, None, None]
        return images

    found = estimate(sample, (3, 2, 2), steps=150, held_out=1000, permutations=19)
    np.testing.assert_allclose(found.information_of_each, (log(3), 0, 0), atol=0.05)
    assert found.total_correlation == pytest.approx(log(2), abs=0.05)


def test_the_same_seed_gives_the_same_and_the_global_generator_is_left_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, second, other = (
        estimate(sampler("AND"), (2, 2), steps=3, held_out=700, permutations=19, seed=seed) for seed in (0, 0, 1)
    )
    assert first == second != other
    assert torch.equal(torch.get_rng_state(), before)


def test_codes_are_permuted_as_often_as_they_are_probable():
    """All orders of four different values, against the product of their probabilities."""
    draw = np.random.default_rng(0)
    q = draw.dirichlet(np.ones(4), size=4)
    found = conditional_permutations(np.arange(4)[:, None], [np.log(q)], 20_000, draw)[..., 0]
    frequency = Counter(map(tuple, found.tolist()))
    weights = {order: prod(q[row, value] for row, value in enumerate(order)) for order in permutations(range(4))}
    for order, weight in weights.items():
        assert frequency[order] / 20_000 == pytest.approx(weight / sum(weights.values()), abs=0.02)


def test_permutations_keep_the_values_of_each_code_and_treat_codes_independently():
    draw = np.random.default_rng(0)
    codes = np.stack([np.arange(101) % 3, np.arange(101) % 3], 1)
    flat = [np.full((101, 3), -log(3))] * 2
    found = conditional_permutations(codes, flat, 50, draw)
    assert found.shape == (50, 101, 2)
    assert (np.sort(found, axis=1) == np.sort(codes, axis=0)).all()
    assert (found[..., 0] == found[..., 1]).mean() == pytest.approx(1 / 3, abs=0.03)


def test_values_that_are_certain_stay_where_they_are():
    codes = np.arange(30)[:, None] % 3
    certain = np.where(np.arange(3) == codes, 0, -60.0)
    assert (conditional_permutations(codes, [certain], 20, np.random.default_rng(0)) == codes).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((4,), "total correlation takes two categorical codes, and there are 1"),
        ((40, 40), "have 1600 combinations of values: total correlation is estimated for 1024 at most"),
    ],
)
def test_bad_input_is_refused_in_a_line(values, message):
    with pytest.raises(LatentbenchError, match=message):
        estimate(sampler("both"), values)
