"""Training the extractors of attributes: the same bytes every time, and no test image among the training images."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from latentbench import LatentbenchError
from latentbench.commands.cli import main
from latentbench_metrics import attribute_extractor, attribute_training, weights
from latentbench_metrics.attribute_training import Attributed, accuracy, commonest, read, train
from latentbench_metrics.extractor_training import serialize

FACES, SCENES = weights.CELEBA_ATTRIBUTES.name, weights.SCENES.name


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(attribute_training, "_EPOCHS", 2)
    monkeypatch.setattr(attribute_training, "_SCENES", 1500)


def trained(name, data):
    torch.manual_seed(0)
    return train(name, data)


def noise(count, name, seed=0):
    draw = np.random.default_rng(seed)
    images = torch.from_numpy(draw.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    values = [draw.integers(0, number, count) for number in attribute_extractor.KNOWN[name].values()]
    return Attributed(images, torch.from_numpy(np.stack(values, 1)))


@pytest.mark.parametrize("name", [FACES, SCENES])
def test_the_same_data_give_the_same_bytes_and_other_data_others(name):
    first = serialize(trained(name, noise(300, name)))
    assert serialize(trained(name, noise(300, name))) == first
    assert serialize(trained(name, noise(300, name, seed=1))) != first


def test_no_scene_for_training_looks_like_a_held_out_one_and_the_held_out_ones_are_the_datasets():
    some, held_out = (read(SCENES, Path(), train=part) for part in (True, False))
    assert len(held_out.images) == 2000
    assert 1300 < len(some.images) < 1500
    assert not {image.tobytes() for image in some.images.numpy()} & {
        image.tobytes() for image in held_out.images.numpy()
    }


def test_it_learns_and_no_feature_is_divided_by_less_than_a_tenth_of_its_layers_median():
    data, losses = read(SCENES, Path(), train=True), []
    torch.manual_seed(0)
    classifier = train(SCENES, data, lambda epoch, epochs, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    with torch.no_grad():
        seen = attribute_extractor.pictures(data.images, classifier.size)
        deviation = classifier.raw_features(seen).std(0)
    for of_layer, kept in zip(
        deviation.split(attribute_extractor.LAYERS), classifier.deviation.split(attribute_extractor.LAYERS), strict=True
    ):
        floor = of_layer.median() / 10
        torch.testing.assert_close(kept, torch.where(of_layer < floor, floor, of_layer), rtol=1e-3, atol=1e-5)


def test_accuracy_and_the_commonest_value_are_told_by_attribute():
    class Knows(attribute_extractor.AttributeClassifier):
        """Says 0 for every attribute."""

        def forward(self, pictures):
            return tuple(torch.eye(number)[[0] * len(pictures)] for number in self.cardinalities)

    values = torch.zeros(4, 6, dtype=torch.int64)
    values[1:, 0], values[3, 5] = 2, 1
    data = Attributed(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), values)
    expected = {"shape": 0.25, "size": 1.0, "x": 1.0, "y": 1.0, "colour": 1.0, "background": 0.75}
    assert accuracy(Knows(SCENES), data, SCENES) == expected
    assert commonest(data, data, SCENES) == {**expected, "shape": 0.75}


def test_half_of_the_faces_are_mirrored_and_no_scene_is():
    torch.manual_seed(0)
    images = torch.arange(4.0).expand(1000, 1, 1, 4)
    turned = attribute_training._mirrored(images)[:, 0, 0, 0] == 3
    assert 0.4 < turned.float().mean() < 0.6
    assert attribute_training._MIRRORED == {FACES: True, SCENES: False}


def test_faces_that_are_missing_are_named(tmp_path):
    with pytest.raises(LatentbenchError, match=r"celeba-subset.* is not complete in .*missing list_attr_celeba"):
        read(FACES, tmp_path, train=True)


def test_the_command_writes_the_weights_and_tells_their_hash_and_accuracy(capsys, tmp_path):
    file = tmp_path / "made" / "weights.safetensors"
    assert main(["extractor", "train", "scenes", "--to", str(file)]) == 0
    out = capsys.readouterr().out
    assert hashlib.sha256(file.read_bytes()).hexdigest() in out
    assert "mean over 6 attributes of 2,000 held-out images: " in out
    assert f"not the shipped weights ({weights.SCENES.sha256})" in out


@pytest.mark.real
def test_the_shipped_classifier_of_faces_knows_held_out_faces(data_root):
    if not (data_root / "celeba_10k").is_dir():
        pytest.skip(f"no real data: {data_root / 'celeba_10k'}")
    held_out = read(FACES, data_root, train=False)
    assert len(held_out.images) == 2000
    found = accuracy(attribute_extractor.load(weights.CELEBA_ATTRIBUTES), held_out, FACES)
    assert found["Male"] > 0.9
    assert found["Smiling"] > 0.85
    assert sum(found.values()) / 40 > 0.87
