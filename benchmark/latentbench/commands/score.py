"""``latentbench score``: a finished detector applied to pictures of one's own."""

import csv
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from latentbench.commands.common import (
    FOLDER,
    Invocation,
    common_options,
    data_root_option,
    device_option,
    pass_invocation,
    print_or_write,
    results_option,
    to_option,
)
from latentbench.commands.output import shown
from latentbench.commands.parameters import run_argument
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.evaluation.scoring import Pictures, Scores

__all__ = ["command"]

#: Columns of the CSV.
_COLUMNS = ("picture", "score", "normal_below", "threshold", "above")


@click.command("score")
@run_argument
@click.argument("pictures", metavar="IMAGES...", nargs=-1, required=True, type=click.Path(path_type=Path))
@results_option("--results")
@data_root_option
@to_option
@click.option(
    "--maps", metavar="FOLDER", type=FOLDER,
    help="Write a heat map of each picture there, if the model localizes.",
)  # fmt: skip
@click.option(
    "--quantile", type=click.FloatRange(0, 1), default=0.95, show_default=True,
    help="The threshold is the score that this share of the normal validation images does not exceed.",
)  # fmt: skip
@click.option("--score", metavar="NAME", help="One of the model's scores.  [default: its own]")
@device_option
@common_options
@pass_invocation
def command(
    invocation: Invocation,
    run: str,
    pictures: tuple[Path, ...],
    results: Path,
    data_root: Path,
    to: Path | None,
    maps: Path | None,
    quantile: float,
    score: str | None,
    device: str,
) -> None:
    """Score pictures of your own, files or folders of them, with the model of RUN.

    RUN is a key or its beginning, "last", or MODEL/DATASET/SEED; its weights have to be beside its record. Pictures are
    brought into the form of the images that the model was trained on, and in what they differ from these is told.

    The result is a CSV: each picture with its score (larger = more anomalous), the share of the normal validation
    images of the run's dataset that score lower, the threshold, and whether the score is above it. Without the dataset
    these columns are empty. A heat map is dark at the 1st and bright at the 99.5th percentile over all maps, those of
    the validation images among them. Exit code 2 if a picture cannot be read; the others are scored.
    """
    from latentbench.devices import cpu_threads, open_device
    from latentbench.evaluation.loading import info_of, load_model, load_run_data
    from latentbench.evaluation.scoring import list_pictures, read_pictures, remarks, score_pictures
    from latentbench.records.store import Store

    plugins, store = invocation.plugins, Store(results)
    path, record = store.find(run)
    files = list_pictures(pictures)
    info = info_of(path, record, store, plugins, data_root)
    model = load_model(path, record, store, plugins, info)
    try:
        data = load_run_data(record, plugins, data_root)
    except LatentbenchError as error:
        _tell(f"no threshold, for the dataset of the run is not there: {error}")
        data = None
    dataset = plugins.get("datasets", record.spec.dataset).value
    read = read_pictures(files, dataset(dataset.Config.parse(record.spec.options, f"dataset '{dataset.name}'")), info)
    for remark in remarks(read, data, info):
        _tell(remark)
    if data is not None and data.validation is None:
        _tell("no threshold, for the dataset of the run has no validation split")
    if "score" in record.transductive:
        _tell("a picture's score depends on the other pictures: the model is transductive")
    owner = str(plugins.get("models", record.spec.model).plugin)
    with open_device(device) as where, cpu_threads(record.spec.threads):
        found = score_pictures(
            read,
            model.to(where),
            data.to(where) if data else None,
            info,
            owner=owner,
            device=where,
            seed=record.spec.seed,
            score=score,
            maps=maps is not None,
        )
    print_or_write(_csv(read, found, quantile), to)
    if maps is not None:
        _write_maps(maps, read, found, record.spec.model)
    for reason in read.failures.values():
        _tell(reason)
    if read.failures:
        raise LatentbenchError(f"{len(read.failures)} of {len(files)} pictures cannot be read", "see the lines above")


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _csv(pictures: "Pictures", scores: "Scores", quantile: float) -> str:
    from latentbench.boards.render.escaping import no_formula

    threshold, shares = scores.threshold(quantile), scores.shares
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for place, (picture, score) in enumerate(zip(pictures.files, scores.scores.tolist(), strict=True)):
        beside = ("", "", "") if shares is None else (float(shares[place]), threshold, int(score > (threshold or 0.0)))
        writer.writerow((no_formula(shown(str(picture))), score, *beside))
    return file.getvalue()


def _write_maps(folder: Path, pictures: "Pictures", scores: "Scores", model: str) -> None:
    from latentbench.evaluation.scoring import heat_map
    from latentbench.files import replacing

    if scores.maps is None:
        _tell(f"no heat maps, for model '{model}' does not localize")
        return
    absolute = [Path(os.path.abspath(file)) for file in pictures.files]  # noqa: PTH100  # drops "..", keeps links
    common = Path(os.path.commonpath([file.parent for file in absolute]))
    for file, values, header in zip(absolute, scores.maps, pictures.headers, strict=True):
        png = io.BytesIO()
        heat_map(values, scores, header).save(png, "PNG")
        place = folder / file.relative_to(common)
        with replacing(place.with_name(f"{place.name}.png")) as opened:
            opened.write(png.getvalue())
    _tell(f"{len(absolute)} heat maps are in {folder}, dark at {scores.dark:.4g} and bright at {scores.bright:.4g}")
