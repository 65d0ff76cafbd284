import json
import os
import subprocess
import sys
from collections.abc import Mapping
from itertools import combinations, product
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, chisquare

from latentbench import Data, LatentbenchError, Role, StoredSplit
from latentbench.testing import check_dataset
from latentbench_datasets.synthetic import scenes
from latentbench_datasets.synthetic.scene_rendering import (
    BACKGROUNDS,
    COLOURS,
    FACTORS,
    POSITIONS,
    RADII,
    UNITS,
    Factor,
    SceneRenderer,
)
from latentbench_datasets.synthetic.scenes import Scenes, SceneSplit

NOWHERE = Path("no-such-folder")
SMALL = {"train_images": 10, "validation_images": 20, "test_images": 30}

Attributes = Mapping[str, npt.NDArray[np.int64]]


def load(**options: Any) -> Data:
    return Scenes(Scenes.Config.parse(options, "dataset 'scenes'")).load(NOWHERE)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


def read_factors(images: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.int64]]:
    """All six factors from the pixels of images (N, 3, H, H) in levels."""

    def nearest(values: npt.NDArray[Any], choices: Any) -> npt.NDArray[np.int64]:
        return np.abs(values[:, None] - np.array(choices)).argmin(1)

    def match(pixels: npt.NDArray[Any], palette: Any) -> npt.NDArray[np.int64]:
        same = (pixels[:, None] == np.array(palette)).all(2)
        assert (same.sum(1) == 1).all()
        return same.argmax(1)

    size, index = images.shape[2], np.arange(len(images))
    background = match(images[:, :, -1, 0], BACKGROUNDS)
    contrast = np.abs(images - np.take(BACKGROUNDS, background, 0)[:, :, None, None]).sum(1)
    share = contrast / contrast.max((1, 2), keepdims=True)
    area, places = share.sum((1, 2)), np.arange(size) + 0.5
    x, y = (share.sum(axis) @ places / area for axis in (1, 2))
    colour = match(images[index, :, y.astype(int), x.astype(int)], COLOURS)
    height = share.max(2).sum(1)
    skewness = ((places - y[:, None]) ** 3 * share.sum(2)).sum(1) / area / (height / 2) ** 3
    fill = nearest(area / height**2, [1, np.pi / 4, np.inf, 5 / 9])  # square, disc, (triangle), cross
    return {
        "shape": np.where(np.abs(skewness) > 0.03, 2, fill),
        "size": nearest(height / 2 * UNITS / size, RADII),
        "x": nearest(x * UNITS / size, POSITIONS),
        "y": nearest(y * UNITS / size, POSITIONS),
        "colour": colour,
        "background": background,
    }


@pytest.mark.parametrize("options", [{}, {"factors": ["shape", "colour", "background"]}, {"image_size": 17}])
def test_it_keeps_what_a_dataset_promises(options: dict[str, Any], tmp_path: Path) -> None:
    check_dataset(Scenes, tmp_path, options={**SMALL, **options})


def test_every_factor_can_be_chosen() -> None:
    assert get_args(Factor) == tuple(FACTORS)


def test_splits_have_the_sizes_and_the_attributes_that_they_should() -> None:
    data = load()
    assert data.info.image_shape == (3, 32, 32)
    assert data.info.attributes == {"shape": 4, "size": 3, "x": 7, "y": 7, "colour": 6, "background": 6}
    assert {name: (split.role, len(split)) for name, split in data.splits.items()} == {
        "train": (Role.TRAIN, 4000),
        "validation": (Role.VALIDATION, 500),
        "test": (Role.TEST, 2000),
    }
    for name in ("validation", "test"):
        targets = stored(data, name).targets
        assert targets.anomaly is None
        assert {values.dtype for values in targets.attributes.values()} == {np.dtype(np.int64)}


