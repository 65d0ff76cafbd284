"""The contract of an executor: it carries out tasks somewhere, and knows nothing of what a task does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from latentbench.spec import RunSpec

__all__ = ["Execution", "Executor", "Outcome", "Progress", "Task"]


@dataclass(frozen=True)
class Execution:
    """How and where runs are carried out, which on a CPU changes no result."""

    out: Path
    """Folder of the records."""
    data_root: Path
    device: str = "cpu"
    """As ``--device`` resolved it ("cpu", "cuda", "cuda:1"). It is opened in the process that executes the run."""
    checkpoint_seconds: float = 60.0
    """Time between two checkpoints of a run: what a killed run loses at most."""
    plugin_files: tuple[Path, ...] = ()
    timeout: float | None = None
    """Seconds that a run may take; one that takes longer is ended and recorded as failed. None: no limit."""
    transductive: bool = False
    """Whether an image's results may depend on the others in its batch; otherwise a run in which they do fails."""
    rerun: bool = False
    """Whether a finished run that was made by other code than the plugins' now is made again."""


@dataclass(frozen=True)
class Task:
    """One run to be carried out; picklable, so that it can travel to another process or machine."""

    spec: RunSpec
    execution: Execution


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    key: str
    step: int
    total: int
    losses: dict[str, float] = field(default_factory=dict)
    phase: str = "starting"
    """What the run is doing, such as "fitting". If its process dies without an outcome, this says where it was."""


@dataclass(frozen=True)
class Outcome:
    """How a task ended. Its record is in the store unless ``status`` is "lost"."""

    key: str
    status: Literal["finished", "failed", "lost"]
    message: str = ""
    """One line: why it failed or was lost."""


class Executor(ABC):
    """An executor as a plugin: it calls ``latentbench.execute`` for each task, in a process of its own."""

    name: ClassVar[str]

    @abstractmethod
    def run(self, tasks: Sequence[Task], jobs: int, progress: Callable[[Progress], None]) -> Iterator[Outcome]:
        """Carry out every task, at most ``jobs`` at a time, and yield each outcome as it comes.

        A task whose process is killed from outside (SIGTERM, or SIGKILL for want of memory) is yielded as "lost": the
        same command resumes it. One whose process ends otherwise, by an exit code or by a signal for what it did itself
        (SIGSEGV, SIGABRT), or takes longer than ``Execution.timeout``, has failed:
        ``latentbench.give_up`` writes its record. The others go on. ``progress`` may be called from any thread.
        """
