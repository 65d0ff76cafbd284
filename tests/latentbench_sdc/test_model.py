"""The model: what it promises, what its options do, what it says of bad input, and what is chosen after training."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from latentbench import Batch, DataInfo, LatentbenchError, Role, StoredSplit, Where
from latentbench.running.training import TrainingLoop
from latentbench.testing import check_model
from latentbench_augment import PROBES, Corrupted, Corruption, GridNoise
from latentbench_datasets.mvtec.dataset import CATEGORIES
from latentbench_sdc import latentbench_models
from latentbench_sdc.model import SDC, _listed
from latentbench_sdc.presets import PRESETS
from latentbench_sdc.residuals import Smoothing
from latentbench_sdc.usual import Usual, UsualPatches, UsualPatchesWithImage

INFO = DataInfo(channels=1, height=32, width=32, train_size=24)


def make(info: DataInfo = INFO, **options: Any) -> SDC:
    torch.manual_seed(0)
    return SDC(SDC.Config.parse(options, "model 'sdc'"), info).eval()


def stripes(count: int, *, channels: int = 1, height: int = 32, width: int = 32) -> Tensor:
    """(count, C, H, W) uint8: vertical stripes of eight pixels, at random places."""
    shift = torch.randint(8, (count, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    lit = (torch.arange(width) + shift) % 8 < 4
    return torch.where(lit, 180, 60).expand(count, channels, height, width).to(torch.uint8).contiguous()


def fitted(images: Tensor, validation: Tensor | None = None, **options: Any) -> SDC:
    channels, height, width = images.shape[1:]
    info = DataInfo(channels, height, width, train_size=len(images))
    model = make(info, **{"epochs": 1, "batch_size": 8, **options})
    held_out = None if validation is None else StoredSplit(Role.VALIDATION, validation)
    model.fit(StoredSplit(Role.TRAIN, images), held_out, TrainingLoop(device=torch.device("cpu"), seed=0))
    return model.eval()


def test_the_plugin_offers_it() -> None:
    assert [model.name for model in latentbench_models()] == ["sdc"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 32, 32), {}),
        pytest.param(
            (3, 37, 45),
            {"skips": "convex", "precision": "bfloat16", "symmetry": "flips", "average_flips": True},
            marks=pytest.mark.long,
        ),
        pytest.param(
            (1, 32, 64),
            {"corruption": "grid_noise", "idempotence": 0.5, "schedule": "constant"},
            marks=pytest.mark.long,
        ),
        ((3, 32, 32), {"skips": "convex", "corruption": "pixel_noise", "added_noise": 0.1, "symmetry": "dihedral"}),
        ((1, 33, 40), {"residual": "patches_with_image", "average_flips": True}),
    ],
)
def test_it_keeps_what_a_model_promises(shape: tuple[int, int, int], options: dict[str, Any]) -> None:
    """A step that waits for the device is among what this would find."""
    channels, height, width = shape
    check_model(SDC, channels=channels, height=height, width=width, attributes={}, options=options)


def test_every_preset_is_valid_and_symmetries_are_of_known_categories() -> None:
    for key, values in PRESETS.items():
        assert SDC.Config.parse(values, f"preset for {key}").symmetry == values.get("symmetry", "none")
    of_categories = {key.options["category"] for key in PRESETS if isinstance(key, Where) and key.dataset == "mvtec-ad"}
    assert of_categories
    assert of_categories <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"corruption": "none", "opacity": (1, 1)},
            "'opacity' has no effect: only the corruption structured has blobs",
        ),
        ({"corruption": "grid_noise", "clean_weight": 0.5}, "'clean_weight' has no effect"),
        ({"weighting": "plain", "masked_weight": 0.5}, "'masked_weight' has no effect"),
        ({"clean": 1.0, "opacity": (0.5, 0.6)}, "'opacity' has no effect: clean=1 leaves all images as they are"),
        ({"clean": 1.0, "shapes": ("ellipse",)}, "'shapes' has no effect: clean=1 leaves all images as they are"),
        ({"clean": 1.0, "weighting": "plain"}, "'weighting' has no effect: clean=1 leaves no corrupted part"),
        ({"noise_cells": 8}, "'noise_cells' has no effect: only the corruption grid_noise has cells"),
        ({"corruption": "none", "noise_sd": 0.3}, "'noise_sd' has no effect"),
        ({"kernel": 5}, "'kernel' has no effect: smoothing is chosen"),
        ({"smoothing": "fixed", "passes": 0, "kernel": 5}, "'kernel' has no effect: no pass smooths with it"),
        ({"residual": "squared", "smoothing": "fixed", "pooling": "mean", "probes": ("blur",)}, "nothing is chosen"),
        ({"probes": ("blurr",)}, "unknown probe 'blurr': did you mean 'blur'"),
        ({"probes": ("blur", "lines", "blur")}, "a probe is there twice"),
        ({"residual": "patch"}, "'residual': Input should be 'chosen', 'squared', "),
        ({"probes": ()}, "probes"),
        ({"opacity": (0.5, 0.2)}, "opacity"),
        ({"fills": ("image",)}, "unknown fill 'image' of a corruption: did you mean 'images'"),
        ({"fills": ()}, "nothing to fill blobs with"),
        ({"fills": ("flat", "flat")}, "cannot have fills=('flat', 'flat'): name each fill once"),
        ({"shapes": ("curve", "curve")}, "cannot have shapes=('curve', 'curve'): name each shape once"),
        ({"clean_weight": 0, "masked_weight": 0}, "clean_weight=0 and masked_weight=0 leave nothing to learn from"),
        ({"fills": ("textures",)}, "nothing to fill blobs with"),
        ({"dilations": ()}, "dilations"),
        ({"dilations": (0,)}, "dilations"),
    ],
)
def test_options_without_effect_or_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as raised:
        SDC.Config.parse(options, "model 'sdc'")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (DataInfo(1, 32, 32, 10), None),
        (DataInfo(3, 320, 128, 10), None),
        (DataInfo(1, 28, 28, 10), "32 pixels"),
        (DataInfo(3, 64, 64, 10, {"smile": 2}), "attributes"),
    ],
)
def test_it_is_left_out_where_nothing_can_be_located(info: DataInfo, reason: str | None) -> None:
    found = SDC.suits(info)
    assert (found is None) if reason is None else (reason in str(found))


def test_a_symmetry_that_turns_needs_squares() -> None:
    with pytest.raises(LatentbenchError, match="needs squares, not 64x32 pixels"):
        make(DataInfo(1, 32, 64, 10), symmetry="rotations")


@pytest.mark.parametrize(
    ("side", "options", "message"),
    [
        (32, {"dilations": (4, 8)}, r"none of dilations=\(4, 8\) fits on the map of 4x4 .*: name 1, or one up to 2$"),
        (128, {"dilations": (16,)}, r"none of dilations=\(16,\) fits on the map of 16x16 .*: name 1, or one up to 8$"),
        (128, {"dilations": (16, 32)}, r"fits on the map of 16x16 places that images of 128x128 pixels have: name 1, "),
        (32, {"dilations": (1,) * 97}, "97 dilations share the 96 channels of a block of size=small: name 96 or fewer"),
        (32, {"dilations": (1,) * 193, "size": "base"}, "share the 192 channels of a block of size=base: name 192"),
    ],
)
def test_dilations_that_no_network_can_have_are_refused(side: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError, match=f"model 'sdc': .*{message}"):
        make(DataInfo(1, side, side, 10), **options)


def test_as_many_dilations_as_channels_are_a_network() -> None:
    model = make(dilations=(1,) * 96)
    with torch.inference_mode():
        assert model.reconstruct(torch.rand(2, 1, 32, 32)).shape == (2, 1, 32, 32)


@pytest.mark.parametrize(
    ("options", "left_out"),
    [
        ({}, None),
        ({"dilations": (1, 2)}, None),
        ({"dilations": (1, 8, 4)}, "of dilations=(1, 8, 4), 4, 8 do not fit on the map of 4x4 places"),
    ],
)
def test_dilations_that_are_asked_for_and_do_not_fit_are_named_in_a_warning(
    options: dict[str, Any], left_out: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "latentbench"):
        fitted(stripes(10), residual="squared", smoothing="fixed", pooling="mean", **options)
    assert (left_out in caplog.text) if left_out else not caplog.records


def test_the_map_is_of_squared_differences_averaged_over_channels() -> None:
    model = make(DataInfo(3, 32, 32, 10), residual="squared", smoothing="fixed", kernel=24, passes=1)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        residual = (images - model.network(images).clamp(0, 1)).square().mean(1)
        torch.testing.assert_close(model.localize(images), Smoothing(24, 1)(residual))
        torch.testing.assert_close(model.score(images), Smoothing(24, 1)(residual).amax((1, 2)))


@pytest.mark.parametrize("average_flips", [False, True])
def test_standardized_it_is_measured_by_the_residuals_of_training_images_at_its_place(average_flips: bool) -> None:
    """Symmetries of training are left out: what is usual is that of the images as they are."""
    pixels = stripes(24, channels=3)
    model = fitted(pixels, residual="standardized", smoothing="fixed", symmetry="dihedral", average_flips=average_flips)
    assert model.facts()["residual_is_standardized"] == 1
    flips: list[tuple[int, ...]] = [(), (2,), (3,), (2, 3)] if average_flips else [()]

    def residuals(x: Tensor) -> Tensor:
        return torch.stack([(x - model.reconstruct(x.flip(flip)).flip(flip)) for flip in flips])

    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        training = residuals(pixels.float() / 255).flatten(0, 1)
        usual = Usual(training.mean(0), training.var(0, correction=0))
        expected = usual.standardized(residuals(images)).mean((0, 2))
        torch.testing.assert_close(model.localize(images), Smoothing(11, 2)(expected), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("average_flips", [False, True])
def test_by_patches_it_is_measured_by_those_of_training_images_at_its_place(average_flips: bool) -> None:
    pixels = stripes(24, channels=3)
    model = fitted(pixels, residual="patches", smoothing="fixed", average_flips=average_flips)
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        usual = UsualPatches.of([model.residuals(pixels.float() / 255).flatten(0, 1)])
        expected = torch.stack([usual.distances(flip) for flip in model.residuals(images)]).mean(0)
        torch.testing.assert_close(model.localize(images), Smoothing(11, 2)(expected), rtol=1e-3, atol=1e-4)
    other = make(DataInfo(3, 32, 32, 24), residual="patches", smoothing="fixed", average_flips=average_flips)
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(other.localize(images), model.localize(images))


@pytest.mark.parametrize("average_flips", [False, True])
def test_with_the_image_both_are_measured_by_those_of_training_images_at_their_place(average_flips: bool) -> None:
    pixels = stripes(24, channels=3, height=37, width=45)
    options: dict[str, Any] = {"residual": "patches_with_image", "smoothing": "fixed", "average_flips": average_flips}
    model = fitted(pixels, **options)
    images = torch.rand(2, 3, 37, 45)

    def flips(x: Tensor) -> list[Tensor]:
        return [torch.cat([residuals, x], 1) for residuals in model.residuals(x)]

    with torch.inference_mode():
        usual = UsualPatchesWithImage.of(flips(pixels.float() / 255))
        expected = torch.stack([usual.distances(pairs) for pairs in flips(images)]).mean(0)
        torch.testing.assert_close(model.localize(images), Smoothing(11, 2)(expected), rtol=1e-3, atol=1e-4)
    other = make(DataInfo(3, 37, 45, 24), **options)
    other.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(other.localize(images), model.localize(images))


def test_with_the_image_smoothing_and_pooling_are_chosen_on_probes() -> None:
    pixels = stripes(40)
    facts = fitted(pixels[:32], pixels[32:], residual="patches_with_image").facts()
    assert 0 < facts["held_out_ap"] < 1
    assert facts["residual_is_standardized"] == 0


def test_the_residual_is_chosen_and_becomes_part_of_the_state() -> None:
    """On noise that differs by place, what is usual there tells more than the residual alone."""
    spread = torch.where(torch.arange(32) < 16, 60, 2)
    noise = spread * torch.randn(48, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    pixels = (128 + noise).clamp(0, 255).to(torch.uint8)
    model = fitted(pixels[:32], pixels[32:], epochs=3)
    assert model.facts()["residual_is_standardized"] == 1
    other = make()
    other.load_state_dict(model.state_dict())
    images = pixels[32:36].float() / 255
    with torch.inference_mode():
        assert torch.equal(other.localize(images), model.localize(images))
    squared = fitted(pixels[:32], pixels[32:], epochs=3, residual="squared")
    assert squared.facts()["residual_is_standardized"] == 0
    assert squared.facts()["held_out_ap"] < model.facts()["held_out_ap"]


def test_averaging_over_flips_makes_the_map_turn_with_the_image() -> None:
    images = torch.rand(2, 1, 32, 32)
    averaging: Any = make(average_flips=True)
    single: Any = make()
    # An untrained network hardly looks at its image.
    averaging.network = single.network = torch.nn.Conv2d(1, 1, 3, padding=1)
    with torch.inference_mode():
        maps = averaging.localize(images)
        for axes in ((2,), (3,), (2, 3)):
            flipped = [axis - 1 for axis in axes]
            torch.testing.assert_close(averaging.localize(images.flip(axes)), maps.flip(flipped))
        assert not torch.allclose(single.localize(images.flip(2)), single.localize(images).flip(1), atol=0.01)


class Identity(torch.nn.Module):
    """A network that copies its image, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        self.given.append(images)
        return images


