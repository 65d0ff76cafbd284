"""``latentbench waic``: outliers by the likelihoods of several seeds' models together (Choi et al. 2018)."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from latentbench import LatentbenchError
from latentbench.commands.options import Invocation, common_options, data_root_option, pass_invocation, results_option
from latentbench.record import Record
from latentbench.standings import pairs
from latentbench.store import Store

if TYPE_CHECKING:
    from latentbench.run import RunSpec

__all__ = ["command", "waic"]

#: What is kept of each image by a model that has this score.
SCORE = "negative_log_likelihood"
COLUMNS = ("auroc", "auprc", "fpr80", "fpr95")


def waic(log_p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N,): E log p(x) - Var log p(x) over S models of each of N images; smaller for anomalies.

    "WAIC, but Why? Generative Ensembles for Robust Anomaly Detection" (Choi et al. 2018, eq. 1), there over an ensemble
    that was trained independently, as here. The variance is the unbiased one, over S - 1; the paper does not say.

    Args:
        log_p: (S, N) in nats, S >= 2.
    """
    scores: npt.NDArray[np.float64] = log_p.astype(np.float64)
    return np.asarray(scores.mean(0) - scores.var(0, ddof=1))


@click.command("waic")
@results_option("--results")
@data_root_option
@common_options
@pass_invocation
def command(invocation: Invocation, results: Path, data_root: Path) -> None:
    """Hold the likelihoods that the seeds of one setting give against each other, by WAIC.

    For every setting of a model whose records have the score negative_log_likelihood, of two seeds or more.
    """
    from tabulate import tabulate

    lines = list(_lines(invocation, Store(results), data_root))
    if not lines:
        raise LatentbenchError(
            f"no two seeds of one setting in {results} have the score {SCORE}", "run a VAE on the board ood"
        )
    click.echo(tabulate(lines, ("dataset", "model", "seeds", "split", *COLUMNS), "pipe", floatfmt=".3f"))


def _lines(invocation: Invocation, store: Store, data_root: Path) -> Iterator[list[Any]]:
    """The table's lines, by setting and split."""
    from latentbench.evaluation import Predictions, measure
    from latentbench.execution import load_data

    offers = invocation.plugins.offers("metrics")
    metrics = {name: offers[name].value for name in COLUMNS if name in offers}
    settings = list(_settings(store))
    for (spec, seeds, log_p), dataset, model in zip(
        settings,
        _labels([(spec.dataset, spec.options) for spec, _, _ in settings]),
        _labels([(spec.model, spec.config) for spec, _, _ in settings]),
        strict=True,
    ):
        data = load_data(invocation.plugins, spec.dataset, spec.options, data_root)
        if data.split_hash != spec.split_hash:
            raise LatentbenchError(
                f"dataset '{spec.dataset}' in {data_root} is not the one that the records in {store.root} are of",
                "name the folder that it was read from with --data-root",
            )
        scores = {f"{split}/score": -waic(of_seeds) for split, of_seeds in log_p.items()}
        values = measure(Predictions(scores), data, metrics).values
        for split in log_p:
            found = [values.get(f"{name}@{split}") for name in COLUMNS]
            yield [dataset, model, seeds, split, *(value and value.value for value in found)]


def _settings(store: Store) -> Iterator[tuple["RunSpec", int, dict[str, npt.NDArray[np.floating]]]]:
    """What differs in the seed alone: a run, how many seeds there are, and by split log p of theirs (S, N)."""
    records: dict[str, list[tuple[Path, Record]]] = defaultdict(list)
    for path, record in store.records():
        if record.status == "finished":
            records[record.spec.model_copy(update={"seed": 0}).key].append((path, record))
    for alike in records.values():
        if len(alike) < 2:
            continue
        arrays = [store.predictions(path, record) for path, record in alike]
        splits = [name.split("/")[0] for name in arrays[0] if name.split("/")[1:] == ["score", SCORE]]
        if splits:
            log_p = {split: -np.stack([of_seed[f"{split}/score/{SCORE}"] for of_seed in arrays]) for split in splits}
            yield alike[0][1].spec, len(alike), log_p


def _labels(named: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """A name and, where it comes with several options, those in which they differ."""
    labels = []
    for name, options in named:
        others = [its for other, its in named if other == name]
        differing = {key: value for key, value in options.items() if any(its.get(key) != value for its in others)}
        labels.append(f"{name} ({pairs(differing)})" if differing else name)
    return labels
