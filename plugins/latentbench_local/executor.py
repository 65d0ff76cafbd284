"""Runs on this machine: in this process when one slot is enough, else in one process per slot."""

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import ClassVar

from latentbench import Executor, Outcome, Progress, Task

__all__ = ["LocalExecutor"]

#: Workers are forked from a server that has imported what a run needs and nothing else: quick, and no threads to copy.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["latentbench.running.execute"])


class LocalExecutor(Executor):
    """A process per slot; the slots take the tasks in turn, and share the devices among themselves."""

    name: ClassVar[str] = "local"

    def run(self, tasks: Sequence[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        """Carry out every task, at most ``jobs`` at a time."""
        slots = min(jobs, len(tasks))
        if slots == 1:
            yield from _run_here(tasks, progress)
        elif slots > 1:
            yield from _run_in_processes(deque(tasks), slots, progress)


def _run_here(tasks: Sequence[Task], progress: Callable[[Progress], None]) -> Iterator[Outcome]:
    from latentbench import Plugins, execute

    plugins = Plugins.load(tasks[0].execution.plugin_files)
    for task in tasks:
        yield execute(task, plugins, progress)


class _Slot:
    """One worker process, started when there is a task for it, and again if it died at the last one."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: ForkServerProcess | None = None

    def give(self, task: Task) -> None:
        """Hand over the next task."""
        if self.process is None:
            self.connection, theirs = _context.Pipe()
            self.process = _context.Process(target=_work, args=(theirs, self.number), daemon=True)
            self.process.start()
            theirs.close()
        self.task = task
        self.connection.send(task)

    def hear(self) -> Progress | Outcome:
        """The worker's next word; if it has died, the outcome says of what."""
        try:
            word: Progress | Outcome = self.connection.recv()
        except EOFError:
            word = Outcome(self.task.spec.key, "lost", _death(self._joined()))
        return word

    def end(self, *, now: bool = False) -> None:
        """Let the worker go home, or take it down at once."""
        if self.process is not None:
            if now:
                self.process.terminate()
            else:
                self.connection.send(None)
            self._joined()

    def _joined(self) -> int | None:
        process, self.process = self.process, None
        if process is None:
            return None
        process.join()
        return process.exitcode


def _run_in_processes(tasks: deque[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
    busy = [_Slot(number) for number in range(jobs)]
    try:
        for slot in busy:
            slot.give(tasks.popleft())
        while busy:
            ready = wait([slot.connection for slot in busy])
            for slot in [slot for slot in busy if slot.connection in ready]:
                word = slot.hear()
                if isinstance(word, Progress):
                    progress(word)
                    continue
                yield word
                if tasks:
                    slot.give(tasks.popleft())
                else:
                    slot.end()
                    busy.remove(slot)
    finally:
        for slot in busy:
            slot.end(now=True)


def _work(connection: Connection, slot: int) -> None:
    """A worker's life: take a task, carry it out, report; until there is none, or the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from latentbench import Plugins, execute, nth_device

    plugins: Plugins | None = None
    while (task := connection.recv()) is not None:
        if plugins is None:
            plugins = Plugins.load(task.execution.plugin_files)
        here = replace(task.execution, device=nth_device(task.execution.device, slot))
        connection.send(execute(replace(task, execution=here), plugins, connection.send))


def _end_with_parent() -> None:
    """A killed command must leave no worker behind that goes on writing."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _death(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        hint = ", perhaps for want of memory: try fewer --jobs" if exitcode == -9 else ""
        return f"its process was killed by signal {-exitcode}{hint}; the same command resumes it"
    return f"its process ended with exit code {exitcode}; the same command resumes it"
