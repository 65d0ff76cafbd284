"""Images that a model draws: how many, for which splits, and what metrics of them see of the split's own images."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbench import Data, DataInfo, LatentbenchError, Metric, Model, Options, Role, StoredSplit, Targets
from latentbench.evaluation import measuring
from latentbench.evaluation.collecting import collect
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.predictions import Predictions
from latentbench.records.record import Value

INFO = DataInfo(channels=1, height=4, width=6, train_size=40)


def dataset(tests=("test",), size=30):
    draw = np.random.default_rng(0)

    def split(role):
        images = torch.from_numpy(draw.integers(0, 256, (size, 1, 4, 6), dtype=np.uint8))
        return StoredSplit(role, images, Targets(anomaly=np.arange(size, dtype=np.uint8) % 2))

    splits = {"train": split(Role.TRAIN), "val": split(Role.VALIDATION)}
    return Data(INFO, {**splits, **{name: split(Role.TEST) for name in tests}})


class Sampler(Model):
    class Config(Options):
        pass

    def build(self, info):
        self.drawn = []

    def sample(self, count):
        self.drawn.append(count)
        return torch.rand(count, 1, 4, 6)

    def score(self, images):
        return images.mean((1, 2, 3)) + torch.rand(len(images))


class First(Metric):
    """The first pixel of the last sample."""

    name = "first"
    title = "first"
    source = "this file"
    capability = "sample"
    higher_is_better = True
    bounds = (0.0, 1.0)
    spans: ClassVar[tuple[str, ...]] = ()
    samples: ClassVar[int | None] = 700

    def compute(self, evaluation):
        assert evaluation.output.shape == (self.samples, 1, 4, 6)
        return float(evaluation.output[-1, 0, 0, 0])


class Few(First):
    name = "few"
    version = 3
    samples = 9


class Score(First):
    name = "score"
    capability = "score"
    samples = None
    bounds = (0.0, 2.0)

    def compute(self, evaluation):
        return float(evaluation.output[0])


def by_name(*metrics):
    return {metric.name: metric for metric in metrics}


def collected(data, *metrics, seed=0):
    model = Sampler(Sampler.Config(), INFO)
    predictions = collect(
        model, data, by_name(*metrics), owner="acme 1", device=torch.device("cpu"), seed=seed, batch_size=500
    )
    return model, predictions


def test_samples_are_drawn_once_in_whole_batches_and_for_test_splits_alone():
    model, predictions = collected(dataset(("test", "shifted")), First, Few)
    assert model.drawn == [500, 500]
    assert set(predictions.arrays) == {"test/sample", "shifted/sample"}
    assert np.shares_memory(predictions.arrays["test/sample"], predictions.arrays["shifted/sample"])
    assert predictions.arrays["test/sample"].shape == (700, 1, 4, 6)
    assert predictions.images == 1000


def test_images_that_leave_the_unit_range_are_no_measure_of_samples():
    class Brighter(StoredSplit):
        image_range = (0.0, 3.0)

    images = torch.zeros(30, 1, 4, 6, dtype=torch.uint8)
    data = Data(INFO, dict(dataset().splits) | {"test-x3": Brighter(Role.TEST, images)})
    _, predictions = collected(data, First)
    assert set(predictions.arrays) == {"test/sample"}
    measurement = measure(predictions, data, by_name(First))
    assert list(measurement.values) == ["first@test"]
    assert not measurement.unmeasured


def test_a_metric_sees_the_same_samples_whatever_others_need():
    data = dataset()
    alone = measure(collected(data, Few)[1], data, by_name(Few)).values["few@test"]
    both = measure(collected(data, First, Few, Score)[1], data, by_name(First, Few, Score)).values
    assert both["few@test"] == alone
    assert both["first@test"].value == float(collected(data, First)[1].arrays["test/sample"][699, 0, 0, 0])
    assert (
        both["score@test"].value == measure(collected(data, Score)[1], data, by_name(Score)).values["score@test"].value
    )
    other_seed = measure(collected(data, Few, seed=1)[1], data, by_name(Few)).values["few@test"]
    assert other_seed.value != alone.value


def test_no_metric_of_samples_no_sample_and_none_is_kept_with_a_record():
    model, predictions = collected(dataset(), Score)
    assert not model.drawn
    _, predictions = collected(dataset(), Score, First)
    assert set(predictions.per_image) == {"val/score", "test/score"}


def test_the_number_of_samples_is_part_of_the_version():
    assert First.measured_version() == 1_000_700
    assert Few.measured_version() == 3_000_009
    assert Score.measured_version() == Score.version == 1
    data = dataset()
    values = measure(collected(data, First, Few, Score)[1], data, by_name(First, Few, Score)).values
    assert {name: value.version for name, value in values.items()} == {
        "first@test": 1_000_700,
        "few@test": 3_000_009,
        "score@val": 1,
        "score@test": 1,
    }


def test_predictions_of_too_few_samples_are_refused():
    data = dataset()
    predictions = Predictions({"test/sample": np.zeros((699, 1, 4, 6), np.float32)})
    with pytest.raises(LatentbenchError, match="predictions 'test/sample' are 699 images: metric 'first' needs 700"):
        measure(predictions, data, by_name(First))


class Instrument(Score):
    name = "instrument"
    instrument = "ruler sha256:12"


def test_what_a_metric_measures_with_is_recorded_and_only_where_there_is_something():
    data = dataset()
    values = measure(collected(data, Score, Instrument)[1], data, by_name(Score, Instrument)).values
    assert values["instrument@test"].instrument == "ruler sha256:12"
    assert "instrument" not in values["score@test"].model_dump(exclude_none=True)
    kept = values["instrument@test"].model_dump(exclude={"instrument"})
    assert Value.model_validate(kept) == values["instrument@test"].model_copy(update={"instrument": None})


class Absent(First):
    name = "absent"
    samples = 5000

    @classmethod
    def unavailable(cls):
        return "it needs a ruler: buy one"


def test_a_metric_that_is_unavailable_costs_nothing_and_tells_why_in_the_values_place():
    data = dataset()
    model, predictions = collected(data, First, Absent)
    assert model.drawn == [500, 500]
    measurement = measure(predictions, data, by_name(First, Absent))
    assert set(measurement.values) == {"first@test"}
    assert measurement.unmeasured == {"absent@test": "it needs a ruler: buy one"}


# The split's images


class Brightness(Score):
    """Mean byte of the split's images; keeps what it was given."""

    name = "brightness"
    bounds = (0.0, 255.0)
    seen: ClassVar[list] = []

    def compute(self, evaluation):
        images = evaluation.images()
        self.seen.append(images)
        return float(images.mean())


