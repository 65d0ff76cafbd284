import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import chisquare
from sklearn.neighbors import NearestNeighbors
from tests.latentbench_nulls.given import SHAPES, fitted, images

from latentbench_nulls import neighbours
from latentbench_nulls.neighbours import NearestImage, NearestPatch
from latentbench_nulls.null import GRID


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_nearest_image_is_scikit_learns(shape, monkeypatch):
    monkeypatch.setattr(neighbours, "_REFERENCES", 7)
    train, test = images(shape, 50), images(shape, 20, seed=1)
    reference = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(train.flatten(1).double())
    expected = reference.kneighbors(test.flatten(1).double())[0][:, 0]
    null = fitted(NearestImage, train)
    np.testing.assert_allclose(null.score(test), expected, rtol=1e-5)
    assert null.score(train).max() == 0  # each of them is there, exactly


def test_no_more_images_are_kept_than_allowed_and_the_seed_chooses_them(monkeypatch):
    monkeypatch.setattr(neighbours, "MOST_IMAGES", 10)
    monkeypatch.setattr("latentbench_nulls.null.draw.__defaults__", (10,))
    train = images((1, 8, 8), 50)
    first, again, other = (fitted(NearestImage, train, seed=seed) for seed in (0, 0, 1))
    kept = [{row.numpy().tobytes() for row in null.references} for null in (first, again, other)]
    assert len(kept[0]) == 10
    assert kept[0] <= {row.numpy().tobytes() for row in (train * 255).round().to(torch.uint8).flatten(1)}
    assert kept[0] == kept[1] != kept[2]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_nearest_patch_is_scipys(shape, monkeypatch):
    monkeypatch.setattr(neighbours, "_REFERENCES", 7)
    monkeypatch.setattr(neighbours, "_POINTS", 5)
    train, test = images(shape, 12), images(shape, 5, seed=1)
    null = fitted(NearestPatch, train, patches=30)
    given = GRID.patches(test)
    distances = cdist(given.flatten(0, 1).double(), null.references.double()).min(1) ** 2
    expected = GRID.to_pixels(torch.from_numpy(distances).view(given.shape[:2]), null.info.height, null.info.width)
    torch.testing.assert_close(null.localize(test).double(), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(null.score(test), null.localize(test).amax((1, 2)))


@pytest.mark.parametrize(("number", "asked", "of_each"), [(12, 30, 3), (12, 5, 1), (2, 1000, 20)])
def test_its_references_are_patches_of_training_images_each_kept_once(number, asked, of_each):
    train = images((1, 13, 17), number)
    null = fitted(NearestPatch, train, patches=asked)
    rows = GRID.patches(train).flatten(0, 1)
    nearest = torch.cdist(null.references, rows).min(1)
    assert len(null.references) == min(number, asked) * of_each
    assert torch.equal(null.references, rows[nearest.indices])
    assert len(nearest.indices.unique()) == len(null.references)


def test_with_every_patch_kept_a_training_image_is_normal_and_a_spot_is_not():
    train = images((3, 13, 17), 4)
    null = fitted(NearestPatch, train, patches=10_000)
    assert null.localize(train).max() < 1e-3
    spotted = train.clone()
    spotted[:, :, 9:12, 2:5] = 1 - spotted[:, :, 9:12, 2:5].round()
    row, column = divmod(int(null.localize(spotted)[0].argmax()), 17)
    assert 6 <= row <= 12
    assert 0 <= column <= 7


@pytest.mark.parametrize(("asked", "told"), [(None, False), (40, False), (41, True)])
def test_more_patches_than_there_are_get_a_warning_but_by_default(asked, told, caplog):
    """Two images of 5 by 4 patches."""
    fitted(NearestPatch, images((1, 13, 17), 2), **({} if asked is None else {"patches": asked}))
    expected = "model 'null-nearest-patch': patches=41 is more than the 40 patches of the training images: all are kept"
    assert caplog.messages == [expected] * told


@pytest.mark.parametrize(("asked", "of_each"), [(300, 1), (1500, 5)])
def test_patches_of_every_place_are_as_likely_and_chosen_for_each_image_by_itself(asked, of_each):
    """Of 300 images, each of which has 20 patches."""
    train = images((1, 13, 17), 300)
    null = fitted(NearestPatch, train, patches=asked)
    kept = torch.cdist(null.references, GRID.patches(train).flatten(0, 1)).argmin(1).numpy()
    number, place = np.divmod(kept, 20)
    assert np.bincount(number).tolist() == [of_each] * 300
    assert chisquare(np.bincount(place, minlength=20)).pvalue > 0.01
    assert len({tuple(sorted(row)) for row in place.reshape(300, of_each)}) >= 20


def test_as_many_images_and_patches_are_kept_as_the_readme_says():
    """10,000 of each; 200 images of 40 by 40 pixels have 20,000 patches."""
    assert len(fitted(NearestImage, images((1, 2, 2), 10_050)).references) == 10_000
    assert len(fitted(NearestPatch, images((1, 40, 40), 200)).references) == 10_000