def step_of_a_copy(options: dict[str, Any], x: Tensor) -> tuple[Tensor, Tensor, torch.Generator]:
    """The loss of a network that copies, what it was given, and a generator that draws what the step has drawn."""
    model: Any = make(**options)
    model.network = network = Identity()
    torch.manual_seed(5)
    generator = torch.Generator().manual_seed(int(torch.randint(2**62, ())))
    torch.manual_seed(5)
    loss = model.training_step(Batch(x))["loss"]
    return loss, network.given[0], generator


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, lambda x, g: Corruption()(x, g)),
        ({"fills": ("flat",), "opacity": (1, 1)}, lambda x, g: Corruption(fills=("flat",), opacity=(1, 1))(x, g)),
        ({"corruption": "none"}, lambda x, g: (x, torch.zeros_like(x))),
    ],
)
def test_a_network_that_copies_has_the_corruption_as_its_error(
    options: dict[str, Any], reference: Callable[[Tensor, torch.Generator], Any]
) -> None:
    """In the corrupted part, of weight w_m; the clean part has none."""
    x = stripes(24).float() / 255
    loss, given, generator = step_of_a_copy(options, x)
    corrupted, mask = reference(x, generator)
    torch.testing.assert_close(given, corrupted)
    error = (corrupted - x).square()
    inside = mask.sum((1, 2, 3)).clamp(min=1)
    outside = (1 - mask).sum((1, 2, 3))
    expected = 0.5 * (mask * error).sum((1, 2, 3)) / inside + 0.5 * ((1 - mask) * error).sum((1, 2, 3)) / outside
    torch.testing.assert_close(loss, expected.mean())


