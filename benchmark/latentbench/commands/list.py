"""``latentbench list``: what is installed, as a table or as JSON; or one thing of it in detail."""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

import click
from pydantic_core import to_jsonable_python

from latentbench.commands.common import Invocation, common_options, fitted, pass_invocation
from latentbench.config import format_options
from latentbench.errors import LatentbenchError

if TYPE_CHECKING:
    from latentbench.config import Options
    from latentbench.plugins.registry import Offer, Plugins

__all__ = ["command"]

#: What can be listed -> the columns of its table. The JSON has everything.
_COLUMNS = {
    "plugins": ("name", "distribution", "version", "status", "offers"),
    "models": ("name", "version", "capabilities", "plugin", "options"),
    "datasets": ("name", "version", "title", "licence", "plugin"),
    "metrics": ("name", "version", "title", "capability", "targets", "direction", "bounds", "plugin"),
    "boards": ("name", "title", "datasets", "models", "seeds", "rank"),
}


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    rows = _ROWS[context.params["what"]](context.ensure_object(Invocation).plugins)
    return [row["name"] for row in rows if row["name"].startswith(incomplete)]


@click.command("list")
@click.argument("what", type=click.Choice(list(_COLUMNS)), default="plugins")
@click.argument("name", required=False, shell_complete=_complete)
@click.option("--json", "as_json", is_flag=True, help="Print all details, as a list of JSON objects.")
@common_options
@pass_invocation
def command(invocation: Invocation, what: str, name: str | None, as_json: bool) -> None:
    """List what is installed: plugins, or what they offer.

    With a NAME, as in `latentbench list models vae`, everything about that one: its options with their defaults and
    meaning, presets, a board's datasets and variants. The table of models has the options that are a model's own.
    """
    rows = [row for row in _ROWS[what](invocation.plugins) if name in (None, row["name"])]
    if not rows:
        known = [row["name"] for row in _ROWS[what](invocation.plugins)]
        raise LatentbenchError(
            f"unknown {what.removesuffix('s')} '{name}'", invocation.plugins.did_you_mean(str(name), known)
        )
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
        return
    if name is not None:
        click.echo("\n".join(_detail(what.removesuffix("s"), rows[0])))
        return
    if invocation.quiet:
        click.echo("\n".join(row["name"] for row in rows))
        return
    from tabulate import tabulate

    cells = [[_short(row[column]) for column in _COLUMNS[what]] for row in rows]
    click.echo("\n".join(fitted(tabulate(cells, headers=_COLUMNS[what], tablefmt="plain", disable_numparse=True))))
    for row in rows:
        if row.get("reason"):
            click.echo(f"\n{row['name']} ({row['distribution']} {row['version']}) is broken: {row['reason']}")


def _plugins(plugins: "Plugins") -> Iterator[dict[str, Any]]:
    from latentbench.plugins.contracts import KINDS

    for kind in KINDS:  # a plugin's offers, and whether it is broken, are known only after asking it
        plugins.offers(kind)
    for info in plugins.infos():
        yield {
            "name": info.name,
            "distribution": info.distribution,
            "version": info.version,
            "builtin": info.builtin,
            "status": info.status,
            "reason": info.reason,
            "offers": info.offers,
        }


def _models(plugins: "Plugins") -> Iterator[dict[str, Any]]:
    from latentbench.capabilities import capabilities_of

    for offer in plugins.offers("models").values():
        yield {
            "name": offer.name,
            "summary": (inspect.getdoc(offer.value) or "").partition("\n")[0],
            "version": offer.value.version,
            "capabilities": capabilities_of(offer.value),
            "needs": offer.value.needs,
            "null": offer.value.null,
            "deterministic": offer.value.deterministic,
            "options": _options(offer),
            "presets": {str(data): options for data, options in offer.value.presets.items()},
            **_provider(offer),
        }


def _datasets(plugins: "Plugins") -> Iterator[dict[str, Any]]:
    for offer in plugins.offers("datasets").values():
        facts = ("title", "version", "licence", "citation", "source")
        yield {
            "name": offer.name,
            **{fact: getattr(offer.value, fact) for fact in facts},
            "options": _options(offer),
            **_provider(offer),
        }


