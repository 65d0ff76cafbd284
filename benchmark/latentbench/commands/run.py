"""``latentbench run``: carry out a board's runs, resuming what was cut off and leaving alone what is finished."""

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    Invocation,
    common_options,
    data_root_option,
    device_option,
    folder_words,
    pass_invocation,
    results_option,
)
from latentbench.commands.parameters import BoardName, datasets_of_the_board, models_of_the_board, names_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record
    from latentbench.records.store import Store
    from latentbench.running.work import Work

__all__ = ["command"]


@click.command("run")
@click.argument("board", type=BoardName())
@names_option("--models", text="Just these of the board's models and variants, by label.", complete=models_of_the_board)
@names_option("--datasets", text="Just these of its datasets, by label or name.", complete=datasets_of_the_board)
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
    help="End a run that takes longer than this, and record it as failed. Leave out a plugin's dataset that takes "
    "longer to be loaded.",
)  # fmt: skip
@click.option("--executor", default="local", show_default=True, help="What carries the runs out.")
@results_option("--out")
@data_root_option
@click.option("--retry-failed", is_flag=True, help="Make failed runs again.")
@click.option(
    "--rerun", is_flag=True,
    help="Make finished runs again that other code of a plugin made; what today's code made is kept.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would run and how long it may take, by earlier runs.")
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
    dry_run: bool,
) -> None:
    """Run BOARD, a board's name or its YAML file.

    Each model that is trained is run without a training step, too, as its untrained twin, unless the board has none.

    A model's name in --models means its preset alone; a variant is named by its label. What --set and --threads change
    makes runs in other settings than the board's: its table counts them, and its CSV has them.

    Finished runs are kept, unfinished ones are resumed from their checkpoints. Of a plugin that is not built in, a
    changed file or another version of the distribution is other code: finished runs of other code are named, and made
    again with --rerun; checkpoints of other code are not resumed from. What `latentbench rm` removed is made again in
    any case. Exit code 2 if any run failed, or a dataset could not be used.
    """
    from latentbench.boards.board import find_board
    from latentbench.commands.board_runs import carry_out, slots_on, title_of
    from latentbench.commands.display import preparing
    from latentbench.devices import resolve_device
    from latentbench.executor import Execution
    from latentbench.running.plan import parse_override
    from latentbench.running.work import Work

    plugins = invocation.plugins
    the_board = find_board(board, plugins)
    run_in = plugins.get("executors", executor)
    parsed = [parse_override(text) for text in overrides]
    where = resolve_device(device)
    with preparing(quiet=invocation.quiet) as progress:
        work = Work.of(
            the_board, plugins, out, data_root,
            models=models, datasets=datasets, seeds=seeds, threads=threads, overrides=parsed,
            retry_failed=retry_failed, rerun=rerun, progress=progress, timeout=timeout,
        )  # fmt: skip
    allowed = the_board.transductive == "allowed"
    files = tuple(invocation.plugin_files)
    how = Execution(out.absolute(), data_root, where, checkpoint_seconds, files, timeout, allowed, rerun)
    slots = jobs or slots_on(where, threads or the_board.threads)
    if dry_run:
        click.echo(f"{title_of(work, how)}: {len(work.runs)} runs, {len(work.runs) - len(work.to_do)} done before")
        _tell_what_would_run(work, where, slots)
        return
    lost = carry_out(work, run_in, how, slots, quiet=invocation.quiet)

    results = folder_words(results=out)
    done = work.finished
    click.echo(f"{len(done)} of {len(work.runs)} runs are finished; their records are in {out}")
    if work.stale and not rerun:
        _tell_stale(work.stale.values(), len(done), plugins)
    refused = 0 if allowed else sum(bool(record.transductive) for record in done)
    if refused:
        click.echo(f"{refused} runs are transductive, which the board does not allow: its tables leave them out")
    shown = {run.spec.key: the_board.values(run.entry) for run in work.runs}
    lacking = sum(_lacks(record, shown[record.key], work.store, plugins) for record in done)
    if lacking:
        evaluate = invocation.command_line("evaluate", board, *folder_words(results=out, data_root=data_root))
        click.echo(f"{lacking} finished runs lack a value that the board shows: {evaluate}")
    click.echo(f"leaderboard: {invocation.command_line('leaderboard', board, *results)}")
    told = []
    if lost:
        told.append(f"{len(lost)} of {len(work.runs)} runs did not end: {lost[0]}")
    if failed := work.failed:
        show = invocation.command_line("show", failed[0].key, *results)
        told.append(f"{len(failed)} of {len(work.runs)} runs failed: {_first_failure(failed[0], show)}")
    if work.unusable:
        reasons = "; ".join(work.unusable.values())
        told.append(f"{len(work.unusable)} of {len(the_board.datasets)} datasets were left out: {reasons}")
    if told:
        raise LatentbenchError("; ".join(told))


def _tell_what_would_run(work: "Work", device: str, slots: int) -> None:
    """The runs that remain, each with how it would begin and how long it may take, and how long all of them may."""
    from tabulate import tabulate

    from latentbench.running.durations import Durations, wall_seconds

    durations = Durations(device, (record for _, record in work.store.records()))
    expected = {key: durations.expected(run.spec) for key, run in work.to_do.items()}
    rows = [(run, work.beginning(run), _about(expected[key])) for key, run in work.to_do.items()]
    if rows:
        click.echo(tabulate(rows, headers=("run", "begins", "takes about"), tablefmt="plain", disable_numparse=True))
    known = [seconds for seconds in expected.values() if seconds is not None]
    told = f"; no earlier run tells of {len(rows) - len(known)} of them" if len(known) < len(rows) else ""
    least = "at least " if told else ""
    takes = f", {least}{_about(wall_seconds(known, slots))} with {slots} at a time" if known else ""
    click.echo(f"{len(rows)} runs to do{takes}{told}")


def _about(seconds: float | None) -> str:
    from latentbench.commands.display import in_words

    return "-" if seconds is None else in_words(seconds)


def _tell_stale(stale: "Collection[Record]", finished: int, plugins: "Plugins") -> None:
    """That finished runs were made by other code than today's, by which, and what can be done."""
    from latentbench.records.code import code_of, describe_change, present_code

    changes = {describe_change(code_of(one), present_code(one.spec, plugins)): None for one in stale}
    click.echo(
        f"{len(stale)} of {finished} finished runs were made by other code: {'; '.join(changes)}; "
        "--rerun makes them again, or raise the 'version' of the model or dataset"
    )


def _lacks(record: "Record", shown: list[str], store: "Store", plugins: "Plugins") -> bool:
    """Whether a finished run has no value of a metric that the board shows, though it can be had without training."""
    from latentbench.evaluation.again import lacking, obtainable
    from latentbench.value_name import ValueName

    names = lacking(record, plugins, [ValueName.parse(name).metric for name in shown])
    return bool(names and obtainable(record, names, store, plugins))


def _first_failure(record: "Record", show: str) -> str:
    message = record.failure.message if record.failure else ""
    whose = "" if message.startswith(str(record.spec)) else f"{record.spec}: "
    return f"{whose}{message} ({show}; --retry-failed makes failed runs again)"