@pytest.mark.parametrize(("corruption", "cells"), [("grid_noise", 8), ("pixel_noise", None)])
def test_of_noise_everywhere_the_loss_is_the_mean_squared_error(corruption: str, cells: int | None) -> None:
    of_cells = {} if cells is None else {"noise_cells": cells}
    options: dict[str, Any] = {"corruption": corruption, "noise_sd": 0.3, **of_cells}
    x = stripes(24).float() / 255
    loss, given, generator = step_of_a_copy(options, x)
    noisy, _ = GridNoise(cells, 0.3)(x, generator)
    torch.testing.assert_close(given, noisy)
    torch.testing.assert_close(loss, (noisy - x).square().mean())


def test_the_corruption_is_the_same_after_the_same_seed_and_another_after_another() -> None:
    model: Any = make()
    model.network = network = Identity()
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model.training_step(Batch(stripes(8).float() / 255))
    assert torch.equal(network.given[0], network.given[1])
    assert not torch.equal(network.given[0], network.given[2])


def test_a_network_that_is_idempotent_has_no_penalty_and_others_have_the_squared_change() -> None:
    model: Any = make(idempotence=2.0, corruption="none")
    images = torch.rand(4, 1, 32, 32)
    model.network = Identity()
    losses = model.training_step(Batch(images))
    assert losses["change in a second pass"] == 0
    model.network = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.constant_(model.network.weight, 0.5)
    losses = model.training_step(Batch(images))
    torch.testing.assert_close(losses["change in a second pass"], (images / 4).square().mean())
    torch.testing.assert_close(losses["loss"], (images / 2).square().mean() + 2 * (images / 4).square().mean())


