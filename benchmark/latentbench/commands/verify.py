"""``latentbench verify``: the verdict on each published number, from records alone; or on our own rows, by new runs."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from latentbench.commands.common import Invocation, claims_option, common_options, ledger_at, pass_invocation
from latentbench.errors import LatentbenchError, did_you_mean

if TYPE_CHECKING:
    from latentbench.claims.verdicts import Judgement

__all__ = ["command"]


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[CLAIM | PAPER | BOARD]...")
@claims_option
@click.option(
    "--results",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the records.  [default: results, beside the folder of the claims]",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything, as a list of JSON objects.")
@common_options
@pass_invocation
@click.pass_context
def command(
    context: click.Context,
    invocation: Invocation,
    names: tuple[str, ...],
    claims: Path | None,
    results: Path | None,
    as_json: bool,
) -> None:
    """Say of published numbers whether they come out, from the records alone.

    All are told, or a CLAIM (PAPER/ID), those of a PAPER or those that a BOARD tests. A verdict is one of: reproduced;
    refuted, which takes the paper's protocol, three seeds and a baseline that comes out; differs, which is the same
    under another protocol; inconclusive; not run; not testable. Exit code 1 if anything is refuted.
    """
    from latentbench.claims.telling import as_json as told
    from latentbench.claims.verdicts import judge

    ledger, results = ledger_at(claims, results, invocation.plugins)
    judged = _chosen(judge(ledger, results, invocation.plugins), names)
    if as_json:
        click.echo(json.dumps([told(one) for one in judged], indent=1, ensure_ascii=False))
    else:
        _print(judged)
    if any(one.verdict == "refuted" for one in judged):
        context.exit(1)


def _chosen(judged: "Sequence[Judgement]", names: Sequence[str]) -> "list[Judgement]":
    """Those that any of the names is about: the claim's, its paper's, or that of the board that it selects from."""
    if not names:
        return list(judged)
    found = []
    known = {name for one in judged for name in _names(one)}
    for name in names:
        if name not in known:
            near = [one for one in known if ("/" in one) == ("/" in name)]
            raise LatentbenchError(f"there is no claim, paper or board of claims '{name}'", did_you_mean(name, near))
    for one in judged:
        if not set(names).isdisjoint(_names(one)):
            found.append(one)
    return found


def _names(one: "Judgement") -> list[str]:
    board = getattr(one.claim.selection, "board", None)
    return [one.name, one.paper.name, *([board] if board else [])]


def _print(judged: "Sequence[Judgement]") -> None:
    """A block for each paper, a line of evidence for each claim, and how many there are of each verdict."""
    from latentbench.claims.telling import evidence_line, published_text
    from latentbench.claims.verdicts import Verdict

    paper = ""
    for one in judged:
        if one.paper.name != paper:
            paper = one.paper.name
            click.echo(f"{paper}: {one.paper.title}; {one.paper.version}")
        click.echo(f"  {one.verdict:<12}  {one.claim.id}: {published_text(one.claim)} ({one.claim.cell})")
        click.echo(f"{'':<16}{evidence_line(one)}")
        if one.command:
            click.echo(f"{'':<16}{one.command}")
    counts = Counter(one.verdict for one in judged)
    told = [f"{counts[verdict]} {verdict}" for verdict in get_args(Verdict) if counts[verdict]]
    click.echo(", ".join(told) or "no claims")
