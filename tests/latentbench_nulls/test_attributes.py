import numpy as np
import pytest
import torch
from scipy.stats import mode, ortho_group
from sklearn.neighbors import KNeighborsClassifier
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench import MISSING, DataInfo, LatentbenchError
from latentbench_nulls.attributes import FactorRotation, Majority


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_majority_is_the_mode_of_the_known_labels(shape):
    draw = np.random.default_rng(0)
    labels = {"left": draw.choice(3, 300, p=[0.3, 0.2, 0.5]), "right": draw.choice(2, 300, p=[0.6, 0.4])}
    labels["left"][:200][labels["left"][:200] == 2] = MISSING
    null = fitted(Majority, images(shape, 300), {"left": (labels["left"], 3), "right": (labels["right"], 2)})
    found = null.predict(images(shape, 4, seed=1))
    for name, values in labels.items():
        known = values[values != MISSING]
        assert found[name].argmax(1).tolist() == [mode(known).mode] * 4
        np.testing.assert_allclose(found[name][0], np.bincount(known, minlength=found[name].shape[1]) / len(known))


def _labelled(shape, number):
    draw = np.random.default_rng(0)
    cards = {"shape": 3, "size": 4, "colour": 5}
    return {name: (draw.integers(values, size=number), values) for name, values in cards.items()}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_code_is_a_rotation_of_the_factors_of_the_nearest_image(shape):
    train, test = images(shape, 80), images(shape, 20, seed=1)
    attributes = _labelled(shape, 80)
    null = fitted(FactorRotation, train, attributes)
    classifiers = {
        name: KNeighborsClassifier(1, algorithm="brute").fit(train.flatten(1), values)
        for name, (values, _) in attributes.items()
    }
    factors = np.stack([one.predict(test.flatten(1)) for one in classifiers.values()], 1).astype(float)
    known = np.stack([values for values, _ in attributes.values()], 1)
    standardized = (factors - known.mean(0)) / known.std(0, ddof=1)
    codes = null.encode(test).double().numpy()
    rotation, *_ = np.linalg.lstsq(standardized, codes, rcond=None)
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(standardized @ rotation, codes, atol=1e-4)
    assert np.abs(rotation).max() < 0.999  # none of the factors has an axis of its own


def test_rotations_are_uniform():
    train, attributes = images((1, 8, 8), 30), _labelled((1, 8, 8), 30)
    nulls = [fitted(FactorRotation, train, attributes, seed=seed) for seed in range(200)]
    known = np.stack([values for values, _ in attributes.values()], 1)
    standardized = (known - known.mean(0)) / known.std(0, ddof=1)
    entries = []
    for null in nulls:
        codes = null.encode(train).double().numpy()
        entries.append(np.linalg.lstsq(standardized, codes, rcond=None)[0])
    expected = ortho_group(3, seed=0).rvs(4000)
    np.testing.assert_allclose(np.mean(entries, 0), np.zeros((3, 3)), atol=0.15)
    np.testing.assert_allclose(np.abs(entries).mean(0), np.abs(expected).mean(0), atol=0.1)


def test_images_that_lack_a_label_are_no_neighbours():
    train = images((1, 8, 8), 40)
    attributes = _labelled((1, 8, 8), 40)
    attributes["size"][0][::2] = MISSING
    null = fitted(FactorRotation, train, attributes)
    kept = {row.numpy().tobytes() for row in null.references}
    assert kept == {row.numpy().tobytes() for row in (train[1::2] * 255).round().to(torch.uint8).flatten(1)}
    attributes["size"][0][:] = MISSING
    with pytest.raises(LatentbenchError, match="no training image has all of its labels"):
        fitted(FactorRotation, train, attributes)


def test_a_rotation_needs_two_attributes():
    assert FactorRotation.suits(DataInfo(1, 8, 8, 1, {"digit": 10})) == "a rotation needs two attributes"
    assert FactorRotation.suits(DataInfo(1, 8, 8, 1, {"left": 2, "right": 2})) is None
