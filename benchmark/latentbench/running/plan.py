"""From a board and the command line's options to the runs that they mean."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from latentbench.boards.board import Board, BoardDataset, Variant
from latentbench.boards.lineup import Lineup
from latentbench.config import Options, TrainingOptions
from latentbench.data.dataset import Dataset, State
from latentbench.data.splits import DataInfo
from latentbench.errors import LatentbenchError, describe, did_you_mean, is_interrupt, outliving
from latentbench.model import Model
from latentbench.plugins.registry import Offer, Plugins
from latentbench.running.asked import (
    Outline,
    WrongDataError,
    can_be_shown,
    check_metrics,
    check_nulls,
    check_values,
    outline,
    warn_of_shared_images,
)
from latentbench.running.execute import load_data
from latentbench.running.rehearsal import rehearse
from latentbench.running.undoing import undoing
from latentbench.spec import UNTRAINED, Budget, RunSpec

__all__ = ["Override", "Planned", "Series", "lineup_of", "parse_override", "plan", "plan_series"]

log = logging.getLogger("latentbench")

#: What the command line may call a board's dataset (its label, its name) or one of its lines (its label, its model).
_Names = tuple[str, str]


@dataclass(frozen=True)
class Planned:
    """One run of a board."""

    spec: RunSpec
    entry: BoardDataset
    """The board's dataset that it is on."""
    label: str
    """What the board calls it, and its untrained twin too: the model's name, or the label of a variant."""

    def __str__(self) -> str:
        return self.spec.called(self.label, self.entry.label)


@dataclass(frozen=True)
class Series:
    """The runs of one model or variant on one dataset of a board: alike but for their seeds.

    It is known without the data, which adds the split hash.
    """

    entry: BoardDataset
    label: str
    """The model's name, or the label of a variant."""
    model: type[Model]
    config: Options
    dataset: type[Dataset]
    options: Options
    """Of the dataset."""
    seeds: int
    budget: Budget
    threads: int

    @property
    def untrained(self) -> bool:
        """Whether these are the untrained twins of other runs."""
        return self.budget == UNTRAINED

    @property
    def twin(self) -> "Series | None":
        """The runs without a step; None if the model is not trained by the harness's loop, or is a null."""
        trained = self.model.training_step is not Model.training_step and issubclass(self.model.Config, TrainingOptions)
        return replace(self, budget=UNTRAINED) if trained and not self.model.null else None

    def spec(self, seed: int, split_hash: str) -> RunSpec:
        """The run with one seed, on data with this hash."""
        return RunSpec(
            model=self.model.name,
            model_version=self.model.version,
            config=self.config.model_dump(mode="json"),
            dataset=self.dataset.name,
            dataset_version=self.dataset.version,
            options=self.options.model_dump(mode="json"),
            split_hash=split_hash,
            seed=seed,
            budget=self.budget,
            threads=self.threads,
        )


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


