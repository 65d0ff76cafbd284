"""A fitted model is run where a metric needs it, as it promises, and its metrics follow from predictions and data."""

from collections import Counter
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from latentbench import (
    MISSING,
    Batch,
    Data,
    DataInfo,
    LatentbenchError,
    Metric,
    Model,
    Options,
    Role,
    Split,
    StoredSplit,
    Targets,
)
from latentbench.evaluation import collecting
from latentbench.evaluation.collecting import collect
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.readouts.knn import K
from latentbench.evaluation.readouts.probe import STRENGTHS, UNCHOSEN
from latentbench.records.arrays import unpack
from latentbench.records.store import Store
from latentbench.spec import RunSpec

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


def test_only_what_an_applicable_metric_needs_and_the_model_can_do_is_run():
    fitted, data = model(Detector), dataset()
    predictions = collected(fitted, data, MeanDifference, Accuracy, PixelMean)  # no masks, no predict, no codes
    assert set(predictions.arrays) == {"test/score", "shifted/score"}  # validation has no anomalies
    assert fitted.calls == {"score": 2 + AGAIN}
    assert predictions.images == 50 + 30
    assert predictions.readouts == {}


@pytest.mark.parametrize("batch_size", [1, 7, 50, 500])
def test_outputs_are_of_all_images_in_order_whatever_the_batch(batch_size):
    data = dataset()
    predictions = collected(model(Detector), data, MeanDifference, batch_size=batch_size)
    for name in ("test", "shifted"):
        pixels = data.splits[name].images.numpy().astype(np.float64) / 255
        np.testing.assert_allclose(predictions.arrays[f"{name}/score"], pixels.mean((1, 2, 3)), rtol=1e-6)


def test_what_is_predicted_is_the_attribute_value_of_the_largest_logit():
    data = dataset()
    predictions = collected(model(Classifier), data, Accuracy)
    pixels = data.splits["test"].images.numpy() / 255
    left, right = pixels[..., :3].mean((1, 2, 3)), pixels[..., 3:].mean((1, 2, 3))
    np.testing.assert_array_equal(predictions.arrays["test/predict/left"], left > 0.3)
    nearest = np.abs(right[:, None] - np.array([0.24, 0.32, 0.4])).argmin(1)
    np.testing.assert_array_equal(predictions.arrays["test/predict/right"], nearest)
    assert predictions.arrays["test/predict/left"].dtype == np.int64
    assert {value.readout for value in measured(predictions, data, Accuracy).values()} == {"native"}


def test_one_unnamed_code_is_called_z_and_named_ones_keep_their_names():
    class One(Base):
        def encode(self, images):
            return images.flatten(1)

    data = dataset(shifted=None)
    assert set(collected(model(One), data, CodeWidth).arrays) == {"val/encode/z", "test/encode/z"}
    predictions = collected(model(Encoder), data, CodeWidth)
    assert set(predictions.arrays) == {
        f"{split}/encode/{part}" for split in ("val", "test") for part in INFO.attributes
    }
    assert measured(predictions, data, CodeWidth)["width@test"].value == 3 + 3


