"""``latentbench extractor``: trains or fetches the feature extractors of the metrics of samples."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench import common_options, data_root_option

if TYPE_CHECKING:
    from latentbench_metrics.extractor import Classifier

__all__ = ["command"]


@click.group("extractor")
def command() -> None:
    """Train or fetch the feature extractors of FID, FD and related metrics."""


@command.command("train")
@click.option(
    "--to", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), default="mnist_fashion.safetensors",
    show_default=True, help="File to write the weights to.",
)  # fmt: skip
@data_root_option
@common_options
def train(to: Path, data_root: Path) -> None:
    """Train the extractor of the metrics *-mnist-fashion, in some minutes on one CPU core.

    It needs the published files of MNIST and Fashion-MNIST in the data folder. The shipped weights are left alone.
    """
    from latentbench import replacing
    from latentbench_metrics.extractor_training import accuracy, read, serialize
    from latentbench_metrics.weights import SHIPPED_SHA256

    classifier = _trained(data_root)
    held_out = accuracy(classifier, read(data_root, train=False))
    content = serialize(classifier)
    with replacing(to, to.parent) as file:
        file.write(content)
    found = hashlib.sha256(content).hexdigest()
    click.echo(", ".join(f"{name}: {share:.2%} of the held-out images right" for name, share in held_out.items()))
    click.echo(f"{to}: {len(content):,} bytes, SHA-256 {found}")
    same = found == SHIPPED_SHA256
    click.echo("the same bytes as the shipped weights" if same else f"not the shipped weights ({SHIPPED_SHA256})")


def _trained(data_root: Path) -> "Classifier":
    """On one thread, so that sums are taken in one order."""
    import torch

    from latentbench_metrics.extractor_training import read, train

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return train(
                read(data_root, train=True),
                lambda epoch, epochs, loss: click.echo(f"epoch {epoch} of {epochs}: loss {loss:.4f}", err=True),
            )
    finally:
        torch.set_num_threads(threads)


@command.command("fetch")
@common_options
def fetch() -> None:
    """Download the Inception weights of FID (91 MB) into PyTorch's cache, and say how to use them."""
    from latentbench_metrics.weights import VARIABLE, download_inception

    path = download_inception()
    click.echo(f"{path} holds the Inception weights; FID, KID, precision and recall are measured with them after\n")
    click.echo(f"  export {VARIABLE}={path}")