def plan_series(
    board: Board,
    plugins: Plugins,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | None = None,
    threads: int | None = None,
    overrides: Sequence[Override] = (),
) -> list[Series]:
    """What ``board`` runs, dataset by dataset, as far as it is known without data.

    Nulls are for tables alone: one that can have no value in the table of a dataset is not run there.

    On each dataset the untrained twins come last, if the board has twins there. A deterministic model has one seed.

    Args:
        board: what to run.
        plugins: where models and datasets come from.
        models: just these of the board's models and variants. A model's name means the model in its preset alone.
        datasets: just these of the board's datasets, by label, or by name if all of that name are meant.
        seeds: this many, whatever the board, its datasets and variants say.
        threads: CPU threads of each run, whatever the board says.
        overrides: options that differ from the presets and from the board's. Its owner is a dataset's label or name; or
            a model's name, which stands for its variants, too; or a variant's label.

    Raises:
        LatentbenchError: an unknown name or option, or a wrong value; of a variant with the board's file and line.
    """
    check_metrics(board, plugins)
    check_nulls(board, plugins)
    _check_variants(board, plugins)
    offered = list(plugins.offers("models")) if board.models == "all" else board.models
    labels = [*offered, *(variant.label for variant in board.variants)]
    rows = _choose("model", models, labels, board, plugins)
    chosen = _choose("dataset", datasets, [name for entry in board.datasets for name in _names(entry)], board, plugins)
    entries = [entry for entry in board.datasets if not set(_names(entry)).isdisjoint(chosen)]
    variants = {variant.label: variant for variant in board.variants}
    classes: dict[_Names, type[Model]] = {}
    for label in rows:
        name = variants[label].model if label in variants else label
        classes[label, name] = plugins.get("models", name).value
    data: dict[_Names, type[Dataset]] = {
        _names(entry): plugins.get("datasets", entry.name).value for entry in entries
    }  # fmt: skip
    assigned = _assign(overrides, {**classes, **data})

    series: list[Series] = []
    for entry in entries:
        dataset = data[_names(entry)]
        this = f"dataset '{entry.label}'"
        with outliving(plugins.get("datasets", entry.name).plugin.blamed_for(f"{this}, Config")):
            options = dataset.Config.parse({**entry.options, **assigned[_names(entry)]}, this)
        here: list[Series] = []
        for (label, name), model in classes.items():
            variant = variants.get(label)
            if variant is not None and variant not in board.variants_on(entry):
                continue
            if model.null and not can_be_shown(board, entry, model, plugins):
                continue
            whose = plugins.get("models", name).plugin.blamed_for(f"model '{name}', configure() for {this}")
            with outliving(whose):
                own = _configure_variant(board, variant, model, entry, options) if variant is not None else {}
                config = model.configure(entry.name, {**own, **assigned[label, name]}, options)
            number = 1 if model.deterministic else seeds or board.seeds_of(entry, variant)
            budget = board.budget_of(entry, variant)
            one = Series(entry, label, model, config, dataset, options, number, budget, threads or board.threads)
            if not overrides:
                _check_that_it_differs(board, one, here, variant)
            here.append(one)
        twins = [one.twin for one in here if one.twin] if board.twins_on(entry) else []
        series += here + twins
    return series


def lineup_of(board: Board, plugins: Plugins) -> Lineup:
    """The options of the board's datasets and of each line; and of each model that has a variant in it, its preset.

    Models and datasets that are not installed are left out.

    Raises:
        LatentbenchError: a variant is wrong (file and line), or an option of a dataset.
    """
    known = plugins.offers("models")
    entries = [entry for entry in board.datasets if entry.name in plugins.offers("datasets")]
    listed = [*known] if board.models == "all" else [name for name in board.models if name in known]
    if not entries or not (listed or board.variants):
        return Lineup()
    here = board.model_copy(update={"models": listed})
    datasets: dict[str, dict[str, Any]] = {}
    rows: dict[str, dict[str, dict[str, Any]]] = {entry.label: {} for entry in entries}
    for one in plan_series(here, plugins, datasets=list(rows)):
        datasets[one.entry.label] = one.options.model_dump(mode="json")
        rows[one.entry.label][one.label] = one.config.model_dump(mode="json")
        preset = one.model.configure(one.entry.name, {}, one.options)
        rows[one.entry.label].setdefault(one.model.name, preset.model_dump(mode="json"))
    return Lineup(datasets=datasets, rows=rows)


