"""A board's runs carried out while it is told how they go: what `latentbench run` and ``latentbench.run`` share."""

from latentbench.commands.common import cores
from latentbench.commands.display import Display
from latentbench.executor import Execution
from latentbench.plugins.registry import Offer
from latentbench.running.durations import Durations
from latentbench.running.work import Work

__all__ = ["carry_out", "slots_on", "title_of"]


def slots_on(device: str, threads: int) -> int:
    """Runs at a time where the user does not say: as the CPU has cores for their threads, or one on another device."""
    return max(1, cores() // threads) if device == "cpu" else 1


def title_of(work: Work, how: Execution) -> str:
    """One line that names the board, the device and the folder of the results."""
    return f"board {work.board.name}, {how.device}, results in {work.store.root}"


def carry_out(work: Work, executor: Offer, how: Execution, slots: int, *, quiet: bool) -> list[str]:
    """Carry out what remains, and show how it goes and how long it will take.

    Args:
        work: the runs.
        executor: what carries them out.
        how: device, folders and limits of every run.
        slots: runs at a time.
        quiet: tell of nothing but runs that do not end well.

    Returns:
        One line for each run that did not end, and so has no record; it names the run.

    Raises:
        StorageError: the folder of the records cannot be written.
    """
    durations = Durations(how.device, filter(None, work.records.values()))
    to_do = [*work.to_do.values()]
    title = title_of(work, how)
    with Display(to_do, len(work.runs), title, durations=durations, slots=slots, quiet=quiet) as display:
        return work.carry_out(executor, how, slots, display)
