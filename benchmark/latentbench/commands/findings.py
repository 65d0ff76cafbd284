"""``latentbench findings``: published headlines beside what the records say of them."""

from pathlib import Path

import click

from latentbench.commands.common import (
    FILE,
    Invocation,
    common_options,
    pass_invocation,
    print_or_write,
    results_option,
    to_option,
)

__all__ = ["command"]


@click.command("findings")
@click.argument("file", type=FILE)
@results_option("--results")
@to_option
@common_options
@pass_invocation
def command(invocation: Invocation, file: Path, results: Path, to: Path | None) -> None:
    """Say what the records leave of the published headlines in FILE, a YAML file.

    Each headline names a row of a board, which is put beside the best null, its own untrained twin, and the rows that
    FILE names. The result is Markdown. What has no record yet is said with the command that makes it.
    """
    from latentbench.boards.findings import boards_of, load_findings
    from latentbench.boards.lineup import read_lineup
    from latentbench.boards.render.findings import render_findings
    from latentbench.commands.leaderboard import replicates_of
    from latentbench.records.belief import believed
    from latentbench.records.store import Store

    findings = load_findings(file)
    boards = boards_of(findings, invocation.plugins)
    store = Store(results)
    records = dict(believed(store.records(), invocation.plugins.values("metrics")))
    replicates = replicates_of(boards.values(), records, store, invocation.plugins)
    lineups = {name: read_lineup(results, board) for name, board in boards.items()}
    print_or_write(render_findings(findings, boards, records.values(), lineups, replicates), to)
