"""From a board and the command line's wishes to the runs that they mean."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latentbench.board import Board
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.execution import load_data
from latentbench.plugins import Plugins
from latentbench.run import RunSpec

__all__ = ["Setting", "parse_setting", "plan"]

log = logging.getLogger("latentbench")


@dataclass(frozen=True)
class Setting:
    """One ``--set``: an option of one model or dataset, or of every selected one that has it."""

    owner: str | None
    option: str
    value: Any


def parse_setting(text: str) -> Setting:
    """Read ``[NAME.]OPTION=VALUE``; the value is YAML, so ``3`` is a number and ``[3, 8]`` a list.

    Raises:
        LatentbenchError: no ``=``, or the value is no YAML.
    """
    left, equals, right = text.partition("=")
    owner, _, option = left.strip().rpartition(".")
    if not equals or not option:
        raise LatentbenchError(
            f"cannot read --set '{text}'", "it is [NAME.]OPTION=VALUE, as in --set vae.latent_dim=16"
        )
    try:
        return Setting(owner or None, option, yaml.safe_load(right))
    except yaml.YAMLError:
        raise LatentbenchError(f"cannot read --set '{text}'", f"'{right}' is no YAML value") from None


def plan(
    board: Board,
    plugins: Plugins,
    data_root: Path,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | None = None,
    settings: Sequence[Setting] = (),
) -> list[RunSpec]:
    """Every run of ``board``, seed by seed; the datasets are loaded, because a run's identity holds their hash.

    A model is left out, with a warning, on a dataset that has not what it needs.

    Args:
        board: what to run.
        plugins: where models and datasets come from.
        data_root: folder of the datasets.
        models: just these of the board's models.
        datasets: just these of the board's datasets.
        seeds: this many instead of the board's.
        settings: options that differ from the presets and from the board's.

    Raises:
        LatentbenchError: an unknown name or option, a wrong value, a missing or corrupt dataset, or nothing to run.
    """
    everything = list(plugins.offers("models")) if board.models == "all" else board.models
    chosen_models = _choose("model", models, everything, board)
    chosen_datasets = _choose("dataset", datasets, [entry.name for entry in board.datasets], board)
    model_classes = {name: plugins.get("models", name).value for name in chosen_models}
    dataset_classes = {name: plugins.get("datasets", name).value for name in chosen_datasets}
    wishes = _assign(settings, {**model_classes, **dataset_classes})

    specs: dict[str, RunSpec] = {}
    for entry in board.datasets:
        if entry.name not in chosen_datasets:
            continue
        dataset, dataset_class = entry.name, dataset_classes[entry.name]
        options = dataset_class.Config.parse({**entry.options, **wishes[dataset]}, f"dataset '{dataset}'")
        configs = {name: cls.configure(dataset, wishes[name]) for name, cls in model_classes.items()}
        dumped = options.model_dump(mode="json")
        data = load_data(plugins, dataset, dumped, data_root)
        able = dict(model_classes)
        for model, model_class in model_classes.items():
            if missing := [need for need in model_class.needs if not getattr(data.info, need)]:
                log.warning("%s is left out on %s: it needs %s", model, dataset, ", ".join(missing))
                del able[model]
        for seed in range(seeds or board.seeds):
            for model, model_class in able.items():
                spec = RunSpec(
                    model=model,
                    model_version=model_class.version,
                    config=configs[model].model_dump(mode="json"),
                    dataset=dataset,
                    dataset_version=dataset_class.version,
                    options=dumped,
                    split_hash=data.split_hash,
                    seed=seed,
                    budget=board.budget,
                )
                specs[spec.key] = spec
    if not specs:
        mend = "its datasets have not what they need"
        raise LatentbenchError(f"board '{board.name}': nothing to run for {', '.join(model_classes)}", mend)
    return list(specs.values())


def _choose(kind: str, wanted: Sequence[str] | None, offered: Sequence[str], board: Board) -> list[str]:
    for name in wanted or ():
        if name not in offered:
            raise LatentbenchError(f"board '{board.name}' has no {kind} '{name}'", did_you_mean(name, offered))
    return list(dict.fromkeys(wanted or offered))


def _assign(settings: Sequence[Setting], owners: Mapping[str, type[Any]]) -> dict[str, dict[str, Any]]:
    """Options by owner: a setting with a name goes there, one without goes to every owner that has the option."""
    wishes: dict[str, dict[str, Any]] = {name: {} for name in owners}
    for setting in settings:
        if setting.owner is not None and setting.owner not in owners:
            what = f"--set {setting.owner}.{setting.option}: no selected model or dataset is called '{setting.owner}'"
            raise LatentbenchError(what, did_you_mean(setting.owner, owners))
        having = [
            name
            for name, owner in owners.items()
            if name == setting.owner or (setting.owner is None and setting.option in owner.Config.model_fields)
        ]
        if not having:
            known = {option for owner in owners.values() for option in owner.Config.model_fields}
            what = f"--set {setting.option}: no selected model or dataset has this option"
            raise LatentbenchError(what, did_you_mean(setting.option, known))
        for name in having:
            wishes[name][setting.option] = setting.value
    return wishes
