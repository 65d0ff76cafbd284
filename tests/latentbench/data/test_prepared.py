"""What is prepared is made once, of the source as it stands; whatever damages it is noticed."""

import errno
import fcntl
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbench import Data, DataInfo, Dataset, LatentbenchError, Role, StoredSplit
from latentbench.data import cache, contents
from latentbench.data.contents import Stamp
from latentbench.data.dataset import State
from latentbench.data.prepared import Decoding, Prepared, PreparedDataset, Rows, Save, Source
from latentbench.data.splits import content_hash
from latentbench.files import CACHE_VARIABLE, StorageError, workplace


class Texts(PreparedDataset):
    """Text files, one 2x2 grey image each: four numbers."""

    name = "texts"
    title, licence, citation, source = "Texts", "CC0-1.0", "none", "this file"
    conversions = 0
    reads = 0

    class Config(Dataset.Config):
        offset: int = 0

    config: Config

    def locate(self, data_root: Path) -> Source:
        folder = data_root / "texts"
        if not folder.is_dir():
            raise LatentbenchError(f"dataset 'texts' is not there: no folder {folder}", "write it")
        return Source(folder, tuple(sorted(folder.glob("*.txt"))))

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        Texts.conversions += 1
        rows = Rows(self.progress, 3 * len(source.files))
        for role in Role:
            shape = (len(source.files), 1, 2, 2)
            save(role, shape, rows(self.read, source.files), [(path,) for path in source.files])
        firsts = [self.read(path)[0, 0, 0] for path in source.files]
        saved = save("first", (len(firsts),), lambda start: firsts[start:])
        return {"images": len(source.files), "sum of firsts": int(saved.sum())}

    def read(self, path: Path) -> Any:
        Texts.reads += 1
        try:
            numbers = [int(word) for word in path.read_text().split()]
        except ValueError:
            raise LatentbenchError(f"{path} is corrupt") from None
        return (np.array(numbers) + self.config.offset).astype(np.uint8).reshape(1, 2, 2)

    def assemble(self, prepared: Prepared) -> Data:
        splits = {str(role): StoredSplit(role, torch.from_numpy(prepared.arrays[role])) for role in Role}
        return Data(DataInfo(1, 2, 2, len(splits["train"])), splits)


@pytest.fixture
def data_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root of three files, and no cache of the user's."""
    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(Texts, "conversions", 0)
    monkeypatch.setattr(Texts, "reads", 0)
    folder = tmp_path / "data" / "texts"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"{number} 1 2 3")
    return folder.parent


def first_pixels(data: Data) -> list[int]:
    return [int(image[0, 0, 0]) for image in data.train.images]  # type: ignore[attr-defined]


def folders(root: Path) -> list[Path]:
    """The prepared folders below ``root``, and whatever lies beside them."""
    return list(root.glob("texts/*/*"))


def cache_of(data_root: Path) -> Path:
    """Where what is prepared is written, if it can be."""
    return cache.cache_roots(data_root)[0]


def only_folder(data_root: Path) -> Path:
    (folder,) = folders(cache_of(data_root))
    return folder


def test_the_source_is_decoded_once_and_gives_what_decoding_gives(data_root: Path) -> None:
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    Texts().prepare(data_root)
    data = Texts().load(data_root)
    assert first_pixels(data) == [0, 1, 2]
    assert data.train.images.tolist()[2] == [[[2, 1], [2, 3]]]  # type: ignore[attr-defined]
    assert Texts.conversions == 1


def test_the_arrays_are_mapped_and_neither_copied_nor_warned_of(data_root: Path) -> None:
    Texts().prepare(data_root)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = Texts().load(data_root)
    address = data.train.images.data_ptr()  # type: ignore[attr-defined]
    mapped = [
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if (ends := [int(end, 16) for end in line.split()[0].split("-")]) and ends[0] <= address < ends[1]
    ]
    assert mapped == [str(only_folder(data_root) / "train.npy")]


def test_writing_into_an_image_changes_no_file(data_root: Path) -> None:
    Texts().load(data_root).train.images.fill_(9)  # type: ignore[attr-defined]
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]


def test_other_options_are_prepared_beside_the_first_ones(data_root: Path) -> None:
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert first_pixels(Texts(Texts.Config(offset=10)).load(data_root)) == [10, 11, 12]
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts.conversions == 2


class FirstTexts(Texts):
    """Trains on some of the images, and decodes as another dataset does."""

    name = "first-texts"
    version = 5

    class Config(Texts.Config):
        count: int = 2

    config: Config

    @property
    def decoding(self) -> Decoding:
        return Decoding("texts", Texts.version, {"offset": self.config.offset})

    def assemble(self, prepared: Prepared) -> Data:
        data = super().assemble(prepared)
        images = torch.from_numpy(prepared.arrays["train"][: self.config.count])
        return Data(data.info, {**data.splits, "train": StoredSplit(Role.TRAIN, images)})


