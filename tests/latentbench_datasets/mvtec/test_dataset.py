"""MVTec AD and what is laid out like it: splits, targets and identity; and what is refused, by name."""

import hashlib
import multiprocessing
import os
import runpy
import shutil
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from latentbench import Data, LatentbenchError, StoredSplit
from latentbench.data import cache
from latentbench.data.dataset import State
from latentbench.evaluation.measuring import measure
from latentbench.evaluation.predictions import Predictions
from latentbench.files import CACHE_VARIABLE
from latentbench.testing import check_dataset
from latentbench_datasets.mvtec import dataset as mvtec
from latentbench_datasets.mvtec.dataset import CATEGORIES, KolektorSDD, MagneticTile, MvtecAd, MvtecLayout, MvtecLike
from latentbench_metrics.localization import AUPRO30, MissingMasks, PixelAUROC

SIZE = 16
png = runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "image_files.py"))["png"]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def save(path: Path, array: npt.NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def noise(seed: int, shape: tuple[int, ...] = (SIZE, SIZE)) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def square(seed: int) -> npt.NDArray[np.uint8]:
    """A mask with one white square."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[seed : seed + 3, 2:5] = 255
    return mask


def make(folder: Path) -> Path:
    """Ten normal images to train on; to test, two normal ones, two holes and a crack."""
    for number in range(10):
        save(folder / "train" / "good" / f"{number:03}.png", noise(number))
    for number in range(2):
        save(folder / "test" / "good" / f"{number:03}.png", noise(100 + number))
        save(folder / "test" / "hole" / f"{number:03}.png", noise(200 + number))
        save(folder / "ground_truth" / "hole" / f"{number:03}_mask.png", square(number))
    save(folder / "test" / "crack" / "000.png", noise(300))
    save(folder / "ground_truth" / "crack" / "000_mask.png", square(7))
    return folder


def part(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


def own(**options: Any) -> MvtecLike:
    return MvtecLike(MvtecLike.Config(image_size=SIZE, **options))


def message_of(data_root: Path, dataset: MvtecLayout | None = None) -> str:
    with pytest.raises(LatentbenchError) as caught:
        (dataset or own()).load(data_root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_splits_hold_the_files_pixels_and_the_test_split_the_truth(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    data = own().load(tmp_path)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 9, "validation": 1, "test": 5}
    assert data.info.image_shape == (1, SIZE, SIZE)
    assert data.info.train_size == 9
    learnt = torch.cat([part(data, "train").images, part(data, "validation").images])
    assert sorted(image.numpy().tobytes() for image in learnt) == sorted(noise(n).tobytes() for n in range(10))
    test = part(data, "test")
    np.testing.assert_array_equal(test.images[:, 0], np.stack([noise(n) for n in (300, 100, 101, 200, 201)]))
    blank = np.zeros((SIZE, SIZE))
    np.testing.assert_array_equal(test.targets.anomaly, [1, 0, 0, 1, 1])
    np.testing.assert_array_equal(test.targets.mask, np.stack([square(7), blank, blank, square(0), square(1)]) / 255)
    np.testing.assert_array_equal(test.targets.mask_known, [True] * 5)
    assert test.conditions == {}
    for name in ("train", "validation"):
        assert not part(data, name).targets.has("anomaly")


def test_it_keeps_a_datasets_promises(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    make(tmp_path / "mvtec_ad" / "screw")
    make(tmp_path / "magnetic_tile")
    make(tmp_path / "kolektor_sdd")
    for dataset in (MvtecLike, MvtecAd, MagneticTile, KolektorSDD):
        for size in (SIZE, [SIZE, 24]):
            check_dataset(dataset, tmp_path, options={"image_size": size})


def test_a_missing_mask_is_unknown_and_counted(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    (folder / "ground_truth" / "hole" / "001_mask.png").unlink()
    targets = own().load(tmp_path).splits["test"].targets
    assert targets.mask_known is not None
    assert targets.mask_known.tolist() == [True, True, True, True, False]
    status = own().status(tmp_path)
    assert status.state is State.PREPARED
    assert status.facts == {
        "train images": 9,
        "validation images": 1,
        "test images": 5,
        "defective images": 3,
        "masks missing": 1,
        "masks all black": 0,
        "masks lost by resizing": 0,
    }


def test_where_all_masks_are_missing_they_are_counted_and_no_pixel_metric_has_a_value(tmp_path: Path) -> None:
    shutil.rmtree(make(tmp_path / "mvtec_like") / "ground_truth")
    data = own().load(tmp_path)
    test = data.splits["test"]
    assert own().status(tmp_path).facts["masks missing"] == 3
    maps = np.zeros((5, SIZE, SIZE), np.float32)
    metrics = {metric.name: metric for metric in (AUPRO30, PixelAUROC, MissingMasks)}
    found = measure(Predictions({"test/localize": maps}), data, metrics)
    assert {name: value.value for name, value in found.values.items()} == {"missing-masks@test": 3}
    assert test.targets.mask_known is not None
    assert test.targets.mask_known.tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("stray", "told"),
    [
        ("test/000.png", "lies beside the folders of"),
        ("ground_truth/000_mask.png", "lies beside the folders of"),
        ("train/000.png", "lies beside the folders of"),
        ("train/good2/000.png", "is not of the layout: images to learn from are in train/good"),
    ],
)
def test_an_image_where_none_belongs_is_named(tmp_path: Path, stray: str, told: str) -> None:
    path = make(tmp_path / "mvtec_like") / stray
    path.parent.mkdir(exist_ok=True)
    save(path, noise(7))
    with pytest.raises(LatentbenchError) as error:
        own().load(tmp_path)
    assert told in str(error.value)
    assert str(path if "lies" in told else path.parent) in str(error.value)


def test_black_masks_are_taken_as_published_and_lost_ones_are_unknown_and_both_are_counted(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    save(folder / "ground_truth" / "hole" / "000_mask.png", np.zeros((SIZE, SIZE), np.uint8))
    lone = np.zeros((SIZE, SIZE), np.uint8)
    lone[0, 0] = 255
    save(folder / "ground_truth" / "hole" / "001_mask.png", lone)
    small = MvtecLike(MvtecLike.Config(image_size=8))
    targets = small.load(tmp_path).splits["test"].targets
    assert targets.mask is not None
    assert targets.mask.any((1, 2)).tolist() == [True, False, False, False, False]
    assert targets.mask_known is not None
    assert targets.mask_known.tolist() == [True, True, True, True, False]
    facts = small.status(tmp_path).facts
    assert (facts["masks all black"], facts["masks lost by resizing"], facts["masks missing"]) == (1, 1, 0)


def test_one_colour_image_makes_all_of_them_colour(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    colour = noise(100, (SIZE, SIZE, 3))
    save(folder / "test" / "good" / "000.png", colour)
    data = own().load(tmp_path)
    assert data.info.channels == 3
    images = part(data, "test").images
    np.testing.assert_array_equal(images[1], colour.transpose(2, 0, 1))
    np.testing.assert_array_equal(images[2], np.stack([noise(101)] * 3))


def palette_of(colours: npt.NDArray[np.uint8]) -> Image.Image:
    """A palette image of the (H, W, 3) colours, of which there are few."""
    shown, index = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True)
    image = Image.fromarray(index.reshape(colours.shape[:2]).astype(np.uint8)).convert("P")
    image.putpalette(shown.tobytes())
    image.putdata(index.ravel().tolist())
    return image


FEW = np.array([[255, 0, 0], [0, 255, 0], [1, 2, 3]], np.uint8)[np.arange(SIZE * SIZE).reshape(SIZE, SIZE) % 3]
OPAQUE = np.full((SIZE, SIZE), 255, np.uint8)
#: What one file among grey ones may hold: the image, its channels, and what it shows, (C, H, W).
KINDS = {
    "grey": (Image.fromarray(noise(9)), 1, noise(9)[None]),
    "grey and alpha": (Image.fromarray(np.dstack([noise(9), OPAQUE])), 1, noise(9)[None]),
    "one bit": (Image.fromarray(noise(9) > 99), 1, (noise(9) > 99)[None] * 255),
    "colour": (Image.fromarray(FEW), 3, FEW.transpose(2, 0, 1)),
    "colour and alpha": (Image.fromarray(np.dstack([FEW, OPAQUE])), 3, FEW.transpose(2, 0, 1)),
    "palette": (palette_of(FEW), 3, FEW.transpose(2, 0, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part_of", ["train", "test"])
def test_a_file_of_another_kind_of_pixels_shows_what_it_shows(tmp_path: Path, kind: str, part_of: str) -> None:
    image, channels, shown = KINDS[kind]
    folder = make(tmp_path / "mvtec_like") / part_of / "good"
    image.save(folder / "000.png")
    data = own(validation=0.0).load(tmp_path)
    assert data.info.channels == channels
    images = part(data, part_of).images.numpy()
    place = {"train": 0, "test": 1}[part_of]
    np.testing.assert_array_equal(images[place], shown)
    other = {"train": noise(1), "test": noise(101)}[part_of]
    np.testing.assert_array_equal(images[place + 1], np.stack([other] * channels), err_msg="and the others theirs")


def test_a_file_of_pixels_that_would_have_to_be_guessed_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "mvtec_like") / "test" / "hole" / "000.png"
    save(path, np.dstack([FEW, OPAQUE - 1]))
    assert f"image {path} is transparent in places" in message_of(tmp_path)
    path.unlink()
    Image.fromarray(noise(9).astype(np.float32)).save(path.with_suffix(".tif"))
    message = message_of(tmp_path)
    assert f"image {path.with_suffix('.tif')} of 32 bits (float) does not declare its range" in message
    assert "value_range=[BLACK, WHITE]" in message


def deepened(folder: Path, bits: int | None, **options: Any) -> None:
    """Write every image of a folder again as 16-bit PNGs whose numbers have ``bits`` bits; None: as floats in TIFF."""
    for path in [*folder.glob("train/*/*"), *folder.glob("test/*/*")]:
        grey = np.asarray(Image.open(path)).astype(int)
        path.unlink()
        if bits is None:
            Image.fromarray((grey / 255).astype(np.float32)).save(path.with_suffix(".tif"))
        else:  # rounded half up
            png(path, ((2 * grey * (2**bits - 1) + 255) // 510).astype("u2"), 16, **options)


def auroc_of_distances(data: Data) -> float:
    """Of the pixels' squared distances from the mean training image, by comparing all pairs."""
    train, test = (part(data, name).images.numpy().astype(float) for name in ("train", "test"))
    scores, anomaly = ((test - train.mean(0)) ** 2).sum((1, 2, 3)), data.splits["test"].targets.anomaly
    assert anomaly is not None
    wins = [(a > n) + (a == n) / 2 for a in scores[anomaly == 1] for n in scores[anomaly == 0]]
    return float(np.mean(wins))


def make_parts(folder: Path) -> Path:
    """Grey parts under noise; the defects are brighter by so little that 4 bits do not tell all of them."""
    draw = np.random.default_rng(0)
    for kind, count, brighter in (("train/good", 20, 0), ("test/good", 12, 0), ("test/spot", 12, 5)):
        for number in range(count):
            image = draw.normal(100, 6, (SIZE, SIZE))
            image[4:9, 4:9] += brighter
            save(folder / kind / f"{number:03}.png", image.clip(0, 255).astype(np.uint8))
    return folder


@pytest.mark.parametrize(
    ("bits", "options"),
    [
        (8, {"value_range": [0, 255]}),
        (10, {"value_range": [0, 1023]}),
        (12, {"value_range": [0, 4095]}),
        (16, {"value_range": [0, 65535]}),
        (None, {"value_range": [0, 1]}),
    ],
)
def test_the_same_scenes_at_any_depth_give_the_same_pixels_and_the_same_auroc(
    tmp_path: Path, bits: int | None, options: dict[str, Any]
) -> None:
    eight = own().load(make_parts(tmp_path / "eight" / "mvtec_like").parent)
    auroc = auroc_of_distances(eight)
    assert 0.6 < auroc < 0.95
    assert own().status(tmp_path / "eight").facts.keys().isdisjoint({"images scaled from [0, 255]"})
    folder = make_parts(tmp_path / "deep" / "mvtec_like")
    deepened(folder, bits)
    assert "does not declare its range" in message_of(folder.parent)
    data = own(**options).load(folder.parent)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(part(data, name).images, part(eight, name).images)
    assert auroc_of_distances(data) == auroc
    low, high = options["value_range"]
    assert own(**options).status(folder.parent).facts[f"images scaled from [{low}, {high}]"] == 44
    assert data.split_hash == eight.split_hash
    # What keeping the high byte of 16 gave.
    if bits in (8, 10):
        crushed = part(eight, "test").images.numpy().astype(int) * (2**bits - 1) // 255 // 256
        assert len(np.unique(crushed)) <= 4


def test_files_that_declare_their_range_need_no_option_and_must_declare_the_same(tmp_path: Path) -> None:
    eight = own().load(make_parts(tmp_path / "eight" / "mvtec_like").parent)
    folder = make_parts(tmp_path / "deep" / "mvtec_like")
    deepened(folder, 10, chunks={"sBIT": bytes([10])})
    assert own().load(folder.parent).split_hash == eight.split_hash
    assert own().status(folder.parent).facts["images scaled from [0, 1023]"] == 44
    other = folder / "test" / "good" / "000.png"
    save(other, np.zeros((SIZE, SIZE), np.uint8))  # eight bits have their own range
    own().load(folder.parent)
    assert own().status(folder.parent).facts["images scaled from [0, 1023]"] == 43
    png(other, np.zeros((SIZE, SIZE), "u2"), 16, chunks={"sBIT": bytes([12])})
    message = message_of(folder.parent)
    assert f"and {other} declare different ranges, [0, 1023] and [0, 4095]" in message
    assert "value_range=[BLACK, WHITE]" in message


@pytest.mark.parametrize("value_range", [[3, 3], [5, 1], [0, "inf"], [0], "ten"])
def test_a_range_is_two_rising_numbers(value_range: Any) -> None:
    with pytest.raises(LatentbenchError, match="value_range"):
        MvtecLike.Config.parse({"value_range": value_range}, "dataset 'mvtec-like'")


@pytest.mark.parametrize("threshold", [-1, "inf", "nan"])
def test_a_threshold_is_no_less_than_black(threshold: Any) -> None:
    with pytest.raises(LatentbenchError, match="mask_threshold"):
        MvtecLike.Config.parse({"mask_threshold": threshold}, "dataset 'mvtec-like'")


def test_the_options_of_deep_images_and_grey_masks_leave_the_key_alone_at_their_defaults() -> None:
    for dataset in (MvtecLike, MvtecAd, MagneticTile):
        assert not {"value_range", "mask_threshold"} & dataset.Config().model_dump(mode="json").keys()
    named = MagneticTile.Config.parse({"value_range": [0, 1023], "mask_threshold": 127}, "dataset")
    kept = named.model_dump(mode="json")
    assert (kept["value_range"], kept["mask_threshold"]) == ([0, 1023], 127)


def test_masks_of_many_levels_are_refused_or_read_by_the_threshold_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make(tmp_path / "mvtec_like")
    exact = own().load(tmp_path).splits["test"].targets.mask
    mask = folder / "ground_truth" / "hole" / "001_mask.png"
    Image.fromarray(square(1)).save(mask, format="JPEG", quality=75)
    residue = np.asarray(Image.open(mask))
    levels = len(set(residue.ravel().tolist()))
    assert f"mask {mask} is a JPEG" in message_of(tmp_path)
    save(mask, residue)
    assert f"mask {mask} has {levels} levels" in message_of(tmp_path)
    caplog.clear()
    found = own(mask_threshold=127).load(tmp_path).splits["test"].targets.mask
    assert exact is not None
    assert found is not None
    np.testing.assert_array_equal(found[:4], exact[:4])
    np.testing.assert_array_equal(found[4], residue > 127)
    assert (residue > 0).sum() > 1.5 * (residue > 127).sum(), "what reading all that is not black would have marked"
    told = f"1 of 3 masks have more than two levels, as {mask} has {levels}; anomalous is what is above"
    assert told in caplog.text
    facts = own(mask_threshold=127).status(tmp_path).facts
    assert facts["masks of more than two levels, read above 127"] == 1
    assert facts["masks all black"] == 0
    assert own(mask_threshold=255).load(tmp_path).splits["test"].targets.mask is not None
    assert own(mask_threshold=255).status(tmp_path).facts["masks all black"] == 3


def test_a_threshold_or_a_seed_that_changes_nothing_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    for threshold in (10, 20):
        assert (
            "'mask_threshold' has no effect: no mask has another level than black and one above "
            f"{threshold}: leave it out"
        ) in message_of(tmp_path, own(mask_threshold=threshold))
    marked = own(mask_threshold=255).load(tmp_path).splits["test"].targets.mask
    assert marked is not None
    assert not marked.any(), "no level is above it, which is an effect"
    with pytest.raises(LatentbenchError, match="'seed' has no effect: with validation=0 no image is chosen"):
        MvtecLike.Config.parse({"validation": 0, "seed": 1}, "dataset 'mvtec-like'")
    kept = MvtecLike.Config.parse({"validation": 0}, "dataset 'mvtec-like'").model_dump(mode="json")
    assert "seed" not in kept
    assert "seed" in MvtecLike.Config().model_dump(mode="json")


def test_a_corrupt_jpeg_is_named(tmp_path: Path) -> None:
    path = make(tmp_path / "mvtec_like") / "train" / "good" / "011.jpg"
    save(path, noise(0, (64, 64)))
    assert len(own().load(tmp_path).train) == 10
    content = path.read_bytes()
    for damaged in (content[: len(content) // 2], content[:2] + bytes(20) + content[22:], b"<html>404</html>"):
        path.write_bytes(damaged)
        assert f"image {path} is corrupt or cut short" in message_of(tmp_path)


def test_images_of_different_sizes_are_made_one_size_with_their_masks(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    tall = np.zeros((64, 32), np.uint8)
    tall[32:, 16:] = 255
    save(folder / "test" / "hole" / "000.png", tall)
    save(folder / "ground_truth" / "hole" / "000_mask.png", tall)
    data = own().load(tmp_path)
    mask = data.splits["test"].targets.mask
    assert mask is not None
    expected = np.zeros((SIZE, SIZE), np.uint8)
    expected[8:, 8:] = 1
    np.testing.assert_array_equal(mask[3], expected)
    np.testing.assert_array_equal(part(data, "test").images[3, 0] > 127, expected)


def test_two_sides_are_height_and_width_of_images_and_masks(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    tall = np.zeros((64, 24), np.uint8)
    tall[40:, :6] = 255
    save(folder / "test" / "hole" / "000.png", tall)
    save(folder / "ground_truth" / "hole" / "000_mask.png", tall)
    dataset = MvtecLike(MvtecLike.Config.parse({"image_size": [32, 12]}, "options"))
    data = dataset.load(tmp_path)
    assert data.info.image_shape == (1, 32, 12)
    expected = np.zeros((32, 12), np.uint8)
    expected[20:, :3] = 1
    mask = data.splits["test"].targets.mask
    assert mask is not None
    np.testing.assert_array_equal(mask[3], expected)
    halved = tall.reshape(32, 2, 12, 2).mean((1, 3)) > 127
    np.testing.assert_array_equal(part(data, "test").images[3, 0] > 127, halved)
    assert dataset.verify(tmp_path) == data.split_hash
    turned = MvtecLike(MvtecLike.Config(image_size=(12, 32))).load(tmp_path)
    assert turned.info.image_shape == (1, 12, 32)
    assert turned.split_hash != data.split_hash


def test_maps_that_are_not_square_are_measured_as_their_pixels_are(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    data = MvtecLike(MvtecLike.Config(image_size=(24, 8))).load(tmp_path)
    truth = data.splits["test"].targets.mask
    assert truth is not None
    maps = np.asarray(truth, np.float32)
    metrics = {metric.name: metric for metric in (AUPRO30, PixelAUROC)}

    def values(given: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
        found = measure(Predictions({"test/localize": given}), data, metrics).values
        return {name: value.value for name, value in found.items()}

    assert values(maps) == {"aupro30@test": pytest.approx(1), "pixel-auroc@test": 1}
    drawn = np.random.default_rng(0).random(maps.shape, np.float32) + maps / np.float32(2)
    anomalous, normal = drawn[maps == 1], drawn[maps == 0]
    pairs = np.mean(anomalous[:, None] > normal)
    assert values(drawn)["pixel-auroc@test"] == pytest.approx(pairs, abs=1e-12)


def test_one_setting_of_the_size_has_one_key() -> None:
    assert MvtecLike.Config(image_size=(64, 64)) == MvtecLike.Config(image_size=64)
    assert MvtecLike.Config().model_dump(mode="json")["image_size"] == 256
    config = KolektorSDD.Config()
    assert config.model_dump(mode="json")["image_size"] == [320, 128]
    assert KolektorSDD.Config.parse(config.model_dump(mode="json"), "options") == config


@pytest.mark.parametrize("size", [7, 4096, [320, 4], [1, 2, 3], [64], "wide", 64.5])
def test_a_wrong_size_is_one_clear_line(size: Any) -> None:
    with pytest.raises(LatentbenchError) as caught:
        MvtecLike.Config.parse({"image_size": size}, "dataset 'mvtec-like'")
    told = (
        "dataset 'mvtec-like': 'image_size': Input should be a number of pixels from 8 to 2048, or two, [HEIGHT, WIDTH]"
    )
    assert str(caught.value).startswith(told)


def test_the_share_and_the_seed_of_validation_are_options(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    assert len(part(own(validation=0.5).load(tmp_path), "validation")) == 5
    assert "validation" not in own(validation=0.0).load(tmp_path).splits
    hashes = {own(validation=0.5, seed=seed).load(tmp_path).split_hash for seed in (0, 1)}
    assert len(hashes) == 2
    assert "validation=0.99 leaves nothing to train on of the 10 images" in message_of(tmp_path, own(validation=0.99))


def test_the_identity_does_not_depend_on_where_the_data_root_is(tmp_path: Path) -> None:
    make(tmp_path / "one" / "parts" / "gear")
    make(tmp_path / "other" / "parts" / "gear")
    dataset = own(folder="parts/gear")
    assert dataset.load(tmp_path / "one").split_hash == dataset.load(tmp_path / "other").split_hash


@pytest.mark.parametrize("folder", ["/somewhere", "../beside", "a/../../b", "", "."])
def test_a_folder_outside_the_data_root_is_refused(folder: str) -> None:
    with pytest.raises(LatentbenchError, match="is not the path of a folder in the data root"):
        MvtecLike.Config.parse({"folder": folder}, "dataset 'mvtec-like'")


def test_categories_are_found_as_published_or_reduced_or_where_the_option_says(tmp_path: Path) -> None:
    def looks_in(**options: Any) -> Path:
        return MvtecAd(MvtecAd.Config(**options)).folder(tmp_path).relative_to(tmp_path)

    assert looks_in() == Path("mvtec_ad/screw")
    make(tmp_path / "mvtec_ad_256" / "bottle")
    assert looks_in(category="bottle") == Path("mvtec_ad_256/bottle")
    assert looks_in(category="bottle", folder="mvtec_ad") == Path("mvtec_ad/bottle")
    make(tmp_path / "mvtec_ad" / "bottle")
    assert looks_in(category="bottle") == Path("mvtec_ad/bottle")
    assert looks_in(category="bottle", folder="mvtec_ad_256") == Path("mvtec_ad_256/bottle")


def test_no_image_is_enlarged_from_a_reduced_copy_unless_it_is_asked_for(tmp_path: Path) -> None:
    def looks_in(image_size: Any, **options: Any) -> Path:
        dataset = MvtecAd(MvtecAd.Config(category="grid", image_size=image_size, **options))
        return dataset.folder(tmp_path).relative_to(tmp_path)

    make(tmp_path / "mvtec_ad_128" / "grid")
    for size in (128, 64, (128, 100)):
        assert looks_in(size) == Path("mvtec_ad_128/grid")
    for size in (256, (64, 129)):
        assert looks_in(size) == Path("mvtec_ad/grid"), "which is then told to be missing"
    assert looks_in(256, folder="mvtec_ad_128") == Path("mvtec_ad_128/grid")
    make(tmp_path / "mvtec_ad_256" / "grid")
    assert looks_in(128) == looks_in(256) == Path("mvtec_ad_256/grid")
    assert looks_in(257) == Path("mvtec_ad/grid")


def test_the_status_tells_which_categories_are_there(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_ad" / "bottle")
    make(tmp_path / "mvtec_ad_256" / "tile")
    note = MvtecAd(MvtecAd.Config(category="tile")).status(tmp_path).note
    assert note == "category tile; there are 2 of 15: bottle, tile"
    assert "no folder" in MvtecAd().status(tmp_path).note


def test_an_unknown_category_has_near_misses() -> None:
    with pytest.raises(LatentbenchError) as caught:
        MvtecAd.Config.parse({"category": "metalnut"}, "dataset 'mvtec-ad'")
    assert "unknown category; did you mean 'metal_nut' or 'hazelnut'? known: bottle, cable," in str(caught.value)
    assert len(CATEGORIES) == 15


@pytest.mark.parametrize(
    ("dataset", "folder", "told"),
    [
        (MvtecAd(), "mvtec_ad/screw", ["accept its licence (CC BY-NC-SA 4.0) at https://www.mvtec.com", "download"]),
        (MagneticTile(), "magnetic_tile", ["download it from https://github.com/", "licence: none stated"]),
        (KolektorSDD(), "kolektor_sdd", ["download it from https://www.vicos.si/", "(licence: CC BY-NC-SA 4.0)"]),
        (MvtecLike(), "mvtec_like", ["put images there as train/good/*", "option 'folder'"]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_missing_folder_is_told_with_its_licence_and_how_to_get_it(
    tmp_path: Path, dataset: MvtecLayout, folder: str, told: list[str]
) -> None:
    message = message_of(tmp_path, dataset)
    for text in (f"dataset '{dataset.name}' is not there: no folder {tmp_path / folder}", *told):
        assert text in message
    assert not (tmp_path / "cache").exists()


def packed(archive: Path, *categories: str) -> Path:
    """An archive as published: the categories side by side, with a text or two."""
    with TemporaryDirectory() as folder:
        for category in categories:
            (make(Path(folder) / category) / "readme.txt").write_text("of the category")
        with tarfile.open(archive, "w:xz", preset=0) as tar:
            for name in os.listdir(folder):  # noqa: PTH208
                tar.add(Path(folder) / name, name)
    return archive


def ad(category: str, **options: Any) -> MvtecAd:
    return MvtecAd(MvtecAd.Config(category=category, image_size=SIZE, **options))


def there(data_root: Path) -> set[str]:
    """The folders in the data root and their folders."""
    return {str(path.relative_to(data_root)) for path in [*data_root.glob("*"), *data_root.glob("mvtec*/*")]} - {
        "cache"
    }


def test_a_categorys_archive_in_the_data_root_is_unpacked_by_prepare_alone(tmp_path: Path) -> None:
    make(tmp_path / "elsewhere" / "mvtec_ad" / "screw")
    packed(tmp_path / "screw.tar.xz", "screw")
    message = message_of(tmp_path, ad("screw"))
    assert "screw.tar.xz into the data root and run `latentbench data prepare mvtec-ad --set category=screw`" in message
    assert ad("screw").status(tmp_path).state is State.MISSING
    for _ in range(2):
        ad("screw").prepare(tmp_path)
    assert there(tmp_path) == {"elsewhere", "screw.tar.xz", "mvtec_ad", "mvtec_ad/screw"}
    assert ad("screw").load(tmp_path).split_hash == ad("screw").load(tmp_path / "elsewhere").split_hash
    with pytest.raises(LatentbenchError, match="no folder"):
        ad("bottle").prepare(tmp_path)


def test_the_archive_of_all_categories_is_unpacked_at_once_or_for_the_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = packed(tmp_path / "mvtec_anomaly_detection.tar.xz", "screw", "bottle")
    with pytest.raises(LatentbenchError, match="is not the published one: its sha256 is"):
        ad("screw").prepare(tmp_path)
    assert there(tmp_path) == {whole.name}
    monkeypatch.setattr(mvtec, "_WHOLE_SHA256", hashlib.sha256(whole.read_bytes()).hexdigest())
    dataset, told = ad("screw"), list[tuple[int, int]]()
    dataset.progress = lambda *now: told.append(now)
    dataset.prepare(tmp_path)
    assert there(tmp_path) == {whole.name, "mvtec_ad", "mvtec_ad/screw", "mvtec_ad/bottle"}
    size = 2 * whole.stat().st_size
    assert (size, size) in told
    assert told[-1] == (20, 20)
    shutil.rmtree(tmp_path / "mvtec_ad" / "bottle")
    os.utime(tmp_path / "mvtec_ad" / "screw" / "readme.txt", ns=(1, 1))
    ad("bottle").prepare(tmp_path)
    assert there(tmp_path) == {whole.name, "mvtec_ad", "mvtec_ad/screw", "mvtec_ad/bottle"}
    assert (tmp_path / "mvtec_ad" / "screw" / "readme.txt").stat().st_mtime_ns == 1, "what is there is left alone"
    with pytest.raises(LatentbenchError, match="has no folder 'tile'"):
        ad("tile").prepare(tmp_path)


def test_the_folder_that_is_asked_for_is_unpacked_into(tmp_path: Path) -> None:
    packed(tmp_path / "screw.tar.xz", "screw")
    make(tmp_path / "mvtec_ad_256" / "bottle")
    ad("screw", folder="mvtec_ad_256").prepare(tmp_path)
    assert "mvtec_ad_256/screw" in there(tmp_path)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [emptied, cut])
@pytest.mark.parametrize(
    "name", ["train/good/004.png", "test/good/001.png", "test/hole/000.png", "ground_truth/hole/001_mask.png"]
)
def test_a_corrupt_file_is_named_and_nothing_is_loaded(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    path = make(tmp_path / "mvtec_like") / name
    content = path.read_bytes()
    damage(path)
    assert str(path) in message_of(tmp_path)
    assert str(path) in message_of(tmp_path), "also where it goes on from what was kept"
    assert own().status(tmp_path).state is State.PRESENT
    path.write_bytes(content)
    make(tmp_path / "whole" / "mvtec_like")
    assert own().load(tmp_path).split_hash == own().load(tmp_path / "whole").split_hash


def test_an_empty_training_folder_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like") / "train" / "good"
    for path in folder.iterdir():
        path.unlink()
    assert f"no images in {folder}" in message_of(tmp_path)


def test_a_mask_that_fits_no_image_is_told(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    mask = folder / "ground_truth" / "hole" / "000_mask.png"
    save(mask, np.zeros((SIZE, SIZE + 1), np.uint8))
    assert f"mask {mask} has 17x16 pixels: its image has 16x16" in message_of(tmp_path)
    mask.unlink()
    save(folder / "ground_truth" / "hole" / "007_mask.png", square(0))
    assert f"no image belongs to mask {folder / 'ground_truth' / 'hole' / '007_mask.png'}" in message_of(tmp_path)


def test_a_good_image_may_have_a_black_mask_and_no_other(tmp_path: Path) -> None:
    folder = make(tmp_path / "mvtec_like")
    mask = folder / "ground_truth" / "good" / "001_mask.png"
    save(mask, np.zeros((SIZE, SIZE), np.uint8))
    assert own().load(tmp_path).splits["test"].targets.has("mask")
    save(mask, square(0))
    assert f"mask {mask} marks a defect: its image is among the good ones" in message_of(tmp_path)


def test_progress_is_told_to_the_end(tmp_path: Path) -> None:
    make(tmp_path / "mvtec_like")
    dataset, told = own(), list[tuple[int, int]]()
    dataset.progress = lambda done, total: told.append((done, total))
    dataset.prepare(tmp_path)
    assert told == [(done, 20) for done in range(1, 21)], "10 training images, 5 test images, 5 masks"
    dataset.load(tmp_path)
    assert len(told) == 20, "what is prepared is not decoded again"


class Killed(MvtecLike):
    """Its process is killed when the masks are half made."""

    def prepare(self, data_root: Path) -> None:
        self.progress = lambda done, total: os.kill(os.getpid(), signal.SIGKILL) if done == 18 else None
        super().prepare(data_root)


def test_a_killed_prepare_goes_on_and_counts_the_masks_of_its_first_part_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    folder = make(tmp_path / "mvtec_like")
    save(folder / "ground_truth" / "crack" / "000_mask.png", np.zeros((SIZE, SIZE), np.uint8))
    (folder / "ground_truth" / "hole" / "001_mask.png").unlink()
    killed = Killed(Killed.Config(image_size=SIZE))
    process = multiprocessing.get_context("fork").Process(target=killed.prepare, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert own().status(tmp_path).facts == {"files": 17, "rows half prepared": 18}
    dataset, told = own(), list[tuple[int, int]]()
    dataset.progress = lambda *now: told.append(now)
    dataset.prepare(tmp_path)
    assert told == [(19, 20), (20, 20)]
    shutil.copytree(folder, tmp_path / "whole" / "mvtec_like")
    own().prepare(tmp_path / "whole")
    assert own().load(tmp_path).split_hash == own().load(tmp_path / "whole").split_hash
    facts = own().status(tmp_path).facts
    assert facts == own().status(tmp_path / "whole").facts
    assert (facts["masks all black"], facts["masks missing"]) == (1, 1), "the black one is the first of all"


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "shape", "train", "test", "defective", "black"),
    [
        (MvtecAd(), (1, 256, 256), 320, 160, 119, 0),
        (MvtecAd(MvtecAd.Config(category="bottle")), (3, 256, 256), 209, 83, 63, 0),
        (MvtecAd(MvtecAd.Config(category="grid", image_size=128)), (1, 128, 128), 264, 78, 57, 0),
        (MagneticTile(), (1, 256, 256), 762, 582, 392, 4),
        (KolektorSDD(), (1, 320, 128), 266, 117, 50, 0),
    ],
    ids=["screw", "bottle", "grid", "magnetic-tile", "kolektor-sdd"],
)
def test_the_real_folders_have_their_published_counts(
    data_root: Path,
    dataset: MvtecLayout,
    shape: tuple[int, int, int],
    train: int,
    test: int,
    defective: int,
    black: int,
) -> None:
    if not dataset.folder(data_root).is_dir():
        pytest.skip(f"no folder {dataset.folder(data_root)}")
    data = dataset.load(data_root)
    assert data.info.image_shape == shape
    assert len(data.train) + len(part(data, "validation")) == train
    assert len(part(data, "validation")) == round(train / 10)
    targets = data.splits["test"].targets
    assert targets.anomaly is not None
    assert targets.mask is not None
    assert targets.mask_known is not None
    assert (len(targets.anomaly), targets.anomaly.sum()) == (test, defective)
    assert targets.mask_known.all(), "no mask is missing"
    marked = np.asarray(targets.mask.any((1, 2)))
    assert marked.sum() == defective - black
    assert not marked[targets.anomaly == 0].any()
    facts = dataset.status(data_root).facts
    assert (facts["masks missing"], facts["masks all black"], facts["masks lost by resizing"]) == (0, black, 0)
    assert dataset.verify(data_root) == data.split_hash


@pytest.mark.real
def test_a_real_image_of_the_asked_size_keeps_every_pixel(data_root: Path) -> None:
    folder = data_root / "mvtec_ad_256" / "screw"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    data = MvtecAd(MvtecAd.Config(folder="mvtec_ad_256")).load(data_root)
    first = sorted((folder / "test").glob("*/*.png"))[0]
    np.testing.assert_array_equal(part(data, "test").images[0, 0], np.asarray(Image.open(first)))