def plan(
    board: Board,
    plugins: Plugins,
    data_root: Path,
    *,
    models: Sequence[str] | None = None,
    datasets: Sequence[str] | None = None,
    seeds: int | None = None,
    threads: int | None = None,
    overrides: Sequence[Override] = (),
    onerror: Callable[[str, LatentbenchError], None] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    timeout: float | None = None,
) -> list[Planned]:
    """Every run of ``board``, dataset by dataset and seed by seed; a run that two datasets mean is there once.

    The datasets are loaded, because a run's identity holds their hash, but one after the other; those of third-party
    plugins first in a process of their own, so that one that ends its process or does not return is a fault as well.
    An optional one that is not there is left out with a warning, unless nothing else is left or ``datasets`` asks for
    it. What else is wrong with a dataset, optional or not, is raised, or told to ``onerror``.

    A model is left out, with a warning, on a dataset that lacks what it needs or that it does not suit.

    Args:
        board: what to run.
        plugins: where models and datasets come from.
        data_root: folder of the datasets.
        models: just these of the board's models and variants, as ``plan_series`` takes them.
        datasets: just these of the board's datasets, by label or name.
        seeds: this many, whatever the board says.
        threads: CPU threads of each run, whatever the board says.
        overrides: options that differ from the presets and from the board's.
        onerror: called with the label of a dataset that cannot be used, and the reason; the others are planned, if
            there are some.
        progress: called with a title, what is done and of how much, while a dataset is prepared.
        timeout: seconds that a dataset of a third-party plugin may take to be loaded; None: no limit.

    Raises:
        LatentbenchError: an unknown name or option, a wrong value, a missing or corrupt dataset, a fault of its plugin,
            or nothing to run.
    """
    series = plan_series(
        board, plugins, models=models, datasets=datasets, seeds=seeds, threads=threads, overrides=overrides
    )
    by_dataset: dict[str, list[Series]] = {}
    for one in series:
        by_dataset.setdefault(one.entry.label, []).append(one)
    planned: dict[str, Planned] = {}
    missing: dict[str, LatentbenchError] = {}
    unusable: dict[str, LatentbenchError] = {}
    outlines: dict[str, Outline] = {}
    for label, here in by_dataset.items():
        entry, dataset, options = here[0].entry, here[0].dataset, here[0].options
        try:
            given = options.model_dump(mode="json")
            offer = plugins.get("datasets", entry.name)
            if not offer.plugin.builtin:
                rehearse(plugins, entry.name, given, data_root, timeout, progress)
            with _put_back(offer):
                data = load_data(plugins, entry.name, given, data_root, progress)
                split_hash = data.split_hash
        except BaseException as error:
            if is_interrupt(error):
                raise
            reason = error if isinstance(error, LatentbenchError) else LatentbenchError(describe(error))
            if entry.optional and not datasets and _is_missing(dataset(options), data_root, error):
                missing[label] = reason
            elif onerror is None:
                raise reason from error
            else:
                unusable[label] = reason
            continue
        as_listed = options == dataset.Config.parse(entry.options, f"dataset '{label}'")
        outlines[label] = (
            outline(data, board, entry, plugins) if as_listed else {}
        )  # an override may take away what the board names
        warn_of_shared_images(label, data)
        able = list(_able(here, data.info, plugins))
        for seed in range(max((one.seeds for one in able), default=0)):
            for one in able:
                if seed < one.seeds:
                    spec = one.spec(seed, split_hash)
                    planned.setdefault(spec.key, Planned(spec, entry, one.label))
    if (unusable or missing) and not outlines:
        raise next(iter({**unusable, **missing}.values()))
    check_values(board, plugins, outlines)
    for label, reason in missing.items():
        log.warning("left out '%s': %s", label, reason.what)
    for label, reason in unusable.items():
        if onerror is not None:
            onerror(label, reason)
    if not planned:
        names = dict.fromkeys([*(one.label for one in series)] or models or ["its models"])
        mend = "none of its datasets is suitable" if series else "it runs on other datasets of the board"
        raise LatentbenchError(f"board '{board.name}': nothing to run for {', '.join(names)}", mend)
    return list(planned.values())


def _put_back(dataset: Offer) -> AbstractContextManager[None]:
    """Where a dataset of another distribution is loaded: the process stays as it is for the others."""
    whose = f"dataset '{dataset.name}', load()"
    return nullcontext() if dataset.plugin.builtin else undoing(dataset.plugin.blamed_for(whose))