def test_a_random_output_depends_on_seed_split_and_capability_and_on_nothing_else():
    data = dataset()

    def arrays(model_class, *metrics, seed=0):  # batches of one size: PyTorch draws other numbers for other sizes
        return collected(model(model_class), data, *metrics, seed=seed, batch_size=10).arrays

    alone = arrays(Noisy, MeanDifference)
    torch.manual_seed(1)
    beside = arrays(Noisy, Density, MeanDifference)
    assert np.array_equal(alone["test/score"], beside["test/score"])

    mean = arrays(Detector, MeanDifference)
    noise, elsewhere = (alone[f"{name}/score"][:30] - mean[f"{name}/score"][:30] for name in ("test", "shifted"))
    reseeded = arrays(Noisy, MeanDifference, seed=1)["test/score"][:30] - mean["test/score"][:30]
    for other in (elsewhere, reseeded, beside["test/log_likelihood"][:30]):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.6


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_it_gives_what_it_gives_on_a_cpu_and_leaves_the_gpus_generator_alone():
    class Both(Noisy, Encoder):
        def log_likelihood(self, images):
            return images.sum((1, 2, 3)) + 0 * torch.randn(len(images), device=images.device)

    cuda, metrics = torch.device("cuda"), {m.name: m for m in (Accuracy, Density)}
    torch.cuda.manual_seed(5)
    expected = torch.rand(3, device=cuda)
    torch.cuda.manual_seed(5)
    found = collect(model(Both).to(cuda), dataset().to(cuda), metrics, owner="acme 1.2", device=cuda, seed=0)
    assert torch.equal(torch.rand(3, device=cuda), expected)
    reference = collect(model(Both), dataset(), metrics, owner="acme 1.2", device=CPU, seed=0)
    assert found.readouts == reference.readouts
    for key, array in reference.arrays.items():
        np.testing.assert_allclose(found.arrays[key], array, rtol=1e-5)


def test_pytorchs_global_generator_is_left_where_it_was():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    collected(model(Noisy), dataset(), MeanDifference, Density)
    collected(model(Encoder), dataset(), Accuracy)
    assert torch.equal(torch.rand(3), expected)


def test_codes_are_read_by_a_probe_fitted_on_training_codes_and_chosen_on_validation():
    data = dataset()
    fitted = model(Encoder)
    predictions = collected(fitted, data, Accuracy)

    def codes(name):
        pixels = data.splits[name].images.double().numpy()[:, 0] / 255
        return pixels.mean(1)  # means of the columns: both subspaces side by side

    for attribute in INFO.attributes:
        fits = {}
        for strength in STRENGTHS:
            reader = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))
            reader.fit(codes("train"), data.splits["train"].targets.attributes[attribute])
            truth = data.splits["val"].targets.attributes[attribute]
            fits[strength] = log_loss(truth, reader.predict_proba(codes("val"))), reader
        best = min(fits, key=lambda strength: (fits[strength][0], strength))
        assert predictions.readouts["probe"][attribute] == best
        for name in ("val", "test", "shifted"):
            expected = fits[best][1].predict(codes(name))
            np.testing.assert_array_equal(predictions.arrays[f"{name}/predict/{attribute}"], expected)
    assert fitted.calls == {"encode": 4 + AGAIN}
    assert predictions.images == 80 + 40 + 50 + 30
    assert {value.readout for value in measured(predictions, data, Accuracy).values()} == {"probe"}
    assert not any("encode" in key for key in predictions.arrays)


def test_the_test_split_has_no_say_in_the_probe():
    plain = collected(model(Encoder), dataset(), Accuracy)
    inverted = split(Role.TEST, 50, anomaly=True, seed=33)
    for labels in inverted.targets.attributes.values():
        labels[:] = labels.max() - labels
    other = collected(model(Encoder), dataset(test=inverted), Accuracy)
    assert other.readouts == plain.readouts
    for attribute in INFO.attributes:
        assert np.array_equal(
            other.arrays[f"shifted/predict/{attribute}"], plain.arrays[f"shifted/predict/{attribute}"]
        )


def test_without_a_validation_split_the_probe_takes_its_documented_strength():
    predictions = collected(model(Encoder), dataset(val=None), Accuracy)
    assert predictions.readouts["probe"] == dict.fromkeys(INFO.attributes, UNCHOSEN)


def test_an_attribute_that_training_shows_one_value_of_costs_its_accuracy_alone_and_says_why():
    train = split(Role.TRAIN, 80)
    train.targets.attributes["right"][:] = np.where(np.arange(80) % 2, 1, MISSING)
    data = dataset(train=train)
    predictions = collected(model(Encoder), data, Accuracy)
    assert predictions.refused.keys() == {"predict"}
    found = measure(predictions, data, {"accuracy": Accuracy})
    assert not found.values
    assert found.unmeasured
    assert all("the probe cannot learn attribute 'right'" in reason for reason in found.unmeasured.values())


