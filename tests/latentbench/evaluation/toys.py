"""Models, metrics and data for the tests of collecting, reading and measuring."""

from collections import Counter
from typing import ClassVar

import numpy as np
import torch

from latentbench import Data, DataInfo, Metric, Model, Options, Role, StoredSplit, Targets
from latentbench.evaluation.collecting import collect
from latentbench.evaluation.measuring import measure

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=4, width=6, train_size=80, attributes={"left": 2, "right": 3})


def split(role, size, *, anomaly=False, conditions=None, seed=None):
    """Noisy images: the left half is lit up by "left", the right half by "right"; anomalies are a little brighter."""
    draw = np.random.default_rng(list(Role).index(role) if seed is None else seed)
    labels = {name: draw.integers(values, size=size) for name, values in INFO.attributes.items()}
    images = draw.integers(0, 120, (size, 1, 4, 6))
    images[..., :3] += 30 * labels["left"][:, None, None, None]
    images[..., 3:] += 20 * labels["right"][:, None, None, None]
    abnormal = draw.integers(2, size=size).astype(np.uint8) if anomaly else None
    if abnormal is not None:
        images += 10 * abnormal[:, None, None, None]
    targets = Targets(anomaly=abnormal, attributes=labels)
    return StoredSplit(role, torch.from_numpy(images.astype(np.uint8)), targets, conditions)


def dataset(**changes):
    draw = np.random.default_rng(9)
    splits = {
        "train": split(Role.TRAIN, 80),
        "val": split(Role.VALIDATION, 40),
        "test": split(Role.TEST, 50, anomaly=True),
        "shifted": split(
            Role.TEST,
            30,
            anomaly=True,
            seed=7,
            conditions={name: draw.integers(4, size=30).astype(float) for name in ("mild", "strong")},
        ),
    }
    return Data(INFO, {name: s for name, s in {**splits, **changes}.items() if s is not None})


class Base(Model):
    """Counts how often each of its methods was called; what it knows of an image is a matter of its pixels."""

    class Config(Options):
        pass

    def build(self, info):
        self.calls: Counter[str] = Counter()


class Detector(Base):
    version = 3

    def score(self, images):
        self.calls["score"] += 1
        return images.mean((1, 2, 3))

    def localize(self, images):
        self.calls["localize"] += 1
        return images[:, 0]


class Encoder(Base):
    def encode(self, images):
        self.calls["encode"] += 1
        return {"left": images[..., :3].mean((1, 2)), "right": images[..., 3:].mean((1, 2))}


class Classifier(Encoder):
    def predict(self, images):
        self.calls["predict"] += 1
        left, right = images[..., :3].mean((1, 2, 3)), images[..., 3:].mean((1, 2, 3))
        levels = torch.tensor([0.24, 0.32, 0.4])
        return {"left": torch.stack([-left, left - 0.6], 1), "right": -(right[:, None] - levels).abs()}


class Clusterer(Encoder):
    def cluster(self, images):
        self.calls["cluster"] += 1
        return {"bright": (images.mean((1, 2, 3)) > 0.3).long()}


class Noisy(Detector):
    def score(self, images):
        return images.mean((1, 2, 3)) + torch.randn(len(images))

    def log_likelihood(self, images):
        return torch.randn(len(images))


def model(model_class):
    return model_class(model_class.Config(), INFO)


class MeanDifference(Metric):
    """Weighted mean score of the anomalies less that of the normal images."""

    name = "difference"
    version = 4
    title = "difference"
    source = "this file"
    capability = "score"
    targets: ClassVar[tuple[str, ...]] = ("anomaly",)
    higher_is_better = True
    bounds = (-10.0, 10.0)

    def compute(self, evaluation):
        w, anomaly = evaluation.weights, evaluation.targets.anomaly == 1
        return np.average(evaluation.output[anomaly], weights=w[anomaly]) - np.average(
            evaluation.output[~anomaly], weights=w[~anomaly]
        )


class Accuracy(Metric):
    """Weighted accuracy, the mean and by attribute."""

    name = "accuracy"
    title = "accuracy"
    source = "this file"
    capability = "predict"
    targets = ("attributes",)
    higher_is_better = True
    bounds = (0.0, 1.0)

    def compute(self, evaluation):
        parts = {
            name: float(np.average(evaluation.output[name] == truth, weights=evaluation.weights))
            for name, truth in evaluation.targets.attributes.items()
        }
        return {"": float(np.mean(list(parts.values()))), **parts}


class Spanning(Accuracy):
    """Difference of the accuracies under two conditions."""

    name = "spanning"
    higher_is_better = False
    bounds = (-1.0, 1.0)
    spans = ("mild", "strong")

    def compute(self, evaluation):
        right = evaluation.output["left"] == evaluation.targets.attributes["left"]
        assert np.array_equal(evaluation.weights, np.ones(len(right)))
        return float(np.subtract(*(np.average(right, weights=evaluation.conditions[name]) for name in self.spans)))


class Purity(Accuracy):
    """Share of images that have their cluster's most frequent value, by facet and attribute."""

    name = "purity"
    capability = "cluster"

    def compute(self, evaluation):
        parts = {}
        for facet, clusters in evaluation.output.items():
            for name, truth in evaluation.targets.attributes.items():
                most = [np.bincount(truth[clusters == k]).max() for k in np.unique(clusters)]
                parts[f"{facet}:{name}"] = sum(most) / len(truth)
        return parts


class PixelMean(MeanDifference):
    name = "pixel"
    capability = "localize"
    targets = ("mask",)


class CodeWidth(MeanDifference):
    name = "width"
    capability = "encode"
    targets = ()
    bounds = (0.0, 100.0)

    def compute(self, evaluation):
        return float(sum(code.shape[1] for code in evaluation.output.values()))


class Density(MeanDifference):
    name = "density"
    capability = "log_likelihood"


#: Batches in which images are given again, to tell whether a result depends on the batch (``evaluation.company``).
AGAIN = 2


def collected(fitted, data, *metrics, seed=0, **options):
    return collect(fitted, data, {m.name: m for m in metrics}, owner="acme 1.2", device=CPU, seed=seed, **options)


def measured(predictions, data, *metrics):
    return measure(predictions, data, {m.name: m for m in metrics}).values
