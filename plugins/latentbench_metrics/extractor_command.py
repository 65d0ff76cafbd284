"""``latentbench extractor``: trains or fetches the feature extractors of the metrics of samples."""

import hashlib
from pathlib import Path

import click

from latentbench import common_options, data_root_option
from latentbench_metrics.weights import MNIST_FASHION, SHIPPED

__all__ = ["command"]


@click.group("extractor")
def command() -> None:
    """Train or fetch the feature extractors of FID, FD and related metrics."""


@command.command("train")
@click.argument("name", type=click.Choice(sorted(SHIPPED)), default=MNIST_FASHION.name)
@click.option(
    "--to", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), show_default="NAME.safetensors",
    help="File to write the weights to.",
)  # fmt: skip
@data_root_option
@common_options
def train(name: str, to: Path | None, data_root: Path) -> None:
    """Train the extractor of the metrics *-NAME again, in some minutes on one CPU core.

    That of mnist-fashion, which is the default, needs the published files of MNIST and Fashion-MNIST in the data
    folder, and that of celeba-attributes the 10,000 faces of the dataset celeba-subset; scenes are drawn. The shipped
    weights are left alone.
    """
    from latentbench import replacing

    shipped = SHIPPED[name]
    to = to or Path(shipped.file_name)
    content, told = _trained(name, data_root)
    with replacing(to, to.parent) as file:
        file.write(content)
    found = hashlib.sha256(content).hexdigest()
    click.echo(told)
    click.echo(f"{to}: {len(content):,} bytes, SHA-256 {found}")
    same = found == shipped.sha256
    click.echo("the same bytes as the shipped weights" if same else f"not the shipped weights ({shipped.sha256})")


def _trained(name: str, data_root: Path) -> tuple[bytes, str]:
    """The weights and how well they tell held-out images; on one thread, so that sums are taken in one order."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _classes(data_root) if name == MNIST_FASHION.name else _attributes(name, data_root)
    finally:
        torch.set_num_threads(threads)


def _classes(data_root: Path) -> tuple[bytes, str]:
    from latentbench_metrics.extractor_training import accuracy, read, serialize, train

    classifier = train(read(data_root, train=True), _tell)
    held_out = accuracy(classifier, read(data_root, train=False))
    told = ", ".join(f"{name}: {share:.2%} of the held-out images right" for name, share in held_out.items())
    return serialize(classifier), told


def _attributes(name: str, data_root: Path) -> tuple[bytes, str]:
    from latentbench_metrics.attribute_training import accuracy, commonest, read, train
    from latentbench_metrics.extractor_training import serialize

    images, held_out = (read(name, data_root, train=part) for part in (True, False))
    classifier = train(name, images, _tell)
    shares, blind = accuracy(classifier, held_out, name), commonest(images, held_out, name)
    told = [f"{attribute}: {share:.2%} right, {blind[attribute]:.2%} blindly" for attribute, share in shares.items()]
    mean, mean_blind = (sum(one.values()) / len(one) for one in (shares, blind))
    trained, tested = len(images.images), len(held_out.images)
    last = f"mean over {len(shares)} attributes of {tested:,} held-out images: {mean:.2%} right, {mean_blind:.2%} by "
    last += f"always telling the commonest value; trained on {trained:,}"
    return serialize(classifier), "\n".join([*told, last])


def _tell(epoch: int, epochs: int, loss: float) -> None:
    click.echo(f"epoch {epoch} of {epochs}: loss {loss:.4f}", err=True)


@command.command("fetch")
@common_options
def fetch() -> None:
    """Download the Inception weights of FID (91 MB) into PyTorch's cache, and say how to use them."""
    from latentbench_metrics.weights import VARIABLE, download_inception

    path = download_inception()
    click.echo(f"{path} holds the Inception weights; FID, KID, precision and recall are measured with them after\n")
    click.echo(f"  export {VARIABLE}={path}")
