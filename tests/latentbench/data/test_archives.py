"""Archives from elsewhere: what is unpacked is what was packed; malicious and damaged ones write nothing anywhere."""

import gzip
import hashlib
import io
import lzma
import multiprocessing
import os
import random
import resource
import shutil
import stat
import struct
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from latentbench import LatentbenchError
from latentbench.data.archives import unpack
from latentbench.files import StorageError

#: Contents by name: empty, longer than what is read at a time, deep, not in ASCII.
CONTENTS = {
    "parts/readme.txt": b"",
    "parts/train/good/000.png": random.Random(0).randbytes(1_200_000),
    "parts/train/good/001.png": b"one",
    "parts/Prüfung/größe.png": b"two",
    "other/file": b"three" * 1000,
}
SUFFIXES = ("zip", "tar", "tar.gz", "tar.xz")


def pack(path: Path, contents: Mapping[str, bytes]) -> Path:
    """An ordinary archive; its format is told by the name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return path
    with tarfile.open(path, f"w:{path.suffix[1:].replace('tar', '')}") as tar:  # type: ignore[call-overload]
        for name, content in contents.items():
            tar.addfile(entry(name, len(content)), io.BytesIO(content))
    return path


def entry(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, target
    return info


def tar_of(path: Path, *entries: tarfile.TarInfo) -> Path:
    """An uncompressed tar of these headers, each with as many bytes as it says."""
    with tarfile.open(path, "w") as tar:
        for info in entries:
            tar.addfile(info, io.BytesIO(b"x" * info.size))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def message_of(archive: Path, **options: Any) -> str:
    """The refusal, which is one line and names the archive; nothing but the archive is left in its folder."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(LatentbenchError) as caught:
        unpack(archive, archive.parent / "made", **options)
    assert sorted(archive.parent.rglob("*")) == before
    message = str(caught.value)
    assert "\n" not in message
    assert str(archive) in message
    return message


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_unpacked_is_what_was_packed(tmp_path: Path, suffix: str) -> None:
    archive = pack(tmp_path / f"a.{suffix}", CONTENTS)
    unpack(archive, tmp_path / "deep" / "made")
    assert contents(tmp_path / "deep" / "made") == CONTENTS
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["made"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_one_folder_of_an_archive_can_be_unpacked(tmp_path: Path, suffix: str) -> None:
    archive = pack(tmp_path / f"a.{suffix}", CONTENTS)
    unpack(archive, tmp_path / "made", folder="parts/train")
    expected = {name: CONTENTS[f"parts/train/{name}"] for name in ("good/000.png", "good/001.png")}
    assert contents(tmp_path / "made") == expected
    assert "has no folder 'tra'" in message_of_missing(archive, "tra")
    assert "has no folder 'parts/tra'" in message_of_missing(archive, "parts/tra")
    assert "member 'other/file' is no folder" in message_of_missing(archive, "other/file")


def message_of_missing(archive: Path, folder: str) -> str:
    with pytest.raises(LatentbenchError) as caught:
        unpack(archive, archive.parent / "new", folder=folder)
    assert not (archive.parent / "new").exists()
    return str(caught.value)


def test_the_format_goes_by_the_content_not_by_the_name(tmp_path: Path) -> None:
    pack(tmp_path / "a.zip", CONTENTS).rename(tmp_path / "a.tar")
    unpack(tmp_path / "a.tar", tmp_path / "made")
    assert contents(tmp_path / "made") == CONTENTS
    name = "PKLot/1.jpg"  # starts a tar, and with the letters of a zip
    unpack(pack(tmp_path / "b.tar", {name: b"jpg"}), tmp_path / "cars")
    assert contents(tmp_path / "cars") == {name: b"jpg"}


def test_folders_are_made_and_modes_are_not_taken_over(tmp_path: Path) -> None:
    empty, secret = entry("a/empty", kind=tarfile.DIRTYPE), entry("./a/secret", 3)
    empty.mode, secret.mode = 0o000, 0o4755
    unpack(tar_of(tmp_path / "a.tar", entry("./", kind=tarfile.DIRTYPE), empty, empty, secret), tmp_path / "made")
    assert (tmp_path / "made" / "a" / "empty").is_dir()
    mask = os.umask(0)
    os.umask(mask)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "made").rglob("*")}
    assert modes == {"a": 0o777 & ~mask, "empty": 0o777 & ~mask, "secret": 0o666 & ~mask}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_progress_is_told_to_the_end_and_never_goes_back(tmp_path: Path, suffix: str) -> None:
    archive = pack(tmp_path / f"a.{suffix}", CONTENTS)
    size, digest = archive.stat().st_size, hashlib.sha256(archive.read_bytes()).hexdigest()
    for options, total in ({}, size), ({"sha256": digest.upper()}, 2 * size):
        told: list[tuple[int, int]] = []
        unpack(archive, tmp_path / f"made-{total}", progress=lambda *now: told.append(now), **options)  # noqa: B023
        assert told == sorted(told)
        assert told[-1] == (total, total)
        assert len(told) > 3