@pytest.mark.parametrize("size", [48, 64, 96])
def test_all_factors_can_be_read_from_the_pixels(size: int) -> None:
    data = load(image_size=size, validation_images=200, test_images=1000)
    batch = data.train.batch(torch.arange(1000), torch.Generator().manual_seed(0))
    composed = batch.images.mul(255).round()
    assert torch.equal(composed / 255, batch.images)  # whole 8-bit levels, as in a stored split
    found: list[tuple[torch.Tensor, Attributes]] = [(composed, {k: v.numpy() for k, v in batch.attributes.items()})]
    found += [(split.images, split.targets.attributes) for split in (stored(data, "validation"), stored(data, "test"))]
    for images, attributes in found:
        for factor, values in read_factors(images.numpy().astype(np.float64)).items():
            np.testing.assert_array_equal(values, attributes[factor], err_msg=factor)


def test_background_colour_and_position_can_be_read_at_the_default_size() -> None:
    split = stored(load(), "test")
    read = read_factors(split.images.numpy().astype(np.float64))
    for factor in ("x", "y", "colour", "background"):
        np.testing.assert_array_equal(read[factor], split.targets.attributes[factor], err_msg=factor)


def test_at_the_smallest_size_every_combination_of_factors_is_another_image() -> None:
    renderer, seen = SceneRenderer.of(16), set()
    grid = torch.tensor(list(product(*(range(cardinality) for cardinality in FACTORS.values()))))
    for part in torch.split(grid, 2000):
        images = renderer.render(dict(zip(FACTORS, part.unbind(1), strict=True))).to(torch.uint8).flatten(1).numpy()
        seen |= {image.tobytes() for image in images}
    assert len(seen) == len(grid) == 21_168


@pytest.mark.parametrize("size", [64, 500])
def test_memory_is_bounded_by_pixels_and_the_images_do_not_depend_on_it(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = {"train_images": 1, "validation_images": 1, "test_images": 3}
    expected, rendered = stored(load(image_size=size, **counts), "test").images, list[int]()
    render = SceneRenderer.render

    def watched(renderer: SceneRenderer, factors: Mapping[Factor, torch.Tensor]) -> torch.Tensor:
        images = render(renderer, factors)
        rendered.append(len(images))
        return images

    monkeypatch.setattr(SceneRenderer, "render", watched)
    monkeypatch.setattr(scenes, "_RENDERED_AT_ONCE", 2 * 64**2)
    assert torch.equal(stored(load(image_size=size, **counts), "test").images, expected)
    assert rendered == ([1, 2, 1] if size == 64 else [1, 1, 1, 1])
    assert expected.shape == (3, 3, size, size)


def test_factors_are_uniform_and_independent() -> None:
    drawn = load(image_size=16).train.batch(torch.arange(20_000), torch.Generator().manual_seed(0)).attributes
    for factor, cardinality in FACTORS.items():
        assert chisquare(torch.bincount(drawn[factor], minlength=cardinality).numpy()).pvalue > 1e-3
    for one, other in combinations(drawn, 2):
        table = np.zeros((int(drawn[one].max()) + 1, int(drawn[other].max()) + 1))
        np.add.at(table, (drawn[one].numpy(), drawn[other].numpy()), 1)
        assert chi2_contingency(table).pvalue > 1e-4


@settings(max_examples=25)
@given(
    factors=st.lists(st.sampled_from(list(FACTORS)), min_size=1, max_size=6, unique=True),
    size=st.integers(16, 40),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_factor_that_is_left_out_keeps_its_middle_value(factors: list[Factor], size: int, seed: int) -> None:
    data = load(**SMALL, factors=factors, image_size=size, seed=seed)
    assert data.info.image_shape == (3, size, size)
    assert data.info.attributes == {factor: FACTORS[factor] for factor in factors}
    split = stored(data, "test")
    assert set(split.targets.attributes) == set(factors)
    if "background" not in factors:
        assert bool((split.images[:, :, -1, 0] == torch.tensor(BACKGROUNDS[3])).all())
    if not {"shape", "size", "x", "y"} & set(factors):
        background = split.images[:, :, -1:, :1]
        outlines = (split.images != background).any(1)
        assert bool((outlines == outlines[0]).all())


def test_the_generator_s_state_decides_a_batch_and_nothing_else_is_touched() -> None:
    split, generator = SceneSplit(32, tuple(FACTORS), 100), torch.Generator().manual_seed(7)
    outside = torch.get_rng_state()
    state = generator.get_state()
    first, second = (split.batch(torch.arange(20), generator).images for _ in range(2))
    generator.set_state(state)
    again = [split.batch(torch.zeros(20, dtype=torch.int64), generator).images for _ in range(2)]
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), outside)


