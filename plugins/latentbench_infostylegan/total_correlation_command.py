"""``latentbench total-correlation``: how far the categorical codes of a trained generator are from independent."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench import (
    Invocation,
    LatentbenchError,
    common_options,
    data_root_option,
    device_option,
    pass_invocation,
    results_option,
)

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["command"]


@click.command("total-correlation")
@click.argument("run")
@click.option(
    "--steps",
    default=600,
    show_default=True,
    type=click.IntRange(min=1),
    help="Training steps of each of the two networks that read the codes, on 128 fakes each.",
)
@click.option(
    "--fakes",
    default=4000,
    show_default=True,
    type=click.IntRange(min=2),
    help="Held-out fakes that are measured on.",
)
@click.option("--seed", default=0, show_default=True, type=int, help="Seed of fakes, networks and permutations.")
@results_option("--results")
@data_root_option
@device_option
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    steps: int,
    fakes: int,
    seed: int,
    results: Path,
    data_root: Path,
    device: str,
) -> None:
    """Estimate the total correlation of the categorical codes given the image, for RUN of infostylegan.

    RUN is a key or its beginning, "last", or "model/dataset/seed"; its weights must lie beside its record. Two networks
    learn to read the codes from new fakes: one all codes together, one each code alone. The estimate is how much more
    the first reads, in nats. It is a difference of two lower bounds and may be slightly negative; the interval is over
    the held-out fakes. The p-value, by 199 permutations, is of the hypothesis that the total correlation is 0.
    """
    import torch
    from tabulate import tabulate

    from latentbench import load_run
    from latentbench_infostylegan.model import InfoStyleGAN
    from latentbench_infostylegan.posterior_total_correlation import estimate

    loaded = load_run(run, results, device=device, data_root=data_root, plugins=invocation.plugin_files)
    model, key = loaded.model, loaded.record.key
    if not isinstance(model, InfoStyleGAN):
        what = f"run {key} is of model '{loaded.record.spec.model}', which has no codes of infostylegan"
        raise LatentbenchError(what, "choose one of infostylegan")
    values = model.config.categorical
    if len(values) < 2:
        what = f"a total correlation takes two categorical codes, and run {key} has {len(values)}"
        raise LatentbenchError(what, "train with --set 'infostylegan.categorical=[4,4,4]'")

    continuous = model.config.continuous

    def sample(categories: "Tensor") -> "Tensor":
        """Images of these categories, (N, m); continuous codes are drawn."""
        of_prior = model.codes.draw(len(categories), categories.device)[:, :continuous]
        one_hot = [torch.eye(count, device=of_prior.device)[i] for count, i in zip(values, categories.T, strict=True)]
        return model.sample(len(categories), codes=torch.cat([of_prior, *one_hot], 1))

    found = estimate(sample, values, steps=steps, held_out=fakes, seed=seed, device=loaded.device)
    names = model.codes.names[continuous:]
    rows = [
        *zip(names, found.information_of_each, found.entropies, strict=True),
        ("sum", sum(found.information_of_each), sum(found.entropies)),
        ("all together", found.information, sum(found.entropies)),
    ]
    click.echo(tabulate(rows, ("code", "information, nats", "at most"), "pipe", floatfmt=".4f"))
    low, high = found.interval
    click.echo(
        f"\ntotal correlation given the image: {found.total_correlation:.4f} nats "
        f"(95 % interval over fakes {low:.4f} to {high:.4f}); p = {found.p_value:.3f}"
    )
