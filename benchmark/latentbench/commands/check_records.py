"""``latentbench check-records``: checks records against their specs, places, files and predictions."""

import multiprocessing
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.commands.common import FOLDER, Invocation, common_options, cores, pass_invocation, results_option
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.evaluation.check import Checked

__all__ = ["command"]

#: What a worker process needs to check records: the store, and the metrics and models by name.
_worker: dict[str, Any] = {}


@click.command("check-records")
@click.argument("folder", type=FOLDER, required=False)
@results_option("--results")
@click.option("--jobs", type=click.IntRange(min=1), help="Number of processes.  [default: one for each core]")
@common_options
@pass_invocation
def command(invocation: Invocation, folder: Path | None, results: Path, jobs: int | None) -> None:
    """Check the records in FOLDER, by default those in the results folder.

    Each record must have a known schema, the key of its spec, and the path that belongs to this key. Its values must
    be within their metrics' bounds, what it states about metrics and model must be so, and its files must have the
    recorded hashes. Every value that follows from the stored predictions is computed again and compared; values that
    cannot be computed again are counted by the reason. Exit code 2 if anything is wrong.
    """
    from latentbench.records.store import Store

    folder = folder or results
    paths = Store(folder).paths()
    if not paths:
        raise LatentbenchError(f"no records in {folder}", "name the folder that holds them, as in leaderboards/results")
    slots = min(jobs or cores(), len(paths))
    found = _check(paths, folder, invocation.plugin_files, slots)
    for one in found:
        for fault in one.faults:
            click.echo(f"{one.path}: {fault}")
    left = sum((one.left for one in found), Counter[str]())
    click.echo(f"{len(paths)} records, {sum(one.recomputed for one in found):,} values computed again from predictions")
    for reason, count in sorted(left.items(), key=lambda item: (-item[1], item[0])):
        click.echo(f"{count:,} values not computed again: {reason}")
    wrong = [one for one in found if one.faults]
    if wrong:
        raise LatentbenchError(f"{len(wrong)} of {len(paths)} records in {folder} are wrong", "see the lines above")


def _check(paths: Sequence[Path], folder: Path, plugin_files: Sequence[Path], slots: int) -> "list[Checked]":
    """Check all records in ``slots`` processes, or in this one if it is 1; the results have the order of the paths."""
    if slots == 1:
        _start(folder, plugin_files)
        return [_check_one(path) for path in paths]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["latentbench.evaluation.check"])
    with context.Pool(slots, _start, (folder, plugin_files)) as pool:
        return pool.map(_check_one, paths, chunksize=4)


def _start(folder: Path, plugin_files: Sequence[Path]) -> None:
    from latentbench.plugins.registry import Plugins
    from latentbench.records.store import Store

    plugins = Plugins.load(plugin_files)
    _worker.update(store=Store(folder), metrics=plugins.values("metrics"), models=plugins.values("models"))


def _check_one(path: Path) -> "Checked":
    from latentbench.evaluation.check import check_record

    return check_record(path, _worker["store"], _worker["metrics"], _worker["models"])
