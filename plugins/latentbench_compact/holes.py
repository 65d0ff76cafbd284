"""Reports from the records of several VAEs: over seeds, over intensities, and over the number of draws."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np
import numpy.typing as npt

from latentbench import Invocation, LatentbenchError, Record, Store, format_options

if TYPE_CHECKING:
    from latentbench import Data, RunSpec

__all__ = ["report_convergence", "report_mechanism", "report_waic", "waic"]

NLL = "negative_log_likelihood"
MECHANISM = ("posterior_spread", "code_norm", "hole_indicator")
METRICS = ("auroc", "auprc", "fpr80", "fpr95")
#: Of draws.
NUMBERS = (4, 8, 16, 32, 64, 100, 200, 400, 800)


def report_waic(invocation: Invocation, results: Path, data_root: Path) -> None:
    """Detect by the likelihoods that all seeds of one configuration give: WAIC.

    For every configuration of a model whose records have the score negative_log_likelihood, of two seeds or more.
    """
    from latentbench import Predictions, measure

    offers = invocation.plugins.offers("metrics")
    metrics = {name: offers[name].value for name in METRICS if name in offers}

    def lines(configuration: Configuration, data: "Data") -> Iterator[list[Any]]:
        scores = {f"{split}/score": -waic(-kept[NLL]) for split, kept in configuration.scores.items()}
        values = measure(Predictions(scores), data, metrics).values
        for split in configuration.scores:
            found = [values.get(f"{name}@{split}") for name in METRICS]
            yield [split, *(value and value.value for value in found)]

    _table(invocation, results, data_root, (NLL,), 2, METRICS, lines)


def report_mechanism(invocation: Invocation, results: Path, data_root: Path) -> None:
    """Follow width and place of the posteriors, and the hole indicator, through the intensities.

    For every configuration whose records have these scores: their means over all seeds and the anomalies of each test
    split, and over the normal images of the first.
    """

    def lines(configuration: Configuration, data: "Data") -> Iterator[list[Any]]:
        for number, (split, kept) in enumerate(configuration.scores.items()):
            anomaly = data.splits[split].targets.anomaly
            assert anomaly is not None, "a split that detection was measured on"
            for images, value in (("normal", 0), ("anomalies", 1))[1 if number else 0 :]:
                of_these = anomaly == value
                yield [f"{split}, {images}", *(float(kept[name][:, of_these].mean()) for name in MECHANISM)]

    _table(invocation, results, data_root, MECHANISM, 1, MECHANISM, lines)


def report_convergence(invocation: Invocation, run: str, images: int, results: Path, data_root: Path) -> None:
    """Follow the hole indicator of RUN, a key or its beginning, through the number N of draws.

    The run's weights must lie beside its record, as they do where it was made. Against the indicator of the most draws:
    rank correlation over images, the median relative difference, and the AUROC of either.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score
    from tabulate import tabulate

    path, record = Store(results).find(run)
    data = _data(invocation, record.spec, data_root)
    (name, split), *_ = ((name, split) for name, split in data.splits.items() if split.targets.anomaly is not None)
    anomaly = split.targets.anomaly
    assert anomaly is not None, "chosen so"
    index = np.concatenate([np.flatnonzero(anomaly == kind)[:images] for kind in (0, 1)])
    log_p = _log_p_of_draws(invocation, path, record, data, name, index)
    last = log_p.std(0, ddof=1)
    lines = []
    for count in (n for n in NUMBERS if n <= len(log_p)):
        indicator = log_p[:count].std(0, ddof=1)
        difference = np.median(np.abs(indicator / last - 1))
        auroc = roc_auc_score(anomaly[index], indicator)
        lines.append([count, spearmanr(indicator, last).statistic, difference, auroc])
    click.echo(tabulate(lines, ("N", "rank correlation", "relative difference", "AUROC"), "pipe", floatfmt=".4f"))


