"""Codes are read by readouts that were fitted to training codes: against scikit-learn, and with labels withheld."""

import numpy as np
import torch
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.latentbench.evaluation.toys import (
    AGAIN,
    INFO,
    Accuracy,
    Base,
    Classifier,
    Clusterer,
    Detector,
    Encoder,
    MeanDifference,
    Purity,
    collected,
    dataset,
    measured,
    model,
    split,
)

from latentbench import MISSING, Batch, Data, Role, Split, StoredSplit, Targets
from latentbench.evaluation import collecting
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.readouts.knn import K
from latentbench.evaluation.readouts.probe import STRENGTHS, UNCHOSEN
from latentbench_metrics import shift


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
    predictions = collected(model(Encoder), data, shift.Accuracy)
    assert predictions.refused.keys() == {"predict"}
    found = measure(predictions, data, {"accuracy": shift.Accuracy})
    whole = measure(collected(model(Encoder), dataset(), shift.Accuracy), dataset(), {"accuracy": shift.Accuracy})
    assert found.values.keys() == {name for name in whole.values if "[left]" in name}
    assert all(found.values[name].value == whole.values[name].value for name in found.values)
    assert found.unmeasured.keys() == {name for name in whole.values if "[" not in name}
    assert all("the probe cannot learn attribute 'right'" in reason for reason in found.unmeasured.values())


def test_attributes_that_training_shows_one_value_of_cost_all_accuracies_and_say_why():
    train = split(Role.TRAIN, 80)
    for labels in train.targets.attributes.values():
        labels[:] = 1
    data = dataset(train=train)
    found = measure(collected(model(Encoder), data, shift.Accuracy), data, {"accuracy": shift.Accuracy})
    assert not found.values
    assert found.unmeasured
    assert all("the probe cannot learn attribute 'left'" in reason for reason in found.unmeasured.values())


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


def test_logits_that_differ_in_float64_alone_have_their_greatest():
    class Far(Encoder):
        def predict(self, images):
            side = (images[..., 3:].mean((1, 2, 3)) > images[..., :3].mean((1, 2, 3))).double()
            return {"left": 1e9 + torch.stack([1 - side, side], 1), "right": 1e9 - torch.stack([side, side, -side], 1)}

    data = dataset()
    predictions = collected(model(Far), data, Accuracy)
    pixels = data.splits["test"].images.numpy().astype(np.float64)
    side = pixels[..., 3:].mean((1, 2, 3)) > pixels[..., :3].mean((1, 2, 3))
    assert 0 < side.mean() < 1
    np.testing.assert_array_equal(predictions.arrays["test/predict/left"], side)
    np.testing.assert_array_equal(predictions.arrays["test/predict/right"], np.where(side, 2, 0))
    truth = data.splits["test"].targets.attributes["left"]
    assert measured(predictions, data, Accuracy)["accuracy[left]@test"].value == np.mean(side == truth)


def test_codes_that_differ_in_float64_alone_rank_images_by_their_distances():
    class Far(Base):
        def encode(self, images):
            return 1e7 + 0.05 * images.double().mean((1, 2))

    class Auroc(MeanDifference):
        name = "auroc"
        bounds = (0.0, 1.0)

        def compute(self, evaluation):
            return roc_auc_score(evaluation.targets.anomaly, evaluation.output)

    data = dataset(shifted=None)
    values = measured(collected(model(Far), data, Auroc), data, Auroc)
    train, test = (0.05 * data.splits[name].images.double().numpy().mean((1, 2)) / 255 for name in ("train", "test"))
    anomaly = data.splits["test"].targets.anomaly
    expected = {
        "knn": np.sort(cdist(test, train), 1)[:, K - 1],
        "mahalanobis": LedoitWolf().fit(train).mahalanobis(test),
    }
    for name, scores in expected.items():
        assert values[f"auroc[{name}]@test"].value == roc_auc_score(anomaly, scores) != 0.5
