"""Pictures of a model: which there are, what is on them, and that they change nothing and cost nothing."""

import io
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from latentbench import Data, DataInfo, Metric, Model, Options, Role, StoredSplit, Targets
from latentbench.evaluation import pictures as module
from latentbench.evaluation.collecting import collect
from latentbench.evaluation.facts import facts_of
from latentbench.evaluation.pictures import make_pictures
from latentbench.evaluation.predictions import Predictions
from latentbench.evaluation.sheets import Sheet, heat

CPU = torch.device("cpu")
INFO = DataInfo(channels=1, height=6, width=6, train_size=40, attributes={"side": 2})


def split(role, size=40):
    draw = np.random.default_rng(list(Role).index(role))
    images = draw.integers(0, 200, (size, 1, 6, 6))
    anomaly = (np.arange(size) % 4 == 0).astype(np.uint8) * (role is Role.TEST)
    mask = np.zeros((size, 6, 6), np.uint8)
    mask[anomaly == 1, :3] = 1
    known = np.arange(size) % 8 != 0
    images[anomaly == 1, :, :3] += 50
    targets = Targets(anomaly, mask, known, {"side": np.arange(size) % 2}) if role is Role.TEST else Targets()
    return StoredSplit(role, torch.from_numpy(images.astype(np.uint8)), targets)


TEST = split(Role.TEST)
DATA = Data(INFO, {"train": split(Role.TRAIN), "val": split(Role.VALIDATION), "test": TEST})
IMAGES = TEST.images.numpy() / np.float32(255)
ANOMALY = TEST.targets.anomaly


class Bare(Model):
    class Config(Options):
        pass

    def build(self, info):
        self.calls: Counter[str] = Counter()

    def fit(self, train, validation, trainer):
        pass

    def encode(self, images):
        self.calls["encode"] += 1
        return {"a": images[:, 0, 0, :2], "b": 10 * images[:, 0, 1, :1]}


class Able(Bare):
    def score(self, images):
        return images.mean((1, 2, 3))

    def localize(self, images):
        self.calls["localize"] += 1
        return images[:, 0]

    def reconstruct(self, images):
        return 1 - images

    def decode(self, codes):
        assert codes["a"].shape[1] == 2
        image = torch.cat([codes["a"], codes["b"] / 10], 1)[:, None, :, None].clamp(0, 1)
        return image.repeat_interleave(2, 2).expand(-1, 1, 6, 6)

    def sample(self, count):
        return torch.rand(count, 1, 6, 6)

    def cluster(self, images):
        return {"bright-dark": (images.mean((1, 2, 3)) > 0.4).long()}


class OfClusters(Metric):
    name, title, source, capability = "clusters", "clusters", "this file", "cluster"
    higher_is_better, bounds = True, (0.0, 1.0)

    def compute(self, evaluation):
        return 0.5


class OfScores(OfClusters):
    name, capability = "scores", "score"


def model(model_class):
    return model_class(model_class.Config(), INFO)


def made(fitted, *metrics, data=DATA, seed=0):
    predictions = collect(fitted, data, {m.name: m for m in metrics}, owner="acme 1.2", device=CPU, seed=seed)
    return make_pictures(fitted, data, predictions, title="able", owner="acme 1.2", device=CPU, seed=seed)


@pytest.fixture
def sheets(monkeypatch) -> dict[str, Sheet]:
    """The sheets of the pictures that a test makes, by the title's words after the run."""
    seen: dict[str, Sheet] = {}

    def watched(sheet):
        seen[sheet.title.removeprefix("able: ").split(",")[0]] = sheet
        return b""

    monkeypatch.setattr(module, "png", watched)
    return seen


def test_every_capability_has_its_picture_and_each_is_an_image_that_says_what_may_be_published():
    pictures, failures = made(model(Able), OfClusters, OfScores)
    assert failures == {}
    shows_data = {name: picture.shows_data for name, picture in pictures.items()}
    others = ("reconstructions", "maps", "traversals", "clusters-bright-dark")
    assert shows_data == {"samples": False, **dict.fromkeys(others, True)}
    for picture in pictures.values():
        assert Image.open(io.BytesIO(picture.png)).format == "PNG"


def test_the_same_model_gives_the_same_bytes_and_other_seeds_other_samples():
    first, second, other = (made(model(Able), OfClusters, seed=seed)[0] for seed in (0, 0, 1))
    assert first == second
    assert first["samples"] != other["samples"]
    assert first["reconstructions"] == other["reconstructions"]


def test_no_random_number_and_no_weight_of_the_run_is_touched():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    made(model(Able))
    assert torch.equal(torch.rand(3), expected)


