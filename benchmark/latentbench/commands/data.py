"""``latentbench data``: put datasets where runs find them, see what is there, and check it."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from latentbench.commands.options import Invocation, common_options, data_root_option, pass_invocation
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.data import Dataset

__all__ = ["command"]

_settings_option = click.option(
    "--set", "settings", multiple=True, metavar="OPTION=VALUE", help="An option of the dataset. Repeatable.",
)  # fmt: skip


@click.group("data")
def command() -> None:
    """Get datasets ready."""


@command.command("prepare")
@click.argument("dataset")
@_settings_option
@data_root_option
@common_options
@pass_invocation
def prepare(invocation: Invocation, dataset: str, settings: tuple[str, ...], data_root: Path) -> None:
    """Put DATASET into the data folder, by download if need be, and decode it. Embedded data need nothing."""
    chosen = _configured(invocation, dataset, settings)
    with _shown(f"preparing {dataset}") as chosen.progress:
        chosen.prepare(data_root)
    click.echo(f"dataset '{dataset}' is ready in {data_root}")


@command.command("status")
@click.argument("dataset", required=False)
@_settings_option
@click.option("--json", "as_json", is_flag=True, help="Everything that is known, as a list of objects.")
@data_root_option
@common_options
@pass_invocation
def status(
    invocation: Invocation, dataset: str | None, settings: tuple[str, ...], as_json: bool, data_root: Path
) -> None:
    """Tell what is there of DATASET, by default of all: where it is looked for, its licence, how to get it."""
    if settings and not dataset:
        raise click.UsageError("--set needs a DATASET")
    names = [dataset] if dataset else list(invocation.plugins.offers("datasets"))
    rows = [_status(_configured(invocation, name, settings), data_root) for name in names]
    click.echo(json.dumps(rows, indent=2, ensure_ascii=False) if as_json else "\n\n".join(map(_as_text, rows)))


@command.command("verify")
@click.argument("dataset")
@_settings_option
@data_root_option
@common_options
@pass_invocation
def verify(invocation: Invocation, dataset: str, settings: tuple[str, ...], data_root: Path) -> None:
    """Read the files of DATASET again and compare them with what was prepared. Exit code 2 if they differ."""
    chosen = _configured(invocation, dataset, settings)
    with _shown(f"verifying {dataset}") as chosen.progress:
        split_hash = chosen.verify(data_root)
    click.echo(f"dataset '{dataset}' is what it should be; split hash {split_hash}")


def _configured(invocation: Invocation, name: str, settings: tuple[str, ...]) -> "Dataset":
    """The dataset with the options of ``--set``."""
    from latentbench.plan import parse_setting

    cls = invocation.plugins.get("datasets", name).value
    values = {}
    for text in settings:
        setting = parse_setting(text)
        if setting.owner not in (None, name):
            raise LatentbenchError(f"--set {text}: the dataset is '{name}'", f"--set {setting.option}=VALUE")
        values[setting.option] = setting.value
    dataset: Dataset = cls(cls.Config.parse(values, f"dataset '{name}'"))
    return dataset


def _status(dataset: "Dataset", data_root: Path) -> dict[str, Any]:
    """Everything that is known; a dataset that fails to tell does not keep the others from telling."""
    try:
        found = dataset.status(data_root)
        state, folder, facts, note = str(found.state), found.folder, dict(found.facts), found.note
    except Exception as error:
        state, folder, facts, note = "broken", None, {}, f"{type(error).__name__}: {error}"
    return {
        "name": dataset.name,
        "state": state,
        "folder": None if folder is None else str(folder),
        "facts": facts,
        "note": note,
        "options": dataset.config.model_dump(mode="json"),
        "licence": dataset.licence,
        "source": dataset.source,
    }


def _as_text(row: Mapping[str, Any]) -> str:
    lines = {
        "folder": row["folder"],
        "there": ", ".join(f"{name}: {count}" for name, count in row["facts"].items()),
        "note": row["note"],
        "licence": row["licence"],
        "source": row["source"],
    }
    told = [f"  {name:8} {' '.join(str(text).split())}" for name, text in lines.items() if text]
    return "\n".join([f"{row['name']}: {row['state']}", *told])


@contextmanager
def _shown(title: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
