"""What is prepared is made once, of the source as it stands; whatever damages it is noticed."""

import json
import multiprocessing
import os
import resource
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from latentbench import Data, DataInfo, Dataset, LatentbenchError, Role, StoredSplit
from latentbench.cache import CACHE_VARIABLE
from latentbench.data import State
from latentbench.files import StorageError
from latentbench.prepared import Prepared, PreparedDataset, Save, Source


class Texts(PreparedDataset):
    """Text files, one 2x2 grey image each: four numbers. The images are read before anything is written."""

    name = "texts"
    title, licence, citation, source = "Texts", "CC0-1.0", "none", "this file"
    conversions = 0

    class Config(Dataset.Config):
        offset: int = 0

    config: Config

    def locate(self, data_root: Path) -> Source:
        folder = data_root / "texts"
        if not folder.is_dir():
            raise LatentbenchError(f"dataset 'texts' is not there: no folder {folder}", "write it")
        return Source(folder, tuple(sorted(folder.glob("*.txt"))))

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        type(self).conversions += 1
        for role in Role:
            save(role, (len(source.files), 1, 2, 2), map(self.read, source.files))
        return {"images": len(source.files)}

    def read(self, path: Path) -> Any:
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


def only_folder(data_root: Path) -> Path:
    (folder,) = folders(data_root / ".prepared")
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
        (changed_time_alone, [0, 1, 2]),
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


def test_a_refused_file_leaves_nothing_behind(data_root: Path) -> None:
    (data_root / "texts" / "1.txt").write_text("one")
    with pytest.raises(LatentbenchError, match=r"1\.txt is corrupt"):
        Texts().load(data_root)
    assert folders(data_root / ".prepared") == []


class Restless(Texts):
    """One of its files is written while they are read."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        facts = super().convert(source, save)
        changed_content(source.folder.parent)
        return facts


def test_a_source_that_changes_while_it_is_read_is_refused(data_root: Path) -> None:
    with pytest.raises(LatentbenchError, match="changed while they were read"):
        Restless(Restless.Config()).load(data_root)
    assert folders(data_root / ".prepared") == []


@pytest.mark.parametrize("rows", [1, 3])
def test_an_array_of_the_wrong_length_is_the_datasets_defect(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    blank = np.zeros((rows, 1), np.uint8)
    monkeypatch.setattr(Texts, "convert", lambda self, source, save: save("train", (2, 1), blank))
    with pytest.raises(ValueError, match=f"train has {rows} rows, not 2"):
        Texts().load(data_root)
    assert folders(data_root / ".prepared") == []


@pytest.mark.parametrize("row", [np.zeros(2, np.uint8), np.zeros(1, np.float32)], ids=["shape", "type"])
def test_a_row_of_another_kind_is_the_datasets_defect(
    data_root: Path, monkeypatch: pytest.MonkeyPatch, row: Any
) -> None:
    monkeypatch.setattr(Texts, "convert", lambda self, source, save: save("train", (1, 1), [row]))
    with pytest.raises(ValueError, match="a row of train is"):
        Texts().load(data_root)


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing_behind(data_root: Path) -> None:
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
    assert folders(data_root / ".prepared") == []


def test_a_cache_that_cannot_be_made_is_one_line(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (data_root / "taken").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(data_root / "taken"))
    with pytest.raises(StorageError, match=r"cannot write .*taken.*: Not a directory"):
        Texts().load(data_root)


def test_where_the_data_root_cannot_be_written_the_users_cache_serves(data_root: Path, tmp_path: Path) -> None:
    (data_root / ".prepared").write_text("a file in the place of the folder")
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]
    assert Texts.conversions == 1
    assert len([*(tmp_path / "user" / "latentbench").glob("*/texts/*/*/train.npy")]) == 1


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


class Overtaken(Texts):
    """While it decodes, another one prepares the same from beginning to end."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        Texts(Texts.Config()).prepare(source.folder.parent)
        return super().convert(source, save)


def test_the_slower_of_two_drops_its_own(data_root: Path) -> None:
    assert first_pixels(Overtaken(Overtaken.Config()).load(data_root)) == [0, 1, 2]
    assert len(list(only_folder(data_root).iterdir())) == 4
    assert Texts.conversions == 1


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
    """Its process is killed when one array is written and the next one half."""

    def convert(self, source: Source, save: Save) -> Mapping[str, int]:
        def rows() -> Iterator[Any]:
            yield self.read(source.files[0])
            os.kill(os.getpid(), signal.SIGKILL)

        save("train", (len(source.files), 1, 2, 2), map(self.read, source.files))
        save("validation", (len(source.files), 1, 2, 2), rows())
        return {}


def test_a_killed_process_leaves_nothing_that_is_taken_for_prepared(data_root: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=Stuck(Stuck.Config()).prepare, args=(data_root,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    (left,) = folders(data_root / ".prepared")
    assert (left / "validation.npy").exists()
    assert Texts().status(data_root).state is State.PRESENT
    assert first_pixels(Texts().load(data_root)) == [0, 1, 2]


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


def test_verifying_finds_a_source_that_changed_without_a_trace(data_root: Path) -> None:
    Texts().prepare(data_root)
    path = data_root / "texts" / "0.txt"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("7 1 2 3")  # as long as before
    os.utime(path, ns=times)
    assert Texts().status(data_root).state is State.PREPARED
    with pytest.raises(LatentbenchError, match="no longer give what was prepared"):
        Texts().verify(data_root)
    assert len(folders(data_root / ".prepared")) == 1


def test_the_status_tells_missing_present_and_prepared(data_root: Path, tmp_path: Path) -> None:
    missing = Texts().status(tmp_path / "nowhere")
    assert missing.state is State.MISSING
    assert missing.note == f"dataset 'texts' is not there: no folder {tmp_path / 'nowhere' / 'texts'}: write it"
    present = Texts().status(data_root)
    assert (present.state, present.folder, present.facts) == (State.PRESENT, data_root / "texts", {"files": 3})
    Texts().prepare(data_root)
    assert Texts().status(data_root).facts == {"images": 3}