def test_the_hash_of_training_covers_all_that_decides_its_scenes() -> None:
    one = SceneSplit(32, ("shape", "x"), 100)
    assert SceneSplit(32, ("x", "shape"), 100).content_hash == one.content_hash
    shape: tuple[Factor] = ("shape",)
    others = [SceneSplit(33, ("shape", "x"), 100), SceneSplit(32, shape, 100), SceneSplit(32, ("shape", "x"), 99)]
    assert len({split.content_hash for split in [one, *others]}) == 4
    moved = one.to(torch.device("cpu"))
    assert (moved.content_hash, len(moved), moved.role) == (one.content_hash, 100, Role.TRAIN)


def test_the_splits_depend_on_the_options_alone() -> None:
    torch.manual_seed(1)
    outside = torch.get_rng_state()
    data = load(**SMALL)
    assert torch.equal(torch.get_rng_state(), outside)
    torch.manual_seed(2)
    assert load(**SMALL).split_hash == data.split_hash
    other = load(**SMALL, seed=1)
    assert other.train.content_hash == data.train.content_hash
    assert other.split_hash != data.split_hash


def test_the_splits_are_those_of_version_one() -> None:
    """Other bytes need another ``version``: results of two are never compared."""
    assert Scenes.version == 1
    assert load().split_hash == "2bbe2b180ee268b65cb415e8b4eeb3d9b3362821e1e62e2cfb7fa1f808efee53"


def test_the_splits_are_the_same_bytes_without_vector_instructions() -> None:
    program = (
        "import json, sys, torch; from pathlib import Path; from latentbench_datasets.synthetic.scenes import Scenes;"
        "data = Scenes(Scenes.Config(**json.loads(sys.argv[1]))).load(Path());"
        "print(torch.backends.cpu.get_cpu_capability(), data.split_hash)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, json.dumps(SMALL)],
        env={**os.environ, "ATEN_CPU_CAPABILITY": "default"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == ["DEFAULT", load(**SMALL).split_hash]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": []}, "'factors': Tuple should have at least 1 item"),
        ({"factors": ["shape", "shape"]}, "'factors': Input should be distinct factors"),
        ({"factors": ["hue"]}, "'factors.0': Input should be 'shape', 'size', 'x', 'y', 'colour' or 'background'"),
        ({"image_size": 15}, "'image_size': Input should be greater than or equal to 16, got 15"),
        ({"image_size": 2049}, "'image_size': Input should be less than or equal to 2048, got 2049"),
        ({"test_images": 0}, "'test_images': Input should be greater than or equal to 1, got 0"),
        ({"seed": 2**31}, "'seed': Input should be less than 2147483648, got 2147483648"),
        ({"factor": ["shape"]}, "has no option 'factor': did you mean 'factors'?"),
    ],
)
def test_a_bad_option_is_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(LatentbenchError) as caught:
        load(**options)
    assert str(caught.value).startswith("dataset 'scenes'")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_options_survive_their_json_and_factors_have_one_order() -> None:
    config = Scenes.Config(factors=("background", "shape"), image_size=64)
    assert config.factors == ("shape", "background")
    assert Scenes.Config.parse(json.loads(json.dumps(config.model_dump(mode="json"))), "options") == config


@pytest.mark.cuda
def test_on_a_gpu_nothing_waits_for_the_device() -> None:
    device = torch.device("cuda")
    split, index = SceneSplit(32, tuple(FACTORS), 100).to(device), torch.arange(100, device=device)
    generator = torch.Generator(device).manual_seed(9)
    split.batch(index, generator)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = split.batch(index, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert {values.device.type for values in (batch.images, *batch.attributes.values())} == {"cuda"}