def _log_p_of_draws(
    invocation: Invocation, path: Path, record: Record, data: "Data", split: str, index: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """(N, images): log p(x | z) of the most draws that are asked for, by the weights beside the record."""
    import torch
    from safetensors.torch import load_file

    from latentbench_autoencoders.vae import VAE

    spec = record.spec
    model_class = invocation.plugins.get("models", spec.model).value
    if not issubclass(model_class, VAE):
        raise LatentbenchError(f"run {record.key} is of model '{spec.model}', which is no VAE", "choose a VAE's")
    weights = path.with_suffix(".safetensors")
    if not weights.is_file():
        raise LatentbenchError(f"the weights {weights} are not there", "make the run again, or name where they are")
    model = model_class(model_class.Config.parse(spec.config, f"model '{spec.model}'"), data.info).eval()
    model.load_state_dict(load_file(weights))
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        model.eps = model.noise(max(NUMBERS))
        batches = [
            model.draws(model.posterior(x), x).log_p_x
            for part in torch.split(torch.from_numpy(index), 100)
            for x in [model.observed(data.splits[split].batch(part, torch.Generator()).images)]
        ]
    return torch.cat(batches, dim=1).double().numpy()


def waic(log_p: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """(N,): E log p(x) - Var log p(x) over S models of each of N images; smaller for anomalies.

    "WAIC, but Why? Generative Ensembles for Robust Anomaly Detection" (Choi et al. 2018), there over an ensemble that
    was trained independently, as here. The variance is the unbiased one, over S - 1; the paper does not say.

    Args:
        log_p: (S, N) in nats, S >= 2.

    >>> waic(np.array([[-1.0, -4.0], [-1.0, -6.0]])).tolist()  # two models disagree on the second image
    [-1.0, -7.0]
    """
    scores: npt.NDArray[np.float64] = log_p.astype(np.float64)
    return np.asarray(scores.mean(0) - scores.var(0, ddof=1))


class Configuration(NamedTuple):
    """Runs that differ only in their seeds."""

    spec: "RunSpec"
    """The record of one of them."""
    seeds: int
    scores: dict[str, dict[str, npt.NDArray[np.floating]]]
    """Split -> score -> (seeds, N)."""


def _table(
    invocation: Invocation,
    results: Path,
    data_root: Path,
    scores: Sequence[str],
    least: int,
    columns: Sequence[str],
    lines: Callable[[Configuration, "Data"], Iterable[list[Any]]],
) -> None:
    """Print what ``lines`` makes of every configuration and its data."""
    from tabulate import tabulate

    configurations = list(_configurations(Store(results), scores, least))
    if not configurations:
        seeds = "two seeds of one configuration" if least > 1 else "run"
        raise LatentbenchError(
            f"no {seeds} in {results} have the scores {', '.join(scores)}", "run VAEs on the board ood"
        )
    found = []
    datasets = _labels([(configuration.spec.dataset, configuration.spec.options) for configuration in configurations])
    models = _labels([(configuration.spec.model, configuration.spec.config) for configuration in configurations])
    for configuration, dataset, model in zip(configurations, datasets, models, strict=True):
        data = _data(invocation, configuration.spec, data_root)
        found += [[dataset, model, configuration.seeds, *line] for line in lines(configuration, data)]
    click.echo(tabulate(found, ("dataset", "model", "seeds", "split", *columns), "pipe", floatfmt=".4g"))


def _data(invocation: Invocation, spec: "RunSpec", data_root: Path) -> "Data":
    """The data of a run, checked by its split hash."""
    from latentbench import load_data

    data = load_data(invocation.plugins, spec.dataset, spec.options, data_root)
    if data.split_hash != spec.split_hash:
        raise LatentbenchError(
            f"dataset '{spec.dataset}' in {data_root} is not the one that the records are of",
            "name the folder that it was read from with --data-root",
        )
    return data


def _configurations(store: Store, scores: Iterable[str], least: int) -> Iterator[Configuration]:
    """Groups of at least ``least`` seeds whose runs kept all these scores; warns of runs without predictions.

    Untrained twins are passed over.
    """
    records: dict[str, list[tuple[Path, Record]]] = defaultdict(list)
    gone = 0
    for path, record in store.records():
        if record.status != "finished" or record.predictions is None or record.spec.untrained:
            continue
        if (path.parent / record.predictions.file).is_file():
            records[record.spec.model_copy(update={"seed": 0}).key].append((path, record))
        else:
            gone += 1
    if gone:
        click.echo(f"latentbench: {gone} runs are left out: their predictions are not beside their records", err=True)
    for alike in records.values():
        if len(alike) < least:
            continue
        arrays = [store.predictions(path, record) for path, record in alike]
        splits = dict.fromkeys(name.split("/")[0] for name in arrays[0])
        kept = {
            split: {score: np.stack([of_seed[f"{split}/score/{score}"] for of_seed in arrays]) for score in scores}
            for split in splits
            if all(f"{split}/score/{score}" in arrays[0] for score in scores)
        }
        if kept:
            yield Configuration(alike[0][1].spec, len(alike), kept)


def _labels(named: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """A name and, where it comes with several options, as many of those in which they differ as tell them apart."""
    labels = []
    for name, options in named:
        others = [its for other, its in named if other == name]
        telling = {}
        for key, value in options.items():
            alike = [its for its in others if its.get(key) == value]
            if len(alike) < len(others):
                telling[key], others = value, alike
        labels.append(f"{name} ({format_options(telling)})" if telling else name)
    return labels