def test_datasets_and_options_of_one_decoding_share_what_is_prepared(data_root: Path) -> None:
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert first_pixels(FirstTexts(FirstTexts.Config()).load(data_root)) == [0, 1]
    assert first_pixels(FirstTexts(FirstTexts.Config(count=1)).load(data_root)) == [0]
    assert FirstTexts(FirstTexts.Config(count=1)).status(data_root).state is State.PREPARED
    assert len(folders(cache_of(data_root))) == 1
    about = json.loads((only_folder(data_root) / "prepared.json").read_text())
    assert (about["dataset"], about["version"], about["options"]) == ("texts", 1, {"offset": 0})
    assert (Texts.conversions, FirstTexts.conversions) == (1, 1)


def test_options_of_the_decoding_are_prepared_apart(data_root: Path) -> None:
    assert first_pixels(FirstTexts(FirstTexts.Config(offset=10)).load(data_root)) == [10, 11]
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert len(folders(cache_of(data_root))) == 2


def changed_content(data_root: Path) -> None:
    (data_root / "texts" / "0.txt").write_text("70 1 2 3")


def changed_time_alone(data_root: Path) -> None:
    os.utime(data_root / "texts" / "0.txt", ns=(1, 1))


def added_file(data_root: Path) -> None:
    (data_root / "texts" / "3.txt").write_text("70 1 2 3")


def removed_file(data_root: Path) -> None:
    (data_root / "texts" / "2.txt").unlink()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changed_content, [70, 1, 2]),
        (added_file, [0, 1, 2, 70]),
        (removed_file, [0, 1]),
    ],
)
def test_a_changed_source_is_noticed_and_prepared_again(
    data_root: Path, caplog: pytest.LogCaptureFixture, change: Callable[[Path], None], expected: list[int]
) -> None:
    Texts().prepare(data_root)
    before = only_folder(data_root)
    assert Texts().status(data_root).state is State.PREPARED
    change(data_root)
    assert Texts().status(data_root).state is State.OUTDATED
    caplog.clear()
    assert first_pixels(Texts().load(data_root)) == expected
    assert "preparing dataset 'texts' again" in caplog.text
    assert Texts().status(data_root).state is State.PREPARED
    assert only_folder(data_root) != before, "what it replaces is dropped"


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is read was written an hour ago."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + 3_600_000_000_000)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collects the names of the files and arrays that are hashed."""
    names = list[str]()
    sha256 = contents._sha256

    def of_file(path: Path) -> str:
        names.append(path.name)
        return sha256(path)

    def of_arrays(arrays: Mapping[str, Any]) -> str:
        names.extend(arrays)
        return content_hash(arrays)

    monkeypatch.setattr(contents, "_sha256", of_file)
    monkeypatch.setattr("latentbench.data.cache.content_hash", of_arrays)
    return names


EVERYTHING = ["0.txt", "1.txt", "2.txt", "first", "test", "train", "validation"]


def overwritten(path: Path, content: bytes) -> None:
    """Write as many other bytes into a file and keep its time of modification, at another tick of the clock."""
    before = path.stat()
    assert before.st_size == len(content)
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(path: Path, content: bytes) -> None:
    """Put another file of equal size and time of modification in the place of one."""
    before, other = path.stat(), path.with_suffix(".other")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def unpacked_again(path: Path, content: bytes) -> None:
    """Delete the folder and make it anew, as a reproducible archive is unpacked: all times are the same."""
    files = {other.name: other.read_bytes() for other in path.parent.iterdir()} | {path.name: content}
    mtime = path.stat().st_mtime_ns
    shutil.rmtree(path.parent)
    path.parent.mkdir()
    for name, own in files.items():
        (path.parent / name).write_bytes(own)
        os.utime(path.parent / name, ns=(mtime, mtime))


@pytest.mark.parametrize("just_written", [True, False])
@pytest.mark.parametrize("mtime", [None, 0, 1_000_000_000])
@pytest.mark.parametrize("change", [overwritten, replaced, unpacked_again])
def test_a_source_of_equal_sizes_and_times_is_prepared_again_when_its_contents_are_others(
    data_root: Path,
    request: pytest.FixtureRequest,
    change: Callable[[Path, bytes], None],
    mtime: int | None,
    just_written: bool,
) -> None:
    if not just_written:
        request.getfixturevalue("later")
    if mtime is not None:
        for path in (data_root / "texts").iterdir():
            os.utime(path, ns=(mtime, mtime))
    for _ in range(2):
        assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    change(data_root / "texts" / "1.txt", b"7 1 2 3")
    assert Texts().status(data_root).state is State.OUTDATED
    assert first_pixels(Texts().load(data_root)) == [0, 7, 2]
    assert Texts().status(data_root).state is State.PREPARED
    assert Texts.conversions == 2