def test_a_checksum_that_is_not_right_is_told_and_nothing_is_unpacked(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", CONTENTS)
    sha256, md5 = (hashlib.new(name, archive.read_bytes()).hexdigest() for name in ("sha256", "md5"))
    wrong = "0" * 32
    assert f"its md5 is {md5}, not {wrong}: nothing was unpacked" in message_of(archive, md5=wrong, sha256=sha256)
    assert f"its sha256 is {sha256}, not {2 * wrong}: " in message_of(archive, md5=md5, sha256=2 * wrong)
    unpack(archive, tmp_path / "made", sha256=sha256, md5=md5)


HOSTILE_NAMES = {
    "../outside": "leads out of the folder",
    "parts/../../outside": "leads out of the folder",
    "parts/..": "leads out of the folder",
    "/outside": "has an absolute path",
    "//server/outside": "has an absolute path",
    "C:/outside": "a drive",
    "C:outside": "a drive",
    "parts/c:/outside": "a drive",
    "..\\outside": "a backslash",
    "parts\\file": "a backslash",
    "line\nbreak": "cannot be printed",
    "bell\a": "cannot be printed",
    "right\u202eto left": "cannot be printed",
    "parts/readme.txt": "has the same path as another member, 'parts/readme.txt'",
    "./parts//readme.txt": "has the same path as another member, 'parts/readme.txt'",
    "parts/README.txt": "has the same path as another member, 'parts/readme.txt'",
    "PARTS/file": "has the same path as another member, 'parts'",
    "parts/pru\u0308fung/file": "has the same path as another member, 'parts/Pr\\xfcfung'",
    "parts/readme.txt/file": "has the same path as another member, 'parts/readme.txt'",
    "parts/train": "has the same path as another member, 'parts/train'",
}


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_refused_wherever_the_member_is(tmp_path: Path, suffix: str, name: str) -> None:
    archive, small = tmp_path / f"a.{suffix}", dict.fromkeys(CONTENTS, b"good")
    if suffix == "zip":
        with zipfile.ZipFile(pack(archive, small), "a") as packed, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of duplicates
            packed.writestr(name, b"evil")
    else:
        with tarfile.open(archive, "w") as tar:
            for item, content in [*small.items(), (name, b"evil")]:
                tar.addfile(entry(item, len(content)), io.BytesIO(content))
    message = message_of(archive)
    assert f"member {name!a}" in message
    assert HOSTILE_NAMES[name] in message
    message_of(archive, folder="other")


@pytest.mark.parametrize("suffix", ["zip", "tar"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/".join(["d"] * 2000) + "/file", "has a path of 2,001 parts"),
        ("n" * 256, "a part of more than 255 bytes"),
        ("ü" * 128, "a part of more than 255 bytes"),
    ],
    ids=["deep", "long", "long in bytes"],
)
def test_a_path_that_is_too_deep_or_too_long_is_refused_in_a_short_line(
    tmp_path: Path, suffix: str, name: str, reason: str
) -> None:
    message = message_of(pack(tmp_path / f"a.{suffix}", {**CONTENTS, name: b"x"}))
    assert reason in message
    assert len(message) < 2000


def test_a_path_as_deep_as_is_allowed_is_unpacked(tmp_path: Path) -> None:
    name = "/".join(["d"] * 99) + "/file"
    unpack(pack(tmp_path / "a.tar", {name: b"x"}), tmp_path / "made")
    assert (tmp_path / "made" / name).read_bytes() == b"x"


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    """Python's own ``zipfile`` would cut it short there."""
    archive = pack(tmp_path / "a.zip", {"goodX.png": b"1"})
    archive.write_bytes(archive.read_bytes().replace(b"goodX.png", b"good\0.png"))
    assert r"member 'good\x00.png' has a name that cannot be printed" in message_of(archive)


@pytest.mark.parametrize("target", ["file", "../outside", "/etc/passwd", "."])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
def test_links_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("file", 3), entry("link", 0, kind, target))
    assert "member 'link' is no plain file or folder" in message_of(archive)


