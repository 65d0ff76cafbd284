"""``latentbench runs``: the runs in a results folder, as a list."""

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.commands.common import Invocation, common_options, fitted, pass_invocation, results_option
from latentbench.commands.parameters import names_of_the_runs, names_option
from latentbench.config import differing, format_options
from latentbench.errors import LatentbenchError, did_you_mean

if TYPE_CHECKING:
    from latentbench.plugins.registry import PluginInfo
    from latentbench.records.record import Record
    from latentbench.spec import RunSpec

__all__ = ["command"]

_STATUS = ("finished", "failed", "running", "unfinished")
_COLUMNS = ("key", "model", "dataset", "seed", "status", "ended", "seconds", "code", "settings")


@click.command("runs")
@names_option(
    "--models", text="Just the runs of these models, their untrained twins included.", complete=names_of_the_runs(2)
)
@names_option("--datasets", text="Just the runs on these datasets.", complete=names_of_the_runs(3))
@names_option("--status", text=f"Just these: {', '.join(_STATUS)}.", known=_STATUS)
@click.option(
    "--code", type=click.Choice(["current", "other"]),
    help="Just the runs that the installed code made, or those of other versions of it and of plugins that are gone.",
)  # fmt: skip
@results_option("--results")
@click.option("--json", "as_json", is_flag=True, help="Everything in the list, all options included, as JSON objects.")
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    models: list[str] | None,
    datasets: list[str] | None,
    status: list[str] | None,
    code: str | None,
    results: Path,
    as_json: bool,
) -> None:
    """List the runs in the results folder, with their keys.

    The one that ended last stands at the end. Settings are the options in which the listed runs of a model, or on a
    dataset, differ. Code names the third-party plugins that made a run, with their versions. With --quiet the keys
    alone are printed, for example for `latentbench rm $(latentbench runs --status failed --quiet)`.
    """
    from latentbench.records.store import Store

    store = Store(results)
    infos = invocation.plugins.infos()
    rows = [
        *(_row(spec, "running" if busy else "unfinished") for spec, busy in store.unfinished()),
        *(_row(record.spec, record.status, record, infos) for _, record in store.records()),
    ]
    if not rows:
        raise LatentbenchError(f"no runs in {results}", "name their folder with --results")
    _check("model", models, {row["model"] for row in rows}, results)
    _check("dataset", datasets, {row["dataset"] for row in rows}, results)
    chosen = [
        row
        for row in rows
        if (not models or row["model"] in models)
        and (not datasets or row["dataset"] in datasets)
        and (not status or row["status"] in status)
        and (not code or (code == "current") == row["current"])
    ]
    chosen.sort(key=lambda row: (row["ended"] or "", row["key"]))
    if as_json:
        click.echo(json.dumps(chosen, indent=2, ensure_ascii=False))
    elif invocation.quiet:
        for row in chosen:
            click.echo(row["key"])
    else:
        for line in _lines(chosen):
            click.echo(line)
        click.echo(f"{len(chosen)} of {len(rows)} runs in {results}", err=True)


def _row(
    spec: "RunSpec", status: str, record: "Record | None" = None, infos: "Iterable[PluginInfo]" = ()
) -> dict[str, Any]:
    from latentbench.records.code import code_of

    code = dict.fromkeys(code_of(record).values() if record else ())
    return {
        "key": spec.key,
        "model": spec.model,
        "untrained": spec.untrained,
        "dataset": spec.dataset,
        "seed": spec.seed,
        "status": status,
        "ended": record.finished if record else None,
        "seconds": round(record.seconds, 1) if record else None,
        "code": [*code],
        "current": code.keys() <= {str(info) for info in infos},
        "config": {**spec.config, **({"threads": spec.threads} if spec.threads > 1 else {})},
        "options": spec.options,
    }


def _check(noun: str, wanted: Collection[str] | None, known: Collection[str], results: Path) -> None:
    for name in wanted or ():
        if name not in known:
            raise LatentbenchError(f"no run of {noun} '{name}' in {results}", did_you_mean(name, known))


def _lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The rows as a table that fits the window."""
    from tabulate import tabulate

    settings = _settings(rows)
    cells = [
        (
            row["key"],
            f"untrained {row['model']}" if row["untrained"] else row["model"],
            row["dataset"],
            row["seed"],
            row["status"],
            (row["ended"] or "-")[:19].replace("T", " "),
            "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
            f"{', '.join(row['code']) or 'built in'}{'' if row['current'] else ' (other)'}",
            settings[row["key"]],
        )
        for row in rows
    ]
    return fitted(tabulate(cells, headers=_COLUMNS, tablefmt="plain", disable_numparse=True))


def _settings(rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """By key: in what the listed runs of one model differ, and those on one dataset."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for owner, options in (("model", "config"), ("dataset", "options")):
        alike: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            alike[row[owner]].append(row)
        for same in alike.values():
            for row, own in zip(same, differing([row[options] for row in same]), strict=True):
                found[row["key"]] |= own
    return {key: format_options(options) for key, options in found.items()}
