"""``latentbench run``: carry out a board's runs, resuming what was cut off and leaving alone what is finished."""

import logging
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    Invocation,
    common_options,
    cores,
    data_root_option,
    device_option,
    pass_invocation,
    results_option,
)
from latentbench.errors import LatentbenchError, blame, describe

if TYPE_CHECKING:
    from latentbench.executor import Outcome
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record

__all__ = ["command"]

log = logging.getLogger("latentbench")


def _names(_: click.Context, __: click.Parameter, value: str | None) -> list[str] | None:
    return [name.strip() for name in value.split(",") if name.strip()] if value else None


@click.command("run")
@click.argument("board")
@click.option(
    "--models", metavar="A,B", callback=_names, help="Just these of the board's models and variants, by label."
)
@click.option("--datasets", metavar="A,B", callback=_names, help="Just these of its datasets, by label or name.")
@click.option("--seeds", type=click.IntRange(min=1), help="Seeds 0 to N-1 of each, instead of the board's number.")
@click.option(
    "--set", "overrides", multiple=True, metavar="[NAME.]OPTION=VALUE",
    help="An option of a model or dataset; without a name, of every one that has it. Repeatable.",
)  # fmt: skip
@device_option
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: all cores on a CPU, 1 on a GPU]")
@click.option(
    "--threads", type=click.IntRange(min=1),
    help="CPU threads of each run, instead of the board's number. Results depend on it: these are runs of their own.",
)  # fmt: skip
@click.option(
    "--checkpoint-seconds", type=click.FloatRange(min=0), default=60.0, show_default=True,
    help="Time between two checkpoints of a run.",
)  # fmt: skip
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
    help="End a run that takes longer than this, and record it as failed.",
)  # fmt: skip
@click.option("--executor", default="local", show_default=True, help="What carries the runs out.")
@results_option("--out")
@data_root_option
@click.option("--retry-failed", is_flag=True, help="Make failed runs again.")
@click.option(
    "--rerun", is_flag=True,
    help="Make finished runs again that other code of a plugin made; what today's code made is kept.",
)  # fmt: skip
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    board: str,
    models: list[str] | None,
    datasets: list[str] | None,
    seeds: int | None,
    overrides: tuple[str, ...],
    device: str,
    jobs: int | None,
    threads: int | None,
    checkpoint_seconds: float,
    timeout: float | None,
    executor: str,
    out: Path,
    data_root: Path,
    retry_failed: bool,
    rerun: bool,
) -> None:
    """Run BOARD, a board's name or its YAML file.

    Each model that is trained is run without a training step, too, as its untrained twin, unless the board has none.

    A model's name in --models means its preset alone; a variant is named by its label. What --set and --threads change
    makes runs in other settings than the board's: its table counts them, and its CSV has them.

    Finished runs are kept, unfinished ones are resumed from their checkpoints. Of a plugin that is not built in, a
    changed file or another version of the distribution is other code: finished runs of other code are named, and made
    again with --rerun; checkpoints of other code are not resumed from. Exit code 2 if any run failed.
    """
    from latentbench.boards.board import find_board
    from latentbench.boards.lineup import write_lineup
    from latentbench.commands.display import Display
    from latentbench.devices import resolve_device
    from latentbench.executor import Execution, Task
    from latentbench.records.code import is_stale
    from latentbench.records.store import Store
    from latentbench.running.plan import lineup_of, parse_override, plan

    plugins = invocation.plugins
    the_board = find_board(board, plugins)
    provider = plugins.get("executors", executor)
    run_in = provider.value()
    parsed = [parse_override(text) for text in overrides]
    where = resolve_device(device)

    lineup = lineup_of(the_board, plugins)
    unusable: dict[str, str] = {}

    def leave_out(label: str, error: LatentbenchError) -> None:
        unusable[label] = f"'{label}': {describe(error)}"
        log.warning("left out %s; the other datasets are run", unusable[label])

    runs = plan(
        the_board, plugins, data_root,
        models=models, datasets=datasets, seeds=seeds, threads=threads, overrides=parsed, onerror=leave_out,
    )  # fmt: skip
    write_lineup(out, the_board, lineup)
    store = Store(out)
    records = {run.spec.key: store.read(run.spec) for run in runs}
    stale = {key: record for key, record in records.items() if record is not None and is_stale(record, plugins)}
    again = {*stale} if rerun else set()
    to_do = {
        run.spec.key: run
        for run in runs
        if run.spec.key in again or _is_open(records[run.spec.key], retry_failed)
    }  # fmt: skip
    files = tuple(invocation.plugin_files)
    allowed = the_board.transductive == "allowed"
    how = Execution(out, data_root, where, checkpoint_seconds, files, timeout, allowed, rerun)
    slots = jobs or (max(1, cores() // (threads or the_board.threads)) if where == "cpu" else 1)

    title = f"board {the_board.name}, {where}, results in {out}"
    with Display([*to_do.values()], total=len(runs), title=title) as display:
        lost: list[str] = []
        silent = dict(to_do)
        outcomes = run_in.run([Task(run.spec, how) for run in to_do.values()], slots, display.progress)
        for outcome in _blaming(outcomes, provider.plugin.blamed_for(f"executor '{executor}', run()")):
            run = silent.pop(outcome.key)
            record = store.read(run.spec) if outcome.status != "lost" else None
            records[outcome.key] = record
            display.outcome(outcome, record, the_board.values(run.entry)[0])
            if outcome.status == "lost":
                lost.append(outcome.message)
    lost += [f"executor '{executor}' told nothing of {run}" for run in silent.values()]

    failed = [record for record in records.values() if record is not None and record.status == "failed"]
    results = "" if out == Path("results") else f" --results {out}"
    done = [record for record in records.values() if record is not None and record.status == "finished"]
    click.echo(f"{len(done)} of {len(runs)} runs are finished; their records are in {out}")
    if stale and not rerun:
        _tell_stale(stale.values(), len(done), plugins)
    refused = 0 if allowed else sum(bool(record.transductive) for record in done)
    if refused:
        click.echo(f"{refused} runs are transductive, which the board does not allow: its tables leave them out")
    lacking = sum(_lacks(records[run.spec.key], the_board.values(run.entry), plugins) for run in runs)
    if lacking:
        click.echo(f"{lacking} finished runs lack a value that the board shows: latentbench evaluate {board}{results}")
    click.echo(f"leaderboard: latentbench leaderboard {board}{results}")
    told = []
    if lost:
        told.append(f"{len(lost)} of {len(runs)} runs did not end: {lost[0]}")
    if failed:
        told.append(f"{len(failed)} of {len(runs)} runs failed: {_first_failure(failed[0], results)}")
    if unusable:
        told.append(
            f"{len(unusable)} of {len(the_board.datasets)} datasets were left out: {'; '.join(unusable.values())}"
        )
    if told:
        raise LatentbenchError("; ".join(told))


def _tell_stale(stale: "Collection[Record]", finished: int, plugins: "Plugins") -> None:
    """That finished runs were made by other code than today's, by which, and what can be done."""
    from latentbench.records.code import code_of, describe_change, present_code

    changes = {describe_change(code_of(one), present_code(one.spec, plugins)): None for one in stale}
    click.echo(
        f"{len(stale)} of {finished} finished runs were made by other code: {'; '.join(changes)}; "
        "--rerun makes them again, or raise the 'version' of the model or dataset"
    )


def _blaming(outcomes: "Iterable[Outcome]", whose: str) -> "Iterator[Outcome]":
    """The same outcomes; what is raised instead of one carries a note of whose it is."""
    with blame(whose):
        yield from outcomes


def _is_open(record: "Record | None", retry_failed: bool) -> bool:
    return record is None or (record.status == "failed" and retry_failed)


def _lacks(record: "Record | None", shown: list[str], plugins: "Plugins") -> bool:
    """Whether a finished run has no value of a metric that the board shows, though it can be had without training."""
    from latentbench.evaluation.again import lacking
    from latentbench.value_name import ValueName

    if record is None or record.status != "finished":
        return False
    return bool(lacking(record, plugins, [ValueName.parse(name).metric for name in shown]))


def _first_failure(record: "Record", results: str) -> str:
    message = record.failure.message if record.failure else ""
    mend = f"latentbench show {record.key}{results}; --retry-failed makes failed runs again"
    whose = "" if message.startswith(str(record.spec)) else f"{record.spec}: "
    return f"{whose}{message} ({mend})"
