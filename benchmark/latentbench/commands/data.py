"""``latentbench data``: prepare datasets for runs, report their state, and verify them."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.commands.common import Invocation, common_options, data_root_option, folder_words, pass_invocation
from latentbench.commands.display import preparing
from latentbench.errors import LatentbenchError, blame, describe

if TYPE_CHECKING:
    from latentbench.data.dataset import Dataset

__all__ = ["command"]

_overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="OPTION=VALUE", help="An option of the dataset. Repeatable.",
)  # fmt: skip


@click.group("data")
def command() -> None:
    """Prepare, inspect and verify datasets."""


@command.command("prepare")
@click.argument("dataset", required=False)
@_overrides_option
@data_root_option
@common_options
@pass_invocation
def prepare(invocation: Invocation, dataset: str | None, overrides: tuple[str, ...], data_root: Path) -> None:
    """Put DATASET into the data folder, by download if necessary, and decode it.

    Without DATASET, all datasets that are there are decoded, and nothing is downloaded. Embedded data need nothing.
    """

    def ready(chosen: "Dataset") -> str:
        whose = _whose(invocation, chosen.name)
        with blame(f"{whose}, prepare()"), preparing(quiet=invocation.quiet) as progress:
            chosen.progress = partial(progress, f"preparing {chosen.name}")
            chosen.prepare(data_root)
        with blame(f"{whose}, load()"):
            chosen.load(data_root)  # shows whether what was decoded is enough for these options
        with blame(f"{whose}, status()"):
            facts = ", ".join(f"{name}: {count}" for name, count in chosen.status(data_root).facts.items())
        return f"dataset '{chosen.name}' is ready in {data_root}{f' ({facts})' if facts else ''}"

    _each(invocation, dataset, overrides, data_root, ready)


@command.command("status")
@click.argument("dataset", required=False)
@_overrides_option
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as a list of objects.")
@data_root_option
@common_options
@pass_invocation
def status(
    invocation: Invocation, dataset: str | None, overrides: tuple[str, ...], as_json: bool, data_root: Path
) -> None:
    """Show the state of DATASET, by default of all: its folder, what was found, its licence, how to get it.

    Prepared is what was decoded of it, in any options; `latentbench data clean` deletes it.
    """
    rows = [_status(chosen, data_root) for chosen in _configured(invocation, dataset, overrides)]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else "\n\n".join(map(_as_text, rows)))


@command.command("clean")
@click.argument("dataset", required=False)
@click.option("--all", "every", is_flag=True, help="What was prepared of every data folder, not of this one alone.")
@data_root_option
@common_options
@pass_invocation
def clean(invocation: Invocation, dataset: str | None, every: bool, data_root: Path) -> None:
    """Delete what was prepared of DATASET, by default of all. The data itself stays; it is prepared again when needed.

    What a process is preparing just now stays, too.
    """
    from latentbench.data.cache import all_roots, cache_roots, clear, prepared_folders
    from latentbench.files import size_in_words

    if dataset and every:
        raise click.UsageError("--all needs no DATASET")
    if dataset:
        folders = [*_configured(invocation, dataset, ())[0].caches(data_root)]
    else:
        roots = dict.fromkeys([*cache_roots(data_root), *(all_roots() if every else ())])
        folders = [folder for root in roots for folder in prepared_folders(root)]
    for folder in folders:
        size, left = clear(folder)
        click.echo(f"deleted {size_in_words(size)} of {folder}{', but what a process is preparing' if left else ''}")
    if not folders:
        click.echo(f"nothing is prepared of {f'dataset {dataset!r}' if dataset else 'any dataset'}")


@command.command("verify")
@click.argument("dataset", required=False)
@_overrides_option
@data_root_option
@common_options
@pass_invocation
def verify(invocation: Invocation, dataset: str | None, overrides: tuple[str, ...], data_root: Path) -> None:
    """Read the files of DATASET again and compare them with what was prepared. Exit code 2 if they differ.

    Without DATASET, all datasets that are there are verified.
    """

    def verified(chosen: "Dataset") -> str:
        whose = _whose(invocation, chosen.name)
        with blame(f"{whose}, verify()"), preparing(quiet=invocation.quiet) as progress:
            chosen.progress = partial(progress, f"verifying {chosen.name}")
            split_hash = chosen.verify(data_root)
        return f"dataset '{chosen.name}' is what it should be; split hash {split_hash}"

    _each(invocation, dataset, overrides, data_root, verified)


def _each(
    invocation: Invocation,
    dataset: str | None,
    overrides: tuple[str, ...],
    data_root: Path,
    act: Callable[["Dataset"], str],
) -> None:
    """Call ``act`` for the dataset, by default for all that are there, and print what it returns or raises."""
    datasets = _configured(invocation, dataset, overrides)
    if dataset:
        click.echo(act(datasets[0]))
        return
    failed = []
    for chosen in datasets:
        found = _status(chosen, data_root)
        if found["state"] == "missing":
            how = invocation.command_line("data", "status", chosen.name, *folder_words(data_root=data_root))
            click.echo(f"dataset '{chosen.name}' is not there: {how}")
            continue
        try:
            if found["state"] == "broken":
                raise LatentbenchError(found["note"])
            click.echo(act(chosen))
        except Exception as error:
            click.echo(f"dataset '{chosen.name}': {describe(error)}", err=True)
            failed.append(chosen.name)
    if failed:
        raise LatentbenchError(f"not done for {', '.join(failed)}", "see the lines above")


def _whose(invocation: Invocation, dataset: str) -> str:
    """The dataset, with its plugin where that is not built in, as the beginning of an error."""
    return invocation.plugins.get("datasets", dataset).plugin.blamed_for(f"dataset '{dataset}'")


def _configured(invocation: Invocation, name: str | None, overrides: tuple[str, ...]) -> list["Dataset"]:
    """The dataset with the options of ``--set``; without a name, all datasets with their defaults."""
    from latentbench.running.plan import parse_override

    if name is None:
        if overrides:
            raise click.UsageError("--set needs a DATASET")
        return [_made(invocation, each, {}) for each in invocation.plugins.offers("datasets")]
    values = {}
    for text in overrides:
        override = parse_override(text)
        if override.owner not in (None, name):
            raise LatentbenchError(f"--set {text}: the dataset is '{name}'", f"--set {override.option}=VALUE")
        values[override.option] = override.value
    return [_made(invocation, name, values)]


def _made(invocation: Invocation, name: str, values: Mapping[str, Any]) -> "Dataset":
    cls = invocation.plugins.get("datasets", name).value
    dataset: Dataset = cls(cls.Config.parse(values, f"dataset '{name}'"))
    return dataset


def _status(dataset: "Dataset", data_root: Path) -> dict[str, Any]:
    """The status as a dictionary. An exception is caught, so that a faulty dataset does not hide the others."""
    from latentbench.data.cache import size_of

    try:
        found = dataset.status(data_root)
        state, folder, facts, note = str(found.state), found.folder, dict(found.facts), found.note
        prepared = [{"folder": str(one), "bytes": size_of(one)} for one in dataset.caches(data_root)]
    except Exception as error:
        state, folder, facts, note, prepared = "broken", None, {}, describe(error), []
    return {
        "name": dataset.name,
        "state": state,
        "folder": None if folder is None else str(folder),
        "facts": facts,
        "note": note,
        "prepared": prepared,
        "options": dataset.config.model_dump(mode="json"),
        "licence": dataset.licence,
        "source": dataset.source,
    }


def _as_text(row: Mapping[str, Any]) -> str:
    from latentbench.files import size_in_words

    lines = {
        "folder": row["folder"],
        "there": ", ".join(f"{name}: {count}" for name, count in row["facts"].items()),
        "note": row["note"],
        "prepared": ", ".join(f"{size_in_words(one['bytes'])} in {one['folder']}" for one in row["prepared"]),
        "licence": row["licence"],
        "source": row["source"],
    }
    told = [f"  {name:8} {' '.join(str(text).split())}" for name, text in lines.items() if text]
    return "\n".join([f"{row['name']}: {row['state']}", *told])
