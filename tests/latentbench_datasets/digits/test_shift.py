import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from sklearn.datasets import load_digits

from latentbench import MISSING, Data, Dataset, LatentbenchError, Role, StoredSplit
from latentbench_datasets.digits.joint import joint
from latentbench_datasets.digits.shift import DigitsShift, MnistShift

NOWHERE = Path("no-such-folder")
CONDITIONS = ["correlated", "uncorrelated", "anticorrelated"]


def load(**options: Any) -> Data:
    return DigitsShift(DigitsShift.Config.parse(options, "dataset 'digits-shift'")).load(NOWHERE)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


def cells_of(split: StoredSplit) -> np.ndarray:
    attributes = split.targets.attributes
    return 2 * attributes["left"] + attributes["right"]


@pytest.fixture(scope="module")
def label_of() -> dict[bytes, int]:
    """The class of each of scikit-learn's digits, by its pixels."""
    digits = load_digits()
    return {
        np.rint(image * 255 / 16).astype(np.uint8).tobytes(): int(label)
        for image, label in zip(digits.images, digits.target, strict=True)
    }


def labels_of(images: torch.Tensor, label_of: dict[bytes, int]) -> list[tuple[int, int]]:
    """The two digits of each unoccluded pair."""
    return [(label_of[image[0, :, :8].tobytes()], label_of[image[0, :, 8:].tobytes()]) for image in images.numpy()]


@pytest.mark.parametrize(
    ("dataset", "name", "licence", "authors"),
    [
        (MnistShift, "mnist-shift", "CC BY-SA 3.0", ("Funke", "LeCun")),
        (DigitsShift, "digits-shift", "CC BY 4.0", ("Funke", "Alpaydin")),
    ],
)
def test_a_dataset_names_its_licence_and_whom_to_cite(
    dataset: type[Dataset], name: str, licence: str, authors: tuple[str, ...]
) -> None:
    assert (dataset.name, dataset.licence) == (name, licence)
    assert all(author in dataset.citation for author in authors)


def test_a_dataset_has_the_shape_and_the_attributes_that_it_says() -> None:
    data = load()
    assert data.info.image_shape == (1, 8, 16)
    assert data.info.attributes == {"left": 2, "right": 2}
    assert data.info.train_size == len(data.train)
    assert {name: (split.role, len(split)) for name, split in data.splits.items()} == {
        "train": (Role.TRAIN, 2500),
        "validation": (Role.VALIDATION, 500),
        "test": (Role.TEST, 2000),
    }
    batch = data.train.batch(torch.arange(7), torch.Generator().manual_seed(0))
    assert batch.images.shape == (7, 1, 8, 16)


def test_one_pass_is_as_many_pairs_as_there_are_training_digits_unless_said_otherwise() -> None:
    digits = load_digits().target
    in_both_classes = sum(round((digits == label).sum() * 5 / 7) for label in (3, 8))
    assert len(load(train_pairs=None).train) == pytest.approx(in_both_classes, abs=2)
    assert len(load(train_pairs=77).train) == 77


def test_no_digit_is_in_two_of_the_splits(label_of: dict[bytes, int]) -> None:
    data = load(noise=0, test_pairs=500, validation_pairs=1000)
    seen = []
    composed = data.train.batch(torch.arange(4000), torch.Generator().manual_seed(0)).images.mul(255).round()
    for images in (composed.to(torch.uint8), stored(data, "validation").images, stored(data, "test").images):
        halves = {half.tobytes() for pair in images[:, 0].numpy() for half in (pair[:, :8], pair[:, 8:])}
        seen.append({half for half in halves if label_of[half] in (3, 8)})
    assert [len(part) for part in seen] == [255, 51, 51]  # all 357 threes and eights are somewhere
    assert len(set.union(*seen)) == 357


@settings(max_examples=30)
@given(c=st.floats(-1, 1), validation=st.integers(4, 300), test=st.integers(1, 20))
def test_cells_have_the_counts_and_the_weights_of_the_joint(c: float, validation: int, test: int) -> None:
    data = load(correlation=c, validation_pairs=validation, test_pairs=test)

    counts = np.bincount(cells_of(stored(data, "validation")), minlength=4)
    assert counts.sum() == validation
    np.testing.assert_allclose(counts.cumsum(), validation * joint(c).cumsum(), rtol=0, atol=0.5 + 1e-9)

    split = stored(data, "test")
    assert split.targets.anomaly is not None
    normal = split.targets.anomaly == 0
    cells = cells_of(split)[normal]
    assert np.bincount(cells, minlength=4).tolist() == [test] * 4
    assert list(split.conditions) == CONDITIONS
    for name, correlation in zip(CONDITIONS, (c, 0.0, -c), strict=True):
        weights = split.conditions[name]
        frequencies = np.bincount(cells, weights[normal], minlength=4) / weights[normal].sum()
        np.testing.assert_allclose(frequencies, joint(correlation).ravel(), rtol=0, atol=1e-12)
        assert weights[normal].mean() == pytest.approx(1, abs=1e-12)
        assert (weights[~normal] == 1).all()


