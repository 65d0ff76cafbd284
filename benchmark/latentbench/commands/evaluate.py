"""``latentbench evaluate``: computes metrics that are new, or have a new version, for finished runs."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    Invocation,
    common_options,
    data_root_option,
    device_option,
    pass_invocation,
    results_option,
)
from latentbench.commands.parameters import metrics_offered, names_option
from latentbench.errors import LatentbenchError
from latentbench.value_name import ValueName

if TYPE_CHECKING:
    from latentbench.plugins.registry import Plugins
    from latentbench.records.record import Record
    from latentbench.records.store import Store

__all__ = ["command"]

log = logging.getLogger("latentbench")


@click.command("evaluate")
@click.argument("runs", nargs=-1, metavar="[BOARD | KEY]...")
@names_option(
    "--metrics",
    text="Just these, even of runs that have them.  [default: all that a run lacks]",
    complete=metrics_offered,
)
@results_option("--results")
@data_root_option
@device_option
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    runs: tuple[str, ...],
    metrics: list[str] | None,
    results: Path,
    data_root: Path,
    device: str,
) -> None:
    """Compute metrics for finished runs, without training: for those of a BOARD, for one KEY, or for all.

    A metric is computed from the predictions and targets stored with a run if these suffice, else from its weights and
    the dataset. The record says when and from what. A metric that is named is computed again even if the run has it.
    Exit code 2 if a run has neither predictions nor weights that suffice.
    """
    from latentbench.devices import cpu_threads, open_device
    from latentbench.evaluation.again import evaluate_again, lacking
    from latentbench.evaluation.replicates import keep_replicates
    from latentbench.records.store import Store

    plugins, store = invocation.plugins, Store(results)
    named = metrics or []
    for name in named:
        plugins.get("metrics", name)
    failed = []
    changed = 0
    for path, record in _chosen(runs, store, plugins):
        wanted = named or lacking(record, plugins)
        if not wanted:
            continue
        try:
            with open_device(device) as where, cpu_threads(record.spec.threads):
                news = evaluate_again(path, record, wanted, store, plugins, data_root, where)
        except LatentbenchError as error:
            failed.append(f"{record.key} ({record.spec}): {error}")
            click.echo(f"{record.key}: {record.spec}: {error}")
            continue
        if news is not None:
            keep_replicates(path, news, store, plugins.offers("metrics"))
            store.save_record(news)
            changed += 1
            for name, reason in news.unmeasured.items():
                metric = plugins.offers("metrics").get(ValueName.parse(name).metric)
                if metric is not None and reason != record.unmeasured.get(name):
                    log.warning("%s: no %s: %s", record.spec, name, metric.plugin.blamed_for(reason))
            new = {value.metric for name, value in news.values.items() if value != record.values.get(name)}
            click.echo(f"{record.key}: {record.spec}: {', '.join(sorted(new)) or 'no new value, and the reason why'}")
    click.echo(f"{changed} records in {results} were measured again")
    if failed:
        raise LatentbenchError(f"{len(failed)} runs could not be evaluated", failed[0])


def _chosen(runs: tuple[str, ...], store: "Store", plugins: "Plugins") -> "list[tuple[Path, Record]]":
    """The finished records that the arguments select, without duplicates, in the order of their paths."""
    from latentbench.boards.board import find_board, is_board_file
    from latentbench.boards.standings import standings

    chosen: dict[Path, Record] = {}
    every = {path: record for path, record in store.records() if record.status == "finished"}
    for run in runs:
        if run in plugins.offers("boards") or is_board_file(run):
            tables = standings(find_board(run, plugins), every.values())
            keys = {record.key for table in tables for row in table.shown for record in row.finished}
            chosen |= {path: record for path, record in every.items() if record.key in keys}
        else:
            path, record = store.find(run)
            if record.status != "finished":
                raise LatentbenchError(f"run {record.key} ({record.spec}) failed", "make it again with --retry-failed")
            chosen[path] = record
    if not (chosen or (every and not runs)):
        raise LatentbenchError(f"no finished runs in {store.root}", "name their folder with --results")
    return sorted((chosen or every).items())
