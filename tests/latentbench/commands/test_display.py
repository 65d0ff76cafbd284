"""Plain lines where there is no terminal: one when a run ends, and not too many before."""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
import rich.progress

from latentbench.boards.board import BoardDataset
from latentbench.commands.display import Display, preparing
from latentbench.executor import Outcome, Progress
from latentbench.records.record import Environment, Phase, Record
from latentbench.running.durations import Durations
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


def test_a_run_without_steps_is_told_by_its_phase(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("latentbench.commands.display.time.monotonic", lambda: now)
    with Display([RUN], total=1, title="board b") as display:
        for phase in ("loading data", "fitting"):
            capsys.readouterr()
            display.progress(Progress(SPEC.key, 0, 0, phase=phase))
            now += 11
    assert capsys.readouterr().out == "m on noisy, seed 3: fitting\n"


def runs(number: int) -> list[Planned]:
    specs = [SPEC.model_copy(update={"seed": seed}) for seed in range(number)]
    return [Planned(spec, BoardDataset.model_validate("d"), "m") for spec in specs]


def ended(run: Planned, seconds: float) -> Record:
    where = Environment(python="3", platform="p", packages={}, cpu="c", threads=1, device="cpu", plugins={})
    return Record(
        key=run.spec.key, status="finished", spec=run.spec, started="", finished="", environment=where,
        phases={"fit": Phase(seconds=seconds, peak_memory_bytes=0)},
    )  # fmt: skip


def test_what_is_left_and_until_when_is_told_as_runs_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("latentbench.commands.display.time.monotonic", lambda: now)
    some = runs(4)
    with Display(some, 4, "board b", durations=Durations("cpu"), slots=2) as display:
        capsys.readouterr()
        for run in some[:2]:
            display.progress(Progress(run.spec.key, 0, 10))
        now = 60.0
        before = datetime.now()
        display.outcome(Outcome(some[0].spec.key, "finished"), ended(some[0], 60), "")
        display.progress(Progress(some[2].spec.key, 0, 10))
        first = capsys.readouterr().out
        now = 90.0
        for run, seconds in ((some[1], 60), (some[2], 60)):
            display.outcome(Outcome(run.spec.key, "finished"), ended(run, seconds), "")
        display.outcome(Outcome(some[3].spec.key, "lost", "a reason"), None, "")
    # of the three that are left, one has used up its minute, one begins in its place, and one stands beside it
    found = re.fullmatch(
        r"m on d, seed 0: finished, 60\.0 s; 3 left, about 0:01:00, until (\d\d:\d\d|\S+ \d\d:\d\d)\n", first
    )
    assert found, first
    ends = before + timedelta(seconds=60)
    assert found[1][-5:] in {f"{ends + timedelta(seconds=late):%H:%M}" for late in (0, 30)}
    second, third, last = capsys.readouterr().out.splitlines()
    assert "; 2 left, about 0:01:00, until " in second
    assert "; 1 left, about 0:01:00, until " in third
    assert last == "m on d, seed 3: lost: a reason"


def test_estimates_are_looked_up_anew_when_a_run_ends_and_not_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Counting(Durations):
        def expected_of(self, alike: Sequence[str]) -> float | None:
            asked.append(alike[0])
            return super().expected_of(alike)

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    some = runs(3)
    known = Counting("cpu", [ended(some[0], 60)])
    with Display(some, 3, "board b", durations=known) as display:
        assert len(asked) == 3
        for step in range(50):
            display.progress(Progress(some[0].spec.key, step, 50))
        assert len(asked) == 3
        display.outcome(Outcome(some[0].spec.key, "finished"), ended(some[0], 180), "")
        assert len(asked) == 5
        assert display._live is not None
        told = display._live.tasks[0].fields["loss"]
        assert told.startswith("about 0:04:00, until ")  # two runs, each of the median of one and three minutes


def test_where_no_earlier_run_tells_only_their_number_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    some = runs(2)
    for durations in (None, Durations("cuda")):
        with Display(some, 2, "board b", durations=durations) as display:
            display.outcome(Outcome(some[0].spec.key, "failed", "a reason"), None, "")
        assert "m on d, seed 0: failed: a reason; 1 left\n" in capsys.readouterr().out


def test_preparing_is_told_every_ten_seconds_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("latentbench.commands.display.time.monotonic", lambda: now)
    with preparing() as show:
        for done in range(0, 2501, 100):
            show("preparing d", done, 2500)
            now += 1.0
        show("preparing e", 5, 0)
        now += 11.0
        show("preparing e", 6, 0)
    with preparing(quiet=True) as show:
        show("nothing", 1, 2)
        now += 11.0
        show("nothing", 2, 2)
    assert capsys.readouterr() == (
        "", "preparing d: 1,100 of 2,500 (44%)\npreparing d: 2,200 of 2,500 (88%)\npreparing e: 6 of 0\n"
    )  # fmt: skip


def test_preparing_has_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, float, float | None]] = []

    class Bars(rich.progress.Progress):
        def stop(self) -> None:
            seen.extend((task.description, task.completed, task.total) for task in self.tasks)
            super().stop()

    monkeypatch.setattr("rich.progress.Progress", Bars)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with preparing() as show:
        show("preparing d", 1, 10)
        show("preparing e", 3, 4)
        show("preparing d", 2, 10)
    assert seen == [("preparing d", 2, 10), ("preparing e", 3, 4)]


def test_on_a_terminal_the_bar_of_a_run_that_has_ended_is_gone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with Display([RUN], total=1, title="board b") as display:
        display.progress(Progress(SPEC.key, 1, 2, {"loss": 0.5}))
        assert display._live is not None
        assert [task.description for task in display._live.tasks] == ["runs", "m on noisy, seed 3"]
        display.outcome(Outcome(SPEC.key, "lost", "a reason"), None, "auroc@test")
        assert [(task.description, task.completed, task.total) for task in display._live.tasks] == [("runs", 1, 1)]
    assert "m on noisy, seed 3: lost: a reason" in capsys.readouterr().out