def test_smoothing_is_chosen_on_validation_images_and_becomes_part_of_the_state() -> None:
    model = fitted(stripes(24), stripes(8))
    facts = model.facts()
    assert facts["smoothing_passes"] in (1, 2, 3)
    visible = set(PROBES) - {"contrast"}  # that of black and white stripes is as strong as can be
    precisions = {name: facts[f"held_out_ap_{name}"] for name in visible}
    assert all(0 < precision <= 1 for precision in precisions.values())
    assert facts["held_out_ap"] == pytest.approx(fmean(precisions.values()))
    other = make()
    other.load_state_dict(model.state_dict())
    assert other.facts() == facts
    images = stripes(4).float() / 255
    with torch.inference_mode():
        assert torch.equal(other.localize(images), model.localize(images))


def test_what_is_fixed_is_not_chosen() -> None:
    fixed = {"residual": "squared", "smoothing": "fixed", "kernel": 24, "passes": 4}
    model = fitted(stripes(24), stripes(8), **fixed, pooling="mean")
    facts = {"smoothing_side": 3, "smoothing_passes": 4, "training_outliers": 0, "residual_is_standardized": 0}
    assert model.facts() == {**facts, "score_is_mean": 1}
    only_pooling = fitted(stripes(24), stripes(8), **fixed).facts()
    assert {name: only_pooling[name] for name in facts} == facts
    assert "held_out_ap" not in only_pooling
    only_residual = fitted(stripes(24), stripes(8), **{**fixed, "residual": "chosen"}, pooling="mean").facts()
    assert only_residual["held_out_ap"] > 0
    assert only_residual["smoothing_passes"] == 4


