"""Files are replaced whole or not at all, even when the disk is full; a workplace has one process."""

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from latentbench.files import (
    CACHE_VARIABLE,
    LOCK,
    StorageError,
    cache_folder,
    content_of,
    discard,
    replacing,
    workplace,
)


def test_content_appears_when_the_block_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with replacing(path) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert os.listdir(path.parent) == ["file"]  # noqa: PTH208


def test_an_error_in_the_block_leaves_the_old_content_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write(b"half of the n")
            raise TypeError("the rest is lost")

    with pytest.raises(TypeError, match="the rest is lost"):
        write_half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_is_a_file_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("not a folder")
    with (
        pytest.raises(StorageError, match=r"cannot write .*results/a\.json: (Not a directory|File exists)"),
        replacing(tmp_path / "results" / "a.json"),
    ):
        pass


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named_with_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is opened on a device that is really full: the kernel itself says ENOSPC."""
    import tempfile

    monkeypatch.setattr(
        tempfile, "mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / ".file.part"))
    )
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(os, "fchmod", lambda *_: None)  # not the device's mode
    with (
        pytest.raises(StorageError, match="No space left on device: free space or choose another folder"),
        replacing(tmp_path / "file") as file,
    ):
        file.write(b"x" * 100_000)
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_file_size_limit_leaves_no_half_written_file(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pathlib import Path; from latentbench.files import replacing\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with replacing(Path(sys.argv[1])) as file: file.write(b'x' * 5000)\n"
    )
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert "StorageError: cannot write" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_workplace_is_one_processs_alone_and_keeps_what_is_left_there(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with workplace(place) as first:
        assert first == place
        (first / "work").touch()
        with workplace(place) as second:
            assert second.name.startswith("place-")
            (second / "work").touch()
        assert not second.exists()
    with workplace(place) as again:
        assert again == place
        assert (again / "work").exists()
        discard(again)
    assert list(tmp_path.iterdir()) == []


def test_a_workplace_that_is_moved_away_is_no_more_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before is done between the opening of its lock and the asking for it."""
    flock = fcntl.flock

    def moved_then_locked(*arguments: Any) -> None:
        (tmp_path / "place").rename(tmp_path / "done")
        (tmp_path / "done" / LOCK).unlink()
        flock(*arguments)

    monkeypatch.setattr(fcntl, "flock", moved_then_locked)
    with workplace(tmp_path / "place") as folder:
        (folder / "work").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["done"]


def test_a_workplace_that_cannot_be_made_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), workplace(tmp_path / "missing" / "place"):
        pass


def test_a_system_without_posix_locks_is_told_in_one_line():
    code = (
        "import sys; sys.modules['fcntl'] = None; from latentbench.commands.cli import main; exit(main(['show', '1']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    expected = "latentbench: error: latentbench runs on Linux and other POSIX systems: on Windows, use WSL\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)


def test_the_cache_is_where_the_variable_says_or_in_the_user_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "/named")
    assert cache_folder() == Path("/named")
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/latentbench")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "latentbench"


@pytest.mark.parametrize("size", [0, 1, 2**16 - 1, 2**16, 2**16 + 1, 3 * 2**16])
def test_content_is_read_whole_however_long_it_is(tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    assert content_of(str(tmp_path / "file")) == content