@pytest.mark.parametrize(
    "kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, b"Z"]
)
def test_devices_and_kinds_that_nobody_knows_are_refused(tmp_path: Path, kind: bytes) -> None:
    if kind == tarfile.CONTTYPE:  # an old name for a plain file
        unpack(tar_of(tmp_path / "a.tar", entry("odd", 3, kind)), tmp_path / "made")
    elif kind == b"Z":  # which POSIX tells to take for plain files: ``tarfile`` says they are none
        assert "member 'odd' is no plain file or folder" in message_of(
            tar_of(tmp_path / "a.tar", entry("odd", 0, kind))
        )
    else:
        archive = tar_of(tmp_path / "a.tar", entry("file", 3), entry("odd", 0, kind))
        assert "member 'odd' is no plain file or folder" in message_of(archive)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A link to a folder outside and then a file "below" it: without the check the file lands outside."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "place").mkdir()
    archive = tar_of(
        tmp_path / "place" / "a.tar", entry("door", 0, tarfile.SYMTYPE, str(outside)), entry("door/file", 3)
    )
    message_of(archive)
    assert list(outside.iterdir()) == []
    message_of(tar_of(tmp_path / "place" / "a.tar", entry("door/file", 3), entry("door", 0, tarfile.SYMTYPE, "..")))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("file", b"1")
        info = zipfile.ZipInfo("door")
        info.create_system, info.external_attr = 3, (kind | 0o777) << 16
        archive.writestr(info, "/etc")
    assert "member 'door' is no plain file or folder" in message_of(tmp_path / "a.zip")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"secret": b"1"})
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    archive.write_bytes(content)
    assert "member 'secret' is encrypted" in message_of(archive)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_archive_that_is_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    """Also between two members, which Python's ``tarfile`` takes for the end."""
    small = {name: content[:3000] for name, content in CONTENTS.items()}
    whole = pack(tmp_path / f"whole.{suffix}", small).read_bytes()
    end = len(whole.rstrip(b"\0")) if suffix == "tar" else len(whole)
    cuts = {*range(0, end, 512), *range(0, end, 397), end - 1, end if suffix == "tar" else 0}
    (tmp_path / "cut").mkdir()
    archive = tmp_path / "cut" / f"a.{suffix}"
    for cut in cuts:
        archive.write_bytes(whole[:cut])
        message_of(archive)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz", "tar.xz"])
def test_no_flipped_bit_gives_a_wrong_file(tmp_path: Path, suffix: str) -> None:
    small = {name: content[:300] for name, content in CONTENTS.items()}
    whole = pack(tmp_path / f"whole.{suffix}", small).read_bytes()
    archive, draw = tmp_path / f"a.{suffix}", random.Random(0)
    refused = 0
    for place in draw.sample(range(len(whole)), 80):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        archive.write_bytes(damaged)
        try:
            unpack(archive, tmp_path / "made")
        except LatentbenchError:
            refused += 1
        else:
            assert contents(tmp_path / "made") == small
            shutil.rmtree(tmp_path / "made")
    assert refused > 40


def test_a_damaged_header_in_the_midst_of_a_tar_is_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("one", 3), entry("two", 3), entry("three", 3))
    content = bytearray(archive.read_bytes())
    content[1024] ^= 1
    archive.write_bytes(content)
    assert "is corrupt or cut short after member 'one' (its end is missing)" in message_of(archive)


def test_what_follows_the_end_of_a_tar_is_not_passed_over(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("one", 3))
    archive.write_bytes(archive.read_bytes() + tar_of(tmp_path / "b.tar", entry("two", 3)).read_bytes())
    (tmp_path / "b.tar").unlink()
    assert "something follows its end" in message_of(archive)


