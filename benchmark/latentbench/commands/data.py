"""``latentbench data``: put datasets where runs find them."""

from pathlib import Path

import click

from latentbench.commands.options import Invocation, common_options, data_root_option, pass_invocation

__all__ = ["command"]


@click.group("data")
def command() -> None:
    """Get datasets ready."""


@command.command("prepare")
@click.argument("dataset")
@data_root_option
@common_options
@pass_invocation
def prepare(invocation: Invocation, dataset: str, data_root: Path) -> None:
    """Put DATASET into the data folder, by download if need be. Embedded data need nothing."""
    invocation.plugins.get("datasets", dataset).value().prepare(data_root)
    click.echo(f"dataset '{dataset}' is ready in {data_root}")