def copied(data_root: Path) -> Path:
    shutil.copytree(data_root, data_root.with_name("copy"))
    return data_root.with_name("copy")


def touched(data_root: Path) -> Path:
    changed_time_alone(data_root)
    return data_root


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("move", [copied, touched])
def test_a_copied_or_touched_tree_is_hashed_once_and_not_prepared_again(
    data_root: Path, hashed: list[str], move: Callable[[Path], Path]
) -> None:
    Texts().prepare(data_root)
    expected = Texts().load(data_root).split_hash
    data_root = move(data_root)
    hashed.clear()
    assert Texts().status(data_root).state is State.PREPARED
    assert sorted(hashed) == (EVERYTHING if move is copied else EVERYTHING[:3])
    hashed.clear()
    assert Texts().load(data_root).split_hash == expected
    assert hashed == []
    assert Texts.conversions == 1


@pytest.mark.usefixtures("later")
def test_nothing_is_hashed_again_while_nothing_can_have_changed(data_root: Path, hashed: list[str]) -> None:
    Texts().prepare(data_root)
    Texts().load(data_root)
    assert sorted(set(hashed)) == EVERYTHING
    hashed.clear()
    Texts().load(data_root)
    assert Texts().status(data_root).state is State.PREPARED
    assert hashed == []
    Texts().verify(data_root)
    assert set(hashed) >= set(EVERYTHING[:3]), "the source at least, whatever is remembered"


def test_nothing_is_hashed_for_the_status_of_what_was_never_prepared(data_root: Path, hashed: list[str]) -> None:
    assert Texts().status(data_root).state is State.PRESENT
    assert hashed == []


def test_with_the_clock_set_back_everything_is_read_each_time(
    data_root: Path, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1)
    Texts().prepare(data_root)
    for _ in range(2):
        hashed.clear()
        assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
        assert sorted(hashed) == EVERYTHING
    overwritten(data_root / "texts" / "1.txt", b"7 1 2 3")
    assert first_pixels(Texts().load(data_root)) == [0, 7, 2]


@pytest.mark.usefixtures("later")
def test_where_nothing_can_be_remembered_everything_is_read_each_time(data_root: Path, hashed: list[str]) -> None:
    Texts().prepare(data_root)
    shutil.rmtree(cache_of(data_root) / ".known")
    (cache_of(data_root) / ".known").write_text("a file in the place of the folder")
    other = data_root / ".prepared"
    other.write_text("and another one")
    for _ in range(2):
        hashed.clear()
        assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
        assert sorted(hashed) == EVERYTHING
    other.unlink()
    Texts().load(data_root)
    hashed.clear()
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert hashed == [], "it is remembered in the data root"
    assert Texts.conversions == 1


@pytest.mark.parametrize("just_written", [True, False])
@pytest.mark.parametrize("name", ["train.npy", "first.npy", "prepared.json"])
def test_a_flipped_bit_in_what_was_prepared_is_noticed_on_loading_wherever_it_is(
    data_root: Path, request: pytest.FixtureRequest, name: str, just_written: bool
) -> None:
    if not just_written:
        request.getfixturevalue("later")
    expected = Texts().load(data_root).split_hash
    path, draw = only_folder(data_root) / name, random.Random(0)
    right = path.read_bytes()
    for _ in range(12):
        assert Texts().load(data_root).split_hash == expected
        damaged = bytearray(right)
        damaged[draw.randrange(len(damaged))] ^= 1 << draw.randrange(8)
        overwritten(path, bytes(damaged))
        if json_of(right) != json_of(bytes(damaged)) or name != "prepared.json":
            assert Texts().status(data_root).state is State.OUTDATED
        data = Texts().load(data_root)
        assert (data.split_hash, first_pixels(data)) == (expected, [0, 1, 2])
        assert Texts().status(data_root).facts == {"images": 3, "sum of firsts": 3}
        path.write_bytes(right)


def json_of(content: bytes) -> object:
    """What a text says as JSON; None if it is none."""
    try:
        return json.loads(content)
    except ValueError:
        return None


