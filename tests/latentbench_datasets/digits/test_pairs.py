from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from latentbench import Role, StoredSplit
from latentbench_datasets.digits.digits import Digits
from latentbench_datasets.digits.joint import joint
from latentbench_datasets.digits.pairs import GRAY, PATCH_LEVELS, Composer, PairSplit

#: Mean share of visible pixels of a 32x32 digit by noise level, simulated apart from this code, to two decimals.
VISIBLE = {0.1: 0.97, 0.2: 0.91, 0.3: 0.80, 0.4: 0.66, 0.5: 0.49, 0.6: 0.34, 0.7: 0.20, 0.8: 0.09}


def random_digits(size: int, counts: dict[int, int]) -> Digits:
    """Random images, ``counts`` of each class in random order; no pixel is gray."""
    random = np.random.default_rng(size)
    labels = random.permutation(np.repeat(list(counts), list(counts.values())))
    images = random.integers(0, 255, (len(labels), size, size), dtype=np.uint8)
    images[images >= GRAY] += 1
    return Digits(torch.from_numpy(images), torch.from_numpy(labels))


def split_of(digits: Digits, **changes: Any) -> PairSplit:
    options: dict[str, Any] = {"classes": (3, 8), "correlation": 0.9, "noise": 0.6, "pairs": 500} | changes
    return PairSplit(digits, **options)


def occluded_by_pillow(
    digit: npt.NDArray[np.uint8], patch: npt.NDArray[np.float32], noise: float
) -> npt.NDArray[np.uint8]:
    """The published occlusion, one digit at a time."""
    size = digit.shape[::-1]
    enlarged = np.asarray(Image.fromarray(patch).resize(size, Image.Resampling.BILINEAR))
    result = np.full_like(digit, GRAY)
    for place in np.ndindex(digit.shape):
        if enlarged[place] > noise:
            result[place] = digit[place]
    return result


@pytest.mark.parametrize("size", [8, 32])
@pytest.mark.parametrize("noise", [0.0, 0.4, 0.6])
def test_a_pair_is_what_a_slow_composer_makes_of_the_same_digits_and_patches(size: int, noise: float) -> None:
    digits = random_digits(size, {3: 20, 8: 30, 5: 4})
    composer = Composer.of(digits, noise)
    classes = torch.tensor([[3, 8], [8, 8], [5, 3], [3, 3]]).repeat(8, 1)
    places, patches = composer.draw(classes, torch.Generator().manual_seed(1))
    images = composer.render(places, patches)

    assert images.shape == (32, 1, size, 2 * size)
    assert images.dtype == torch.float32
    order = np.argsort(digits.labels.numpy(), kind="stable")
    for image, place, patch in zip(images.numpy(), places.numpy(), patches.numpy() / PATCH_LEVELS, strict=True):
        halves = [
            occluded_by_pillow(digits.images.numpy()[order[at]], half, noise)
            for at, half in zip(place, (patch[:, :4], patch[:, 4:]), strict=True)
        ]
        np.testing.assert_array_equal(image[0], np.concatenate(halves, axis=1).astype(np.float32) / np.float32(255))


def test_a_level_gives_the_same_float_as_in_a_stored_split() -> None:
    levels = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    composer = Composer.of(Digits(levels, torch.tensor([3])), noise=0)
    pair = composer.compose(torch.tensor([[3, 3]]), torch.Generator().manual_seed(0))
    one = StoredSplit(Role.TEST, levels[None]).batch(torch.tensor([0]), torch.Generator()).images
    assert torch.equal(pair, torch.cat([one, one], dim=3))


def test_a_pixel_is_kept_only_above_the_noise_level() -> None:
    composer = Composer.of(random_digits(8, {3: 2, 8: 2}), noise=0.5)
    at_the_level = torch.full((1, 4, 8), 0.5 * PATCH_LEVELS)
    places = torch.tensor([[0, 3]])
    assert bool((composer.render(places, at_the_level) == GRAY / 255).all())
    assert not bool((composer.render(places, at_the_level + 1) == GRAY / 255).any())


def test_digits_are_drawn_from_their_class_uniformly() -> None:
    digits = random_digits(8, {3: 20, 8: 30})
    classes = torch.tensor([[3, 8]]).repeat(30_000, 1)
    places, _ = Composer.of(digits, 0.4).draw(classes, torch.Generator().manual_seed(2))
    left, right = places.unbind(1)
    assert int(left.max()) < 20 <= int(right.min())
    assert chisquare(torch.bincount(left, minlength=20).numpy()).pvalue > 1e-3
    assert chisquare(torch.bincount(right - 20, minlength=30).numpy()).pvalue > 1e-3


def test_patches_are_uniform_and_those_of_a_pair_independent() -> None:
    composer = Composer.of(random_digits(8, {3: 2, 8: 2}), 0.4)
    _, patches = composer.draw(torch.tensor([[3, 8]]).repeat(20_000, 1), torch.Generator().manual_seed(3))
    values = (patches / PATCH_LEVELS).flatten(1)
    assert 0 < float(values.min()) < 1e-3
    assert 1 - 1e-3 < float(values.max()) < 1
    counts = torch.histc(values, bins=64, min=0, max=1)
    assert chisquare(counts.numpy().astype(np.float64)).pvalue > 1e-3
    correlations = np.corrcoef(values.numpy().T) - np.eye(values.shape[1])
    assert np.abs(correlations).max() < 5 / np.sqrt(len(values))