def test_the_choice_does_not_change_what_was_learned() -> None:
    chosen, fixed = fitted(stripes(24)), fitted(stripes(24), residual="squared", smoothing="fixed", pooling="mean")
    for name, weight in chosen.network.state_dict().items():
        assert torch.equal(weight, fixed.network.state_dict()[name]), name


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 33, 50), (1, 41, 35)])
def test_gray_images_and_sides_that_eight_does_not_divide_are_trained_on_and_located_in(
    shape: tuple[int, int, int],
) -> None:
    channels, height, width = shape
    model = fitted(stripes(16, channels=channels, height=height, width=width))
    images = torch.rand(3, *shape)
    with torch.inference_mode():
        assert model.localize(images).shape == (3, height, width)
        assert model.reconstruct(images).shape == images.shape


@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_few_training_images_are_warned_of_and_trained_on(count: int, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "latentbench"):
        model = fitted(stripes(count))
    assert f"{count} training images are too few" in caplog.text
    with torch.inference_mode():
        assert torch.isfinite(model.score(torch.rand(2, 1, 32, 32))).all()


def test_ten_training_images_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "latentbench"):
        fitted(stripes(10))
    assert not caplog.records


class Restoring(torch.nn.Module):
    """Gives back the same stripes, whatever is in an image."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return (stripes(1).float() / 255 + self.shift).expand_as(images)


@pytest.mark.parametrize("rows", [6, 32])
def test_defects_among_the_training_images_are_warned_of(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    noise = 10 * torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    images = (stripes(1) + noise).to(torch.uint8)

    def outliers() -> float:
        model = make(DataInfo(1, 32, 32, train_size=64), epochs=1, batch_size=8, learning_rate=1e-6)
        model.network = Restoring()  # type: ignore[assignment]
        model.fit(StoredSplit(Role.TRAIN, images), None, TrainingLoop(device=torch.device("cpu"), seed=0))
        return model.facts()["training_outliers"]

    with caplog.at_level(logging.WARNING, "latentbench"):
        assert outliers() == 0
        assert not caplog.records
        images[[7, 40], :, :rows, 10:18] = 255
        assert outliers() == 2
    assert "2 of 64 training images have extreme residuals, at places 7, 40 of the training split" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("places", [[25, 40], [*range(0, 64, 2)]], ids=["in two images", "in every other image"])
def test_a_trained_network_is_warned_of_rare_defects_and_not_of_frequent_ones(
    places: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    """What half of the images have is learned in part, and raises the level that outliers are measured by."""
    noise = 10 * torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    images = (stripes(1) + noise).to(torch.uint8)
    images[places, :, 8:16, 10:18] = 255
    with caplog.at_level(logging.WARNING, "latentbench"):
        model = fitted(images, epochs=25, residual="squared", smoothing="fixed", pooling="maximum")
    if len(places) == 2:
        assert "2 of 64 training images have extreme residuals, at places 25, 40 of" in caplog.text
    else:
        assert model.facts()["training_outliers"] == 0
        assert not caplog.records


@pytest.mark.parametrize(
    ("places", "words"), [([5], "place 5"), ([5, 7], "places 5, 7"), ([*range(23)], "places 0, 1, .*, 19 and 3 more")]
)
def test_places_are_listed_up_to_twenty(places: list[int], words: str) -> None:
    assert re.fullmatch(words, _listed(places))


@pytest.fixture
def textures(tmp_path: Path) -> Path:
    folder = tmp_path / "textures"
    folder.mkdir()
    for name, value in (("white", 255), ("grey", 120)):
        Image.new("RGB", (50, 40), (value, value, value)).save(folder / f"{name}.png")
    return folder


def test_textures_of_a_folder_fill_blobs(textures: Path) -> None:
    """Where nothing else does, they change what is learned, and what is in the folder matters."""
    first: Any = fitted(stripes(16), textures=str(textures), fills=())
    Image.new("L", (50, 40), 0).save(textures / "grey.png")
    second: Any = fitted(stripes(16), textures=str(textures), fills=())
    weights = [model.network.down[0][0].weight for model in (first, second)]
    assert not torch.equal(*weights)


def test_a_folder_of_textures_without_an_image_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none yet")
    with pytest.raises(LatentbenchError, match=f"no textures in {tmp_path}"):
        fitted(stripes(16), textures=str(tmp_path))


def test_a_texture_that_cannot_be_read_is_named(textures: Path) -> None:
    (textures / "broken.png").write_bytes(b"no image")
    with pytest.raises(LatentbenchError, match=r"broken\.png cannot be read"):
        fitted(stripes(16), textures=str(textures))


def test_a_fitted_model_needs_its_textures_no_longer(textures: Path) -> None:
    model = fitted(stripes(16), textures=str(textures))
    for file in textures.iterdir():
        file.unlink()
    other = make(textures=str(textures))
    other.load_state_dict(model.state_dict())
    images = torch.rand(2, 1, 32, 32)
    with torch.inference_mode():
        assert torch.equal(other.score(images), model.score(images))


@pytest.mark.parametrize(
    ("options", "reference"),
    [
        ({}, Corruption(clean=0)),
        ({"fills": ("flat",), "opacity": (1, 1)}, Corruption(fills=("flat",), opacity=(1, 1), clean=0)),
        ({"corruption": "pixel_noise", "noise_sd": 0.3}, GridNoise(None, 0.3)),
        ({"corruption": "grid_noise", "noise_cells": 4}, GridNoise(4, 0.2)),
    ],
)
def test_its_picture_shows_images_under_its_own_corruption_and_restored_in_a_row(
    options: dict[str, Any], reference: Callable[..., Corrupted]
) -> None:
    model = make(**options)
    images = stripes(12).float() / 255
    torch.manual_seed(5)
    seed = int(torch.randint(2**62, ()))
    torch.manual_seed(5)
    with torch.inference_mode():
        sheet = model.pictures(images)["corruptions"]
        image, corrupted, restored = sheet.unbind(1)
        assert torch.equal(image, images[:8])
        assert bool((corrupted != image).flatten(1).any(1).all())
        torch.testing.assert_close(corrupted, reference(images[:8], torch.Generator().manual_seed(seed)).images)
        torch.testing.assert_close(restored, model.reconstruct(corrupted))


@pytest.mark.parametrize("options", [{"corruption": "none"}, {"clean": 1.0}])
def test_without_corruption_there_is_no_picture_of_one(options: dict[str, Any]) -> None:
    assert make(**options).pictures(stripes(12).float() / 255) == {}


def test_its_picture_has_textures_only_where_they_were_read(textures: Path) -> None:
    options: dict[str, Any] = {"textures": str(textures), "fills": (), "opacity": (1, 1), "softness": 0}
    images = stripes(12).float() / 255
    model = fitted(stripes(16), **options)
    with torch.inference_mode():
        image, corrupted, _ = model.pictures(images)["corruptions"].unbind(1)
    low, high = float(image.min()), float(image.max())
    shades = torch.tensor([1.0, 120 / 255]) * (high - low) + low  # the two textures, in the range of the images
    changed = corrupted[corrupted != image]
    assert len(changed)
    assert float((changed[:, None] - shades).abs().amin(1).max()) < 1e-5
    assert make(**options).pictures(images) == {}
