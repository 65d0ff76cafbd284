"""Timings are of one thread, whatever another test has left, and of processes that find compiled modules."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _compiled_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps what it compiles, as it does for users: some machines that run tests switch that off."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
