"""Moderated variances against limma, against formulas solved by another way, and against variances really drawn."""

from math import inf, log

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats

from latentbench.boards.moderation import Prior, fit_prior, trigamma_inverse

SETTINGS = settings(max_examples=100)
variances = st.lists(st.floats(1e-4, 1e4), min_size=2, max_size=12).map(np.array)


@SETTINGS
@given(st.floats(-9, 9).map(lambda power: 10**power))
def test_the_inverse_of_trigamma_is_the_root_that_a_bracketing_solver_finds(y):
    def excess(x: float) -> float:
        return log(special.polygamma(1, x)) - log(y)

    root = optimize.brentq(excess, 1e-6, 1e12, xtol=1e-14, rtol=1e-14)
    assert trigamma_inverse(y) == pytest.approx(root, rel=1e-6)


# fitFDist and squeezeVar of limma, by its port in inmoose 0.9.1: variances, degrees of freedom, then the common
# variance and its degrees of freedom, then the moderated variances.
LIMMA = [
    (
        [4, 1, 9, 0.25, 2, 16, 0.5, 3, 0.01],
        [2] * 9,
        (0.8020338124904292, 1.2753118144500681),
        [2.75480434, 0.92291768, 5.80794876, 0.46494602, 1.53354657, 10.08235095, 0.61760324, 2.14417545, 0.31839509],
    ),
    (
        [4, 1, 9, 0.02, 20],
        [2, 2, 4, 1, 9],
        (1.1175129650428448, 1.2481071054580613),
        [2.89238488, 1.04515515, 7.12538352, 0.62931871, 17.70032007],
    ),
    ([4, 1, 9, 0.25, 2, 16, 0.5, 3, 1.5], [2] * 9, (3.4686302012664827, 19.274936362707795), None),
    ([1, 1.1, 0.9, 1.3, 0.8], [4] * 5, (1.02, inf), [1.02] * 5),
]


@pytest.mark.parametrize(("own", "freedoms", "common", "moderated"), LIMMA)
def test_it_is_limma_s(own, freedoms, common, moderated):
    prior = fit_prior(np.array(own, dtype=float), np.array(freedoms, dtype=float))
    assert (prior.variance, prior.freedom) == pytest.approx(common, rel=1e-7)
    assert prior.pooled == sum(freedoms)
    if moderated:
        ours = [prior.moderate(v, d) for v, d in zip(own, freedoms, strict=True)]
        assert [variance for variance, _ in ours] == pytest.approx(moderated, rel=1e-7)
        assert [freedom for _, freedom in ours] == pytest.approx([min(common[1] + d, sum(freedoms)) for d in freedoms])


@SETTINGS
@given(variances, st.integers(1, 9))
def test_the_moments_of_the_logarithms_are_those_of_the_fitted_distribution(own, freedom):
    prior = fit_prior(own, np.full(len(own), float(freedom)))
    logs = [log(variance) for variance in own]
    mean = sum(logs) / len(logs)
    spread = sum((one - mean) ** 2 for one in logs) / (len(logs) - 1)
    if prior.freedom == inf:
        assert spread <= special.polygamma(1, freedom / 2) * (1 + 1e-9)
        assert prior.variance == pytest.approx(sum(own) / len(own))
    else:
        assume(prior.freedom < 1e6)
        # A sample variance over the common one is F distributed: mean and variance of the logarithm of F.
        numerator, denominator = freedom / 2, prior.freedom / 2
        expected = special.digamma(numerator) - log(numerator) - special.digamma(denominator) + log(denominator)
        assert mean == pytest.approx(log(prior.variance) + expected, rel=1e-6, abs=1e-6)
        both = special.polygamma(1, numerator) + special.polygamma(1, denominator)
        assert spread == pytest.approx(both, rel=1e-6)


def test_what_variances_have_in_common_is_found_in_many_of_them():
    rng = np.random.default_rng(0)
    true = 3.0 * 6 / rng.chisquare(6, 20000)
    own = true * rng.chisquare(2, 20000) / 2
    prior = fit_prior(own, np.full(20000, 2.0))
    assert prior.variance == pytest.approx(3, rel=0.05)
    assert prior.freedom == pytest.approx(6, rel=0.1)
    # And t with a moderated variance is Student's, with degrees of freedom that add up.
    moderated, freedom = prior.moderate(own, 2.0)  # type: ignore[arg-type]
    t = rng.normal(0, np.sqrt(true)) / np.sqrt(moderated)
    assert stats.kstest(t, stats.t(freedom).cdf).pvalue > 0.01


def test_a_single_variance_stays_what_it_is():
    for prior in (fit_prior(np.array([2.0]), np.array([3.0])), Prior(0, 0, 3)):
        assert prior.moderate(2.0, 3.0) == (2.0, 3.0)


@SETTINGS
@given(variances, st.integers(1, 9), st.floats(1e-3, 1e3))
def test_units_scale_the_common_variance_and_leave_its_freedom(own, freedom, unit):
    freedoms = np.full(len(own), float(freedom))
    prior, scaled = fit_prior(own, freedoms), fit_prior(own * unit, freedoms)
    assume(prior.freedom < 1e3)
    assert scaled.variance == pytest.approx(prior.variance * unit, rel=1e-6)
    assert scaled.freedom == pytest.approx(prior.freedom, rel=1e-4)


@SETTINGS
@given(variances, st.integers(1, 9))
def test_a_moderated_variance_lies_between_the_row_s_own_and_the_common_one(own, freedom):
    prior = fit_prior(own, np.full(len(own), float(freedom)))
    for variance in own:
        moderated, total = prior.moderate(float(variance), freedom)
        low, high = sorted([variance, prior.variance])
        assert low * (1 - 1e-12) <= moderated <= high * (1 + 1e-12)
        assert freedom <= total <= prior.pooled
