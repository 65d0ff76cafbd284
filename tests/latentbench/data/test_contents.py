"""Stamps are believed only where every later change is sure to give another one; else contents are hashed."""

import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from latentbench import LatentbenchError
from latentbench.data.contents import FileSet, Memory, Stamp

HOUR = 3_600_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"one")
    (folder / "sub" / "b.bin").write_bytes(b"two")
    return folder


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour has passed since the files were written."""
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + HOUR)


def files(folder: Path) -> FileSet:
    return FileSet(folder, tuple(path for path in folder.rglob("*") if path.is_file()))


class Counted:
    """What is computed of the files, and how often it was."""

    def __init__(self) -> None:
        self.times = 0

    def of(self, memory: Memory, folder: Path) -> str:
        found = files(folder)

        def compute() -> str:
            self.times += 1
            return found.fingerprint

        return memory.recall("it", found, compute)


def rewritten(path: Path, content: bytes) -> None:
    """Write as many other bytes into a file and keep its time of modification, at another tick of the clock."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("changed", "now", "settled"),
    [
        (1_700_000_000_123_456_789, 1_700_000_002_123_456_790, True),
        (1_700_000_000_123_456_789, 1_700_000_002_123_456_789, False),  # not later than the margin
        (1_700_000_000_123_456_789, 1_600_000_000_000_000_000, False),  # the clock was set back
        (1_700_000_000_000_000_000, 1_800_000_000_000_000_000, False),  # a whole second
        (0, 1_800_000_000_000_000_000, False),
        (1_000_000_000, 1_800_000_000_000_000_000, False),  # the one time of package stores
    ],
)
def test_a_stamp_is_settled_when_no_later_change_can_bear_it(changed: int, now: int, settled: bool) -> None:
    assert Stamp(size=3, modified=0, changed=changed, inode=5).settled(now) is settled


def test_contents_are_the_sha256_of_the_bytes_and_the_fingerprint_is_of_names_and_contents(
    folder: Path, tmp_path: Path
) -> None:
    found = files(folder)
    assert {found.name(path): sha256 for path, sha256 in found.sha256.items()} == {
        "a.bin": hashlib.sha256(b"one").hexdigest(),
        "sub/b.bin": hashlib.sha256(b"two").hexdigest(),
    }
    listed = json.dumps(
        [["a.bin", hashlib.sha256(b"one").hexdigest()], ["sub/b.bin", hashlib.sha256(b"two").hexdigest()]]
    )
    assert found.fingerprint == hashlib.sha256(listed.encode()).hexdigest()[:16]
    os.utime(folder / "a.bin", ns=(1, 1))
    assert files(folder).fingerprint == found.fingerprint
    (folder / "a.bin").rename(folder / "c.bin")
    assert files(folder).fingerprint != found.fingerprint


@pytest.mark.usefixtures("later")
def test_what_cannot_have_changed_is_computed_once(folder: Path, tmp_path: Path) -> None:
    memory, counted = Memory([tmp_path / "memory.json"]), Counted()
    assert len({counted.of(memory, folder) for _ in range(3)}) == 1
    assert counted.times == 1


def replaced(path: Path) -> None:
    """Another file of equal size and time takes its place."""
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    other = path.with_name("other")
    other.write_bytes(b"six")
    os.utime(other, ns=times)
    other.replace(path)


def lengthened(path: Path) -> None:
    path.write_bytes(b"three")


CHANGES: dict[str, Callable[[Path], None]] = {
    "other bytes, size and time kept": lambda path: rewritten(path, b"six"),
    "another file of equal size and time": replaced,
    "another size": lengthened,
}


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("time_of_all", [None, 0, 1_000_000_000])
def test_other_contents_are_noticed_whatever_time_and_size_say(
    folder: Path, tmp_path: Path, change: str, time_of_all: int | None
) -> None:
    path = folder / "sub" / "b.bin"
    if time_of_all is not None:
        os.utime(path, ns=(time_of_all, time_of_all))
    memory, counted = Memory([tmp_path / "memory.json"]), Counted()
    before = counted.of(memory, folder)
    CHANGES[change](path)
    after = counted.of(memory, folder)
    assert after != before
    assert after == files(folder).fingerprint
    assert counted.of(memory, folder) == after
    assert counted.times == 2


@pytest.mark.parametrize("offset", [0, -HOUR, -(10**18)])
def test_files_that_were_just_written_or_lie_in_the_future_are_read_each_time(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    now = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: now() + offset)
    memory, counted = Memory([tmp_path / "memory.json"]), Counted()
    assert counted.of(memory, folder) == counted.of(memory, folder)
    assert counted.times == 2
    assert not (tmp_path / "memory.json").exists()


@pytest.mark.usefixtures("later")
def test_a_damaged_memory_is_no_memory(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    right = Counted().of(Memory([path]), folder)
    kept, draw = path.read_bytes(), random.Random(0)
    for damaged in [b"", b"[]", b"{}", b'{"it": 3}', b'{"it": {}}', kept[:-9], b"\xff" + kept]:
        path.write_bytes(damaged)
        assert Counted().of(Memory([path]), folder) == right
    for _ in range(200):
        flipped = bytearray(kept)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        assert Counted().of(Memory([path]), folder) == right


@pytest.mark.usefixtures("later")
def test_it_is_kept_where_it_can_be_written_and_otherwise_computed_each_time(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    barred, open_ = tmp_path / "file" / "memory.json", tmp_path / "new" / "memory.json"
    counted = Counted()
    for _ in range(2):
        counted.of(Memory([barred]), folder)
    assert counted.times == 2
    counted = Counted()
    for _ in range(2):
        counted.of(Memory([barred, open_]), folder)
    assert counted.times == 1
    assert open_.exists()


def test_a_change_while_the_contents_are_read_is_told(folder: Path) -> None:
    found = files(folder)
    _ = found.sha256
    assert not found.changed()
    rewritten(folder / "a.bin", b"six")
    assert found.changed()


def test_a_file_that_is_gone_is_named(folder: Path) -> None:
    found = files(folder)
    (folder / "a.bin").unlink()
    with pytest.raises(LatentbenchError, match=r"cannot read .*a\.bin: No such file or directory"):
        _ = found.stamps
