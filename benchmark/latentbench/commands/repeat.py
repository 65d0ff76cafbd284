"""``latentbench repeat``: one run made again from its record, in another folder."""

from pathlib import Path

import click

from latentbench.commands.common import (
    FOLDER,
    Invocation,
    common_options,
    data_root_option,
    device_option,
    pass_invocation,
    results_option,
)
from latentbench.commands.parameters import run_argument
from latentbench.errors import LatentbenchError

__all__ = ["command"]


@click.command("repeat")
@run_argument
@results_option("--results")
@click.option(
    "--out", metavar="FOLDER", type=FOLDER, default=Path("repeated"),
    show_default=True, help="Folder of the new record.",
)  # fmt: skip
@data_root_option
@device_option
@click.option("--executor", default="local", show_default=True, help="What carries the run out.")
@common_options
@pass_invocation
def command(
    invocation: Invocation, run: str, results: Path, out: Path, data_root: Path, device: str, executor: str
) -> None:
    """Make RUN again from its record alone, in another folder: to check it, or to have its weights.

    RUN is a key or its beginning, "last", or MODEL/DATASET/SEED. Nothing in the results folder changes. Exit code 2 if
    the run fails.
    """
    from latentbench.boards.board import BoardDataset
    from latentbench.commands.display import Display
    from latentbench.devices import resolve_device
    from latentbench.executor import Execution, Task
    from latentbench.records.code import newer_versions
    from latentbench.records.store import Store
    from latentbench.running.plan import Planned

    plugins = invocation.plugins
    _, record = Store(results).find(run)
    spec = record.spec
    if out.resolve() == results.resolve():
        raise LatentbenchError(f"{results} has the record of {spec}", "name another folder with --out")
    if newer := newer_versions(spec, plugins):
        raise LatentbenchError(f"{spec} cannot be made again: {newer}", "install what made it")
    where = resolve_device(device)
    how = Execution(
        out, data_root, where, plugin_files=tuple(invocation.plugin_files), transductive=bool(record.transductive)
    )
    planned = Planned(spec, BoardDataset.model_validate(spec.dataset), spec.model)
    store = Store(out)
    there = store.read(spec)
    to_do = [planned] if there is None or there.status == "failed" else []
    with Display(to_do, total=1, title=f"run {spec.key}, {where}, results in {out}", quiet=invocation.quiet) as display:
        run_in = plugins.get("executors", executor).value()
        for outcome in run_in.run([Task(one.spec, how) for one in to_do], 1, display.progress):
            there = store.read(spec)
            display.outcome(outcome, there, "")
            if outcome.status != "finished":
                raise LatentbenchError(f"{spec} {outcome.status}", outcome.message)
    if there is None:
        raise LatentbenchError(f"executor '{executor}' told nothing of {spec}")
    same = record.result() == there.result()
    differing = [name for name, value in record.values.items() if there.values.get(name) != value]
    click.echo(f"the record is in {store.path(spec)}")
    if same:
        click.echo("weights, predictions and values are the same as before, bit for bit")
    else:
        compare = invocation.command_line("compare", spec.key, spec.key, "--results", results, "--against", out)
        click.echo(f"{len(differing)} of {len(record.values)} values differ: {compare}")