class RestlessUnderneath(Texts):
    """One of its files is exchanged while they are read, by one of equal size and time."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        replaced(source.folder / "0.txt", b"7 1 2 3")
        return super().convert(source, save)


def test_a_source_that_is_exchanged_while_it_is_read_is_refused_whatever_its_times_say(data_root: Path) -> None:
    with pytest.raises(LatentbenchError, match="changed while they were read"):
        RestlessUnderneath(RestlessUnderneath.Config()).load(data_root)
    assert first_pixels(Texts().load(data_root)) == [7, 1, 2]


def test_another_version_of_the_dataset_is_noticed(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Texts().prepare(data_root)
    monkeypatch.setattr(Texts, "version", 2)
    assert Texts().status(data_root).state is State.OUTDATED
    Texts().prepare(data_root)
    assert Texts.conversions == 2
    assert json.loads((only_folder(data_root) / "prepared.json").read_text())["version"] == 2


@pytest.mark.parametrize("damaged", ["train.npy", "prepared.json"])
@pytest.mark.parametrize("damage", [Path.unlink, lambda path: os.truncate(path, path.stat().st_size - 1)])
def test_a_prepared_folder_that_is_not_whole_is_made_again(
    data_root: Path, damaged: str, damage: Callable[[Path], None]
) -> None:
    Texts().prepare(data_root)
    folder = only_folder(data_root)
    if damaged == "prepared.json":  # its last byte is a line end: cut into the text
        os.truncate(folder / damaged, (folder / damaged).stat().st_size - 1)
    damage(folder / damaged)
    assert Texts().status(data_root).state is not State.PREPARED
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts().status(data_root).state is State.PREPARED
    assert only_folder(data_root) == folder


class Restless(Texts):
    """One of its files is written while they are read."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        changed_content(source.folder.parent)
        return super().convert(source, save)


def test_a_source_that_changes_while_it_is_read_is_refused_and_read_again(data_root: Path) -> None:
    with pytest.raises(LatentbenchError, match="changed while they were read"):
        Restless(Restless.Config()).load(data_root)
    assert Texts().status(data_root).state is State.PRESENT
    changed_content(data_root)
    assert first_pixels(Texts().load(data_root)) == [70, 1, 2]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([np.zeros(1, np.uint8)], "train has 1 rows, not 2"),
        ([np.zeros(1, np.uint8)] * 3, "train has more than 2 rows"),
        ([np.zeros(1, np.uint8), np.zeros(2, np.uint8)], r"a row of train is \(2,\) uint8, not \(1,\) uint8"),
        ([np.zeros(1, np.uint8), np.zeros(1, np.float32)], r"a row of train is \(1,\) float32"),
    ],
)
def test_rows_of_another_number_or_kind_are_the_datasets_defect_and_none_is_kept(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Any], told: str
) -> None:
    monkeypatch.setattr(Texts, "convert", lambda self, source, save: save("train", (2, 1), lambda start: rows[start:]))
    with pytest.raises(ValueError, match=told):
        Texts().load(data_root)
    assert folders(cache_of(data_root)) == []


def test_rows_that_are_not_all_told_what_they_are_made_of_are_the_datasets_defect(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Texts, "convert", lambda self, source, save: save("train", (2, 1), lambda start: [], [()]))
    with pytest.raises(ValueError, match="train has 2 rows, but 1 origins were given"):
        Texts().load(data_root)


def test_a_disk_that_takes_no_more_is_one_line_and_keeps_what_is_done(data_root: Path) -> None:
    Texts().prepare(data_root)
    for number in range(3, 300):
        (data_root / "texts" / f"{number}.txt").write_text("1 1 2 3")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    try:
        with pytest.raises(StorageError) as caught:
            Texts().load(data_root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "train.npy: File too large" in str(caught.value)
    assert CACHE_VARIABLE in str(caught.value)
    assert Texts().status(data_root).facts == {"files": 300}, "so few rows had not come to a note"
    assert sorted(first_pixels(Texts().load(data_root))) == [0, *[1] * 298, 2]
    assert len(folders(cache_of(data_root))) == 1


def test_a_cache_that_cannot_be_made_is_one_line(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_root / "taken").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(data_root / "taken"))
    with pytest.raises(StorageError, match=r"cannot write .*taken.*: Not a directory"):
        Texts().load(data_root)


def test_nothing_is_written_into_the_data_root_unless_the_users_cache_cannot_be_written(
    data_root: Path, tmp_path: Path
) -> None:
    before = sorted(data_root.rglob("*"))
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert len([*(tmp_path / "user" / "latentbench").glob("*/texts/*/*/train.npy")]) == 1
    assert sorted(data_root.rglob("*")) == before

    shutil.rmtree(tmp_path / "user")
    (tmp_path / "user").write_text("a file in the place of the folder")
    for _ in range(2):
        assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts.conversions == 2
    assert len(folders(data_root / ".prepared")) == 1


def test_what_was_prepared_in_the_data_root_is_found_and_checked_as_before(data_root: Path, tmp_path: Path) -> None:
    (tmp_path / "user").write_text("a file in the place of the folder")
    Texts().prepare(data_root)
    (tmp_path / "user").unlink()
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts().status(data_root).state is State.PREPARED
    assert Texts.conversions == 1
    assert folders(cache_of(data_root)) == []
    (array,) = (data_root / ".prepared").glob("texts/*/*/train.npy")
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts.conversions == 2
    assert len(folders(cache_of(data_root))) == 1


