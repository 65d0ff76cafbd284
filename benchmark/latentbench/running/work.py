"""A board's runs in a results folder: which are done, which remain, and carrying these out."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from latentbench.boards.board import Board
from latentbench.boards.lineup import Lineup, write_lineup
from latentbench.errors import LatentbenchError, describe, outliving
from latentbench.executor import Execution, Outcome, Progress, Task
from latentbench.plugins.registry import Offer, Plugins
from latentbench.records.belief import refuse_contradictions
from latentbench.records.code import is_stale
from latentbench.records.record import Record
from latentbench.records.store import Store
from latentbench.running.execute import checkpoint_path
from latentbench.running.plan import Override, Planned, lineup_of, plan
from latentbench.running.undoing import undoing

__all__ = ["Watcher", "Work"]

log = logging.getLogger("latentbench")


class Watcher(Protocol):
    """Is told how the runs go."""

    def progress(self, progress: Progress) -> None:
        """A run has come further."""

    def outcome(self, outcome: Outcome, record: Record | None, headline: str) -> None:
        """A run has ended; ``headline`` names the value that ranks a finished one, and is empty where it has none."""


@dataclass(frozen=True)
class Work:
    """A board's runs, or those of them that were chosen, as they stand in a results folder."""

    board: Board
    lineup: Lineup
    runs: Sequence[Planned]
    records: dict[str, Record | None]
    """By key. What is carried out is put in."""
    stale: Mapping[str, Record]
    """By key: finished runs that other code made than would make them now."""
    to_do: Mapping[str, Planned]
    """By key: those that remain."""
    unusable: Mapping[str, str]
    """By label: datasets that cannot be used, and why, in one line. The others are run."""
    store: Store

    @classmethod
    def of(
        cls,
        board: Board,
        plugins: Plugins,
        out: Path,
        data_root: Path,
        *,
        models: Sequence[str] | None = None,
        datasets: Sequence[str] | None = None,
        seeds: int | None = None,
        threads: int | None = None,
        overrides: Sequence[Override] = (),
        retry_failed: bool = False,
        rerun: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
        timeout: float | None = None,
    ) -> Self:
        """Plan the runs and look for their records. Nothing is written.

        Args:
            board: what to run.
            plugins: where models and datasets come from.
            out: folder of the records.
            data_root: folder of the datasets.
            models: just these of the board's models and variants.
            datasets: just these of the board's datasets, by label or name.
            seeds: this many, whatever the board says.
            threads: CPU threads of each run, whatever the board says.
            overrides: options that differ from the presets and from the board's.
            retry_failed: whether failed runs are to be made again.
            rerun: whether finished runs that other code made are to be made again.
            progress: called with a title, what is done and of how much, while a dataset is prepared.
            timeout: seconds that a dataset of a third-party plugin may take to be loaded.

        Raises:
            LatentbenchError: as ``plan``; or a record is of a later version of latentbench, or contradicts the metrics
                that are installed.
        """
        lineup = lineup_of(board, plugins)
        unusable: dict[str, str] = {}

        def leave_out(label: str, error: LatentbenchError) -> None:
            unusable[label] = f"'{label}': {describe(error)}"
            log.warning("left out %s; the other datasets are run", unusable[label])

        runs = plan(
            board, plugins, data_root,
            models=models, datasets=datasets, seeds=seeds, threads=threads, overrides=overrides, onerror=leave_out,
            progress=progress, timeout=timeout,
        )  # fmt: skip
        store = Store(out)
        records = {run.spec.key: store.read(run.spec) for run in runs}
        metrics = plugins.values("metrics")
        for record in filter(None, records.values()):
            refuse_contradictions(store.path(record.spec), record, metrics)
        stale = {key: record for key, record in records.items() if record is not None and is_stale(record, plugins)}
        again = {*stale} if rerun else set()
        to_do = {
            run.spec.key: run
            for run in runs
            if run.spec.key in again or _is_open(records[run.spec.key], retry_failed)
        }  # fmt: skip
        return cls(board, lineup, runs, records, stale, to_do, unusable, store)

    def carry_out(self, executor: Offer, how: Execution, slots: int, watcher: Watcher) -> list[str]:
        """Carry out what remains by an executor, at most ``slots`` runs at a time, and write the board's lineup.

        Args:
            executor: what carries the runs out.
            how: device, folders and limits of every run.
            slots: runs at a time.
            watcher: is told how the runs go.

        Returns:
            One line for each run that did not end, and so has no record; it names the run.

        Raises:
            StorageError: the folder of the records cannot be written.
        """
        write_lineup(self.store.root, self.board, self.lineup)
        for ended in self.finished:
            if ended.key not in self.to_do:
                self.store.clear_work(ended.spec)
        lost: list[str] = []
        silent = dict(self.to_do)
        tasks = [Task(run.spec, how) for run in self.to_do.values()]
        outcomes = executor.value().run(tasks, slots, watcher.progress)
        for outcome in _of_executor(outcomes, executor):
            run = silent.pop(outcome.key)
            record = self.store.read(run.spec) if outcome.status != "lost" else None
            self.records[outcome.key] = record
            ranking = self.board.ranking(run.entry)
            headline = next((name for name in ranking if record is not None and name in record.values), "")
            watcher.outcome(outcome, record, headline)
            if outcome.status == "lost":
                whose = "" if outcome.message.startswith(str(run.spec)) else f"{run}: "
                lost.append(f"{whose}{outcome.message}")
        return lost + [f"executor '{executor.name}' told nothing of {run}" for run in silent.values()]

    def beginning(self, run: Planned) -> str:
        """How a run that remains would begin."""
        record = self.records[run.spec.key]
        if run.spec.key in self.stale:
            return "again, for other code made it"
        resumes = checkpoint_path(self.store, run.spec).is_file()
        if record is not None:
            return f"again, for it failed{', from its checkpoint' if resumes else ''}"
        return "from its checkpoint" if resumes else "from the start"

    @property
    def finished(self) -> list[Record]:
        """The records of finished runs, in the order of the runs."""
        return [record for record in self.records.values() if record is not None and record.status == "finished"]

    @property
    def failed(self) -> list[Record]:
        """The records of failed runs, in the order of the runs."""
        return [record for record in self.records.values() if record is not None and record.status == "failed"]


def _of_executor(outcomes: Iterable[Outcome], executor: Offer) -> Iterator[Outcome]:
    """The same outcomes; what is raised instead of one carries a note of whose it is.

    What a third-party executor changes of the process, it changes for itself alone.
    """
    whose = executor.plugin.blamed_for(f"executor '{executor.name}', run()")
    coming = iter(outcomes)
    while True:
        with outliving(whose), nullcontext() if executor.plugin.builtin else undoing(whose):
            outcome = next(coming, None)
        if outcome is None:
            return
        yield outcome


def _is_open(record: Record | None, retry_failed: bool) -> bool:
    return record is None or (record.status == "failed" and retry_failed)