@pytest.mark.parametrize("noise", VISIBLE)
def test_the_visible_share_of_a_digit_is_the_published_one(noise: float) -> None:
    white = Digits(torch.full((2, 32, 32), 255, dtype=torch.uint8), torch.tensor([3, 8]))
    composer = Composer.of(white, noise)
    images = composer.compose(torch.tensor([[3, 8]]).repeat(5000, 1), torch.Generator().manual_seed(4))
    assert set(images.mul(255).unique().tolist()) == {GRAY, 255}
    shares = (images == 1).to(torch.float64).mean(dim=(1, 2, 3))
    standard_error = float(shares.std()) / np.sqrt(len(shares))
    assert float(shares.mean()) == pytest.approx(VISIBLE[noise], abs=0.005 + 4 * standard_error)


@pytest.mark.parametrize("correlation", [-1.0, -0.6, 0.0, 0.9, 1.0])
def test_cells_of_a_batch_are_as_frequent_as_the_joint_says(correlation: float) -> None:
    split = split_of(random_digits(8, {3: 5, 8: 5}), correlation=correlation)
    batch = split.batch(torch.arange(50_000), torch.Generator().manual_seed(5))
    counts = torch.bincount(2 * batch.attributes["left"] + batch.attributes["right"], minlength=4).numpy()
    expected = joint(correlation).ravel() * 50_000
    possible = expected > 0
    assert (counts[~possible] == 0).all()
    assert chisquare(counts[possible], expected[possible]).pvalue > 1e-3


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_what_is_visible_of_a_training_pair_is_a_digit_of_the_class_that_its_attribute_says(noise: float) -> None:
    digits = random_digits(8, {3: 9, 8: 11})
    batch = split_of(digits, classes=(8, 3), noise=noise).batch(torch.arange(64), torch.Generator().manual_seed(6))
    assert batch.images.shape == (64, 1, 8, 16)
    assert batch.images.dtype == torch.float32
    levels = batch.images.mul(255).round()
    for side, columns in (("left", slice(0, 8)), ("right", slice(8, 16))):
        assert batch.attributes[side].dtype == torch.int64
        for half, value in zip(levels[:, 0, :, columns], batch.attributes[side].tolist(), strict=True):
            candidates = digits.images[digits.labels == (8, 3)[value]]
            visible = half != GRAY
            assert bool((candidates == half)[:, visible].all(dim=1).any())


def test_the_generator_s_state_decides_a_batch_and_nothing_else_is_touched() -> None:
    split, generator = split_of(random_digits(8, {3: 5, 8: 5})), torch.Generator().manual_seed(7)
    outside = torch.get_rng_state()
    state = generator.get_state()
    first, second = (split.batch(torch.arange(20), generator).images for _ in range(2))
    generator.set_state(state)
    again = [split.batch(torch.zeros(20, dtype=torch.int64), generator).images for _ in range(2)]
    assert torch.equal(first, again[0])
    assert torch.equal(second, again[1])
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), outside)


def test_the_hash_covers_the_digits_and_every_option_but_the_device() -> None:
    digits = random_digits(8, {3: 5, 8: 5})
    split = split_of(digits)
    changed = digits.images.clone()
    changed[4, 7, 7] ^= 1
    others = [
        split_of(Digits(changed, digits.labels)),
        split_of(Digits(digits.images, digits.labels.flip(0))),
        split_of(digits, classes=(8, 3)),
        split_of(digits, correlation=0.8),
        split_of(digits, noise=0.5),
        split_of(digits, pairs=501),
    ]
    assert len({split.content_hash, *(other.content_hash for other in others)}) == 7
    assert split_of(digits).content_hash == split.content_hash
    assert split.to(torch.device("cpu")).content_hash == split.content_hash


def test_a_moved_split_is_the_same_split() -> None:
    split = split_of(random_digits(8, {3: 5, 8: 5}), pairs=123)
    moved = split.to(torch.device("cpu"))
    assert moved.role is Role.TRAIN
    assert len(moved) == 123
    batches = [s.batch(torch.arange(9), torch.Generator().manual_seed(8)) for s in (split, moved)]
    assert torch.equal(batches[0].images, batches[1].images)


@pytest.mark.cuda
def test_on_a_gpu_nothing_waits_for_the_device_and_the_same_draws_give_the_same_pairs() -> None:
    device = torch.device("cuda")
    cpu = split_of(random_digits(32, {3: 50, 8: 70}))
    split, generator, index = cpu.to(device), torch.Generator(device).manual_seed(9), torch.arange(100, device=device)
    split.batch(index, generator)
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = split.batch(index, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert batch.images.device.type == batch.attributes["left"].device.type == "cuda"

    composer = Composer.of(random_digits(32, {3: 50, 8: 70}), 0.6)
    places, patches = composer.draw(torch.tensor([[3, 8]]).repeat(100, 1), torch.Generator().manual_seed(10))
    there = composer.to(device).render(places.to(device), patches.to(device))
    assert torch.equal(there.cpu(), composer.render(places, patches))
