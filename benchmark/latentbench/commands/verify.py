"""``latentbench verify``: the verdict on each published number, from records alone; or on our own rows, by new runs."""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    CLAIMS,
    Invocation,
    claims_option,
    claims_results_option,
    common_options,
    data_root_option,
    device_option,
    ledger_at,
    pass_invocation,
)
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.claims.verdicts import Judgement
    from latentbench.records.record import Record

__all__ = ["command"]


@click.command("verify")
@click.argument("names", nargs=-1, metavar="[CLAIM | PAPER | BOARD | KEY]...")
@claims_option
@claims_results_option
@click.option("--json", "as_json", is_flag=True, help="Print everything, as a list of JSON objects.")
@click.option("--own", is_flag=True, help="Our own rows instead: make the runs of these keys again, or of a sample.")
@click.option("--sample", type=click.IntRange(min=1), metavar="N", help="With --own: at most so many runs, at random.")
@click.option("--budget", type=click.FloatRange(min=0), metavar="SECONDS", help="With --own: as many as took so long.")
@click.option("--sample-seed", type=int, default=0, show_default=True, help="With --own: of the random choice.")
@data_root_option
@device_option
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
    own: bool,
    sample: int | None,
    budget: float | None,
    sample_seed: int,
    data_root: Path,
    device: str,
) -> None:
    """Say of published numbers whether they come out, from the records alone.

    All are told, or a CLAIM (PAPER/ID), those of a PAPER or those that a BOARD tests. A verdict is one of: reproduced;
    refuted, which takes the paper's protocol, three seeds and a baseline that comes out; differs, which is the same
    under another protocol; inconclusive; not run; not testable. Exit code 1 if anything is refuted.

    With --own, say of finished runs of ours whether they come out when they are made again: those whose KEY begins so,
    or a random sample. On the same class of hardware that is bit for bit; elsewhere, as other seeds let expect. Exit
    code 1 if anything does not come out.
    """
    if own:
        from latentbench.claims.ledger import records_beside

        results = results or records_beside(claims or CLAIMS)
        found = _own(invocation, names, results, sample, budget, sample_seed, data_root, device, as_json)
        if not found:
            context.exit(1)
        return
    if sample or budget is not None:
        raise LatentbenchError("--sample and --budget are for --own", "give it, too")
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
    from latentbench.claims.telling import names_of, unknown_name

    if not names:
        return [*judged]
    known = {name for one in judged for name in names_of(one)}
    for name in names:
        if name not in known:
            raise LatentbenchError(*unknown_name(name, judged))
    return [one for one in judged if not set(names).isdisjoint(names_of(one))]


def _print(judged: "Sequence[Judgement]") -> None:
    """A block for each paper, a line of evidence for each claim, and how many there are of each verdict."""
    from latentbench.claims.telling import evidence_line, published_text, tally

    paper, lines = "", list[str]()
    for one in judged:
        if one.paper.name != paper:
            paper = one.paper.name
            lines.append(f"{paper}: {one.paper.title}; {one.paper.version}")
        lines.append(f"  {one.verdict:<12}  {one.claim.id}: {published_text(one.claim)} ({one.claim.cell})")
        lines.append(f"{'':<16}{evidence_line(one)}")
        if one.command:
            lines.append(f"{'':<16}{one.command}")
    click.echo("\n".join([*lines, tally(one.verdict for one in judged) or "no claims"]))


def _own(
    invocation: Invocation,
    keys: Sequence[str],
    results: Path,
    count: int | None,
    budget: float | None,
    seed: int,
    data_root: Path,
    device: str,
    as_json: bool,
) -> bool:
    """Make runs again in a folder of their own, and tell of each whether it comes out; whether all have."""
    from latentbench.boards.board import all_boards
    from latentbench.boards.standings import ranking_values
    from latentbench.claims.own import Comparison, compare_runs, sample, siblings
    from latentbench.devices import resolve_device
    from latentbench.executor import Execution, Task
    from latentbench.records.code import newer_versions
    from latentbench.records.store import Store

    store, plugins = Store(results), invocation.plugins
    if not keys and count is None and budget is None:
        raise LatentbenchError("--own makes runs again: name their KEYs, or give --sample N or --budget SECONDS")
    records = [record for _, record in store.records()]
    named = [store.find(key)[1] for key in keys]
    if failed := [one for one in named if one.status == "failed"]:
        raise LatentbenchError(
            f"run {failed[0].key} ({failed[0].spec}) failed, so it has no row", "name a finished one"
        )
    chosen = {one.key: one for one in named or sample(records, count, budget, seed)}
    if not chosen:
        raise LatentbenchError(f"no finished run in {results} fits", "name another folder with --results, or more time")
    ranking = ranking_values(all_boards(plugins).values())
    lines = []

    def tell(record: "Record", found: Comparison) -> None:
        lines.append({"key": record.key, "run": str(record.spec), **vars(found)})
        if not as_json:
            click.echo(f"{found.outcome:<10}  {record.key}: {record.spec}: {found.evidence}")

    with TemporaryDirectory() as folder:
        again = Store(Path(folder))
        where, files = resolve_device(device), tuple(invocation.plugin_files)
        tasks = []
        for record in chosen.values():
            if newer := newer_versions(record.spec, plugins):
                tell(record, Comparison("outdated", newer))
                continue
            allowed = bool(record.transductive)
            how = Execution(again.root, data_root, where, plugin_files=files, transductive=allowed)
            tasks.append(Task(record.spec, how))
        for outcome in plugins.get("executors", "local").value().run(tasks, 1, lambda _: None):
            record = chosen[outcome.key]
            new = again.read(record.spec) if outcome.status != "lost" else None
            tell(record, compare_runs(record, new, siblings(record, records), ranking.get(record.spec.dataset, [])))
    if as_json:
        click.echo(json.dumps(lines, indent=1, ensure_ascii=False))
    return not any(line["outcome"] in ("changed", "failed") for line in lines)
