"""Scores of pictures: shares and thresholds by counting, maps in colours, and what is told of differences."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.toys import Blobs

from latentbench.data.pictures import Header
from latentbench.data.splits import Data, DataInfo, Role, StoredSplit, Targets
from latentbench.errors import LatentbenchError
from latentbench.evaluation.scoring import (
    Pictures,
    Scores,
    heat_map,
    list_pictures,
    read_pictures,
    remarks,
    score_pictures,
)
from latentbench.model import Model

CPU = torch.device("cpu")
INFO = DataInfo(1, 8, 8, 60)
NUMBERS = st.lists(st.integers(-5, 5), min_size=1, max_size=20)


@given(NUMBERS, NUMBERS, st.floats(0, 1))
def test_shares_and_thresholds_are_what_counting_gives(scores, normal, quantile):
    found = Scores(np.array(scores, float), np.sort(np.array(normal, float)), None, 0, 1)
    assert found.shares is not None
    assert found.shares.tolist() == [sum(one < score for one in normal) / len(normal) for score in scores]
    threshold = found.threshold(quantile)
    reaching = [one for one in normal if sum(other <= one for other in normal) / len(normal) >= quantile]
    assert threshold == min(reaching)


def test_without_normal_images_there_is_neither():
    found = Scores(np.zeros(2), None, None, 0, 1)
    assert (found.shares, found.threshold(0.5)) == (None, None)


class Mean(Model):
    """Scores an image by its mean brightness, and a second way; its map is the image."""

    class Config(Model.Config):
        """None of its own."""

    def optimizers(self):
        raise NotImplementedError

    def training_step(self, batch):
        raise NotImplementedError

    def score(self, images):
        return {"mean": images.mean((1, 2, 3)), "dark": -images.mean((1, 2, 3))}

    def localize(self, images):
        return images[:, 0]


class Codes(Mean):
    """It has codes alone, to be read by the training images'."""

    score = None  # type: ignore[assignment]
    localize = None  # type: ignore[assignment]

    def encode(self, images):
        return images.flatten(1)


def flat(*levels: int) -> np.ndarray:
    return np.stack([np.full((1, 8, 8), level, np.uint8) for level in levels])


def data(anomaly: np.ndarray | None = None) -> Data:
    splits = {
        "train": StoredSplit(Role.TRAIN, torch.from_numpy(flat(10, 20, 30, 40, 50, 60))),
        "validation": StoredSplit(Role.VALIDATION, torch.from_numpy(flat(51, 102, 153)), Targets(anomaly=anomaly)),
    }
    return Data(INFO, splits)


def pictures(*levels: int) -> Pictures:
    files = [Path(f"{level}.png") for level in levels]
    return Pictures(files, [Header(8, 8, True)] * len(levels), flat(*levels), {})


def scored(model: type[Model] = Mean, given: Data | None = None, *levels: int, **options) -> Scores:
    return score_pictures(
        pictures(*levels), model(model.Config(), INFO), given, INFO, owner="toys", device=CPU, seed=0, **options
    )


def test_pictures_and_normal_validation_images_are_scored_by_the_models_own_score_or_the_one_that_is_named():
    found = scored(Mean, data(), 0, 255, 102)
    assert found.scores == pytest.approx([0, 1, 0.4])
    assert found.normal == pytest.approx([0.2, 0.4, 0.6])
    assert found.shares is not None
    assert found.shares.tolist() == [0, 1, 1 / 3]
    assert scored(Mean, data(), 51, score="dark").scores == pytest.approx([-0.2])
    with pytest.raises(LatentbenchError, match=r"the model has no score 'maen': did you mean 'mean'"):
        scored(Mean, data(), 51, score="maen")


def test_validation_images_that_are_known_to_be_anomalous_do_not_count():
    assert scored(Mean, data(np.array([0, 1, 0], np.uint8)), 0).normal == pytest.approx([0.2, 0.6])
    assert scored(Mean, data(np.ones(3, np.uint8)), 0).normal is None


def test_without_the_dataset_there_are_scores_alone():
    found = scored(Mean, None, 51, 102, maps=True)
    assert found.scores == pytest.approx([0.2, 0.4])
    assert found.normal is None
    assert found.maps is not None
    assert found.maps[:, 3, 3] == pytest.approx([0.2, 0.4])


def test_a_model_of_codes_is_read_by_those_of_its_training_images():
    near, far = scored(Codes, data(), 30, 250).scores
    assert near < far
    with pytest.raises(LatentbenchError, match=r"model 'codes' gives codes, which are read .* --data-root"):
        scored(Codes, None, 30)


