"""From a board and the command line's options to the runs that they mean."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from latentbench.boards.board import Board, BoardDataset
from latentbench.data.dataset import State
from latentbench.data.splits import DataInfo
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.model import Model
from latentbench.plugins.registry import Plugins
from latentbench.running.execute import load_data
from latentbench.spec import RunSpec

__all__ = ["Override", "Planned", "parse_override", "plan"]

log = logging.getLogger("latentbench")

#: What the command line may call a model (its name) or a board's dataset (its label, its name).
_Names = tuple[str, ...]


@dataclass(frozen=True)
class Planned:
    """One run of a board."""

    spec: RunSpec
    entry: BoardDataset
    """The board's dataset that it is on."""

    def __str__(self) -> str:
        return f"{self.spec.model} on {self.entry.label}, seed {self.spec.seed}"


@dataclass(frozen=True)
class Override:
    """One ``--set``: an option of a model or dataset, or of every selected one that has it."""

    owner: str | None
    option: str
    value: Any


def parse_override(text: str) -> Override:
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
        return Override(owner or None, option, yaml.safe_load(right))
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
    overrides: Sequence[Override] = (),
) -> list[Planned]:
    """Every run of ``board``, dataset by dataset and seed by seed; a run that two datasets mean is there once.

    The datasets are loaded, because a run's identity holds their hash, but one after the other. An optional one that
    is not there is left out with a warning, unless nothing else is left or ``datasets`` asks for it.

    A model is left out, with a warning, on a dataset that has not what it needs or that it does not suit.

    Args:
        board: what to run.
        plugins: where models and datasets come from.
        data_root: folder of the datasets.
        models: just these of the board's models.
        datasets: just these of the board's datasets, by label, or by name if all of that name are meant.
        seeds: this many instead of the board's.
        overrides: options that differ from the presets and from the board's; a dataset's owner is its label or name.

    Raises:
        LatentbenchError: an unknown name or option, a wrong value, a missing or corrupt dataset, or nothing to run.
    """
    everything = list(plugins.offers("models")) if board.models == "all" else board.models
    chosen = _choose("dataset", datasets, [name for entry in board.datasets for name in _names(entry)], board)
    entries = [entry for entry in board.datasets if not set(_names(entry)).isdisjoint(chosen)]
    model_classes = {
        name: plugins.get("models", name).value for name in _choose("model", models, everything, board)
    }  # fmt: skip
    dataset_classes = {entry.name: plugins.get("datasets", entry.name).value for entry in entries}
    owners: dict[_Names, type[Any]] = {(name,): model_class for name, model_class in model_classes.items()}
    assigned = _assign(overrides, owners | {_names(entry): dataset_classes[entry.name] for entry in entries})

    planned: dict[str, Planned] = {}
    missing: dict[str, LatentbenchError] = {}
    for entry in entries:
        dataset_class = dataset_classes[entry.name]
        options = dataset_class.Config.parse({**entry.options, **assigned[_names(entry)]}, f"dataset '{entry.label}'")
        configs = {name: cls.configure(entry.name, assigned[name,]) for name, cls in model_classes.items()}
        dumped = options.model_dump(mode="json")
        try:
            data = load_data(plugins, entry.name, dumped, data_root)
        except LatentbenchError as error:
            if datasets or not entry.optional or dataset_class(options).status(data_root).state is not State.MISSING:
                raise
            missing[entry.label] = error
            continue
        able = _able(model_classes, entry.label, data.info)
        for seed in range(seeds or board.seeds):
            for model, model_class in able.items():
                spec = RunSpec(
                    model=model,
                    model_version=model_class.version,
                    config=configs[model].model_dump(mode="json"),
                    dataset=entry.name,
                    dataset_version=dataset_class.version,
                    options=dumped,
                    split_hash=data.split_hash,
                    seed=seed,
                    budget=board.budget,
                )
                planned.setdefault(spec.key, Planned(spec, entry))
    if missing and len(missing) == len(entries):
        raise next(iter(missing.values()))
    for label, reason in missing.items():
        log.warning("left out '%s': %s", label, reason.what)
    if not planned:
        mend = "its datasets have not what they need"
        raise LatentbenchError(f"board '{board.name}': nothing to run for {', '.join(model_classes)}", mend)
    return list(planned.values())


def _names(entry: BoardDataset) -> _Names:
    return (entry.label, entry.name)


def _able(models: Mapping[str, type[Model]], label: str, info: DataInfo) -> dict[str, type[Model]]:
    """The models that can learn from a dataset; of the others it is told what they lack."""
    able = {}
    for name, model_class in models.items():
        if lacking := [need for need in model_class.needs if not getattr(info, need)]:
            log.warning("left out '%s' on '%s': it needs %s", name, label, ", ".join(lacking))
        elif reason := model_class.suits(info):
            log.warning("left out '%s' on '%s': %s", name, label, reason)
        else:
            able[name] = model_class
    return able


def _choose(kind: str, wanted: Sequence[str] | None, offered: Sequence[str], board: Board) -> list[str]:
    for name in wanted or ():
        if name not in offered:
            mend = did_you_mean(name, set(offered))
            raise LatentbenchError(f"board '{board.name}' has no {kind} '{name}'", mend)
    return list(dict.fromkeys(wanted or offered))


def _assign(overrides: Sequence[Override], owners: Mapping[_Names, type[Any]]) -> dict[_Names, dict[str, Any]]:
    """Options by owner: an override with a name goes to all who bear it, one without to all who have the option."""
    assigned: dict[_Names, dict[str, Any]] = {names: {} for names in owners}
    known = {name for names in owners for name in names}
    for override in overrides:
        if override.owner is not None and override.owner not in known:
            what = (
                f"--set {override.owner}.{override.option}: no selected model or dataset is called '{override.owner}'"
            )
            raise LatentbenchError(what, did_you_mean(override.owner, known))
        having = [
            names
            for names, owner in owners.items()
            if override.owner in names or (override.owner is None and override.option in owner.Config.model_fields)
        ]
        if not having:
            options = {option for owner in owners.values() for option in owner.Config.model_fields}
            what = f"--set {override.option}: no selected model or dataset has this option"
            raise LatentbenchError(what, did_you_mean(override.option, options))
        for names in having:
            assigned[names][override.option] = override.value
    return assigned
