"""Progress of a board's runs: live bars on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from latentbench.commands.output import shown
from latentbench.executor import Outcome, Progress
from latentbench.records.record import Record
from latentbench.running.plan import Planned

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = ["Display"]

#: Seconds between two plain lines about the same run.
_QUIET = 10.0


class Display:
    """A context around a board's runs.

    Args:
        runs: the runs that remain to be done.
        total: number of the board's runs, including finished ones.
        title: one line that names the board and the folder of the results.
        quiet: tell of nothing but runs that do not end well.
    """

    def __init__(self, runs: Sequence[Planned], total: int, title: str, *, quiet: bool = False) -> None:
        self._names = {run.spec.key: str(run) for run in runs}
        self._told: dict[str, float] = {}
        self._bars: dict[str, TaskID] = {}
        self._live = None
        self._quiet = quiet
        if quiet:
            return
        print(f"{title}: {total} runs, {total - len(runs)} done before, {len(runs)} to do", flush=True)
        if sys.stdout.isatty() and runs:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(15), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns, TextColumn("{task.fields[loss]}"))

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def progress(self, progress: Progress) -> None:
        """Show the progress of a training run."""
        if self._quiet:
            return
        losses = [f"{name} {value:.4g}" for name, value in progress.losses.items()]
        name = self._names[progress.key]
        if self._live:
            if progress.key not in self._bars:
                self._bars[progress.key] = self._live.add_task(name, loss="")
            bar = self._bars[progress.key]
            self._live.update(bar, completed=progress.step, total=progress.total, loss=losses[0] if losses else "")
        elif time.monotonic() - self._told.setdefault(progress.key, time.monotonic()) > _QUIET:
            self._told[progress.key] = time.monotonic()
            print(f"{name}: step {progress.step} of {progress.total}  {'  '.join(losses)}", flush=True)

    def outcome(self, outcome: Outcome, record: Record | None, headline: str) -> None:
        """A run has ended; ``headline`` is the value to show of a finished one."""
        if self._quiet and outcome.status == "finished":
            return
        line = f"{self._names[outcome.key]}: {outcome.status}"
        if record and headline in record.values:
            line += f", {headline} {record.values[headline].value:.3f}"
        if record and record.phases:
            line += f", {sum(phase.seconds for phase in record.phases.values()):.1f} s"
        if outcome.message:
            line += f": {outcome.message}"
        if self._live:
            if outcome.key in self._bars:
                self._live.remove_task(self._bars.pop(outcome.key))
            self._live.console.print(shown(line), highlight=False, markup=False)
        else:
            print(line, flush=True)
