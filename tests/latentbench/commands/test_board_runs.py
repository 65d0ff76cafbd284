"""Runs at a time where the user does not say; that a board is carried out is tested by the commands that do it."""

import pytest

from latentbench.commands.board_runs import slots_on


@pytest.mark.parametrize(("cores", "threads", "slots"), [(8, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_on_a_cpu_as_many_runs_at_a_time_as_it_has_cores_for_their_threads(
    cores: int, threads: int, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("latentbench.commands.board_runs.cores", lambda: cores)
    assert slots_on("cpu", threads) == slots
    assert slots_on("cuda:1", threads) == 1
