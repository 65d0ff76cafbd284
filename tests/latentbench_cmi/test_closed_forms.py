"""Single numbers of the paper's linear setting: against samples of it, and the figures that the paper prints."""

import numpy as np
import pytest

from latentbench_cmi.closed_forms import data_correlation, explained, map_entry, prediction_correlation
from latentbench_cmi.theory import equicorrelated

SAMPLES = 400_000


def sample(correlation: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Attributes and what is seen of them, (N, 2) each."""
    rng = np.random.default_rng(0)
    attributes = rng.multivariate_normal([0, 0], equicorrelated(correlation), SAMPLES)
    return attributes, attributes + rng.normal(0, np.sqrt(noise), attributes.shape)


@pytest.mark.parametrize("method", ["base", "mi", "cmi"])
@pytest.mark.parametrize("test", [0.8, 0.0, -0.5])
def test_the_numbers_are_those_of_samples(method: str, test: float) -> None:
    factor = 1 / 1.1 if method == "cmi" else 1.0  # the table prints W of CMI, which is read with this factor
    entries = [factor * map_entry(method, 0.8, 0.1, column) for column in (0, 1)]
    attributes, seen = sample(test, 0.1)
    predicted = seen @ np.array([entries, entries[::-1]])
    left = np.square(predicted - attributes).sum() / np.square(attributes).sum()
    assert explained(method, 0.8, test, 0.1) == pytest.approx(1 - left, abs=0.005)
    found = np.corrcoef(predicted.T)[0, 1]
    assert prediction_correlation(method, 0.8, test, 0.1) == pytest.approx(found, abs=0.005)


@pytest.mark.parametrize(("method", "train", "test"), [("base", 0.85, 0.34), ("mi", 0.0, -0.73), ("cmi", 0.73, 0.0)])
def test_figure_2(method: str, train: float, test: float) -> None:
    assert round(prediction_correlation(method, 0.8, 0.8, 0.1), 2) == pytest.approx(train, abs=0.0051)
    assert round(prediction_correlation(method, 0.8, 0.0, 0.1), 2) == test


@pytest.mark.parametrize("whitened", [False, True])
def test_figure_1_reads_the_principal_axes_of_samples(whitened: bool) -> None:
    """Each attribute regressed by least squares on one coordinate of the data's own singular value decomposition."""
    attributes, seen = sample(0.8, 0.1)
    left, widths, axes = np.linalg.svd(seen, full_matrices=False)
    code = left if whitened else seen @ axes.T
    factors = (code * attributes).sum(0) / np.square(code).sum(0)
    missed = np.square(code * factors - attributes).sum() / np.square(attributes).sum()
    found = explained("whitening" if whitened else "svd", 0.8, 0.8, 0.1)
    assert found == pytest.approx(1 - missed, abs=0.005)
    assert round(found, 2) == 0.46  # as printed
    assert widths[0] > widths[1]


@pytest.mark.parametrize("correlation", [0.8, 0.0])
def test_the_correlation_of_the_data_is_that_of_samples(correlation: float) -> None:
    _, seen = sample(correlation, 0.1)
    assert data_correlation(correlation, 0.1) == pytest.approx(np.corrcoef(seen.T)[0, 1], abs=0.005)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="one of base, mi, cmi, svd, whitening, not 'CMI'"):
        explained("CMI", 0.8, 0.0, 0.1)
