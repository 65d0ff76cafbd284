"""The probe against scikit-learn's own grid search, against Bayes' accuracy, and in the cases that need care."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from latentbench import MISSING, LatentbenchError
from latentbench.evaluation.readouts.probe import STRENGTHS, UNCHOSEN, LabelledCodes, fit_probe


def gaussian(size: int, values: int, width: int, seed: int, spread: float = 1.0) -> LabelledCodes:
    """Codes N(m_v, spread^2 I) of an attribute "a" with values v; the means m_v do not depend on ``seed``."""
    draw = np.random.default_rng(seed)
    means = np.random.default_rng(99).normal(size=(values, width))
    labels = draw.integers(values, size=size)
    codes = means[labels] + spread * draw.normal(size=(size, width))
    return LabelledCodes(codes.astype(np.float32), {"a": labels})


@pytest.mark.parametrize(
    ("size", "values", "width", "spread"),
    [(40, 2, 30, 3.0), (300, 2, 5, 2.0), (120, 4, 20, 4.0), (200, 10, 3, 0.5)],
)
def test_it_chooses_and_predicts_as_a_grid_search_on_the_validation_codes_does(size, values, width, spread):
    train, validation, test = (gaussian(n, values, width, seed, spread) for seed, n in enumerate((size, 200, 500)))
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        {"logisticregression__C": STRENGTHS},  # of equal scores the search takes the first, too
        cv=PredefinedSplit([-1] * size + [0] * 200),
        scoring="neg_log_loss",
        refit=False,
    ).fit(np.concatenate([train.codes, validation.codes]).astype(float), [*train.labels["a"], *validation.labels["a"]])
    reference = make_pipeline(
        StandardScaler(), LogisticRegression(C=search.best_params_["logisticregression__C"], max_iter=1000)
    ).fit(train.codes.astype(float), train.labels["a"])

    probe = fit_probe(["a"], train, validation)

    assert probe.strengths == {"a": search.best_params_["logisticregression__C"]}
    np.testing.assert_array_equal(probe.predict(test.codes)["a"], reference.predict(test.codes.astype(float)))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_two_gaussians_are_read_with_the_accuracy_of_bayes(sigma):
    def codes(size: int, seed: int) -> LabelledCodes:
        draw = np.random.default_rng(seed)
        labels = draw.integers(2, size=size)
        signal = (2 * labels - 1)[:, None] + sigma * draw.normal(size=(size, 1))
        return LabelledCodes(np.hstack([signal, draw.normal(size=(size, 3))]).astype(np.float32), {"a": labels})

    test = codes(40_000, 3)
    predicted = fit_probe(["a"], codes(10_000, 1), codes(4_000, 2)).predict(test.codes)["a"]

    bayes = norm.cdf(1 / sigma)
    error = np.sqrt(bayes * (1 - bayes) / 40_000)
    assert np.mean(predicted == test.labels["a"]) == pytest.approx(bayes, abs=4 * error)


@pytest.mark.parametrize(
    ("variance", "correlated", "uncorrelated"), [(0.599, 0.955, 0.794), (1.668, 0.854, 0.695), (4.642, 0.736, 0.625)]
)
def test_it_leans_on_the_training_correlation_as_much_as_published(variance, correlated, uncorrelated):
    """Two attributes of +-1 seen through noise, c = 0.95: Funke et al., 2022, Fig. 10, "Base", read off the figure."""

    def codes(size: int, correlation: float, seed: int) -> LabelledCodes:
        draw = np.random.default_rng(seed)
        left = draw.integers(2, size=size)
        right = np.where(draw.random(size) < (1 + correlation) / 2, left, 1 - left)
        seen = 2 * np.stack([left, right], 1) - 1 + np.sqrt(variance) * draw.normal(size=(size, 2))
        return LabelledCodes(seen.astype(np.float32), {"left": left, "right": right})

    probe = fit_probe(["left", "right"], codes(10_000, 0.95, 1), None)  # hardly regularized, as theirs
    for correlation, published in ((0.95, correlated), (0.0, uncorrelated)):
        test = codes(40_000, correlation, 3)
        predicted = probe.predict(test.codes)
        accuracy = np.mean([predicted[name] == test.labels[name] for name in ("left", "right")])
        assert accuracy == pytest.approx(published, abs=0.01)


def test_of_equally_good_strengths_the_strongest_regularization_is_taken():
    says_nothing = LabelledCodes(np.ones((40, 1), np.float32), {"a": np.array([0, 1] * 20)})
    assert fit_probe(["a"], says_nothing, says_nothing).strengths == {"a": min(STRENGTHS)}


def test_a_value_that_training_never_shows_has_no_say_in_the_strength():
    train, validation = gaussian(200, 3, 5, 0, 2.0), gaussian(200, 3, 5, 1, 2.0)
    codes, labels = validation.codes, validation.labels["a"]
    strange = LabelledCodes(np.concatenate([codes, 50 * codes]), {"a": np.concatenate([labels, np.full(200, 7)])})
    assert fit_probe(["a"], train, strange).strengths == fit_probe(["a"], train, validation).strengths


def test_what_is_unlabelled_counts_neither_in_training_nor_in_validation():
    train, validation, test = (gaussian(200, 3, 5, seed, 2.0) for seed in range(3))
    draw = np.random.default_rng(0)

    def with_unlabelled(known: LabelledCodes) -> LabelledCodes:
        order = draw.permutation(400)
        codes = np.concatenate([known.codes, 100 * known.codes])[order]
        return LabelledCodes(codes, {"a": np.concatenate([known.labels["a"], np.full(200, MISSING)])[order]})

    clean, holed = fit_probe(["a"], train, validation), fit_probe(["a"], *map(with_unlabelled, (train, validation)))
    assert holed.strengths == clean.strengths
    np.testing.assert_array_equal(holed.predict(test.codes)["a"], clean.predict(test.codes)["a"])


@pytest.mark.parametrize(
    "validation", [None, LabelledCodes(np.zeros((3, 5), np.float32), {}), gaussian(0, 3, 5, 1)], ids=str
)
def test_without_validation_labels_the_strength_is_the_documented_one(validation):
    assert fit_probe(["a"], gaussian(50, 3, 5, 0), validation).strengths == {"a": UNCHOSEN}


@pytest.mark.parametrize(("labels", "shown"), [([2, 2, MISSING], 1), ([MISSING] * 3, 0)])
def test_an_attribute_of_which_training_shows_no_two_values_is_refused(labels, shown):
    train = LabelledCodes(np.eye(3, dtype=np.float32), {"a": np.array(labels)})
    with pytest.raises(LatentbenchError, match=f"cannot learn attribute 'a': the training labels show {shown} of its"):
        fit_probe(["a"], train, None)


def test_an_attribute_that_training_does_not_have_is_refused_and_the_others_are_learned():
    train = gaussian(50, 2, 3, 0)
    probe = fit_probe(["a", "b"], train, None)
    assert "cannot learn attribute 'b': the training labels show 0 of its values" in probe.refused["b"]
    alone = fit_probe(["a"], train, None)
    assert probe.strengths == alone.strengths
    assert probe.refused.keys() == {"b"}
    assert not alone.refused
    assert probe.predict(train.codes).keys() == {"a"}
    assert np.array_equal(probe.predict(train.codes)["a"], alone.predict(train.codes)["a"])


@settings(max_examples=5)
@given(scales=st.lists(st.integers(-10, 10), min_size=4, max_size=4))
def test_the_scale_of_a_code_does_not_matter(scales):
    train, validation, test = (gaussian(150, 3, 4, seed, 2.0) for seed in range(3))
    factors = np.float32(2.0) ** np.array(scales, np.float32)  # exact in floating point

    def scaled(known: LabelledCodes) -> LabelledCodes:
        return LabelledCodes(known.codes * factors, known.labels)

    plain, other = fit_probe(["a"], train, validation), fit_probe(["a"], scaled(train), scaled(validation))
    assert other.strengths == plain.strengths
    np.testing.assert_array_equal(other.predict(test.codes * factors)["a"], plain.predict(test.codes)["a"])


def test_the_number_of_threads_changes_no_bit():
    train = gaussian(5001, 7, 101, 0, spread=20.0)  # large enough for BLAS to split its sums
    coefficients = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            coefficients.append(fit_probe(["a"], train, None).readers["a"][-1].coef_)
    np.testing.assert_array_equal(*coefficients)
