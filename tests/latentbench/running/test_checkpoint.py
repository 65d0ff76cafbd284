"""A checkpoint comes back as it was, and a file that is no checkpoint is never trusted and never fatal."""

import logging
import os
import pickle
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from latentbench.files import StorageError
from latentbench.running.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state

CPU = torch.device("cpu")


def test_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "checkpoint.pt") is None


def test_what_was_saved_comes_back_with_types_strides_and_shared_memory(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.BatchNorm2d(3)
    content = {
        "weight": weight,
        "tied": weight,
        "half": torch.ones(2, dtype=torch.bfloat16),
        "state": layer.state_dict(),
        "plain": {"step": 3, "loss": float("inf"), "none": None, "pair": (1.5, 2), "list": [{"a": 0.1}]},
    }
    save_checkpoint(tmp_path / "checkpoint.pt", content)
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    assert loaded is not None
    assert loaded["plain"] == content["plain"]
    assert loaded["half"].dtype == torch.bfloat16
    assert torch.equal(loaded["weight"], weight)
    assert loaded["weight"].stride() == weight.stride()
    assert loaded["tied"].data_ptr() == loaded["weight"].data_ptr()
    layer.load_state_dict(loaded["state"])


@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_warned_of_and_ignored(part: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("truncated") / "checkpoint.pt"
    save_checkpoint(path, {"weight": torch.randn(100), "step": 3})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    log = logging.getLogger("latentbench")
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        assert load_checkpoint(path) is None
    finally:
        log.removeHandler(handler)
    assert len(lines) == 1
    assert f"cannot read checkpoint {path}" in lines[0]


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("by", ["torch", "pickle"])
def test_a_file_with_code_in_it_is_ignored_and_the_code_does_not_run(by: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "checkpoint.pt", tmp_path / "made-by-the-file"
    if by == "torch":
        torch.save({"step": Hostile(folder)}, path)
    else:
        path.write_bytes(pickle.dumps({"step": Hostile(folder)}))
    assert load_checkpoint(path) is None
    assert not folder.exists()


def test_a_save_that_the_system_refuses_half_way_keeps_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 3})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=f"cannot write {path}: File too large"):
            save_checkpoint(path, {"step": 4, "weight": torch.ones(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_checkpoint(path) == {"step": 3}
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("not a folder")
    with pytest.raises(StorageError, match=r"cannot write .*checkpoint\.pt"):
        save_checkpoint(tmp_path / "work" / "checkpoint.pt", {"step": 3})


def test_random_numbers_go_on_from_a_restored_state(tmp_path: Path) -> None:
    states = random_state(CPU)
    expected = torch.randn(5)
    save_checkpoint(tmp_path / "checkpoint.pt", states)
    torch.manual_seed(999)
    loaded = load_checkpoint(tmp_path / "checkpoint.pt")
    assert loaded is not None
    set_random_state(loaded, CPU)
    assert torch.equal(torch.randn(5), expected)