def test_the_rendered_digits_are_those_that_the_targets_say(label_of: dict[bytes, int]) -> None:
    data = load(noise=0, classes=(8, 3))
    for name in ("validation", "test"):
        split = stored(data, name)
        labels = np.array(labels_of(split.images, label_of))
        for side, column in (("left", 0), ("right", 1)):
            known = split.targets.attributes[side] != MISSING
            np.testing.assert_array_equal(labels[known, column], np.take((8, 3), split.targets.attributes[side][known]))


def test_an_anomaly_has_exactly_one_foreign_digit_of_any_class_on_either_side(label_of: dict[bytes, int]) -> None:
    split = stored(load(noise=0, test_pairs=1000), "test")
    assert split.targets.anomaly is not None
    assert split.targets.anomaly.tolist() == [0] * 4000 + [1] * 4000
    for side in ("left", "right"):
        assert (split.targets.attributes[side][4000:] == MISSING).all()
    pairs = labels_of(split.images[4000:], label_of)
    found: Counter[tuple[int, int, int]] = Counter()
    for pair in pairs:
        (foreign,) = (place for place, label in enumerate(pair) if label not in (3, 8))
        found[foreign, pair[foreign], pair[1 - foreign]] += 1
    assert len(found) == 2 * 8 * 2
    assert chisquare(list(found.values())).pvalue > 1e-3


def test_occlusion_is_of_anomalies_as_of_normal_pairs() -> None:
    split = stored(load(test_pairs=1000), "test")
    gray = (split.images == 128).to(torch.float64).mean(dim=(1, 2, 3)).numpy()
    normal, anomalous = gray[:4000], gray[4000:]
    standard_error = np.sqrt((normal.var() + anomalous.var()) / 4000)
    assert normal.mean() == pytest.approx(anomalous.mean(), abs=4 * standard_error)
    assert normal.mean() > 0.25


def test_the_rendered_splits_depend_on_the_options_alone() -> None:
    torch.manual_seed(1)
    outside = torch.get_rng_state()
    data = load()
    assert torch.equal(torch.get_rng_state(), outside)
    torch.manual_seed(2)
    assert load().split_hash == data.split_hash


def test_the_splits_are_those_of_version_one() -> None:
    """Other bytes need another ``version``: results of two are never compared."""
    assert DigitsShift.version == 1
    assert load().split_hash == "ef0f283723b078a4528f114fdc92881d678014624d2f5520f19913c946367f21"


def test_every_correlation_is_tested_on_the_same_images() -> None:
    one, other = (stored(load(correlation=c, validation_pairs=n), "test") for c, n in ((0.9, 500), (-0.3, 40)))
    assert torch.equal(one.images, other.images)
    assert one.content_hash != other.content_hash  # the conditions differ


def test_the_seed_changes_what_is_rendered_and_not_what_is_trained_on() -> None:
    one, other = load(seed=0), load(seed=1)
    assert one.train.content_hash == other.train.content_hash
    for name in ("validation", "test"):
        assert not torch.equal(stored(one, name).images, stored(other, name).images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": [3, 3]}, "'classes': Input should be two distinct digits"),
        ({"classes": [3, 10]}, "'classes.1': Input should be less than or equal to 9, got 10"),
        ({"classes": [3]}, "'classes.1': Field required"),
        ({"correlation": 1.5}, "'correlation': Input should be less than or equal to 1, got 1.5"),
        ({"correlation": float("nan")}, "'correlation': Input should be a finite number, got nan"),
        ({"noise": 1}, "'noise': Input should be less than 1, got 1"),
        ({"test_pairs": 0}, "'test_pairs': Input should be greater than or equal to 1, got 0"),
        ({"seed": -1}, "'seed': Input should be greater than or equal to 0, got -1"),
        ({"corelation": 0.9}, "has no option 'corelation': did you mean 'correlation'?"),
    ],
)
def test_a_bad_option_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as caught:
        MnistShift.Config.parse(options, "dataset 'mnist-shift'")
    assert str(caught.value).startswith("dataset 'mnist-shift'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_survive_their_json() -> None:
    config = MnistShift.Config(classes=(1, 7), correlation=-0.5)
    assert MnistShift.Config.parse(json.loads(json.dumps(config.model_dump(mode="json"))), "options") == config


@pytest.mark.real
def test_mnist_gives_the_published_protocol(data_root: Path) -> None:
    data = MnistShift().load(data_root)
    assert data.info.image_shape == (1, 32, 64)
    assert data.info.train_size == 9943  # threes and eights among the first 50,000
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 9943,
        "validation": 4000,
        "test": 20_000,
    }
    assert np.bincount(cells_of(stored(data, "validation"))).tolist() == [1900, 100, 100, 1900]
    assert data.split_hash == "9991a485e0f48aac3895de7f9a2394a9994f82f50528477ac2f4c44fa5f24960"
    test = stored(data, "test")
    assert float((test.images != 128).to(torch.float32).mean()) == pytest.approx(0.34, abs=0.01)