def _metrics(plugins: "Plugins") -> Iterator[dict[str, Any]]:
    from latentbench.metric import why_unavailable

    for offer in plugins.offers("metrics").values():
        metric = offer.value
        yield {
            "name": offer.name,
            "title": metric.title,
            "version": metric.measured_version(),
            "capability": metric.capability,
            "targets": metric.targets,
            "direction": "higher is better" if metric.higher_is_better else "lower is better",
            "bounds": [bound if isfinite(bound) else None for bound in metric.bounds],
            "samples": metric.samples,
            "instrument": metric.instrument,
            "unavailable": why_unavailable(metric) or None,
            "source": metric.source,
            **_provider(offer),
        }


def _boards(plugins: "Plugins") -> Iterator[dict[str, Any]]:
    from latentbench.boards.board import all_boards

    offers = plugins.offers("boards")
    for board in all_boards(plugins).values():
        offer = offers[board.name]
        yield {
            "name": board.name,
            "title": board.title,
            "description": board.description,
            "datasets": list(dict.fromkeys(dataset.name for dataset in board.datasets)),
            "labels": [dataset.label for dataset in board.datasets],
            "entries": [
                {
                    "label": one.label,
                    "dataset": one.name,
                    "options": one.options,
                    "ranking": board.ranking(one),
                    "values": board.values(one),
                }
                for one in board.datasets
            ],
            "models": board.models,
            "variants": [variant.label for variant in board.variants],
            "settings": {one.label: {"model": one.model, **one.options} for one in board.variants},
            "seeds": board.seeds,
            "rank": list(dict.fromkeys(name for dataset in board.datasets for name in board.ranking(dataset))),
            "file": str(offer.value),
            **_provider(offer),
        }


_ROWS: Mapping[str, Callable[["Plugins"], Iterator[dict[str, Any]]]] = {
    "plugins": _plugins,
    "models": _models,
    "datasets": _datasets,
    "metrics": _metrics,
    "boards": _boards,
}


def _provider(offer: "Offer") -> dict[str, str]:
    return {"plugin": offer.plugin.name, "distribution": offer.plugin.distribution}


def _options(offer: "Offer") -> list[dict[str, Any]]:
    """Name, type, default and description of each option of the offered class, and whether it is the class's own."""
    from latentbench.config import TrainingOptions

    config: type[Options] = offer.value.Config
    defaults = config()
    return [
        {
            "name": name,
            "type": kind.__name__ if isinstance(kind := field.annotation, type) else str(kind).replace("typing.", ""),
            "default": to_jsonable_python(getattr(defaults, name)),
            "description": field.description or "",
            "of_training": name in TrainingOptions.model_fields and issubclass(config, TrainingOptions),
        }
        for name, field in config.model_fields.items()
    ]


def _detail(noun: str, row: Mapping[str, Any]) -> Iterator[str]:
    """Everything about one object."""
    from tabulate import tabulate

    yield f"{noun} {row['name']}"
    below = ("options", "presets", "labels", "entries", "variants", "settings")
    facts = {fact: _cell(value) for fact, value in row.items() if fact not in ("name", *below)}
    width = max(map(len, facts))
    for fact, value in facts.items():
        if value not in ("", "-"):
            yield f"  {fact:{width}}  {value}"
    if options := row.get("options"):
        columns = ("name", "type", "default", "description")
        cells = [[_cell(option[column]) for column in columns] for option in options]
        headers = ("option", *columns[1:])
        yield f"\n{tabulate(cells, headers, tablefmt='plain', disable_numparse=True, maxcolwidths=[None, 30, 20, 60])}"
    for title, settings in (("preset for", row.get("presets")), ("variant", row.get("settings"))):
        if settings:
            yield ""
            yield from (f"{title} {label}: {format_options(values)}" for label, values in settings.items())
    for entry in row.get("entries", ()):
        options = f" ({format_options(entry['options'])})" if entry["options"] else ""
        yield f"\n{entry['label']}: dataset {entry['dataset']}{options}"
        yield f"  ranked by {', else by '.join(entry['ranking'])}"
        if others := [name for name in entry["values"] if name not in entry["ranking"]]:
            yield f"  shows {', '.join(others)}"


def _short(value: Any) -> str:
    """A value as the text of a cell in the table of all objects; of options, those that are the class's own."""
    match value:
        case [{"default": _}, *_]:
            own = {option["name"]: option["default"] for option in value if not option["of_training"]}
            return format_options(own)
    return _cell(value)


def _cell(value: Any) -> str:
    """A value as the text of a table cell."""
    match value:
        case dict():  # of names by kind, which have lists of their own
            return ", ".join(f"{kind}: {len(names)}" for kind, names in value.items()) or "-"
        case list() | tuple():
            return ", ".join(_cell(one) for one in value)
        case None:
            return "-"
    return " ".join(str(value).split())
