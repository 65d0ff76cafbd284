"""Which versions and which third-party code made a run, and whether they are those that are loaded now.

A plugin file is identified by the hash of its content, an installed plugin by its distribution's version. Built-in
plugins have no part in it: golden records guard their results, so a new version of latentbench makes no run stale.
What a plugin imports from elsewhere is seen only where that changes the plugin's own hash or version.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from latentbench.records.record import Record, Value
from latentbench.spec import HARNESS_VERSION, RunSpec

if TYPE_CHECKING:
    from latentbench.plugins.registry import Offer, PluginInfo, Plugins

__all__ = [
    "Code",
    "code_of",
    "describe_change",
    "describe_code",
    "is_current",
    "is_stale",
    "latest_code",
    "newer_versions",
    "outdated",
    "present_code",
    "with_plugins",
]

#: Role in the run ("model", "dataset") -> "name version" of the third-party plugin that filled it.
Code = Mapping[str, str]


def code_of(record: Record) -> Code:
    """The third-party code that made a run: its model's and dataset's; empty where both are built in."""
    where = record.environment
    if not where.loaded:
        return {}
    return {role: plugin for role, plugin in sorted(where.plugins.items()) if _name(plugin) in where.loaded}


def present_code(spec: RunSpec, plugins: "Plugins") -> Code:
    """The same of the run if it were made now.

    Raises:
        LatentbenchError: no plugin offers its model or its dataset.
    """
    offers = {"dataset": plugins.get("datasets", spec.dataset), "model": plugins.get("models", spec.model)}
    return {role: str(offer.plugin) for role, offer in offers.items() if not offer.plugin.builtin}


def is_stale(record: Record, plugins: "Plugins") -> bool:
    """Whether a run is finished, and was made by other code than would make it now."""
    return record.status == "finished" and code_of(record) != present_code(record.spec, plugins)


def newer_versions(spec: RunSpec, plugins: "Plugins") -> str:
    """What has another version now than when a run was made, so that it cannot be made again; empty if nothing has.

    Raises:
        LatentbenchError: no plugin offers its model or its dataset.
    """
    model, dataset = plugins.get("models", spec.model).value, plugins.get("datasets", spec.dataset).value
    now = {
        f"model '{spec.model}'": (spec.model_version, model.version),
        f"dataset '{spec.dataset}'": (spec.dataset_version, dataset.version),
        "the harness": (spec.harness_version, HARNESS_VERSION),
    }
    return ", ".join(
        f"{what} was of version {then}, and is of {new}" for what, (then, new) in now.items() if then != new
    )


def describe_code(code: Code, other: Code) -> str:
    """What of a code is not of another one, in words: "toys sha256:0123456789ab"."""
    own = dict.fromkeys(plugin for role, plugin in code.items() if other.get(role) != plugin)
    return ", ".join(own) or "no third-party code"


def describe_change(then: Code, now: Code) -> str:
    """What differs between two codes: "toys sha256:0123456789ab, now toys sha256:ba9876543210"."""
    return f"{describe_code(then, now)}, now {describe_code(now, then)}"


def latest_code(records: Iterable[Record]) -> Code:
    """The code of the run that was finished last."""
    return code_of(max(records, key=lambda one: (one.finished, *code_of(one).values())))


def is_current(value: Value, metrics: Mapping[str, "Offer"]) -> bool:
    """Whether a value is of its metric's present version and, as far as its record tells, of its present code."""
    offer = metrics.get(value.metric)
    return (
        offer is not None
        and value.version == offer.value.measured_version()
        and value.plugin in (None, str(offer.plugin))
    )


def with_plugins(values: Mapping[str, Value], metrics: Mapping[str, "Offer"]) -> dict[str, Value]:
    """The values, each with the third-party plugin that offers its metric."""
    third = {name: str(offer.plugin) for name, offer in metrics.items() if not offer.plugin.builtin}
    return {
        name: value.model_copy(update={"plugin": third[value.metric]}) if value.metric in third else value
        for name, value in values.items()
    }


def outdated(record: Record, infos: Iterable["PluginInfo"]) -> dict[str, str]:
    """Where a finished run and its values come from other code than is loaded: the plugin then -> the plugin now.

    It calls no hook of a plugin, and so cannot tell of what a plugin that is not loaded, or has another name, offers.

    Args:
        record: of the run.
        infos: the plugins that are loaded.
    """
    now = {info.name: str(info) for info in infos if not info.builtin}
    metrics = (value.plugin for value in record.values.values() if value.plugin is not None)
    then = dict.fromkeys([*code_of(record).values(), *metrics])
    return {plugin: now[name] for plugin in then if (name := _name(plugin)) in now and now[name] != plugin}


def _name(plugin: str) -> str:
    return plugin.rpartition(" ")[0]