def test_under_each_image_is_its_reconstruction(sheets):
    made(model(Able))
    rows = sheets["reconstructions"].rows
    assert [row.label for row in rows] == ["image", "reconstruction"] * 2
    for image, back in zip(rows[::2], rows[1::2], strict=True):
        for one, other in zip(image.tiles, back.tiles, strict=True):
            np.testing.assert_allclose(one + other, 1, atol=1e-6)


def test_maps_are_of_the_images_that_a_slow_loop_ranks_best_median_and_worst(sheets):
    made(model(Able), OfScores)
    sheet = sheets["anomaly maps"]
    assert list(sheet.columns) == ["best", "", "", "median", "", "", "worst", "", ""]
    scores = IMAGES.mean((1, 2, 3))
    rows: dict = {}
    for row in sheet.rows:
        rows.setdefault(row.label, []).append(row.tiles)
    for kind, (images, maps) in {k: (rows[k][0], rows["map"][n]) for n, k in enumerate(("anomaly", "normal"))}.items():
        own, other = (np.flatnonzero((value == (kind == "anomaly")) == ANOMALY) for value in (True, False))
        sign = 1 if kind == "anomaly" else -1
        behind = {i: sum(sign * scores[j] >= sign * scores[i] for j in other) for i in own}
        order = sorted(own, key=lambda i: (behind[i], -sign * scores[i]))
        middle = (len(order) - 3) // 2
        for place, i in enumerate([*order[:3], *order[middle : middle + 3], *order[-3:]]):
            np.testing.assert_allclose(images[place], IMAGES[i, 0], atol=1e-6)
            np.testing.assert_array_equal(maps[place], heat(IMAGES[i, 0], *np.percentile(shown(rows), (1, 99.5))))


def shown(rows):
    """All maps on the sheet: here the maps are the images."""
    return np.stack([tile for kind in ("anomaly", "normal") for tile in rows[kind][0]]).astype(np.float32)


def test_a_missing_mask_is_left_empty_and_normal_images_have_no_row_of_masks(sheets):
    made(model(Able), OfScores)
    masks = [row for row in sheets["anomaly maps"].rows if row.label == "mask"]
    assert len(masks) == 1
    assert {tile is None for tile in masks[0].tiles} == {True, False}
    assert all(tile is None or tile.max() == 1 for tile in masks[0].tiles)


def test_a_walk_changes_one_dimension_by_its_spread_around_the_mean(sheets):
    made(model(Able))
    sheet = sheets["walks through the code of one image"]
    codes = np.concatenate([IMAGES[:, 0, 0, :2], 10 * IMAGES[:, 0, 1, :1]], axis=1).astype(np.float64)
    mean, spread = codes.mean(0), codes.std(0)
    typical = np.where(ANOMALY == 1, np.inf, ((codes - mean) ** 2).sum(1)).argmin()
    assert [row.label for row in sheet.rows] == [["a 0", "a 1", "b 0"][dim] for dim in np.argsort(-spread)]
    np.testing.assert_allclose(sheet.rows[0].tiles[0], IMAGES[typical, 0], atol=1e-6)
    for row, dim in zip(sheet.rows, np.argsort(-spread), strict=True):
        for tile, step in zip(row.tiles[1:], np.linspace(-2, 2, 7), strict=True):
            code = codes[typical].copy()
            code[dim] = mean[dim] + step * spread[dim]
            expected = (code / [1, 1, 10]).clip(0, 1)
            np.testing.assert_allclose(tile[::2, 0], expected, atol=1e-5)


def test_without_a_decoder_codes_are_sampled_at_with_the_same_draws_at_each_step(sheets):
    class Sampler(Bare):
        def sample(self, count, codes=None):
            return (codes["b"][:, :, None, None] / 20 + torch.rand(count, 1, 1, 1) / 9).clamp(0, 1).expand(-1, 1, 6, 6)

    made(model(Sampler))
    row = sheets["walks through the code of one image"].rows[0]
    assert row.label == "b 0"
    levels = [float(tile[0, 0]) for tile in row.tiles[1:]]
    inside = [b - a for a, b in pairwise(levels) if a > 0 and b < 1]
    assert len(inside) > 2
    np.testing.assert_allclose(inside, inside[0], atol=1e-5)


def test_each_cluster_shows_the_images_nearest_to_its_mean_code(sheets):
    made(model(Able), OfClusters)
    rows = sheets["clusters bright-dark (and images in each)"].rows
    codes = np.concatenate([IMAGES[:, 0, 0, :2], 10 * IMAGES[:, 0, 1, :1]], axis=1).astype(np.float64)
    bright = IMAGES.mean((1, 2, 3)) > 0.4
    for cluster, row in enumerate(rows):
        members = np.flatnonzero(bright == cluster)
        assert row.label == f"{cluster} ({len(members)})"
        distance = ((codes[members] - codes[members].mean(0)) ** 2).sum(1)
        for tile, i in zip(row.tiles, members[np.argsort(distance)], strict=False):
            np.testing.assert_allclose(tile, IMAGES[i, 0], atol=1e-6)


