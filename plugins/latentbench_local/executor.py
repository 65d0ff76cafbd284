"""Runs on this machine, each in a process of its own, several at a time."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from typing import ClassVar

from latentbench import (
    Executor,
    LatentbenchError,
    Outcome,
    Progress,
    Task,
    become_child,
    execute,
    give_up,
    nth_device,
    starting_child,
)

__all__ = ["LocalExecutor"]

#: Runs are forked from a server that has imported what every run needs and no plugin: a run then starts in a fraction
#: of a second, and inherits nothing that an earlier one did to its process.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["latentbench.running.execute", "torch._dynamo", "sklearn.cluster", "sklearn.linear_model", "sklearn.neighbors"]
)
#: Seconds that a process may take to end when its run has ended: for what runs at exit, as a tracker's last write.
_GRACE = 10.0
#: Signals that a user, a terminal or the system sends to a process that is not at fault; another is one that it got for
#: what it did itself, as a fault of memory is.
_FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL, signal.SIGTERM}


class LocalExecutor(Executor):
    """A process for every run; the slots share the devices among themselves."""

    name: ClassVar[str] = "local"

    def run(self, tasks: Sequence[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        """Carry out every task, at most ``jobs`` at a time."""
        waiting = deque(tasks)
        free = deque(range(jobs))
        busy: list[_Run] = []
        try:
            while waiting or busy:
                while waiting and free:
                    busy.append(_Run(waiting.popleft(), free.popleft()))
                patience = min((run.patience for run in busy if run.patience is not None), default=None)
                ready = wait([run.connection for run in busy], patience)
                for run in [run for run in busy if run.connection in ready or run.patience == 0]:
                    message = run.receive()
                    match message:
                        case Progress():
                            progress(message)
                        case logging.LogRecord():
                            logging.getLogger(message.name).handle(message)
                        case Outcome():
                            busy.remove(run)
                            free.append(run.slot)
                            yield message
        finally:
            for run in busy:
                run.kill()


class _Run:
    """One task in its process."""

    def __init__(self, task: Task, slot: int) -> None:
        self.task = task
        self.slot = slot
        self.connection, theirs = _context.Pipe()
        level = logging.getLogger("latentbench").getEffectiveLevel()
        self._process: ForkServerProcess = _context.Process(
            target=_carry_out, args=(theirs, task, slot, dict(os.environ), level), daemon=True
        )
        try:
            with starting_child():
                self._process.start()
        except (EOFError, ConnectionError) as error:
            what = "the process from which runs are forked ended before it forked one"
            raise LatentbenchError(what, "start the command again, with fewer --jobs if memory is short") from error
        theirs.close()
        timeout = task.execution.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._last = Progress(task.spec.key, 0, 0)

    @property
    def patience(self) -> float | None:
        """Seconds until the run's time is over; 0 when it is; None where it has no end."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def receive(self) -> Progress | logging.LogRecord | Outcome:
        """The process's next message, or what became of a process that sends none any more."""
        if self.connection.poll():
            try:
                message: Progress | logging.LogRecord | Outcome = self.connection.recv()
            except (EOFError, ConnectionResetError):
                return self._death()
            if isinstance(message, Progress):
                self._last = message
            elif isinstance(message, Outcome):
                self._join()
            return message
        self.kill()
        return give_up(
            self.task, "Timeout", f"{self._where} did not end within {self.task.execution.timeout:g} seconds"
        )

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join()

    def _join(self) -> None:
        """Wait for the process to end; one that a thread keeps alive is killed after a while."""
        self._process.join(_GRACE)
        if self._process.exitcode is None:
            self.kill()

    def _death(self) -> Outcome:
        self._process.join()
        code = self._process.exitcode or 0
        if -code in _FROM_OUTSIDE:
            hint = ", perhaps for want of memory: try fewer --jobs" if code == -signal.SIGKILL else ""
            reason = f"its process was killed by signal {-code}{hint}; the same command resumes it"
            return Outcome(self.task.spec.key, "lost", reason)
        how = f"with exit code {code}" if code >= 0 else f"by {_named(-code)}"
        return give_up(self.task, "ProcessExit", f"{self._where} ended the process {how}")

    @property
    def _where(self) -> str:
        """Where the run was when it was last heard of."""
        return f"{self.task.spec} ({self._last.phase})"


def _named(number: int) -> str:
    """A signal in words: "signal 11 (SIGSEGV)"; of the real-time ones, most have no name."""
    names = {one.value: f" ({one.name})" for one in signal.Signals}
    return f"signal {number}{names.get(number, '')}"


class _Sender(QueueHandler):
    """Sends messages to the parent, what is logged among them."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # it has the connection in a queue's place
        self._connection = connection
        self._one_at_a_time = threading.Lock()

    def send(self, message: Progress | logging.LogRecord | Outcome) -> None:
        with self._one_at_a_time:
            self._connection.send(message)

    def enqueue(self, record: logging.LogRecord) -> None:
        self.send(record)


def _carry_out(connection: Connection, task: Task, slot: int, environ: Mapping[str, str], log_level: int) -> None:
    """What the process of a run does: carry the task out and report."""
    become_child(environ)
    sender = _Sender(connection)
    log = logging.getLogger("latentbench")
    log.addHandler(sender)
    log.setLevel(log_level)
    log.propagate = False
    here = replace(task.execution, device=nth_device(task.execution.device, slot))
    sender.send(execute(replace(task, execution=here), progress=sender.send))