class Composed(Split):
    """Training images drawn afresh: brightness says the attributes; notes what it was asked for."""

    role = Role.TRAIN
    content_hash = "composed"

    def __init__(self):
        self.asked = []
        self.drawn = []

    def __len__(self):
        return 1000

    def to(self, device):
        return self

    def batch(self, index, generator):
        self.asked.append(len(index))
        labels = {n: torch.randint(k, (len(index),), generator=generator) for n, k in INFO.attributes.items()}
        images = 0.3 * torch.rand((len(index), 1, 4, 6), generator=generator)
        images[..., :3] += 0.3 * labels["left"][:, None, None, None]
        images[..., 3:] += 0.2 * labels["right"][:, None, None, None]
        self.drawn.append(images)
        return Batch(images, labels)


def test_a_composed_training_split_is_drawn_by_the_seed_and_no_longer_than_the_limit(monkeypatch):
    monkeypatch.setattr(collecting, "MAX_IMAGES", 120)
    drawn = []
    for seed in (0, 0, 1):
        composed = Composed()
        collected(model(Encoder), dataset(train=composed), Accuracy, seed=seed, batch_size=50)
        assert composed.asked == [50, 50, 20]
        drawn.append(torch.cat(composed.drawn))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_of_a_stored_training_split_the_probe_reads_a_random_part(monkeypatch):
    monkeypatch.setattr(collecting, "MAX_IMAGES", 30)
    data = dataset()
    order = np.argsort(data.train.targets.attributes["left"], kind="stable")  # the first 30 are of one value
    targets = Targets(attributes={n: v[order] for n, v in data.train.targets.attributes.items()})
    assert targets.attributes["left"][:30].max() == 0
    sorted_train = StoredSplit(Role.TRAIN, data.train.images[order], targets)
    predictions = collected(model(Encoder), dataset(train=sorted_train), Accuracy)
    right = predictions.arrays["test/predict/left"] == data.splits["test"].targets.attributes["left"]
    assert right.mean() > 0.7


def test_a_model_that_predicts_is_not_probed():
    fitted = model(Classifier)
    assert collected(fitted, dataset(), Accuracy).readouts == {}
    assert fitted.calls == {"predict": 3 + AGAIN}