def _is_missing(dataset: Dataset, data_root: Path, error: BaseException) -> bool:
    """Whether a dataset that raised ``error`` is not there, and neither corrupt nor broken."""
    if not isinstance(error, LatentbenchError) or isinstance(error, WrongDataError):
        return False
    try:
        return dataset.status(data_root).state is State.MISSING
    except (Exception, SystemExit):
        return False


def _names(entry: BoardDataset) -> _Names:
    return (entry.label, entry.name)


def _check_variants(board: Board, plugins: Plugins) -> None:
    """That there are the variants' models, with these options, and no model with their labels.

    Raises:
        LatentbenchError: names the variant, with file and line.
    """
    known = plugins.offers("models") if board.variants else {}
    for place, variant in enumerate(board.variants):
        this = f"variant '{variant.label}'"
        if variant.model not in known:
            what = f"{this}: unknown model '{variant.model}'"
            raise board.mistake(("variants", place, "model"), what, plugins.did_you_mean(variant.model, known))
        if variant.label in known:
            what = f"{this} is called as a model is"
            raise board.mistake(("variants", place, "label"), what, "give it another label")
        options = known[variant.model].value.Config.model_fields
        for name in variant.options:
            if name not in options:
                what = f"{this}: model '{variant.model}' has no option '{name}'"
                raise board.mistake(("variants", place, "options", name), what, did_you_mean(name, options))


def _configure_variant(
    board: Board, variant: Variant, model: type[Model], entry: BoardDataset, options: Options
) -> Mapping[str, Any]:
    """The variant's options, checked against those of the model on a dataset with these ``options``.

    Raises:
        LatentbenchError: a wrong value; with file and line.
    """
    try:
        model.configure(entry.name, variant.options, options)
    except LatentbenchError as error:
        place = board.variants.index(variant)
        raise board.mistake(("variants", place, "options"), f"variant '{variant.label}': {error}") from None
    return variant.options


def _check_that_it_differs(board: Board, one: Series, earlier: Sequence[Series], variant: Variant | None) -> None:
    """That two lines of a table are not the same runs under two labels.

    Raises:
        LatentbenchError: the variant is an earlier one or a model in its preset; with file and line.
    """
    for other in earlier:
        if variant is not None and (one.model, one.config, one.budget) == (other.model, other.config, other.budget):
            what = f"variant '{one.label}' is the same as '{other.label}' on '{one.entry.label}'"
            place = board.variants.index(variant)
            raise board.mistake(("variants", place), what, "give it other 'options', or 'datasets' where they differ")


def _able(series: Sequence[Series], info: DataInfo, plugins: Plugins) -> Iterator[Series]:
    """Those whose models can learn from a dataset; of the others it is told what they lack."""
    for one in series:
        lacking = [need for need in one.model.needs if not getattr(info, need)]
        asked = f"model '{one.model.name}', suits() for dataset '{one.entry.label}'"
        with outliving(plugins.get("models", one.model.name).plugin.blamed_for(asked)):
            reason = f"it needs {', '.join(lacking)}" if lacking else one.model.suits(info)
        if not reason:
            yield one
        elif not one.untrained:  # a twin is left out with its model
            log.warning("left out '%s' on '%s': %s", one.label, one.entry.label, reason)


def _choose(
    kind: str, wanted: Sequence[str] | None, offered: Sequence[str], board: Board, plugins: Plugins
) -> list[str]:
    for name in wanted or ():
        if name not in offered:
            mend = plugins.did_you_mean(name, set(offered))
            raise LatentbenchError(f"board '{board.name}' has no {kind} '{name}'", mend)
    return list(dict.fromkeys(wanted or offered))


def _assign(overrides: Sequence[Override], owners: Mapping[_Names, type[Any]]) -> dict[_Names, dict[str, Any]]:
    """Options by owner: an override with a name goes to all that have the name, another to all that have the option."""
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
