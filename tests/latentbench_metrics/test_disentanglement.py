"""What all metrics of disentanglement promise: which images and factors count, and what bad input gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench import MISSING, Evaluation, LatentbenchError, Metric, Targets
from latentbench.testing import check_metric
from latentbench_metrics.dci import DCI
from latentbench_metrics.dependence import (
    GaussianTotalCorrelation,
    GaussianWasserstein,
    MutualInformationScore,
    NormalizedGaussianWasserstein,
)
from latentbench_metrics.disentanglement import LEAST_IMAGES, coded_factors
from latentbench_metrics.intervention import IRS, BetaVAEScore, FactorVAEScore
from latentbench_metrics.mig import MIG
from latentbench_metrics.sap import SAP

OF_CODES: list[type[Metric]] = [
    GaussianTotalCorrelation,
    GaussianWasserstein,
    MutualInformationScore,
    NormalizedGaussianWasserstein,
]
OF_TWO_FACTORS: list[type[Metric]] = [BetaVAEScore, DCI, FactorVAEScore]
ALL: list[type[Metric]] = [IRS, MIG, SAP, *OF_CODES, *OF_TWO_FACTORS]


def measure(metric, output, attributes, weights=None) -> dict[str, float]:
    attributes = {name: np.asarray(values, np.int64) for name, values in attributes.items()}
    output = {name: np.asarray(codes, np.float32) for name, codes in output.items()}
    weights = np.ones(len(next(iter(output.values())))) if weights is None else np.asarray(weights, np.float64)
    return metric().measure(Evaluation(output, Targets(attributes=attributes), weights, {}))


def case(images: int = 60):
    """Codes in two subspaces, and the two factors behind them."""
    rng = np.random.default_rng(0)
    factors = {"shape": rng.integers(0, 2, images), "hue": rng.integers(0, 3, images)}
    first = factors["shape"][:, None] + rng.normal(0, 0.3, (images, 2))
    return {"first": first, "second": factors["hue"][:, None] + rng.normal(0, 0.3, (images, 1))}, factors


def extended(arrays, more):
    return {
        name: np.concatenate([values, np.broadcast_to(more, (2, *values.shape[1:]))]) for name, values in arrays.items()
    }


@pytest.mark.parametrize("metric", ALL)
def test_it_keeps_what_a_metric_promises(metric):
    check_metric(metric)


@pytest.mark.parametrize("metric", ALL)
@settings(max_examples=10)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(30, 90),
    dimensions=st.integers(2, 4),
    # None, or enough: an eigenvalue of 1e-10, where the Gaussian total correlation cuts, is known to six digits only.
    noise=st.just(0.0) | st.floats(1e-3, 3),
)
def test_any_codes_give_a_value_within_its_bounds_whatever_the_order_of_images(metric, seed, images, dimensions, noise):
    rng = np.random.default_rng(seed)
    # Every value of the factors is there, or it would be another case.
    truth = np.concatenate([np.indices((2, 3)).reshape(2, -1).T, rng.integers(0, [2, 3], (images, 2))])
    codes = truth @ rng.normal(size=(2, dimensions)) + noise * rng.normal(size=(len(truth), dimensions))
    order = rng.permutation(len(truth))
    found = [measure(metric, {"z": codes[i]}, {"a": truth[i, 0], "b": truth[i, 1]}) for i in (slice(None), order)]
    low, high = metric.bounds
    assert all(low <= value <= high for value in found[0].values())
    assert found[1] == pytest.approx(found[0], abs=1e-6)


@pytest.mark.parametrize("metric", ALL)
def test_subspaces_count_as_one_code_of_all_their_dimensions(metric):
    output, factors = case()
    whole = {"z": np.concatenate([output["first"], output["second"]], axis=1)}
    assert measure(metric, output, factors) == measure(metric, whole, factors)


@pytest.mark.parametrize("metric", ALL)
def test_images_with_a_missing_factor_or_without_weight_do_not_count_whatever_their_code(metric):
    output, factors = case()
    expected = measure(metric, output, factors)
    garbage = extended(output, np.nan)
    one_missing = {"shape": np.append(factors["shape"], [1, 0]), "hue": np.append(factors["hue"], [MISSING, MISSING])}
    assert measure(metric, garbage, one_missing) == expected
    assert measure(metric, garbage, extended(factors, 1), np.append(np.ones(60), [0, 0])) == expected


@pytest.mark.parametrize("metric", ALL)
def test_a_factor_with_one_value_is_left_out(metric):
    output, factors = case()
    assert measure(metric, output, {**factors, "size": np.full(60, 4)}) == measure(metric, output, factors)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_code_that_is_not_finite_is_an_error(metric, broken):
    output, factors = case()
    output["second"][7] = broken
    with pytest.raises(LatentbenchError, match="1 of 180 numbers of the codes are NaN or infinite: it needs finite"):
        measure(metric, output, factors)


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("images", [0, 1, LEAST_IMAGES - 1])
def test_too_few_images_are_an_error_and_such_a_split_is_not_measured(metric, images):
    output, factors = case(images)
    with pytest.raises(LatentbenchError, match=f"{images} images have weight and all factors known: it needs at lea"):
        measure(metric, output, factors)
    assert not metric().applies(Targets(attributes=factors), {})


@pytest.mark.parametrize("metric", ALL)
def test_images_just_enough_for_the_histogram_are_measured(metric):
    output, factors = case(LEAST_IMAGES)
    assert metric().applies(Targets(attributes=factors), {})
    assert np.isfinite(measure(metric, output, factors)[""])


@pytest.mark.parametrize("metric", ALL)
def test_factors_that_do_not_vary_are_an_error_and_such_a_split_is_not_measured(metric):
    output, _ = case()
    still = {"shape": np.zeros(60, np.int64), "hue": np.ones(60, np.int64)}
    with pytest.raises(LatentbenchError, match="0 of 2 factors have more than one value: it needs at least"):
        measure(metric, output, still)
    assert not metric().applies(Targets(attributes=still), {})
    assert not metric().applies(Targets(), {})


@pytest.mark.parametrize("metric", OF_TWO_FACTORS)
def test_what_compares_factors_needs_two_of_them(metric):
    output, factors = case()
    one = {"shape": factors["shape"], "hue": np.zeros(60, np.int64)}
    with pytest.raises(LatentbenchError, match="1 of 2 factors have more than one value: it needs at least 2"):
        measure(metric, output, one)
    assert not metric().applies(Targets(attributes=one), {})
    assert metric().applies(Targets(attributes=factors), {})


def test_a_split_whose_every_image_lacks_a_factor_is_not_measured():
    _, factors = case()
    unlabelled = {**factors, "size": np.full(60, MISSING)}
    assert not any(metric().applies(Targets(attributes=unlabelled), {}) for metric in ALL)


@pytest.mark.parametrize("metric", ALL)
def test_a_constant_code_is_of_no_use_and_of_no_dependence(metric):
    _, factors = case()
    values = measure(metric, {"z": np.full((60, 4), 0.1)}, factors)
    assert values[""] == 0
    shares = [np.bincount(factors[name]).max() / 60 for name in factors]
    assert values.get("informativeness", 0) <= max(shares) + 0.2


@pytest.mark.parametrize("metric", ALL)
def test_a_code_of_one_dimension_is_measured_beside_a_constant_one(metric):
    output, factors = case()
    beside = {"z": np.column_stack([output["second"], np.zeros(60)])}
    assert measure(metric, {"z": output["second"]}, factors) == measure(metric, beside, factors)


def test_codes_are_brought_to_a_scale_on_which_the_widest_dimension_has_a_deviation_of_one():
    output, factors = case()
    weights = np.random.default_rng(1).integers(1, 4, 60).astype(float)
    evaluation = Evaluation({**output, "dead": np.full((60, 1), 0.1)}, Targets(attributes=factors), weights, {})
    codes = coded_factors(evaluation).standard_codes
    copies = np.repeat(codes, weights.astype(int), axis=0)
    assert copies.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-12)
    assert copies.std(axis=0).max() == pytest.approx(1)
    original = np.repeat(np.column_stack([*output.values()]), weights.astype(int), axis=0).std(axis=0)
    assert copies.std(axis=0) == pytest.approx([*original / original.max(), 0], abs=1e-12)