def test_what_predictions_hold_is_not_computed_again():
    class Localization(OfScores):
        name, capability = "localization", "localize"

    fitted = model(Able)
    predictions = collect(
        fitted, DATA, {m.name: m for m in (OfScores, Localization)}, owner="acme 1.2", device=CPU, seed=0
    )
    calls = fitted.calls["localize"]
    make_pictures(fitted, DATA, predictions, title="", owner="acme 1.2", device=CPU, seed=0)
    assert fitted.calls["localize"] == calls


def test_a_model_of_codes_alone_has_no_picture():
    assert made(model(Bare)) == ({}, {})


def test_a_dataset_without_a_test_split_has_no_picture():
    data = Data(INFO, {"train": DATA.splits["train"]})
    assert make_pictures(
        model(Able), data, Predictions({}), title="", owner="acme 1.2", device=CPU, seed=0
    ) == ({}, {})  # fmt: skip


def test_a_models_own_pictures_stand_beside_the_harnesses_and_replace_those_of_their_name():
    class Own(Able):
        def pictures(self, images):
            assert images.shape == (16, 1, 6, 6)
            return {"filters": torch.rand(3, 1, 5, 5), "reconstructions": images[0].expand(3, 6, 6)}

        def generated_pictures(self):
            return {"walk": torch.rand(2, 3, 1, 5, 5), "traversals": torch.rand(2, 3, 5, 5)}

    own, plain = made(model(Own))[0], made(model(Able))[0]
    assert set(own) == {*plain, "filters", "walk"}
    assert own["filters"].shows_data
    assert not own["walk"].shows_data
    assert not own["traversals"].shows_data
    assert own["reconstructions"] != plain["reconstructions"]
    assert own["samples"] == plain["samples"]
    assert made(model(Own))[0]["filters"] == own["filters"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda: {"../up": torch.rand(1, 4, 4)}, "'../up' is no name for a file"),
        (
            lambda: {"x": torch.rand(4, 4)},
            "'x': expected shape (C, H, W), (N, C, H, W) or (R, A, C, H, W), got (4, 4)",
        ),
        (lambda: {"x": torch.rand(1, 4, 4) + 1}, "'x': expected values in [0, 1], got ["),
        (lambda: {"x": torch.full((1, 4, 4), torch.nan)}, "'x': expected values in [0, 1], got [nan, nan]"),
        (lambda: {"x": np.zeros((1, 4, 4))}, "'x': expected a tensor of floating-point numbers"),
        (lambda: [][0], "IndexError: list index out of range"),
    ],
)
def test_pictures_that_break_their_promise_are_told_and_cost_no_other(given, reason):
    class Wrong(Able):
        def pictures(self, images):
            return given()

        def generated_pictures(self):
            return given()

    pictures, failures = made(model(Wrong))
    assert reason in failures["pictures()"]
    assert reason in failures["generated_pictures()"]
    assert pictures == made(model(Able))[0]


def test_rows_of_tiles_stand_as_they_are_given():
    """A grid of five tiles has three across; rows of five have five."""
    tiles = torch.linspace(0, 1, 10)[:, None, None, None].expand(10, 1, 96, 96)

    class Own(Able):
        def generated_pictures(self):
            return {"rows": tiles.unflatten(0, (2, 5))}

    image = np.asarray(Image.open(io.BytesIO(made(model(Own))[0]["rows"].png)))
    step, top, left = 96 + 3, 8 + 16, 8
    levels = [[image[top + row * step + 48, left + place * step + 48] for place in range(5)] for row in range(2)]
    assert np.array_equal(levels, np.rint(255 * tiles[:, 0, 0, 0].numpy()).reshape(2, 5))


def test_a_capability_that_fails_costs_its_own_picture_alone():
    class Failing(Able):
        def reconstruct(self, images):
            return images[:, :, :2]

    pictures, failures = made(model(Failing))
    expected = "model 'failing', 'reconstruct' for a picture on split 'test': expected shape (16, 1, 6, 6)"
    assert expected in failures["reconstructions"]
    assert set(pictures) == {"maps", "samples", "traversals"}


def test_facts_are_finite_numbers():
    class Knowing(Bare):
        def facts(self):
            return {"bound": 2, "radius": float(torch.rand(()))}

    class Wrong(Bare):
        def facts(self):
            return {"bound": float("inf")}

    assert facts_of(model(Bare), CPU, 0) == {}
    torch.manual_seed(3)
    first = facts_of(model(Knowing), CPU, 0)
    torch.manual_seed(4)
    assert first == facts_of(model(Knowing), CPU, 0)
    assert first["bound"] == 2.0
    with pytest.raises(Exception, match=r"model 'wrong', facts\(\): 'bound' is inf: expected a finite number"):
        facts_of(model(Wrong), CPU, 0)
