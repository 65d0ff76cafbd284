"""``latentbench claims``: files of published numbers checked beyond their form, rendered, quoted, and their schema."""

from pathlib import Path

import click

from latentbench.commands.common import (
    FILE,
    Invocation,
    claims_option,
    claims_results_option,
    common_options,
    ledger_at,
    pass_invocation,
    print_or_write,
    to_option,
)
from latentbench.errors import LatentbenchError

__all__ = ["command"]


@click.group("claims")
def command() -> None:
    """Check, render, quote or describe files of published numbers."""


@command.command("lint")
@claims_option
@common_options
@pass_invocation
def lint_command(invocation: Invocation, claims: Path | None) -> None:
    """Find what is wrong with claims though their files are valid.

    Cells that are there twice, rows that no board has, unknown metrics and those with a newer version than the claim is
    about, percent that is a fraction or the other way round, and numbers that the metric cannot have. Exit code 2 if
    anything is found.
    """
    from latentbench.claims.lint import lint

    ledger, _ = ledger_at(claims, None, invocation.plugins)
    faults = lint(ledger, invocation.plugins)
    for fault in faults:
        click.echo(str(fault))
    number = sum(1 for _ in ledger.claims())
    if faults:
        raise LatentbenchError(f"{len(faults)} faults in {number} claims", "see the lines above")
    click.echo(f"{number} claims of {len(ledger.papers)} papers, nothing wrong")


@command.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a file of claims."""
    from latentbench.claims.schema import json_schema

    click.echo(json_schema(), nl=False)


@command.command("render")
@claims_option
@claims_results_option
@to_option
@common_options
@pass_invocation
def render_command(invocation: Invocation, claims: Path | None, results: Path | None, to: Path | None) -> None:
    """Write the verdict on every claim, with its evidence and explanation, as Markdown."""
    from latentbench.claims.render import render_claims
    from latentbench.claims.verdicts import judge

    ledger, results = ledger_at(claims, results, invocation.plugins)
    print_or_write(render_claims(judge(ledger, results, invocation.plugins)), to)


@command.command("fill")
@click.argument("template", metavar="FILE", type=FILE)
@claims_option
@claims_results_option
@to_option
@common_options
@pass_invocation
def fill_command(
    invocation: Invocation, template: Path, claims: Path | None, results: Path | None, to: Path | None
) -> None:
    """Fill verdicts into FILE, a text that names claims.

    {{ PAPER/CLAIM }} becomes the claim's verdict with its evidence, to be followed by sentences that explain it; the
    name of a paper or of a board of claims becomes their number by verdict. An unknown name is refused, and so is a
    verdict that is written by hand.
    """
    from latentbench.claims.filling import fill
    from latentbench.claims.verdicts import judge

    try:
        text = template.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LatentbenchError(f"cannot read {template}: {error}") from None
    ledger, results = ledger_at(claims, results, invocation.plugins)
    print_or_write(fill(text, template, judge(ledger, results, invocation.plugins)), to)
