"""3D Shapes from a small file of the published layout, with fewer values of each factor; and from bad files."""

import hashlib
import sys
from collections.abc import Callable, Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from latentbench import Data, LatentbenchError, Role, StoredSplit
from latentbench.data.dataset import State
from latentbench.files import CACHE_VARIABLE
from latentbench.testing import check_dataset
from latentbench_datasets import shapes3d
from latentbench_datasets.shapes3d import FACTORS, Factor, Shapes3D

#: Cardinalities of the small file.
SMALL: dict[Factor, int] = {"floor_hue": 3, "wall_hue": 2, "object_hue": 2, "scale": 2, "shape": 4, "orientation": 5}
COUNT = 480
#: Values of the factors as the published file has them.
VALUES = {
    "floor_hue": np.arange(10) / 10,
    "wall_hue": np.arange(10) / 10,
    "object_hue": np.arange(10) / 10,
    "scale": np.linspace(0.75, 1.25, 8),
    "shape": np.arange(4.0),
    "orientation": np.linspace(-30, 30, 15),
}


def labels() -> npt.NDArray[np.float64]:
    return np.array(list(product(*(VALUES[factor][:count] for factor, count in SMALL.items()))))


def images() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 64, 64, 3), dtype=np.uint8)


def write(data_root: Path, arrays: Mapping[str, npt.NDArray[Any]], **options: Any) -> Path:
    path = data_root / "3dshapes" / "3dshapes.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array, **(options if name == "images" else {}))
    return path


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of these tests have the same content, and what one has prepared of it would serve the others."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a file and let it pass for the published one; by default an honest one."""
    monkeypatch.setattr(shapes3d, "FACTORS", SMALL)

    def publish(changes: Mapping[str, Any] | None = None, **options: Any) -> Path:
        arrays = {"images": images(), "labels": labels(), **(changes or {})}
        path = write(tmp_path, {name: array for name, array in arrays.items() if array is not None}, **options)
        monkeypatch.setattr(shapes3d, "_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    return publish


def load(data_root: Path, **options: Any) -> Data:
    return Shapes3D(Shapes3D.Config.parse(options, "dataset '3dshapes'")).load(data_root)


def stored(data: Data, name: str) -> StoredSplit:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split


def message_of(action: Callable[[], Any]) -> str:
    with pytest.raises(LatentbenchError) as caught:
        action()
    message = str(caught.value)
    assert "\n" not in message
    return message


def places(split: StoredSplit) -> list[int]:
    """Where in the file each image of a split is, told by its pixels."""
    index = {image.tobytes(): place for place, image in enumerate(images())}
    return [index[image.permute(1, 2, 0).numpy().tobytes()] for image in split.images]


@pytest.mark.parametrize("options", [{}, {"image_size": 32, "fixed": {"wall_hue": 1}, "validation": 0}])
def test_it_keeps_what_a_dataset_promises(
    publish: Callable[..., Path], tmp_path: Path, options: dict[str, Any]
) -> None:
    publish()
    check_dataset(Shapes3D, tmp_path, options=options)


@pytest.mark.parametrize("storage", [{}, {"chunks": (7, 16, 16, 1), "compression": "gzip"}])
def test_every_image_is_in_one_split_with_its_factors(
    publish: Callable[..., Path], tmp_path: Path, storage: dict[str, Any]
) -> None:
    publish(**storage)
    data = load(tmp_path)
    assert data.info.attributes == SMALL
    assert {name: (split.role, len(split)) for name, split in data.splits.items()} == {
        "train": (Role.TRAIN, 336),
        "validation": (Role.VALIDATION, 48),
        "test": (Role.TEST, 96),
    }
    found = {name: places(stored(data, name)) for name in data.splits}
    assert sorted(chain.from_iterable(found.values())) == list(range(COUNT))
    for name, place in found.items():
        for column, factor in enumerate(SMALL):
            expected = np.searchsorted(VALUES[factor], labels()[place, column])
            np.testing.assert_array_equal(stored(data, name).targets.attributes[factor], expected)


def test_a_fixed_factor_has_its_value_everywhere_and_is_no_attribute(
    publish: Callable[..., Path], tmp_path: Path
) -> None:
    publish()
    data = load(tmp_path, fixed={"shape": 2, "floor_hue": 1})
    assert data.info.attributes == {f: count for f, count in SMALL.items() if f not in ("shape", "floor_hue")}
    place = chain.from_iterable(places(stored(data, name)) for name in data.splits)
    expected = np.flatnonzero((labels()[:, 4] == 2) & (labels()[:, 0] == VALUES["floor_hue"][1]))
    assert sorted(place) == expected.tolist()


def test_at_32_pixels_an_image_is_the_means_of_2x2_pixels(publish: Callable[..., Path], tmp_path: Path) -> None:
    publish()
    whole, half = (stored(load(tmp_path, image_size=size), "test").images for size in (64, 32))
    means = torch.nn.functional.interpolate(whole.double(), (32, 32), mode="bilinear")  # the same at half the size
    assert torch.equal(half, (means + 0.5).floor().to(torch.uint8))


def test_the_seed_and_the_shares_decide_the_splits_and_nothing_else_does(
    publish: Callable[..., Path], tmp_path: Path
) -> None:
    publish()
    torch.manual_seed(1)
    first = load(tmp_path)
    torch.manual_seed(2)
    assert load(tmp_path).split_hash == first.split_hash
    tested = [set(places(stored(load(tmp_path, seed=seed), "test"))) for seed in (0, 1)]
    assert tested[0] == set(places(stored(first, "test")))
    assert len(tested[0] & tested[1]) < 40  # of 96; 19 is the expectation
    assert {name: len(split) for name, split in load(tmp_path, validation=0, test=0.5).splits.items()} == {
        "train": 240,
        "test": 240,
    }


@settings(max_examples=20)
@given(st.fixed_dictionaries({}, optional={f: st.integers(0, count - 1) for f, count in list(FACTORS.items())[:5]}))
def test_of_the_real_file_every_place_is_chosen_by_its_factors_once(fixed: dict[Factor, int]) -> None:
    dataset = Shapes3D(Shapes3D.Config.parse({"fixed": fixed}, "options"))
    chosen = np.concatenate(list(dataset._places().values()))
    values = dict(zip(FACTORS, np.unravel_index(chosen, tuple(FACTORS.values())), strict=True))
    assert len(np.unique(chosen)) == len(chosen) == np.prod([n for f, n in FACTORS.items() if f not in fixed])
    assert all((values[factor] == value).all() for factor, value in fixed.items())


def test_what_is_prepared_needs_neither_h5py_nor_a_second_look(
    publish: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    dataset, told = Shapes3D(), list[tuple[int, int]]()
    dataset.progress = lambda done, total: told.append((done, total))
    assert dataset.status(tmp_path).state is State.PRESENT
    dataset.prepare(tmp_path)
    assert told == [(done, COUNT) for done in range(1, COUNT + 1)]
    status = dataset.status(tmp_path)
    assert status.state is State.PREPARED
    assert status.facts == {"train images": 336, "validation images": 48, "test images": 96}
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert len(load(tmp_path).train) == 336


def test_without_h5py_the_extra_is_named(
    publish: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publish()
    monkeypatch.setitem(sys.modules, "h5py", None)
    message = message_of(lambda: load(tmp_path))
    assert message == f"h5py, which reads {path}, is not installed: `pip install latentbench[3dshapes]`"


def test_a_missing_file_is_told_with_place_source_and_licence(tmp_path: Path) -> None:
    message = message_of(lambda: load(tmp_path))
    assert f"no file {tmp_path / '3dshapes' / '3dshapes.h5'}" in message
    assert "https://github.com/google-deepmind/3d-shapes" in message
    assert "Apache-2.0" in message


@pytest.mark.parametrize("damage", ["cut short", "one bit", "empty"])
def test_a_damaged_file_is_told_with_both_hashes(publish: Callable[..., Path], tmp_path: Path, damage: str) -> None:
    path = publish()
    content = path.read_bytes()
    flipped = content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]
    damaged = {"cut short": content[: len(content) // 2], "one bit": flipped, "empty": b""}[damage]
    path.write_bytes(damaged)
    message = message_of(lambda: load(tmp_path))
    assert f"{path} is not the published file, or cut short ({len(damaged):,} bytes; SHA-256 expected" in message
    assert f"{hashlib.sha256(content).hexdigest()}, found {hashlib.sha256(damaged).hexdigest()}" in message


def test_a_small_file_does_not_pass_for_the_published_one(tmp_path: Path) -> None:
    path = write(tmp_path, {"images": images(), "labels": labels()})
    assert f"{path} is not the published file" in message_of(lambda: load(tmp_path))


def swapped(one: int, other: int) -> npt.NDArray[np.float64]:
    moved = labels()
    moved[[one, other]] = moved[[other, one]]
    return moved


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (lambda: {"images": None}, "has no 'images': it holds labels"),
        (lambda: {"labels": None}, "has no 'labels': it holds images"),
        (lambda: {"images": images()[:-1]}, "is (479, 64, 64, 3) uint8: expected (480, 64, 64, 3) uint8"),
        (lambda: {"images": images()[:, :32]}, "is (480, 32, 64, 3) uint8: expected (480, 64, 64, 3) uint8"),
        (lambda: {"images": images() / 255}, "is (480, 64, 64, 3) float64: expected (480, 64, 64, 3) uint8"),
        (lambda: {"labels": labels()[:, :5]}, "is (480, 5) float64: expected (480, 6) float64"),
        (lambda: {"labels": labels().astype(int)}, "is (480, 6) int64: expected (480, 6) float64"),
        (lambda: {"labels": np.minimum(labels(), 0.1)}, "'floor_hue' in"),
        (lambda: {"labels": swapped(7, 12)}, "has value 2 of 'shape': in the published order it has value 1"),
    ],
)
def test_a_file_of_another_structure_is_refused(
    publish: Callable[..., Path], tmp_path: Path, changes: Callable[[], dict[str, Any]], message: str
) -> None:
    path = publish(changes())
    found = message_of(lambda: load(tmp_path))
    assert message in found
    assert str(path) in found


def test_what_is_no_hdf5_file_is_named(
    publish: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = publish()
    path.write_bytes(b"no HDF5 file")
    monkeypatch.setattr(shapes3d, "_SHA256", hashlib.sha256(b"no HDF5 file").hexdigest())
    assert message_of(lambda: load(tmp_path)).startswith(f"cannot read {path}: ")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48}, "'image_size': Input should be 64 or 32, got 48"),
        ({"fixed": {"hue": 1}}, "'fixed.hue.[key]': Input should be 'floor_hue', 'wall_hue', 'object_hue', 'scale'"),
        ({"fixed": {"shape": 4}}, "'fixed': shape has values 0 to 3, not 4"),
        ({"fixed": dict.fromkeys(FACTORS, 0)}, "'fixed': Input should leave a factor that varies"),
        ({"validation": 0.8}, "validation=0.8 and test=0.2 leave 0 images to train and 96000 to test"),
        ({"test": 1e-7}, "validation=0.1 and test=1e-07 leave 432000 images to train and 0 to test"),
        ({"test": 0}, "'test': Input should be greater than 0, got 0"),
    ],
)
def test_a_bad_option_is_one_clear_line(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    assert message in message_of(lambda: load(tmp_path, **options))
