"""Values follow from predictions and data alone, and what cannot be measured says why and costs nothing else."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tests.latentbench.evaluation.toys import (
    Accuracy,
    Classifier,
    CodeWidth,
    Density,
    Detector,
    Encoder,
    MeanDifference,
    Noisy,
    Purity,
    Spanning,
    collected,
    dataset,
    measured,
    model,
    split,
)

from latentbench import LatentbenchError, Metric, Role, Statistic, StoredSplit, Targets
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.replicates import replicates_of
from latentbench.records.arrays import unpack
from latentbench.records.store import Store
from latentbench.spec import RunSpec
from latentbench.value_name import ValueName


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


class Means(Statistic):
    """Each map's mean; counts how often it is asked for."""

    name = "means"
    asked: ClassVar[list[str]] = []

    def summarize(self, evaluation):
        self.asked.append("")
        return {"means": evaluation.output.mean((1, 2))}


class MapMean(MeanDifference):
    name = "map-mean"
    capability = "localize"
    targets: ClassVar[tuple[str, ...]] = ()
    statistic: ClassVar[type[Statistic]] = Means

    def compute(self, evaluation):
        return float(evaluation.output.mean())


class MapMeanAgain(MapMean):
    name = "map-mean-again"


def test_what_metrics_keep_of_an_output_together_is_made_once_for_each_split():
    predictions = Predictions({"test/localize": np.ones((50, 4, 6)), "shifted/localize": np.ones((30, 4, 6))})
    found = measure(predictions, dataset(), {each.name: each for each in (MapMean, MapMeanAgain)})
    assert {name.split("@")[0] for name in found.values} == {MapMean.name, MapMeanAgain.name}
    assert len(found.kept) == len(Means.asked) > 0


class Auroc(MeanDifference):
    """The area under the ROC curve, by scikit-learn."""

    name = "z-auroc"
    bounds = (0.0, 1.0)

    def compute(self, evaluation):
        return roc_auc_score(evaluation.targets.anomaly, evaluation.output, sample_weight=evaluation.weights)


def sorts(evaluation):
    evaluation.output.sort()


def sorts_by_torch(evaluation):
    scores = torch.from_numpy(evaluation.output)
    scores.copy_(scores.sort().values)


def flips(evaluation):
    anomaly = evaluation.targets.anomaly
    anomaly ^= 1


def flips_by_torch(evaluation):
    torch.from_numpy(evaluation.targets.anomaly).bitwise_xor_(1)


def reweights(evaluation):
    evaluation.weights[:] = evaluation.targets.anomaly


def reweights_by_torch(evaluation):
    for weights in (evaluation.weights, *evaluation.conditions.values()):
        torch.from_numpy(weights)[:5] = 7


def darkens(evaluation):
    evaluation.images()[:] = 0


def darkens_by_torch(evaluation):
    torch.from_numpy(evaluation.images()).zero_()


def exchanges(evaluation):
    evaluation.targets.attributes["left"] = evaluation.targets.attributes["right"]


def writing(write, **changes):
    """A metric that comes before the others and writes to what it is given."""

    def compute(self, evaluation):
        write(evaluation)
        return 0.5

    return type("Writing", (MeanDifference,), {"name": "a-writing", "compute": compute, **changes})


class Bright(MeanDifference):
    """The correlation of the score with the images' brightness."""

    name = "z-bright"

    def compute(self, evaluation):
        return np.corrcoef(evaluation.output, evaluation.images().mean((1, 2, 3)))[0, 1]


class Left(MeanDifference):
    """The weighted mean of an attribute."""

    name = "z-left"

    def compute(self, evaluation):
        return np.average(evaluation.targets.attributes["left"], weights=evaluation.weights)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize(
    "write",
    [
        sorts,
        sorts_by_torch,
        flips,
        flips_by_torch,
        reweights,
        reweights_by_torch,
        darkens,
        darkens_by_torch,
        exchanges,
    ],
)
def test_a_metric_that_writes_to_what_it_is_given_has_no_value_and_changes_no_other(write):
    data = dataset()
    both = {one.name: one for one in (writing(write), Auroc, Bright, Left)}
    found = measure(collected(model(Detector), data, *both.values()), data, both)
    places = {"test": "", "shifted/mild": "mild", "shifted/strong": "strong"}
    assert {name for name in found.unmeasured if "writing" in name} == {f"a-writing@{place}" for place in places}
    for reason in found.unmeasured.values():
        assert reason.endswith(": let it copy what it writes to")
        assert "read-only" in reason or reason.startswith("it wrote to an array that metrics share")
    untouched = dataset()
    for place, condition in places.items():
        part = untouched.splits[place.split("/")[0]]
        brightness = part.images.double().mean((1, 2, 3)).numpy()
        weights = part.conditions.get(condition)
        expected = {
            "z-auroc": roc_auc_score(part.targets.anomaly, brightness, sample_weight=weights),
            "z-bright": 1.0,
            "z-left": np.average(part.targets.attributes["left"], weights=weights),
        }
        for name, value in expected.items():
            assert found.values[f"{name}@{place}"].value == pytest.approx(value, rel=1e-6)
    assert data.split_hash == untouched.split_hash


class Area(MeanDifference):
    """The area under the scores, by NumPy, times the bytes of a number in torch's default precision."""

    name = "z-area"
    bounds = (0.0, 1000.0)

    def compute(self, evaluation):
        scores = torch.tensor(evaluation.output.tolist()).numpy()
        return np.trapezoid(scores) * scores.itemsize