def test_the_size_of_what_is_prepared_is_told_once(data_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        Texts().load(data_root)
    size = sum(file.stat().st_size for file in only_folder(data_root).iterdir() if file.suffix != ".lock")
    told = [record.getMessage() for record in caplog.records if "data clean" in record.getMessage()]
    assert told == [f"prepared dataset 'texts': {size} bytes, which `latentbench data clean` deletes"]


def test_what_is_prepared_is_cleared_and_nothing_else(data_root: Path) -> None:
    Texts().prepare(data_root)
    Texts(Texts.Config(offset=1)).prepare(data_root)
    FirstTexts().prepare(data_root)
    root = cache_of(data_root)
    (root / "stranger" / "a" / "b").mkdir(parents=True)
    (root / "stranger" / "a" / "b" / "file").write_text("of somebody else")
    (mine,) = Texts().caches(data_root)
    assert cache.prepared_folders(root) == [mine]
    size = sum(file.stat().st_size for file in mine.rglob("*") if file.is_file())
    deleted, left = cache.clear(mine)
    assert (deleted, left) == (size, False)
    assert not mine.exists()
    assert [str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()] == ["stranger/a/b/file"]
    assert Texts().status(data_root).state is State.PRESENT
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]


def test_what_a_process_is_preparing_is_not_cleared(data_root: Path) -> None:
    Texts().prepare(data_root)
    (mine,) = Texts().caches(data_root)
    (subject,) = mine.iterdir()
    with workplace(subject / ".part"):
        assert cache.clear(mine) == (0, True)
        assert Texts().status(data_root).state is State.PREPARED
    assert cache.clear(mine)[1] is False
    assert not mine.exists()


