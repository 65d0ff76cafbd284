"""SVHN from small generated .mat files that stand for the published ones, and every way in which they can be wrong."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.io import savemat

from latentbench import Data, LatentbenchError, StoredSplit
from latentbench.files import CACHE_VARIABLE
from latentbench.testing import check_dataset
from latentbench.torchvision_compat import import_torchvision
from latentbench_datasets.digits.svhn import SVHN

COUNTS = {"train": 30, "test": 12, "extra": 20}


class Files:
    """Files in the format of the published ones, whose MD5 sums count as published."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.folder = root, root / "SVHN"
        self.folder.mkdir(parents=True)
        self._published = monkeypatch
        self.images: dict[str, npt.NDArray[np.uint8]] = {}
        self.labels: dict[str, npt.NDArray[np.uint8]] = {}
        for number, (part, count) in enumerate(COUNTS.items()):
            draw = np.random.default_rng(number)
            self.images[part] = draw.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
            self.labels[part] = (np.arange(count) % 10 + 1).astype(np.uint8)[:, None]
            self.put(part, X=self.images[part], y=self.labels[part])

    def path(self, part: str) -> Path:
        return self.folder / f"{part}_32x32.mat"

    def put(self, part: str, **arrays: Any) -> None:
        savemat(self.path(part), arrays, do_compression=True)
        self.publish(part)

    def publish(self, part: str) -> None:
        """What the file holds now counts as published."""
        known = import_torchvision().datasets.SVHN.split_list
        md5 = hashlib.md5(self.path(part).read_bytes()).hexdigest()
        self._published.setitem(known, part, [*known[part][:2], md5])

    def load(self, **options: Any) -> Data:
        return SVHN(SVHN.Config.parse(options, "dataset 'svhn'")).load(self.root)

    def message(self, **options: Any) -> str:
        with pytest.raises(LatentbenchError) as caught:
            self.load(**options)
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return Files(tmp_path / "data", monkeypatch)


def content(data: Data, name: str) -> tuple[npt.NDArray[np.uint8], list[int]]:
    split = data.splits[name]
    assert isinstance(split, StoredSplit)
    return split.images.numpy(), split.targets.attributes["digit"].tolist()


@pytest.mark.parametrize("options", [{}, {"validation": 5, "extra": True}])
def test_it_keeps_what_a_dataset_promises(files: Files, options: dict[str, Any]) -> None:
    check_dataset(SVHN, files.root, options=options)


def test_images_are_upright_and_ten_is_the_digit_nought(files: Files) -> None:
    data = files.load()
    assert list(data.splits) == ["train", "test"]
    assert data.info.image_shape == (3, 32, 32)
    assert data.info.attributes == {"digit": 10}
    for name in data.splits:
        images, digits = content(data, name)
        for number in range(COUNTS[name]):
            for channel in range(3):
                np.testing.assert_array_equal(images[number, channel], files.images[name][:, :, channel, number])
        assert digits == [label if label < 10 else 0 for label in files.labels[name][:, 0].tolist()]


def test_validation_takes_the_last_of_the_training_file_with_and_without_extra(files: Files) -> None:
    plain, kept, more = files.load(), files.load(validation=4), files.load(validation=4, extra=True)
    train, digits = content(plain, "train")
    for data in (kept, more):
        assert content(data, "validation")[1] == digits[-4:]
        np.testing.assert_array_equal(content(data, "validation")[0], train[-4:])
        assert data.splits["test"].content_hash == plain.splits["test"].content_hash
    extra = files.images["extra"].transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(content(kept, "train")[0], train[:-4])
    np.testing.assert_array_equal(content(more, "train")[0], np.concatenate([extra, train[:-4]]))
    assert "validation=30 leaves nothing to train on of 30 digits" in files.message(validation=30)


def test_extra_is_needed_only_where_it_is_asked_for(files: Files) -> None:
    files.path("extra").unlink()
    assert len(files.load().train) == 30
    message = files.message(extra=True)
    assert message.startswith(f"dataset 'svhn' is not there: {files.folder} lacks extra_32x32.mat: download")
    files.path("test").unlink()
    message = files.message()
    assert f"{files.folder} lacks test_32x32.mat: download what is missing from {SVHN.source}" in message
    assert f"licence {SVHN.licence}" in message


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 4]) + content[-8:]


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b""], ids=["cut short", "one bit", "empty"])
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_damaged_file_is_told_with_both_checksums(files: Files, part: str, damage: Callable[[bytes], bytes]) -> None:
    path = files.path(part)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    message = files.message()
    assert message.startswith(f"{path} is not the published file, or cut short ({path.stat().st_size:,} bytes; ")
    assert f"MD5 expected {hashlib.md5(whole).hexdigest()}, found {hashlib.md5(damage(whole)).hexdigest()}" in message


@pytest.mark.parametrize("damage", [cut, flipped, lambda content: b"", lambda content: b"no MATLAB file" * 20])
def test_a_file_that_scipy_cannot_read_is_one_clear_line(files: Files, damage: Callable[[bytes], bytes]) -> None:
    path = files.path("test")
    path.write_bytes(damage(path.read_bytes()))
    files.publish("test")
    assert str(path) in files.message()


IMAGES = np.zeros((32, 32, 3, 4), np.uint8)
LABELS = np.ones((4, 1), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ({"X": IMAGES}, "has no array 'y': it should have the images X and the labels y"),
        ({"y": LABELS}, "has no array 'X'"),
        ({"X": IMAGES.astype(float), "y": LABELS}, "(32, 32, 3, 4) float64: expected (32, 32, 3, N) uint8"),
        ({"X": IMAGES.transpose(3, 2, 0, 1), "y": LABELS}, "(4, 3, 32, 32) uint8: expected (32, 32, 3, N) uint8"),
        ({"X": IMAGES[..., :0], "y": LABELS[:0]}, "(32, 32, 3, 0) uint8: expected"),
        ({"X": IMAGES, "y": LABELS[:3]}, "has shape (3, 1): expected (4, 1)"),
        ({"X": IMAGES, "y": LABELS - 1}, "are not all from 1 to 10: there, 10 is the digit 0"),
        ({"X": IMAGES, "y": LABELS + 10}, "are not all from 1 to 10"),
        ({"X": IMAGES, "y": LABELS * 1.5}, "are not all from 1 to 10"),
        ({"X": {"a": 1}, "y": LABELS}, "'X' in"),
    ],
)
def test_another_content_is_told_by_what_it_is_and_should_be(files: Files, arrays: dict[str, Any], told: str) -> None:
    files.put("train", **arrays)
    message = files.message()
    assert told in message
    assert str(files.path("train")) in message


def test_a_file_as_matlab_writes_it_since_version_7_3_is_refused(files: Files) -> None:
    path = files.path("train")
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(64))
    files.publish("train")
    assert f"cannot read {path} as a MATLAB file" in files.message()


@pytest.mark.real
def test_the_published_files_have_the_published_counts(data_root: Path) -> None:
    if not (data_root / "SVHN").is_dir():
        pytest.skip(f"no {data_root / 'SVHN'}")
    data = SVHN().load(data_root)
    assert [len(split) for split in data.splits.values()] == [73_257, 26_032]
