"""Plain lines where there is no terminal: one when a run ends, and not too many before."""

import pytest

from latentbench.boards.board import BoardDataset
from latentbench.commands.display import Display
from latentbench.executor import Outcome, Progress
from latentbench.running.plan import Planned
from latentbench.spec import RunSpec

SPEC = RunSpec(model="m", model_version=1, config={}, dataset="d", dataset_version=1, options={}, split_hash="", seed=3)
RUN = Planned(SPEC, BoardDataset.model_validate({"name": "d", "label": "noisy"}), "m")


def test_the_title_counts_what_is_done_and_what_is_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    with Display([RUN], total=5, title="board b"):
        pass
    assert capsys.readouterr().out == "board b: 5 runs, 4 done before, 1 to do\n"


def test_progress_is_told_at_intervals_and_every_end_at_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("latentbench.commands.display.time.monotonic", lambda: now)
    with Display([RUN], total=1, title="board b") as display:
        capsys.readouterr()
        for step in range(1, 61):  # a notice every half second, for half a minute
            display.progress(Progress(SPEC.key, step, 60, {"loss": 0.5, "kl": 2.0}))
            now += 0.5
        told = capsys.readouterr().out.splitlines()
        display.outcome(Outcome(SPEC.key, "failed", "a reason"), None, "auroc@test")
        assert capsys.readouterr().out == "m on noisy, seed 3: failed: a reason\n"
    assert told == [f"m on noisy, seed 3: step {step} of 60  loss 0.5  kl 2" for step in (22, 43)]


def test_on_a_terminal_the_bar_of_a_run_that_has_ended_is_gone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with Display([RUN], total=1, title="board b") as display:
        display.progress(Progress(SPEC.key, 1, 2, {"loss": 0.5}))
        assert display._live is not None
        assert len(display._live.tasks) == 1
        display.outcome(Outcome(SPEC.key, "lost", "a reason"), None, "auroc@test")
        assert display._live.tasks == []
    assert "m on noisy, seed 3: lost: a reason" in capsys.readouterr().out