def test_the_caches_of_all_data_roots_are_known(data_root: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(data_root, other)
    (other / "texts" / "0.txt").write_text("50 1 2 3")
    for root in (data_root, other):
        Texts().prepare(root)
    (tmp_path / "user" / "latentbench" / "plugins").mkdir()
    assert cache.all_roots() == sorted([cache_of(data_root), cache_of(other)])


def test_the_environment_names_another_cache_that_several_data_roots_can_share(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    other = tmp_path / "other"
    (other / "texts").mkdir(parents=True)
    (other / "texts" / "0.txt").write_text("50 1 2 3")
    for _ in range(2):
        assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
        assert first_pixels(Texts().load(other)) == [50]
    assert Texts.conversions == 2
    assert not (data_root / ".prepared").exists()
    assert not (tmp_path / "user").exists()


class Overtaken(Texts):
    """While it decodes, another one prepares the same from beginning to end."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        Texts(Texts.Config()).prepare(source.folder.parent)
        return super().convert(source, save)


def test_the_slower_of_two_drops_its_own(data_root: Path) -> None:
    assert first_pixels(Overtaken(Overtaken.Config()).load(data_root)) == [0, 1, 2]
    assert len(list(only_folder(data_root).iterdir())) == 5
    assert Texts.conversions == 2


def _prepare_together(data_root: Path, barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put(Texts().load(data_root).split_hash)


def test_processes_that_prepare_at_once_end_with_one_whole_folder(data_root: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    processes = [context.Process(target=_prepare_together, args=(data_root, barrier, results)) for _ in range(4)]
    for process in processes:
        process.start()
    hashes = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert hashes == {Texts().load(data_root).split_hash}
    assert Texts.conversions == 0, "this process found what the others had made"
    assert Texts().verify(data_root) in hashes
    only_folder(data_root)


class Stuck(Texts):
    """Its process is killed when one array is written and of the next one two rows."""

    def read(self, path: Path) -> Any:
        if Texts.reads == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(path)


def half_prepared(data_root: Path) -> Path:
    """The folder that a killed process leaves."""
    process = multiprocessing.get_context("fork").Process(target=Stuck(Stuck.Config()).prepare, args=(data_root,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    return only_folder(data_root)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def whole(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What is prepared of ``data_root`` without interruption, elsewhere."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
        Texts().prepare(data_root)
    (folder,) = (tmp_path / "elsewhere").glob("*/texts/*/*")
    Texts.reads = 0
    return content(folder)


def test_what_a_killed_process_left_is_not_taken_for_prepared_and_gone_on_with(
    data_root: Path, whole: dict[str, bytes], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    left = half_prepared(data_root)
    assert set(content(left)) == {"train.npy", "validation.npy", "rows.json", ".lock"}
    status = Texts().status(data_root)
    assert (status.state, status.facts) == (State.PRESENT, {"files": 3, "rows half prepared": 5})
    dataset, told = Texts(), list[tuple[int, int]]()
    dataset.progress = lambda *now: told.append(now)
    dataset.prepare(data_root)
    assert told == [(6, 9), (7, 9), (8, 9), (9, 9)]
    assert Texts.reads == 4 + 3, "the rest, and the first pixels that are read anew"
    assert "going on from 5 rows that are kept" in caplog.text
    assert content(only_folder(data_root)) == whole
    assert dataset.status(data_root).facts == {"images": 3, "sum of firsts": 3}
    assert Texts().verify(data_root) == Texts().load(data_root).split_hash


def test_a_killed_process_loses_no_more_than_the_last_moment(data_root: Path, whole: dict[str, bytes]) -> None:
    half_prepared(data_root)
    assert Texts().status(data_root).facts["rows half prepared"] == 3, "the array that was begun had not come to a note"
    Texts().prepare(data_root)
    assert content(only_folder(data_root)) == whole


def _prepare_up_to_line(data_root: Path, line: int, counts: Any) -> None:
    """Prepare in a process that is killed when it comes to the ``line``-th line of these modules."""
    passed = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal passed
        modules = ("latentbench/data/cache.py", "latentbench/data/contents.py", "latentbench/files.py")
        if not frame.f_code.co_filename.endswith(modules):
            return None
        passed += event == "line"
        if passed == line and event == "line":
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    Texts().prepare(data_root)
    sys.settrace(None)
    counts.put(passed)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process has written outlives its death without: only a power cut would lose it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def test_no_row_is_noted_before_it_is_on_the_disk(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    on_disk, noted_rows = dict[str, int](), list[int]()
    fsync, replace = os.fsync, Path.replace

    def recording_fsync(descriptor: int) -> None:
        fsync(descriptor)
        on_disk[Path(f"/proc/self/fd/{descriptor}").readlink().name] = os.fstat(descriptor).st_size

    def checking_replace(self: Path, target: Path) -> Path:
        assert on_disk[self.name] == self.stat().st_size > 0
        if target.name == "rows.json":
            notes = json.loads(self.read_text())
            for name, note in notes.items():
                assert on_disk[f"{name}.npy"] >= 128 + note["rows"] * (1 if name == "first" else 4)
            noted_rows.append(sum(note["rows"] for note in notes.values()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "replace", checking_replace)
    Texts().prepare(data_root)
    assert set(noted_rows) == set(range(1, 13))


@pytest.mark.usefixtures("no_fsync", "later")
def test_killed_at_any_line_it_ends_as_if_it_had_not_been(
    data_root: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    context = multiprocessing.get_context("fork")
    counts = context.SimpleQueue()

    def killed_at(line: int) -> int | None:
        process = context.Process(target=_prepare_up_to_line, args=(data_root, line, counts))
        process.start()
        process.join()
        return process.exitcode

    assert killed_at(0) == 0
    lines = counts.get()
    draw, kept = random.Random(0), 0
    for line in sorted(draw.sample(range(1, lines + 1), 40)):
        shutil.rmtree(cache_of(data_root))
        assert killed_at(line) == -signal.SIGKILL
        again = line + draw.randrange(lines)  # a second time, or not at all
        killed_at(again)
        if Texts().status(data_root).state is not State.PREPARED:
            kept += Texts().status(data_root).facts.get("rows half prepared", 0)
        data = Texts().load(data_root)
        assert first_pixels(data) == [0, 1, 2]
        assert content(only_folder(data_root)).items() >= whole.items()
        assert set(content(only_folder(data_root))) <= {*whole, "rows.json", ".lock"}
    assert kept > 60, "nothing was gone on with: the test has become empty"


@pytest.mark.usefixtures("no_fsync")
def test_killed_again_and_again_at_random_instants_it_ends_as_if_it_had_not_been(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3, 60):
        (data_root / "texts" / f"{number}.txt").write_text(f"{number} 1 2 3")
    Texts().prepare(data_root)
    whole = content(only_folder(data_root))
    shutil.rmtree(cache_of(data_root))
    monkeypatch.setattr(cache, "_EVERY", 0.002)
    read = Texts.read

    def slow(self: Texts, path: Path) -> Any:
        time.sleep(0.001)
        return read(self, path)

    monkeypatch.setattr(Texts, "read", slow)
    context, draw, kept = multiprocessing.get_context("fork"), random.Random(0), list[int]()
    for _ in range(40):
        process = context.Process(target=Texts().prepare, args=(data_root,))
        process.start()
        process.join(draw.uniform(0, 0.1))
        process.kill()
        process.join()
        status = Texts().status(data_root)
        if status.state is State.PREPARED:
            break
        kept.append(status.facts.get("rows half prepared", 0))
    Texts().prepare(data_root)
    assert content(only_folder(data_root)).items() >= whole.items()
    assert kept == sorted(kept), "what is on the disk stays there"
    assert len(set(kept)) > 3, "no instant fell between two notes: the test has become empty"


def written(path: Path, change: Callable[[bytearray], object]) -> None:
    changed = bytearray(path.read_bytes())
    change(changed)
    path.write_bytes(changed)


def noted(path: Path, **values: object) -> None:
    notes = json.loads(path.read_text())
    notes["train"] |= values
    path.write_text(json.dumps(notes))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "notes gone": lambda left: (left / "rows.json").unlink(),
    "notes empty": lambda left: (left / "rows.json").write_text(""),
    "notes cut": lambda left: written(left / "rows.json", lambda text: text.__delitem__(slice(40, None))),
    "notes of another kind": lambda left: (left / "rows.json").write_text('["train"]'),
    "notes of other values": lambda left: (left / "rows.json").write_text('{"train": 3}'),
    "notes binary": lambda left: (left / "rows.json").write_bytes(b"\xff\xfe\0"),
    "fewer rows": lambda left: noted(left / "rows.json", rows=2),
    "more rows": lambda left: noted(left / "rows.json", rows=10**9),
    "less than no rows": lambda left: noted(left / "rows.json", rows=-1),
    "rows as text": lambda left: noted(left / "rows.json", rows="three"),
    "no digest": lambda left: noted(left / "rows.json", sha256=None),
    "array gone": lambda left: (left / "train.npy").unlink(),
    "array empty": lambda left: (left / "train.npy").write_bytes(b""),
    "array cut in a row": lambda left: os.truncate(left / "train.npy", (left / "train.npy").stat().st_size - 3),
    "array cut in its header": lambda left: os.truncate(left / "train.npy", 50),
    "array goes on": lambda left: written(left / "train.npy", lambda file: file.extend(b"more")),
    "another header": lambda left: written(left / "train.npy", lambda file: file.__setitem__(20, file[20] ^ 1)),
    "rows lost to a power cut": lambda left: written(left / "train.npy", lambda file: file.__setitem__(-1, 0)),
    "a stranger's file": lambda left: (left / "other.npy").write_bytes(b"0"),
    "what was to replace the notes": lambda left: (left / ".rows.json.x.part").write_bytes(b"0"),
}


@pytest.mark.usefixtures("no_fsync")
@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_damaged_is_made_again(
    data_root: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    DAMAGES[damage](half_prepared(data_root))
    Texts().status(data_root)
    Texts().prepare(data_root)
    assert content(only_folder(data_root)) == whole


@pytest.mark.usefixtures("no_fsync")
def test_no_flipped_bit_in_what_was_left_gives_a_wrong_array(
    data_root: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "_EVERY", 0)
    left, draw, reads = half_prepared(data_root), random.Random(0), set()
    shutil.copytree(left, tmp_path / "left")
    for name in ("rows.json", "train.npy", "validation.npy"):
        for _ in range(12):
            shutil.rmtree(left.parent)
            shutil.copytree(tmp_path / "left", left)

            def flip(file: bytearray) -> None:
                file[draw.randrange(len(file))] ^= 1 << draw.randrange(8)

            written(left / name, flip)
            Texts.reads = 0
            Texts().prepare(data_root)
            assert content(only_folder(data_root)) == whole
            reads.add(Texts.reads)
    assert reads == {4 + 2 + 3, 4 + 3 + 3, 4 + 5 + 3}, "the array that is damaged is read again, and no more"


def test_a_file_that_is_mended_costs_no_more_than_itself_and_what_follows(
    data_root: Path, whole: dict[str, bytes]
) -> None:
    path = data_root / "texts" / "2.txt"
    path.write_text("two")
    for _ in range(2):
        with pytest.raises(LatentbenchError, match=r"2\.txt is corrupt"):
            Texts().load(data_root)
    assert Texts.reads == 4, "two rows, the corrupt file, and that again"
    assert only_folder(data_root).name == ".part"
    path.write_text("2 1 2 3")
    Texts.reads = 0
    Texts().prepare(data_root)
    assert Texts.reads == 7 + 3
    made = content(only_folder(data_root))
    assert {name: made[name] for name in made if name.endswith(".npy")} == {
        name: whole[name] for name in whole if name.endswith(".npy")
    }


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changed_content, [70, 1, 2]),
        (changed_time_alone, [0, 1, 2]),
        (added_file, [0, 1, 2, 70]),
        (removed_file, [0, 1]),
    ],
)
def test_rows_of_files_that_have_changed_since_are_not_kept(
    data_root: Path, change: Callable[[Path], None], expected: list[int]
) -> None:
    half_prepared(data_root)
    change(data_root)
    assert first_pixels(Texts().load(data_root)) == expected
    assert Texts().verify(data_root) == Texts().load(data_root).split_hash
    assert Texts().status(data_root).facts == {"images": len(expected), "sum of firsts": sum(expected)}


def test_rows_of_another_version_are_not_kept(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_prepared(data_root)
    monkeypatch.setattr(Texts, "version", 2)
    Texts().prepare(data_root)
    assert Texts.reads == 9 + 3


class Interrupted(Texts):
    """The user loses patience at the third image."""

    error: type[BaseException] = KeyboardInterrupt

    def read(self, path: Path) -> Any:
        if Texts.reads == 2:
            Texts.reads = 0
            raise self.error
        return super().read(path)


@pytest.mark.parametrize(("error", "kept"), [(KeyboardInterrupt, 2), (OSError, 2), (ZeroDivisionError, 0)])
def test_an_interruption_keeps_what_is_done_and_a_defect_of_the_dataset_does_not(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], kept: int
) -> None:
    monkeypatch.setattr(Interrupted, "error", error)
    with pytest.raises(error):
        Interrupted(Interrupted.Config()).prepare(data_root)
    assert Texts().status(data_root).facts.get("rows half prepared", 0) == kept
    assert len(folders(cache_of(data_root))) == (kept > 0)
    Texts().prepare(data_root)
    assert Texts.reads == 9 - kept + 3


def _prepare_slowly(data_root: Path, started: Any, go_on: Any) -> None:
    def read(self: Texts, path: Path) -> Any:
        started.set()
        go_on.wait()
        return np.zeros((1, 2, 2), np.uint8)

    Texts.read = read  # type: ignore[method-assign]
    Texts().prepare(data_root)


def test_who_finds_another_process_at_work_does_it_alone(data_root: Path) -> None:
    context = multiprocessing.get_context("fork")
    started, go_on = context.Event(), context.Event()
    process = context.Process(target=_prepare_slowly, args=(data_root, started, go_on))
    process.start()
    assert started.wait(60)
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    names = {path.name for path in folders(cache_of(data_root))}
    assert len(names) == 2
    assert ".part" in names
    go_on.set()
    process.join()
    assert process.exitcode == 0
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2], "the slower one has dropped its own"
    only_folder(data_root)


def test_where_there_are_no_locks_nothing_is_gone_on_with(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = half_prepared(data_root)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts.reads == 9 + 3
    assert {path.name for path in folders(cache_of(data_root))} > {left.name}


def test_what_a_killed_process_left_goes_after_a_day_and_what_runs_stays(data_root: Path) -> None:
    Texts().prepare(data_root)
    family = only_folder(data_root).parent
    old, young = family / ".part-old", family / ".part-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - 25 * 3600,) * 2)
    changed_content(data_root)
    Texts().prepare(data_root)
    assert young.exists()
    assert not old.exists()


def test_verifying_gives_the_split_hash(data_root: Path) -> None:
    Texts().prepare(data_root)
    assert Texts().verify(data_root) == Texts().load(data_root).split_hash


def test_verifying_needs_something_prepared(data_root: Path) -> None:
    with pytest.raises(LatentbenchError, match="is not prepared"):
        Texts().verify(data_root)


def test_verifying_finds_a_flipped_bit_in_what_was_prepared(data_root: Path) -> None:
    Texts().prepare(data_root)
    path = only_folder(data_root) / "train.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LatentbenchError, match=f"{path.parent} has changed since it was prepared: delete it"):
        Texts().verify(data_root)


def test_verifying_finds_a_source_that_changed_without_a_trace(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a file system on which every file bears the same stamp, loading is deceived and verifying is not."""
    monkeypatch.setattr(Stamp, "of", classmethod(lambda cls, path: cls(7, 1, 1_000_000_001, 1)))
    Texts().prepare(data_root)
    Texts().load(data_root)
    (data_root / "texts" / "0.txt").write_text("7 1 2 3")  # as long as before
    assert Texts().status(data_root).state is State.PREPARED
    with pytest.raises(LatentbenchError, match=r"is not prepared with these options from what .* holds now"):
        Texts().verify(data_root)


def test_verifying_finds_that_the_source_is_decoded_to_something_else_now(
    data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a library that decodes in another way, and no raised version."""
    Texts().prepare(data_root)
    read = Texts.read
    monkeypatch.setattr(Texts, "read", lambda self, path: read(self, path) + 1)
    with pytest.raises(LatentbenchError, match="no longer give what was prepared"):
        Texts().verify(data_root)
    assert len(folders(cache_of(data_root))) == 1


def test_the_status_tells_missing_present_and_prepared(data_root: Path, tmp_path: Path) -> None:
    missing = Texts().status(tmp_path / "nowhere")
    assert missing.state is State.MISSING
    assert missing.note == f"dataset 'texts' is not there: no folder {tmp_path / 'nowhere' / 'texts'}: write it"
    present = Texts().status(data_root)
    assert (present.state, present.folder, present.facts) == (State.PRESENT, data_root / "texts", {"files": 3})
    Texts().prepare(data_root)
    assert Texts().status(data_root).facts == {"images": 3, "sum of firsts": 3}
