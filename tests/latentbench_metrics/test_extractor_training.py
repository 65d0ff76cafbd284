"""Training the shipped extractor: the same bytes every time, from published files alone."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from latentbench import LatentbenchError
from latentbench.commands.cli import main
from latentbench_metrics import extractor, extractor_training, weights
from latentbench_metrics.extractor_training import Labelled, accuracy, read, serialize, train


def bars(count, seed=0):
    """28x28 noise in which a bright row tells the class."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 20, count)
    images = draw.integers(0, 30, (count, 1, 28, 28))
    for image, label in zip(images, labels, strict=True):
        image[0, label + 2 : label + 6] += 200
    return Labelled(torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels))


def trained(data):
    torch.manual_seed(0)
    return train(data)


def test_the_same_data_give_the_same_bytes_and_other_data_others():
    data = bars(600)
    first = serialize(trained(data))
    assert serialize(trained(data)) == first
    assert serialize(trained(bars(600, seed=1))) != first


def test_it_learns_and_each_feature_is_in_units_of_its_deviation():
    data = bars(4000)
    losses = []
    torch.manual_seed(0)
    classifier = train(data, lambda epoch, epochs, loss: losses.append((epoch, epochs, loss)))
    epochs = extractor_training._EPOCHS
    assert [(epoch, of) for epoch, of, _ in losses] == [(epoch, epochs) for epoch in range(1, epochs + 1)]
    assert losses[-1][2] < 0.8 * losses[0][2]
    with torch.no_grad():
        deviation = classifier.features(data.images).std(0)
    alive = classifier.deviation > extractor_training._LEAST_DEVIATION
    torch.testing.assert_close(deviation[alive], torch.ones_like(deviation[alive]), rtol=1e-3, atol=1e-3)
    assert alive.float().mean() > 0.5


def test_accuracy_is_told_by_set():
    class Knows(extractor.Classifier):
        """Right for the first set, and for the other where it says so."""

        def forward(self, pictures):
            return torch.eye(20)[[3, 4, 0, 15]]

    data = Labelled(torch.zeros(4, 1, 28, 28, dtype=torch.uint8), torch.tensor([3, 4, 12, 15]))
    assert accuracy(Knows(), data) == {"MNIST": 1.0, "FashionMNIST": 0.5}


def test_contrast_brightness_and_polarity_vary_within_the_range():
    torch.manual_seed(0)
    varied = extractor_training._vary(torch.tensor([-1.0, 1.0]).expand(500, 1, 1, 2))
    assert varied.abs().max() <= 1
    spread = (varied[..., 1] - varied[..., 0]).flatten()
    assert spread.abs().min() >= 1  # half of the contrast is left
    assert 0.4 < (spread < 0).float().mean() < 0.6


def test_files_that_are_missing_or_not_the_published_ones_are_named(tmp_path):
    with pytest.raises(
        LatentbenchError, match=r"MNIST is not complete in .*: missing train-images-idx3-ubyte\(\.gz\), .*CC BY"
    ):
        read(tmp_path, train=True)
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte.gz").write_bytes(gzip.compress(b"other"))
    with pytest.raises(LatentbenchError, match=r"train-images-idx3-ubyte\.gz is corrupt or cut short"):
        read(tmp_path, train=True)


def test_the_command_writes_the_weights_and_tells_their_hash_and_accuracy(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(extractor_training, "read", lambda data_root, *, train: bars(600 if train else 100))
    file = tmp_path / "made" / "weights.safetensors"
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert main(["extractor", "train", "--to", str(file), "--data-root", str(tmp_path)]) == 0
    assert torch.equal(torch.get_rng_state(), before)
    out = capsys.readouterr().out
    assert file.read_bytes() == serialize(trained(bars(600)))
    assert hashlib.sha256(file.read_bytes()).hexdigest() in out
    assert "FashionMNIST: " in out
    assert f"not the shipped weights ({weights.MNIST_FASHION.sha256})" in out
    same = weights.Shipped("mnist-fashion", hashlib.sha256(file.read_bytes()).hexdigest())
    monkeypatch.setitem(weights.SHIPPED, same.name, same)
    assert main(["extractor", "train", "--to", str(file), "--data-root", str(tmp_path)]) == 0
    assert "the same bytes as the shipped weights" in capsys.readouterr().out


def test_fetch_tells_what_to_set(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(weights, "download_inception", lambda: tmp_path / "inception.pth")
    assert main(["extractor", "fetch"]) == 0
    assert f"export LATENTBENCH_INCEPTION={tmp_path / 'inception.pth'}" in capsys.readouterr().out


@pytest.mark.real
def test_the_shipped_classifier_knows_the_held_out_images_of_the_published_files(data_root):
    found = accuracy(extractor.load(), read(data_root, train=False))
    assert found["MNIST"] > 0.9
    assert found["FashionMNIST"] > 0.8
