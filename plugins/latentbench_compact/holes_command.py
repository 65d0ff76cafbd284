"""``latentbench holes``: analyses of VAEs on the board ood that need the records of several runs."""

from pathlib import Path

import click

from latentbench import Invocation, common_options, data_root_option, pass_invocation, results_option

__all__ = ["command"]


@click.group("holes")
def command() -> None:
    """Analyse records of VAEs on the board ood across several runs."""


@command.command("waic")
@results_option("--results")
@data_root_option
@common_options
@pass_invocation
def waic(invocation: Invocation, results: Path, data_root: Path) -> None:
    """Detect by the likelihoods that all seeds of one configuration give: WAIC.

    For every configuration of a model whose records have the score negative_log_likelihood, of two seeds or more.
    """
    from latentbench_compact.holes import report_waic

    report_waic(invocation, results, data_root)


@command.command("mechanism")
@results_option("--results")
@data_root_option
@common_options
@pass_invocation
def mechanism(invocation: Invocation, results: Path, data_root: Path) -> None:
    """Follow width and place of the posteriors, and the hole indicator, through the intensities.

    For every configuration whose records have these scores: their means over all seeds and the anomalies of each test
    split, and over the normal images of the first.
    """
    from latentbench_compact.holes import report_mechanism

    report_mechanism(invocation, results, data_root)


@command.command("convergence")
@click.argument("run")
@click.option(
    "--images",
    default=1000,
    show_default=True,
    type=click.IntRange(min=2),
    help="Maximum number of images of each kind.",
)
@results_option("--results")
@data_root_option
@common_options
@pass_invocation
def convergence(invocation: Invocation, run: str, images: int, results: Path, data_root: Path) -> None:
    """Follow the hole indicator of RUN, a key or its beginning, through the number N of draws.

    The run's weights must lie beside its record, as they do where it was made. Against the indicator of the most draws:
    rank correlation over images, the median relative difference, and the AUROC of either.
    """
    from latentbench_compact.holes import report_convergence

    report_convergence(invocation, run, images, results, data_root)