class Again(Brightness):
    name = "again"


@pytest.fixture
def reads(monkeypatch):
    """The splits whose images were read."""
    splits, read = [], measuring._images

    def noted(split):
        splits.append(split)
        return read(split)

    monkeypatch.setattr(measuring, "_images", noted)
    Brightness.seen.clear()
    return splits


def test_a_metric_gets_the_splits_own_bytes_read_once_and_only_if_asked_for(reads):
    data = dataset(size=1203)  # more than two batches
    _, predictions = collected(data, Score)
    measure(predictions, data, by_name(Score))
    assert reads == []
    values = measure(predictions, data, by_name(Score, Brightness, Again)).values
    assert reads == [data.splits["val"], data.splits["test"]]
    for images, name in zip(Brightness.seen, ("val", "val", "test", "test"), strict=True):
        assert images.dtype == np.uint8
        np.testing.assert_array_equal(images, data.splits[name].images.numpy())
        assert values[f"again@{name}"].value == data.splits[name].images.double().mean()


@given(st.lists(st.integers(0, 255), min_size=24, max_size=24))
def test_every_byte_survives_the_way_to_the_model_and_back(pixels):
    images = torch.tensor(pixels, dtype=torch.uint8).view(1, 1, 4, 6)
    assert measuring._images(StoredSplit(Role.TEST, images)).tolist() == images.tolist()


def test_an_evaluation_without_images_says_so():
    data = dataset()
    _, predictions = collected(data, Score)
    evaluations = []

    class Keeps(Score):
        def measure(self, evaluation):
            evaluations.append(evaluation)
            return super().measure(evaluation)

    measure(predictions, data, by_name(Keeps))
    bare = type(evaluations[0])(
        evaluations[0].output, evaluations[0].targets, evaluations[0].weights, evaluations[0].conditions
    )
    with pytest.raises(LatentbenchError, match="the images of the split are not known here"):
        bare.images()
    assert replace(evaluations[0]).images().shape == (30, 1, 4, 6)