@pytest.mark.parametrize("content", [b"", b"<html>404 Not Found</html>", bytes(400), b"BZh9" + bytes(400)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar.xz").write_bytes(content)
    assert "(it is no .zip, .tar, .tar.gz or .tar.xz)" in message_of(tmp_path / "a.tar.xz")


def test_an_empty_archive_is_refused(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        assert "has nothing in it" in message_of(pack(tmp_path / f"a.{suffix}", {}))
        (tmp_path / f"a.{suffix}").unlink()


def test_an_archive_that_is_not_there_or_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    assert f"cannot read archive {tmp_path / 'a.zip'}: No such file" in message_of(tmp_path / "a.zip")
    (tmp_path / "a.zip").mkdir()
    assert ": Is a directory" in message_of(tmp_path / "a.zip")


def test_a_wrong_checksum_of_a_member_is_refused(tmp_path: Path) -> None:
    content = b"stored as it is"
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("file", content)
    damaged = (tmp_path / "a.zip").read_bytes().replace(content, content.upper())
    (tmp_path / "a.zip").write_bytes(damaged)
    message = message_of(tmp_path / "a.zip")
    assert "is corrupt or cut short in member 'file' (Bad CRC-32 for file 'file')" in message


def false_size(archive: Path, size: int) -> Path:
    """A zip of one member that declares another size."""
    content = bytearray(archive.read_bytes())
    for mark, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        struct.pack_into("<I", content, content.index(mark) + offset, size)
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize("size", [0, 10, 999_999, 1_000_001])
def test_a_zip_that_declares_another_size_than_it_has_is_refused(tmp_path: Path, size: int) -> None:
    archive = false_size(pack(tmp_path / "a.zip", {"file": bytes(1_000_000)}), size)
    assert "is corrupt or cut short in member 'file'" in message_of(archive)


def free(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(size, 0, size))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_bomb_is_refused_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    archive = pack(tmp_path / f"a.{suffix}", {"one": bytes(2_000_000), "two": bytes(20_000_000)})
    free(monkeypatch, 10_000_000)
    message = message_of(archive)
    assert "up to member 'two' it declares 22,000,000 bytes, and there are 10,000,000 free in" in message
    with pytest.raises(StorageError):
        unpack(archive, tmp_path / "made")
    free(monkeypatch, 22_000_000)
    unpack(archive, tmp_path / "made")


def test_many_empty_files_count_as_what_they_take_on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = pack(tmp_path / "a.zip", {f"{number}": b"" for number in range(100)})
    free(monkeypatch, 100 * 4096 - 1)
    assert "up to member '99' it declares 409,600 bytes" in message_of(archive)


def test_a_member_that_claims_more_than_any_disk_has_is_refused(tmp_path: Path) -> None:
    false_size(pack(tmp_path / "a.zip", {"file": b"small"}), 2**32 - 2)
    header = entry("huge", 0)
    header.size = 2**60
    (tmp_path / "b").mkdir()
    archive = tmp_path / "b" / "a.tar"
    archive.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "free in" in message_of(archive)


@pytest.mark.parametrize("size", [-1, -512, -513, -(2**40)])
def test_a_member_of_less_than_no_bytes_does_not_lead_in_circles(tmp_path: Path, size: int) -> None:
    header = bytearray(entry("file").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (256**12 + size).to_bytes(12, "big")  # base 256, the highest bit set
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "a.tar").write_bytes(header + bytes(1024))
    message_of(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_headers_extension_is_not_read_into_memory_at_any_length(tmp_path: Path, kind: bytes) -> None:
    """A gigabyte of zeros where a long name should be: 150 KB in the file."""
    header = entry("././@LongLink", 2**30, kind)
    with lzma.open(tmp_path / "a.tar.xz", "wb", preset=0) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(2**22))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert "a header of" in message_of(tmp_path / "a.tar.xz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "in KB"


def test_a_stream_that_goes_on_for_long_after_the_end_is_refused(tmp_path: Path) -> None:
    archive = tar_of(tmp_path / "a.tar", entry("one", 3))
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(archive.read_bytes())
        file.write(bytes(2**24))
    archive.unlink()
    assert "something follows its end" in message_of(tmp_path / "a.tar.gz")


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    """Each header tells that the real one follows: ``tarfile`` goes down one call for each."""
    link = entry("././@LongLink", 512, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(link * 5000)
    message_of(tmp_path / "a.tar")


@pytest.mark.parametrize("there", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_what_is_there_is_left_alone(tmp_path: Path, there: Callable[[Path], None]) -> None:
    archive = pack(tmp_path / "a.zip", CONTENTS)
    there(tmp_path / "made")
    assert "it exists already" in message_of(archive)


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", CONTENTS)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*000\.png: File too large: free space"):
            unpack(archive, tmp_path / "made")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [archive]


def test_folders_above_the_target_are_not_left_behind_empty(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"file": b"1", "../outside": b"2"})
    (tmp_path / "old").mkdir()
    for target in ("old/new/deep", "new/deep/deeper"):
        with pytest.raises(LatentbenchError, match="leads out"):
            unpack(archive, tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == [archive, tmp_path / "old"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    archive = pack(tmp_path / "a.zip", CONTENTS)
    with pytest.raises(StorageError, match=r"cannot write .*made: (Not a directory|File exists)"):
        unpack(archive, archive / "made")


def test_killed_at_any_instant_it_leaves_no_target_and_the_next_one_clears_up(tmp_path: Path) -> None:
    contents_ = {f"{number:03}": b"x" * 5000 for number in range(150)}
    archive = pack(tmp_path / "a.tar.xz", contents_)
    context = multiprocessing.get_context("fork")
    start = time.monotonic()
    unpack(archive, tmp_path / "first")
    duration = time.monotonic() - start
    draw = random.Random(0)
    left = 0
    for _ in range(12):
        process = context.Process(target=unpack, args=(archive, tmp_path / "made"))
        process.start()
        time.sleep(draw.uniform(0, duration))
        process.kill()
        process.join()
        left += (tmp_path / ".made.unpacking").exists()
        if (tmp_path / "made").exists():
            assert contents(tmp_path / "made") == contents_
            shutil.rmtree(tmp_path / "made")
    assert left > 2, "no instant fell into the unpacking: the test has become empty"
    unpack(archive, tmp_path / "made")
    assert contents(tmp_path / "made") == contents_
    assert not (tmp_path / ".made.unpacking").exists()
