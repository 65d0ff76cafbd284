"""What is left to do and until when: live bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self

from latentbench.commands.output import shown

if TYPE_CHECKING:
    from rich.progress import TaskID

    from latentbench.executor import Outcome, Progress
    from latentbench.records.record import Record
    from latentbench.running.durations import Durations
    from latentbench.running.plan import Planned

__all__ = ["Display", "in_words", "preparing"]

#: Seconds between two plain lines about the same thing.
_QUIET = 10.0


def in_words(seconds: float) -> str:
    """A duration as people read it.

    >>> in_words(3725.4)
    '1:02:05'
    """
    return str(timedelta(seconds=max(1, round(seconds))))


class Display:
    """A context around a board's runs.

    Args:
        runs: the runs that remain to be done.
        total: number of the board's runs, including finished ones.
        title: one line that names the board and the folder of the results.
        durations: how long earlier runs took; those that end are counted in. None: nothing is estimated.
        slots: runs at a time.
        quiet: tell of nothing but runs that do not end well.
    """

    def __init__(
        self,
        runs: "Sequence[Planned]",
        total: int,
        title: str,
        *,
        durations: "Durations | None" = None,
        slots: int = 1,
        quiet: bool = False,
    ) -> None:
        self._left = {run.spec.key: run for run in runs}
        self._names = {run.spec.key: str(run) for run in runs}
        self._durations, self._slots, self._quiet = durations, slots, quiet
        self._alike: dict[str, Sequence[str]] = {}
        self._expected: dict[str, float | None] = {}
        self._begun: dict[str, float] = {}
        self._told: dict[str, float] = {}
        self._bars: dict[str, TaskID] = {}
        self._live = None
        if durations:
            from latentbench.running.durations import likenesses

            self._alike = {key: likenesses(run.spec) for key, run in self._left.items()}
        self._estimate()
        if quiet:
            return
        print(f"{title}: {total} runs, {total - len(runs)} done before, {len(runs)} to do", flush=True)
        if sys.stdout.isatty() and runs:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(15), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns, TextColumn("{task.fields[loss]}"))
            self._bars[""] = self._live.add_task("runs", total=len(runs), loss=self._forecast())

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def progress(self, progress: "Progress") -> None:
        """Show the progress of a run."""
        now = time.monotonic()
        self._begun.setdefault(progress.key, now)
        if self._quiet:
            return
        losses = [f"{name} {value:.4g}" for name, value in progress.losses.items()]
        name = self._names[progress.key]
        if self._live:
            if progress.key not in self._bars:
                self._bars[progress.key] = self._live.add_task(shown(name), loss="")
            bar, total = self._bars[progress.key], progress.total or None
            told = losses[0] if losses else progress.phase
            self._live.update(bar, completed=progress.step, total=total, loss=told)
            self._live.update(self._bars[""], loss=self._forecast())
        elif now - self._told.setdefault(progress.key, now) > _QUIET:
            self._told[progress.key] = now
            done = f"step {progress.step} of {progress.total}" if progress.total else progress.phase
            print("  ".join([f"{name}: {done}", *losses]), flush=True)

    def outcome(self, outcome: "Outcome", record: "Record | None", headline: str) -> None:
        """A run has ended; ``headline`` names the value that ranks a finished one."""
        self._left.pop(outcome.key, None)
        if record and self._durations:
            self._durations.add(record)
        if self._quiet and outcome.status == "finished":
            return
        self._estimate()
        line = f"{self._names[outcome.key]}: {outcome.status}"
        if record and headline in record.values:
            line += f", {headline} {record.values[headline].value:.3f}"
        if record and record.phases:
            line += f", {record.seconds:.1f} s"
        if outcome.message:
            line += f": {outcome.message}"
        if self._live:
            if outcome.key in self._bars:
                self._live.remove_task(self._bars.pop(outcome.key))
            self._live.console.print(shown(line), highlight=False, markup=False)
            self._live.update(self._bars[""], advance=1, loss=self._forecast())
        else:
            left = f"; {len(self._left)} left{', ' if (when := self._forecast()) else ''}{when}" if self._left else ""
            print(f"{line}{left}", flush=True)

    def _estimate(self) -> None:
        """Look up how long the runs that are left will take, which changes when one has ended."""
        if self._durations:
            self._expected = {key: self._durations.expected_of(self._alike[key]) for key in self._left}

    def _forecast(self) -> str:
        """How long the runs that are left will take, and until when; empty where no earlier run tells."""
        from latentbench.running.durations import wall_seconds

        known = {key: seconds for key, seconds in self._expected.items() if seconds is not None}
        if not known:
            return ""
        now = time.monotonic()
        begun = sorted(known, key=lambda key: key not in self._begun)  # those that are under way come first
        remaining = [max(0.0, known[key] - (now - self._begun.get(key, now))) for key in begun]
        seconds = wall_seconds(remaining, self._slots)
        end, today = datetime.now() + timedelta(seconds=seconds), datetime.now().date()
        until = f"{end:%H:%M}" if end.date() == today else f"{end:%Y-%m-%d %H:%M}"
        about = "about" if len(known) == len(self._expected) else "at least"
        return f"{about} {in_words(seconds)}, until {until}"


@contextmanager
def preparing(*, quiet: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Give a function that shows how far things have come: called with what is done, how much of it, and of how much.

    A bar for each on a terminal, a plain line every ten seconds elsewhere, on standard error.
    """
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import Progress, TaskID

        with Progress(console=Console(stderr=True), transient=True) as live:
            bars: dict[str, TaskID] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in bars:
                    bars[what] = live.add_task(shown(what))
                live.update(bars[what], completed=done, total=total)

            yield show
    else:
        told: dict[str, float] = {}

        def say(what: str, done: int, total: int) -> None:
            now = time.monotonic()
            if now - told.setdefault(what, now) > _QUIET:
                told[what] = now
                share = f" ({done / total:.0%})" if total else ""
                print(f"{what}: {done:,} of {total:,}{share}", file=sys.stderr, flush=True)

        yield say
