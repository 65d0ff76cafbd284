"""``latentbench rm``: removes runs, into a folder from which they can be taken back."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import Invocation, common_options, pass_invocation, results_option
from latentbench.commands.parameters import RunName
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.records.store import Store
    from latentbench.spec import RunSpec

__all__ = ["command"]


@click.command("rm")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=RunName())
@results_option("--results")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@common_options
@pass_invocation
def command(invocation: Invocation, runs: tuple[str, ...], results: Path, yes: bool) -> None:
    """Remove runs from the results folder.

    RUN is a key or its beginning, "last", or MODEL/DATASET/SEED. All that a run left is moved into a folder named after
    the time, in the folder .trash of the results folder; moved back into its place, it is what it was. Delete .trash to
    free the space. The same `latentbench run` makes a removed run again.
    """
    from latentbench.records.store import Store

    store = Store(results)
    found = {spec.key: spec for spec in (_spec(store, run) for run in runs)}
    for key, spec in found.items():
        click.echo(f"{key}: {spec}{'' if store.path(spec).exists() else ', unfinished'}")
    what = "this run" if len(found) == 1 else f"these {len(found)} runs"
    if not yes and not _agreed(f"Remove {what} from {results}?"):
        click.echo("nothing was removed")
        return
    when = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    trash = [store.move_to_trash(spec, when) for spec in found.values()]
    click.echo(f"{len(found)} {'run is' if len(found) == 1 else 'runs are'} in {trash[0]}")


def _spec(store: "Store", run: str) -> "RunSpec":
    """The run that is meant; one without a record by its key alone."""
    begun = [spec for spec, _ in store.unfinished() if run and spec.key.startswith(run)]
    recorded = any(path.stem.startswith(run) for path in store.paths())
    return begun[0] if len(begun) == 1 and not recorded else store.find(run)[1].spec


def _agreed(question: str) -> bool:
    """The answer of a person.

    Raises:
        LatentbenchError: nobody answers.
    """
    try:
        return click.confirm(question)
    except click.Abort:
        click.echo()
        raise LatentbenchError("nothing was removed, for nobody answered", "--yes removes without asking") from None