def test_a_model_that_cannot_score_is_refused():
    class Sampler(Mean):
        score = None  # type: ignore[assignment]

    with pytest.raises(LatentbenchError, match=r"model 'sampler' does not score images: it can localize"):
        scored(Sampler, data(), 30)


def test_maps_are_made_where_they_are_wanted_and_can_be():
    assert scored(Mean, data(), 51).maps is None
    assert scored(Codes, data(), 51, maps=True).maps is None
    found = scored(Mean, data(), 255, maps=True)
    values = np.concatenate([flat(255, 51, 102, 153).ravel() / 255])
    assert (found.dark, found.bright) == pytest.approx(tuple(np.percentile(values, (1, 99.5))))


def test_a_heat_map_has_the_size_of_its_picture_and_is_bright_where_the_map_is_high():
    values = np.zeros((8, 8))
    values[:, 4:] = 1
    image = heat_map(values, Scores(np.zeros(1), None, None, 0.0, 1.0), Header(height=40, width=80, grey=True))
    assert image.size == (80, 40)
    assert image.getpixel((2, 20)) == (0, 0, 4)
    assert image.getpixel((77, 20)) == (252, 255, 164)


# Reading


def test_folders_are_searched_and_files_are_taken_once(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/c.tiff", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = list_pictures([tmp_path / "notes.txt", tmp_path, tmp_path / "a.jpg"])
    assert [str(file.relative_to(tmp_path)) for file in found] == ["notes.txt", "a.jpg", "b.PNG", "sub/c.tiff"]
    with pytest.raises(LatentbenchError, match=r"there is no picture .*none"):
        list_pictures([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(LatentbenchError, match=r"no picture in .*empty: their names end in \.png"):
        list_pictures([tmp_path / "empty"])


class Inverted(Blobs):
    """A dataset whose files are read in its own way."""

    def read_picture(self, path, info):
        return 255 - super().read_picture(path, info)


def test_pictures_are_read_as_the_dataset_reads_its_own_and_a_bad_one_costs_no_other(tmp_path):
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "good.png")
    (tmp_path / "bad.png").touch()
    files = [tmp_path / "bad.png", tmp_path / "good.png"]
    assert (read_pictures(files, Blobs(), INFO).images == 200).all()
    found = read_pictures(files, Inverted(), INFO)
    assert (found.images == 55).all()
    assert (found.files, found.headers) == ([files[1]], (Header(8, 8, True),))
    assert found.failures.keys() == {files[0]}
    with pytest.raises(LatentbenchError, match=r"none of 1 pictures can be read: picture .*bad\.png"):
        read_pictures(files[:1], Blobs(), INFO)


# Differences


def test_nothing_is_told_where_nothing_differs():
    assert remarks(pictures(60, 100), data(), INFO) == []


@pytest.mark.parametrize(
    ("header", "channels", "told"),
    [
        (Header(8, 8, False), 1, "2 of 2 pictures are in colour; the model takes grey, into which they are converted"),
        (Header(8, 8, True), 3, "2 of 2 pictures are grey; the model was trained on colour"),
        (Header(16, 16, True), 1, "2 of 2 pictures (16x16) are resized to 8x8"),
        (Header(16, 24, True), 1, "2 of 2 pictures (24x16) are resized to 8x8, which changes their aspect"),
    ],
)
def test_channels_and_sizes_that_differ_are_told(header, channels, told):
    given = Pictures([Path("a"), Path("b")], [header] * 2, flat(60, 100), {})
    assert remarks(given, None, DataInfo(channels, 8, 8, 60)) == [told]


def test_only_the_pictures_that_resizing_distorts_count_as_such():
    headers = [Header(16, 16, True), Header(16, 24, True), Header(8, 8, True)]
    given = Pictures([Path("a"), Path("b"), Path("c")], headers, flat(60, 80, 100), {})
    assert remarks(given, None, DataInfo(1, 8, 8, 60)) == [
        "2 of 3 pictures (16x16, 24x16) are resized to 8x8, which changes the aspect of 1"
    ]


def test_pictures_beyond_the_brightness_of_validation_are_told():
    (told,) = remarks(pictures(0, 100, 255), data(), INFO)
    assert told.startswith(
        "2 of 3 pictures are darker or brighter than every validation image (in [0, 1], the means are "
    )
    assert "0.00 to 1.00 and 0.20 to 0.60)" in told
