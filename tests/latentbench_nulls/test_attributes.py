from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import mode, ortho_group
from sklearn.neighbors import KNeighborsClassifier
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench import MISSING, DataInfo, LatentbenchError
from latentbench.running.training import TrainingLoop
from latentbench_datasets.synthetic.scenes import Scenes
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


def test_codes_of_scenes_are_a_rotation_of_the_true_factors_though_a_pass_has_few_of_them():
    """588 combinations, of which a pass of 300 scenes has less than a half; the truth is that of the test split."""
    names = ("shape", "size", "x", "y")
    data = Scenes(Scenes.Config(image_size=16, factors=names, train_images=300, test_images=600)).load(Path())
    torch.manual_seed(0)
    null = FactorRotation(FactorRotation.configure("scenes", {}), data.info).eval()
    null.fit(data.splits["train"], None, TrainingLoop(device=torch.device("cpu"), seed=2))
    assert len(null.references.unique(dim=0)) == 588
    test = data.splits["test"].batch(torch.arange(600), torch.Generator())
    factors = np.stack([test.attributes[name] for name in names], 1).astype(float)
    codes = null.encode(test.images).double().numpy()
    centred, known = codes - codes.mean(0), factors - factors.mean(0)
    linear, *_ = np.linalg.lstsq(known, centred, rcond=None)
    np.testing.assert_allclose(known @ linear, centred, atol=1e-4)
    scales, axes = np.linalg.norm(linear, axis=1), linear / np.linalg.norm(linear, axis=1, keepdims=True)
    np.testing.assert_allclose(axes @ axes.T, np.eye(4), atol=1e-4)
    np.testing.assert_allclose(scales, [1 / np.sqrt((n * n - 1) / 12) for n in (4, 3, 7, 7)], rtol=0.1)  # 1 / sd


def test_what_is_never_drawn_has_the_code_of_its_neighbour():
    """Twelve images that their attributes determine; one more combination is in no training image."""
    factors = np.array([divmod(number, 4) for number in range(12)])
    pictures, shown = images((1, 8, 8), 12), np.arange(120) % 11
    labels = {"row": (factors[shown, 0], 3), "column": (factors[shown, 1], 4)}
    null = fitted(FactorRotation, pictures[shown], labels)
    assert len(null.references.unique(dim=0)) == 11
    near = KNeighborsClassifier(1, algorithm="brute").fit(pictures[:11].flatten(1), np.arange(11))
    codes = null.encode(pictures)
    assert torch.equal(codes[11], codes[int(near.predict(pictures[11:].flatten(1))[0])])
    assert len(codes[:11].unique(dim=0)) == 11


def test_an_image_between_gray_levels_has_the_code_of_the_nearest():
    train, attributes = images((3, 13, 17), 60), _labelled((3, 13, 17), 60)
    null = fitted(FactorRotation, train, attributes)
    noise = torch.rand(train.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    for scale in (0.9, 40):  # of a gray level: what rounds to a training image, and what does not
        x = (train + noise * scale / 255).clamp(0, 1)
        expected = torch.cdist(x.double().flatten(1), null.references.double() / 255).argmin(1)
        assert torch.equal(null.encode(x), null.codes[expected])


def test_a_rotation_needs_two_attributes():
    assert FactorRotation.suits(DataInfo(1, 8, 8, 1, {"digit": 10})) == "a rotation needs two attributes"
    assert FactorRotation.suits(DataInfo(1, 8, 8, 1, {"left": 2, "right": 2})) is None


def test_of_one_image_the_code_is_the_origin():
    """Its factors are their own mean."""
    train = images((1, 8, 8), 1)
    null = fitted(FactorRotation, train, {"left": ([1], 2), "right": ([2], 3)})
    assert null.encode(images((1, 8, 8), 3, seed=1)).tolist() == [[0, 0]] * 3
