"""``latentbench run`` from Python: for scripts and notebooks."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latentbench.boards.board import find_board
from latentbench.commands import VERBS
from latentbench.commands.board_runs import carry_out, slots_on
from latentbench.commands.common import outliving_os_exit, watched
from latentbench.commands.display import preparing
from latentbench.devices import resolve_device
from latentbench.errors import LatentbenchError
from latentbench.executor import Execution
from latentbench.plugins.registry import Plugins
from latentbench.records.record import Record
from latentbench.running.plan import Override
from latentbench.running.work import Work

__all__ = ["run"]

log = logging.getLogger("latentbench")


@outliving_os_exit()
def run(
    board: str | Path,
    *,
    models: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    seeds: int | None = None,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    jobs: int | None = None,
    threads: int | None = None,
    timeout: float | None = None,
    results: str | Path = "results",
    data_root: str | Path = "data",
    plugins: Sequence[str | Path] = (),
    executor: str = "local",
    retry_failed: bool = False,
    rerun: bool = False,
    progress: bool = True,
) -> list[Record]:
    """Carry out a board's runs, as `latentbench run` does: what is finished is kept, and what was cut off is resumed.

    Every run has a process of its own, so a model is in a plugin file or an installed plugin, not in the notebook.

    Args:
        board: a board's name, or the path of its YAML file.
        models: just these of the board's models and variants, by label.
        datasets: just these of its datasets, by label or name.
        seeds: seeds 0 to N-1 of each, instead of the board's number.
        options: options of models and datasets, as ``{"vae.latent_dim": 16}``; a name without a model or dataset is of
            every one that has it.
        device: "cpu", "cuda", "cuda:1"; "auto" is CUDA where it is available, else the CPU.
        jobs: runs at a time; by default all cores on a CPU, 1 on a GPU.
        threads: CPU threads of each run, instead of the board's number.
        timeout: seconds after which a run is ended and recorded as failed, and a plugin's dataset, when it is first
            loaded, is given up.
        results: folder of the records.
        data_root: folder of the datasets.
        plugins: plugin files to load.
        executor: what carries the runs out.
        retry_failed: make failed runs again.
        rerun: make finished runs again that other code of a plugin made.
        progress: print how the runs go.

    Returns:
        The record of every run, in the board's order, those that were finished before among them. A failed run is a
        record, too (``record.status``, ``record.failure``), and a warning tells of it.

    Raises:
        LatentbenchError: a mistake in the arguments or the board, missing data, or a run that left no record.
    """
    loaded = Plugins.load([Path(file) for file in plugins], VERBS, watched)
    the_board = find_board(str(board), loaded)
    run_in = loaded.get("executors", executor)
    where = resolve_device(device)
    with preparing(quiet=not progress) as tell:
        work = Work.of(
            the_board,
            loaded,
            Path(results),
            Path(data_root),
            models=_names(models),
            datasets=_names(datasets),
            seeds=seeds,
            threads=threads,
            overrides=[_override(name, value) for name, value in (options or {}).items()],
            retry_failed=retry_failed,
            rerun=rerun,
            progress=tell,
            timeout=timeout,
        )
    how = Execution(
        out=Path(results).absolute(),
        data_root=Path(data_root),
        device=where,
        plugin_files=tuple(Path(file) for file in plugins),
        timeout=timeout,
        transductive=the_board.transductive == "allowed",
        rerun=rerun,
    )
    slots = jobs or slots_on(where, threads or the_board.threads)
    lost = carry_out(work, run_in, how, slots, quiet=not progress)
    if lost:
        raise LatentbenchError(f"{len(lost)} of {len(work.runs)} runs did not end", lost[0])
    for record in work.failed:
        log.warning("%s failed: %s", record.spec, record.failure.message if record.failure else "")
    return [record for record in work.records.values() if record is not None]


def _names(names: str | Sequence[str] | None) -> list[str] | None:
    return [names] if isinstance(names, str) else None if names is None else [*names]


def _override(name: str, value: Any) -> Override:
    owner, _, option = name.rpartition(".")
    return Override(owner or None, option, value)