def test_codes_are_clustered_by_k_means_fitted_on_training_codes():
    class Apart(Base):
        """Codes 1, 10 and 100, of one pixel on each side: there is one best clustering, and every start finds it."""

        def encode(self, images):
            self.calls["encode"] += 1
            return {"left": 10 ** (images[:, 0, 0, :1] * 255 // 50), "right": 10 ** (images[:, 0, 0, -1:] * 255 // 50)}

    data = dataset()
    fitted = model(Apart)
    predictions = collected(fitted, data, Purity)

    def codes(name):
        pixels = data.splits[name].images.numpy()[:, 0, 0].astype(int)
        return {"left": 10 ** (pixels[:, :1] // 50), "right": 10 ** (pixels[:, -1:] // 50)}

    assert predictions.readouts["k-means"] == {"left-k2": 2, "left-k3": 3, "right-k2": 2, "right-k3": 3}
    facets = {
        f"{split}/cluster/{facet}" for split in ("val", "test", "shifted") for facet in predictions.readouts["k-means"]
    }
    assert set(predictions.arrays) == facets
    for facet, clusters in predictions.readouts["k-means"].items():
        part = facet.partition("-")[0]
        reference = KMeans(clusters, random_state=1).fit(codes("train")[part])
        for name in ("val", "test", "shifted"):
            expected, found = reference.predict(codes(name)[part]), predictions.arrays[f"{name}/cluster/{facet}"]
            assert adjusted_rand_score(expected, found) == 1, facet  # the same clusters, whatever their numbers
    assert fitted.calls == {"encode": 4 + AGAIN}
    assert predictions.images == 80 + 40 + 50 + 30
    assert {value.readout for value in measured(predictions, data, Purity).values()} == {"k-means"}


def test_k_means_and_probe_share_a_pass_and_do_not_change_each_other():
    data, fitted = dataset(), model(Encoder)
    both, probe, kmeans = (
        collected(one, data, *metrics)
        for one, metrics in ((fitted, (Accuracy, Purity)), (model(Encoder), (Accuracy,)), (model(Encoder), (Purity,)))
    )
    assert fitted.calls == {"encode": 4 + AGAIN}
    assert both.readouts == {**probe.readouts, **kmeans.readouts}
    assert set(both.arrays) == {*probe.arrays, *kmeans.arrays}
    for key, array in {**probe.arrays, **kmeans.arrays}.items():
        np.testing.assert_array_equal(both.arrays[key], array)


def test_no_label_has_a_say_in_the_clusters():
    data = dataset()
    strange = {
        name: StoredSplit(
            one.role, one.images, Targets(attributes={n: v * 0 for n, v in one.targets.attributes.items()})
        )
        for name, one in data.splits.items()
    }
    plain, other = (collected(model(Encoder), one, Purity).arrays for one in (data, Data(INFO, strange)))
    assert set(plain) == set(other)
    for key, array in plain.items():
        np.testing.assert_array_equal(other[key], array)


def test_a_model_that_clusters_is_not_clustered_by_the_harness():
    fitted, data = model(Clusterer), dataset()
    predictions = collected(fitted, data, Purity)
    assert predictions.readouts == {}
    assert fitted.calls == {"cluster": 3 + AGAIN}
    assert {value.readout for value in measured(predictions, data, Purity).values()} == {"native"}
    beside = collected(fitted, data, Purity, Accuracy)
    readouts = {value.metric: value.readout for value in measured(beside, data, Purity, Accuracy).values()}
    assert readouts == {"purity": "native", "accuracy": "probe"}


def test_codes_of_a_model_that_does_not_score_are_read_as_detectors_named_so():
    data, fitted = dataset(), model(Encoder)
    predictions = collected(fitted, data, MeanDifference)
    codes = {
        name: np.concatenate(list(fitted.encode(one.images.float().div(255)).values()), axis=1).astype(np.float64)
        for name, one in data.splits.items()
    }
    covariance = LedoitWolf().fit(codes["train"])
    for name in ("test", "shifted"):
        nearest = np.sort(cdist(codes[name], codes["train"]), axis=1)[:, K - 1]
        np.testing.assert_allclose(predictions.arrays[f"{name}/score/knn"], nearest, rtol=1e-5)
        distance = np.sqrt(covariance.mahalanobis(codes[name]))
        np.testing.assert_allclose(predictions.arrays[f"{name}/score/mahalanobis"], distance, rtol=1e-4)
    assert predictions.readouts == {"knn": {}, "mahalanobis": {}}
    assert set(predictions.per_image) == set(predictions.arrays)
    values = measured(predictions, data, MeanDifference)
    assert {name: value.readout for name, value in values.items() if "@test" in name} == {
        "difference@test": "knn",
        "difference[knn]@test": "knn",
        "difference[mahalanobis]@test": "mahalanobis",
    }
    assert values["difference@test"].value == values["difference[knn]@test"].value
    assert predictions.images == 80 + 50 + 30  # no pass over the validation split, which has no anomalies


def test_a_model_that_scores_is_no_detector_by_its_codes():
    class Both(Encoder, Detector):
        pass

    fitted, data = model(Both), dataset()
    predictions = collected(fitted, data, MeanDifference)
    assert set(predictions.arrays) == {"test/score", "shifted/score"}
    assert predictions.readouts == {}
    assert fitted.calls == {"score": 2 + AGAIN}
    assert {value.readout for value in measured(predictions, data, MeanDifference).values()} == {"native"}


def test_readouts_beside_each_other_share_a_pass_and_each_value_says_its_own():
    data, fitted = dataset(), model(Encoder)
    metrics = (Accuracy, Purity, MeanDifference)
    predictions = collected(fitted, data, *metrics)
    assert fitted.calls == {"encode": 4 + AGAIN}
    readouts = {(value.metric, value.readout) for value in measured(predictions, data, *metrics).values()}
    assert readouts == {
        ("accuracy", "probe"), ("purity", "k-means"), ("difference", "knn"), ("difference", "mahalanobis")
    }  # fmt: skip


def test_a_part_that_cannot_stand_in_a_name_is_told_and_costs_no_other_value():
    class Odd(MeanDifference):
        name = "odd"

        def compute(self, evaluation):
            return {"a[b]": 0.0}

    data = dataset()
    both = {one.name: one for one in (Odd, MeanDifference)}
    measurement = measure(collected(model(Detector), data, *both.values()), data, both)
    assert measurement.unmeasured["odd@test"].startswith("'odd[a[b]]@test' cannot be the name of a value")
    assert "difference@test" in measurement.values


def test_errors_name_plugin_model_capability_and_split():
    class Wrong(Base):
        name = "wrong"

        def score(self, images):
            return images.mean((2, 3))

    with pytest.raises(LatentbenchError) as error:
        collected(model(Wrong), dataset(), MeanDifference, batch_size=8)
    place = "plugin 'acme 1.2': model 'wrong', capability 'score' on split 'test'"
    assert str(error.value) == f"{place}: expected shape (8,), got (8, 1)"


def test_what_is_not_finite_is_counted_and_found_in_the_whole_split():
    class Nan(Base):
        def score(self, images):
            scores = images.mean((1, 2, 3))
            return torch.where(torch.arange(len(images)) == 5, torch.nan, scores)

    with pytest.raises(LatentbenchError, match=r"expected finite values, got 6 NaN of 50 \(first at image 5\)"):
        collected(model(Nan), dataset(), MeanDifference, batch_size=8)


def test_values_are_named_by_metric_part_split_and_condition_in_a_fixed_order():
    data = dataset()
    metrics = (Accuracy, MeanDifference, Spanning)

    class Both(Detector, Classifier):
        pass

    predictions = collected(model(Both), data, *metrics)
    values = measured(predictions, data, *metrics)
    accuracies = [
        [f"accuracy{part}@{place}" for part in ("", "[left]", "[right]")]
        for place in ("val", "test", "shifted/mild", "shifted/strong")
    ]
    assert list(values) == [
        *accuracies[0],
        *accuracies[1],
        "difference@test",
        *accuracies[2],
        *accuracies[3],
        "difference@shifted/mild",
        "difference@shifted/strong",
        "spanning@shifted",
    ]
    assert list(measured(predictions, data, *reversed(metrics))) == list(values)
    value = values["difference@test"]
    assert (value.metric, value.version, value.title, value.higher_is_better) == ("difference", 4, "difference", True)


def test_of_several_scores_each_is_measured_as_if_it_were_alone_and_the_first_is_the_models_own():
    class Several(Detector):
        def score(self, images):
            return {"own": super().score(images), "inverse": -super().score(images)}

    class Inverse(Detector):
        def score(self, images):
            return -super().score(images)

    def difference(model_class):
        return measured(collected(model(model_class), data, MeanDifference), data, MeanDifference)

    data = dataset()
    values, own, inverse = difference(Several), difference(Detector), difference(Inverse)
    assert list(values) == [
        f"difference{part}@{place}"
        for place in ("test", "shifted/mild", "shifted/strong")
        for part in ("", "[own]", "[inverse]")
    ]
    for place in ("test", "shifted/mild", "shifted/strong"):
        assert values[f"difference@{place}"] == values[f"difference[own]@{place}"] == own[f"difference@{place}"]
        assert values[f"difference[inverse]@{place}"] == inverse[f"difference@{place}"]


def test_a_score_that_cannot_be_measured_costs_no_other_score_its_value():
    class Several(Detector):
        def score(self, images):
            return {"own": super().score(images), "far": super().score(images) + 1e6}

    class Near(MeanDifference):
        def compute(self, evaluation):
            if evaluation.output.max() > 1e5:
                raise LatentbenchError("too far")
            return super().compute(evaluation)

    data = dataset()
    found = measure(collected(model(Several), data, Near), data, {Near.name: Near})
    assert "difference@test" in found.values
    assert found.unmeasured["difference[far]@test"] == "too far"


def test_a_condition_measures_as_if_the_images_had_really_been_drawn_with_its_weights():
    data = dataset()

    class Both(Detector, Classifier):
        pass

    values = measured(collected(model(Both), data, Accuracy, MeanDifference), data, Accuracy, MeanDifference)
    shifted = data.splits["shifted"]
    for condition, weights in shifted.conditions.items():
        index = np.repeat(np.arange(30), weights.astype(int))
        targets = Targets(
            anomaly=shifted.targets.anomaly[index],
            attributes={name: labels[index] for name, labels in shifted.targets.attributes.items()},
        )
        drawn = dataset(shifted=StoredSplit(Role.TEST, shifted.images[index], targets))
        found = measured(collected(model(Both), drawn, Accuracy, MeanDifference), drawn, Accuracy, MeanDifference)
        for name in ("accuracy", "accuracy[left]", "accuracy[right]", "difference"):
            expected = found[f"{name}@shifted"].value
            assert values[f"{name}@shifted/{condition}"].value == pytest.approx(expected, rel=1e-9)


def test_metrics_computed_again_from_kept_predictions_are_the_same(tmp_path):
    class All(Noisy, Encoder):
        def score(self, images):
            return {"noisy": super().score(images), "mean": images.mean((1, 2, 3))}

    data, metrics = dataset(), (Accuracy, MeanDifference, Density, CodeWidth, Spanning, Purity)
    predictions = collected(model(All), data, *metrics)
    spec = RunSpec(
        model="all", model_version=1, config={}, dataset="made", dataset_version=1, options={}, split_hash="", seed=0
    )
    file = Store(tmp_path).save_predictions(spec, predictions.per_image).file
    arrays = unpack(Store(tmp_path).path(spec).with_name(file).read_bytes())
    kept = Predictions(arrays, predictions.readouts)

    assert {key.split("/")[1] for key in kept.arrays} == {"score", "predict", "cluster", "log_likelihood"}
    values, again = measured(predictions, data, *metrics), measured(kept, data, *metrics)
    assert again == {name: value for name, value in values.items() if value.metric != "width"}
    assert "width@test" in values


def test_predictions_of_other_images_are_refused():
    predictions = collected(model(Detector), dataset(), MeanDifference)
    other = dataset(test=split(Role.TEST, 49, anomaly=True))
    with pytest.raises(LatentbenchError, match="predictions 'test/score' are of 50 images: split 'test' has 49"):
        measured(predictions, other, MeanDifference)


class Undefined(MeanDifference):
    name = "undefined"

    def compute(self, evaluation):
        raise LatentbenchError("only one class has weight")


class Failing(MeanDifference):
    name = "failing"

    def compute(self, evaluation):
        return [][0]


class OutOfBounds(MeanDifference):
    name = "out"
    bounds = (0.0, 1.0)

    def compute(self, evaluation):
        return 2.0 if evaluation.conditions else 0.5


@pytest.mark.parametrize(
    ("metric", "place", "reason"),
    [
        (Undefined, "undefined@test", "only one class has weight"),
        (Failing, "failing@test", "IndexError: list index out of range"),
        (OutOfBounds, "out@shifted/mild", "gave 2.0: its bounds are [0.0, 1.0]"),
    ],
)
def test_a_metric_that_fails_says_where_and_why_and_costs_no_other_value(metric, place, reason):
    data = dataset()
    both = {one.name: one for one in (metric, MeanDifference)}
    measurement = measure(collected(model(Detector), data, *both.values()), data, both)
    assert measurement.unmeasured[place] == reason
    assert place not in measurement.values
    alone = measured(collected(model(Detector), data, MeanDifference), data, MeanDifference)
    assert {name: value for name, value in measurement.values.items() if value.metric == MeanDifference.name} == alone
