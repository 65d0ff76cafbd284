"""Values follow from predictions and data alone, and what cannot be measured says why and costs nothing else."""

from typing import ClassVar

import numpy as np
import pytest
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

from latentbench import LatentbenchError, Role, Statistic, StoredSplit, Targets
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.predictions import Predictions
from latentbench.records.arrays import unpack
from latentbench.records.store import Store
from latentbench.spec import RunSpec


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