def replaces_a_function():
    setattr(np, "trapezoid", lambda *given, **named: 0.123)  # noqa: B010  # as mypy wants it


def changes_the_precision():
    torch.set_default_dtype(torch.float64)


def replaces_a_built_in_method():
    setattr(Metric, "measure", lambda self, evaluation: {"": 0.123})  # noqa: B010  # as mypy wants it


def lets_numpy_raise():
    np.seterr(all="raise")


@pytest.mark.parametrize("place", ["__init__", "applies", "unavailable", "compute", "measured_version"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (replaces_a_function, "it changed the process: numpy.trapezoid was replaced by one of module "),
        (changes_the_precision, "it changed the process: the default dtype became torch.float64"),
        (replaces_a_built_in_method, "it changed the process: latentbench.metric.Metric.measure was replaced by "),
        (lets_numpy_raise, "it changed the process: NumPy's handling of floating-point errors became "),
    ],
)
def test_a_metric_that_changes_the_process_has_no_value_and_changes_no_other(change, reason, place):
    def changing(*given):
        change()
        return True if place == "applies" else None if place in ("__init__", "unavailable") else 1

    wrap = classmethod if place == "unavailable" else lambda function: function
    bad = type("Changing", (MeanDifference,), {"name": "a-changing", place: wrap(changing)})
    data = dataset()
    both = {"a-changing": bad, "z-area": Area, "z-auroc": Auroc}
    predictions = collected(model(Detector), data, Area, Auroc)
    before = (np.trapezoid, Metric.measure, torch.get_default_dtype(), np.geterr())
    found = measure(predictions, data, both)
    assert (np.trapezoid, Metric.measure, torch.get_default_dtype(), np.geterr()) == before
    assert not any("changing" in name for name in found.values)
    reasons = [text for name, text in found.unmeasured.items() if name == "a-changing@test"]
    assert [reason in text for text in reasons] == [True]
    assert {name: why for name, why in found.unmeasured.items() if not name.startswith("a-changing")} == {}
    scores = predictions.output("test", "score")
    area = float((scores[1:].astype(float) + scores[:-1]).sum() / 2)
    assert found.values["z-area@test"].value == pytest.approx(area * 4, rel=1e-5)
    assert found.values["z-auroc@test"].value == roc_auc_score(data.splits["test"].targets.anomaly, scores)


def test_what_a_metric_that_raises_has_changed_is_put_back_too():
    class Raising(MeanDifference):
        name = "a-raising"

        def compute(self, evaluation):
            changes_the_precision()
            raise RuntimeError("of its own")

    data = dataset()
    found = measure(collected(model(Detector), data, Raising), data, {"a-raising": Raising})
    assert found.unmeasured["a-raising@test"] == "RuntimeError: of its own"
    assert torch.get_default_dtype() == torch.float32


def test_a_metric_that_draws_from_numpys_generator_has_a_value():
    class Drawing(MeanDifference):
        name = "a-drawing"

        def compute(self, evaluation):
            return float(np.random.random())  # noqa: NPY002

    data = dataset()
    found = measure(collected(model(Detector), data, Drawing), data, {"a-drawing": Drawing})
    assert "a-drawing@test" in found.values


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
def test_where_a_large_array_was_written_to_later_metrics_of_it_have_no_value_either(monkeypatch):
    monkeypatch.setattr("latentbench.evaluation.shared._COPIED", 150)
    data = dataset()  # scores and weights of "test" are of 200 and 400 bytes, those of "shifted" of 120 and 240
    both = {one.name: one for one in (writing(sorts_by_torch), Auroc)}
    predictions = collected(model(Detector), data, *both.values())
    found = measure(predictions, data, both)
    assert (
        found.unmeasured["z-auroc@test"]
        == "another metric wrote to the array that it reads: let it copy what it writes to"
    )
    assert "z-auroc@shifted/mild" in found.values


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")
@pytest.mark.parametrize("write", [lambda array: array.sort(0), lambda array: torch.from_numpy(array).zero_()])
def test_what_is_kept_of_an_output_is_not_written_to_either(write):
    class Writing(MapMean):
        name = "a-writing"

        def compute_kept(self, kept):
            write(kept["means"])
            return 0.5

    class Middle(MapMean):
        name = "middle"

        def compute_kept(self, kept):
            return float(kept["means"][25])

    means = np.random.default_rng(0).random(50)
    kept = Predictions({"test/means/means": means.copy()})
    found = measure(kept, dataset(), {each.name: each for each in (Writing, Middle)})
    assert found.values["middle@test"].value == means[25]
    assert "a-writing@test" in found.unmeasured
    np.testing.assert_array_equal(kept.arrays["test/means/means"], means)


def test_whether_a_metric_applies_is_asked_without_a_chance_to_write():
    class Writing(MeanDifference):
        name = "a-writing"

        def applies(self, targets, conditions):
            targets.anomaly[:] = 0
            return True

    data = dataset()
    found = measure(Predictions({"test/score": np.zeros(50)}), data, {"a-writing": Writing})
    assert "read-only" in found.unmeasured["a-writing@test"]
    assert data.split_hash == dataset().split_hash


def test_replicates_are_made_of_what_was_predicted():
    data, scores = dataset(), np.random.default_rng(0).random(50)
    with pytest.raises(ValueError, match="read-only"):
        replicates_of(ValueName("a-writing", "test"), Predictions({"test/score": scores}), data, writing(sorts)(), "")
