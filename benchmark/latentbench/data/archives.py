"""Safe unpacking of untrusted archives: into a new folder, which appears only when everything has been unpacked."""

import gzip
import hashlib
import io
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from latentbench.errors import LatentbenchError
from latentbench.files import StorageError, discard, workplace

__all__ = ["unpack"]

#: Bytes that are read at a time, and the most that a member's header may take.
_CHUNK = 1 << 20
#: Least number of bytes that a file or folder takes on disk.
_BLOCK = 4096
#: What may follow a tar's last member: zeros, to the end of a record.
_LONGEST_END = 16 * _CHUNK
#: The most parts of a member's path, and bytes of each: a path of Linux has 4,096 bytes, a name 255.
_DEEPEST, _LONGEST_NAME = 100, 255
#: Bytes of a zip's last record without its comment.
_ZIP_END = 22
_NO_FILE = "is no plain file or folder"
_MISTRUST = "nothing was unpacked; get the archive from its publisher"
_AGAIN = "nothing was unpacked; download it again"


def unpack(
    archive: Path,
    target: Path,
    *,
    folder: str = "",
    sha256: str | None = None,
    md5: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Unpack a .zip, .tar, .tar.gz or .tar.xz, recognized by its content, into a folder that does not exist yet.

    The folder appears in one step when everything has been unpacked; after an error, or if the process is killed, it
    does not appear. The archive is read to its end. It is refused if any member is not a plain file or folder (a link
    or device, say), if a member's path is absolute, contains a drive, a backslash or "..", or equals another member's
    up to case and Unicode normalization, if a checksum is wrong (its internal ones included), and if the declared sizes
    exceed the free disk space. Owners, permissions and times are not restored.

    Args:
        archive: the file.
        target: the folder to make.
        folder: unpack only what lies below this folder of the archive. Empty: everything.
        sha256: hex digest that the archive must have.
        md5: the same, for publishers that give no better digest.
        progress: called with (bytes done, bytes in total); the pass that computes a digest is included in both.

    Raises:
        LatentbenchError: ``target`` exists, ``archive`` does not, or it is refused; names the member and the reason.
        StorageError: the disk is full, or the system refuses to write.
    """
    if os.path.lexists(target):
        raise LatentbenchError(f"cannot unpack {archive} into {target}: it exists already", "move it elsewhere")
    try:
        file = archive.open("rb")
    except OSError as error:
        raise LatentbenchError(f"cannot read archive {archive}: {error.strerror}") from None
    with file:
        size = os.fstat(file.fileno()).st_size
        compared = size if sha256 or md5 else 0
        if compared:
            _compare(archive, file, sha256, md5, lambda done: progress(done, compared + size))
        with _writing(target), _parents(target), workplace(target.with_name(f".{target.name}.unpacking")) as scratch:
            content = scratch / "content"
            try:
                shutil.rmtree(content, ignore_errors=True)  # what a killed process left
                content.mkdir()
                _extract(
                    _Archive(archive, file), content, folder, lambda done: progress(compared + done, compared + size)
                )
                if os.path.lexists(target):
                    raise LatentbenchError(
                        f"{target} was made by another process in the meantime", "it is left as it is"
                    )
                content.rename(target)
            finally:
                discard(scratch)


@dataclass(frozen=True)
class _Member:
    """One entry of an archive, as the archive declares it."""

    name: str
    size: int
    """Bytes, once unpacked."""
    is_folder: bool
    fault: str
    """Why it is refused regardless of its name; empty for a plain file or folder."""
    open: Callable[[], IO[bytes]]


class _Archive:
    """An open archive. Errors while reading it name the archive and the member that was being read.

    Args:
        path: the archive's path, for messages.
        file: the open file.
    """

    def __init__(self, path: Path, file: io.BufferedReader) -> None:
        self.path = path
        self.file = file
        self._at = ""
        file.seek(0)
        self._start = file.read(6)
        #: A zip lists its members in a directory; a tar has to be read through.
        self.is_zip = self._start.startswith((b"PK\3\4", b"PK\5\6"))

    def members(self) -> Iterator[_Member]:
        """Iterate over the members in the archive's order; each can be opened until the next is requested."""
        self.file.seek(0)
        members = _zip_members(self.file) if self.is_zip else _tar_members(_decompressed(self.file, self._start))
        while True:
            with self.reading(self._at):
                member = next(members, None)
            if member is None:
                return
            self._at = f" after member {_named(member)}"
            yield member

    @contextmanager
    def reading(self, where: str) -> Iterator[None]:
        """Turn any exception of a decoder into one line: the decoders share no exception type."""
        try:
            yield
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise LatentbenchError(f"archive {self.path} is corrupt or cut short{where} ({reason})", _AGAIN) from None

    def copy(self, member: _Member, path: Path, progress: Callable[[int], None]) -> None:
        """Write a member's content to a new file."""
        where, left = f" in member {_named(member)}", member.size
        with self.reading(where):
            source = member.open()
        with source, _writing(path), path.open("xb") as file:
            while True:
                with self.reading(where):
                    chunk = source.read(_CHUNK)
                    left -= len(chunk)
                    if left < 0 or (left and not chunk):
                        raise ValueError(f"it does not have the {member.size:,} bytes that are declared")
                if not chunk:
                    return
                file.write(chunk)
                progress(self.file.tell())


class _Places:
    """Target paths of members: no two may collide, not even on a case-insensitive file system."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[str, bool]] = {}

    def of(self, name: str, is_folder: bool) -> tuple[str, ...]:
        """The parts of a member's path below the target; empty for the archive's top folder.

        Raises:
            ValueError: the path is refused; says why.
        """
        parts = tuple(part for part in name.split("/") if part not in ("", "."))
        if not name.isprintable():
            raise ValueError("has a name that cannot be printed")
        if name.startswith("/") or "\\" in name or any(re.match("[A-Za-z]:", part) for part in parts):
            raise ValueError("has an absolute path, a drive or a backslash in its name")
        if ".." in parts:
            raise ValueError("leads out of the folder")
        if not parts and not is_folder:
            raise ValueError("has no name")
        if len(parts) > _DEEPEST or max(map(len, map(os.fsencode, parts)), default=0) > _LONGEST_NAME:
            raise ValueError(f"has a path of {len(parts):,} parts or a part of more than {_LONGEST_NAME} bytes")
        for end in range(1, len(parts)):
            self._take("/".join(parts[:end]), True)
        if parts:
            self._take("/".join(parts), is_folder)
        return parts

    def _take(self, path: str, is_folder: bool) -> None:
        folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        if folded not in self._taken:
            self._taken[folded] = (path, is_folder)
        elif self._taken[folded] != (path, True) or not is_folder:
            raise ValueError(f"has the same path as another member, {self._taken[folded][0]!a}")


def _extract(archive: _Archive, content: Path, folder: str, progress: Callable[[int], None]) -> None:
    """Write what is below ``folder`` in an archive into the empty folder ``content``."""
    planned: Iterable[tuple[_Member, Path]] = _planned(archive, content, folder)
    if archive.is_zip:
        planned = list(planned)  # so that nothing is written before all is checked
    found = False
    for member, path in planned:
        found = True
        with _writing(path):
            (path if member.is_folder else path.parent).mkdir(parents=True, exist_ok=True)
        if not member.is_folder:
            archive.copy(member, path, progress)
    if not found:
        raise LatentbenchError(f"archive {archive.path} has {f'no folder {folder!r}' if folder else 'nothing in it'}")
    progress(os.fstat(archive.file.fileno()).st_size)


def _planned(archive: _Archive, content: Path, folder: str) -> Iterator[tuple[_Member, Path]]:
    """The members below ``folder`` with their paths; all members are checked."""
    prefix = tuple(part for part in folder.split("/") if part)
    places, free, needed = _Places(), shutil.disk_usage(content).free, 0

    def refused(member: _Member, reason: str) -> LatentbenchError:
        return LatentbenchError(f"archive {archive.path}: member {_named(member)} {reason}", _MISTRUST)

    for member in archive.members():
        if member.fault:
            raise refused(member, member.fault)
        try:
            parts = places.of(member.name, member.is_folder)
        except ValueError as error:
            raise refused(member, str(error)) from None
        if parts[: len(prefix)] != prefix:
            continue
        if len(parts) == len(prefix) and not member.is_folder:
            raise refused(member, "is no folder")
        needed += max(member.size, _BLOCK)
        if needed > free:
            raise StorageError(
                f"archive {archive.path}: up to member {_named(member)} it declares {needed:,} bytes, and there are "
                f"{free:,} free in {content.parent.parent}",
                "free space",
            )
        yield member, content.joinpath(*parts[len(prefix) :])


def _named(member: _Member) -> str:
    """The member's name for a message, in ASCII and not too long."""
    return ascii(member.name if len(member.name) <= _LONGEST_NAME else f"{member.name[:_LONGEST_NAME]}...")


def _zip_members(file: io.BufferedReader) -> Iterator[_Member]:
    archive = zipfile.ZipFile(file)
    # The directory has no checksum; a wrong length in it hides members, which ``zipfile`` does not count.
    file.seek(-_ZIP_END - len(archive.comment), os.SEEK_END)
    end = file.read(_ZIP_END)
    (count,) = struct.unpack_from("<H", end, 10)
    if not end.startswith(b"PK\5\6") or count not in (len(archive.infolist()) % 2**16, 2**16 - 1):
        raise ValueError("its directory is not whole")
    for info in archive.infolist():
        fault = "is encrypted" if info.flag_bits & 1 else ""
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            fault = _NO_FILE
        yield _Member(info.orig_filename, info.file_size, info.is_dir(), fault, partial(archive.open, info))


def _tar_members(stream: io.BufferedIOBase) -> Iterator[_Member]:
    """The members of a tar. Its end must be there, because ``tarfile`` takes a damaged header for the end."""
    bounded = _Bounded(stream)
    try:
        archive = tarfile.TarFile(fileobj=bounded)
    except tarfile.ReadError:
        raise ValueError("it is no .zip, .tar, .tar.gz or .tar.xz") from None
    for info in archive:
        fault = "" if info.isdir() or (info.isreg() and not info.issparse()) else _NO_FILE
        yield _Member(info.name, info.size, info.isdir(), fault, partial(_opened, archive, info))
    if bounded.last != bytes(tarfile.BLOCKSIZE):
        raise ValueError("its end is missing")
    following = 0
    while chunk := stream.read(_CHUNK):  # checks the compressed stream to its end
        following += len(chunk)
        if chunk.count(0) < len(chunk) or following > _LONGEST_END:
            raise ValueError("something follows its end")


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    if file is None:
        raise ValueError("it has no content")
    return file


class _Bounded(io.BufferedIOBase):
    """A stream for ``tarfile``, which would otherwise read as many bytes into memory as a header claims."""

    def __init__(self, stream: io.BufferedIOBase) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _CHUNK:
            raise ValueError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence != os.SEEK_SET or offset < self.tell():
            raise ValueError("a member of less than no bytes")
        return self._stream.seek(offset)

    def tell(self) -> int:
        return self._stream.tell()


def _decompressed(file: io.BufferedReader, start: bytes) -> io.BufferedIOBase:
    """The tar in a file, by how the file starts."""
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.open(file)
    if start.startswith(b"\x1f\x8b"):
        return gzip.open(file)
    return file


def _compare(
    archive: Path, file: io.BufferedReader, sha256: str | None, md5: str | None, progress: Callable[[int], None]
) -> None:
    """Read a file to its end and check that it has the given checksums."""
    expected = {"sha256": sha256, "md5": md5}
    found = {name: hashlib.new(name, usedforsecurity=False) for name in expected}
    while chunk := file.read(_CHUNK):
        for digest in found.values():
            digest.update(chunk)
        progress(file.tell())
    for name, hexdigest in expected.items():
        if hexdigest and found[name].hexdigest() != hexdigest.lower():
            raise LatentbenchError(
                f"archive {archive} is not the published one: its {name} is {found[name].hexdigest()}, not {hexdigest}",
                _AGAIN,
            )


@contextmanager
def _parents(path: Path) -> Iterator[None]:
    """Create the folders above ``path``; those that are still empty after the block are removed again."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # something is in it
            for folder in made:
                folder.rmdir()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into one line."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}", "free space or choose another folder"
        ) from error
