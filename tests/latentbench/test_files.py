"""Files are replaced whole or not at all, even when the disk is full."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from latentbench.files import StorageError, replacing


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
