"""The kinds of objects that plugins offer: the hook of each kind, and what makes an object valid."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import isabstract
from numbers import Real
from pathlib import Path
from typing import Any, Literal

from latentbench.errors import LatentbenchError

__all__ = ["KINDS", "Kind", "KindName", "OfferError"]

KindName = Literal["models", "datasets", "metrics", "boards", "claims", "executors", "commands"]

#: Names are used in file names, option lists and value names, so they must not contain what has a meaning there.
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
#: Characters of the longest name: names are those of files and folders, of which systems take 255 bytes, and of rows.
_LONGEST = 64
_TARGETS = ("anomaly", "mask", "attributes")
#: What a model may need of a dataset: names of fields of ``DataInfo`` that must not be empty.
_NEEDS = ("attributes",)


class OfferError(Exception):
    """An offered object that breaks its kind's contract; says how, in one line."""


@dataclass(frozen=True)
class Kind:
    """A kind of object that plugins offer."""

    noun: str
    """The word for one object of the kind: "model"."""
    hook: str
    """The hook that it is offered through."""
    check: Callable[[Any], None]
    """Raises an exception that says what is wrong with an offered object."""

    def name(self, offer: Any) -> str:
        """Check an offered object and return its name.

        Raises:
            OfferError: the object breaks the contract of its kind; names the object and the defect.
        """
        name = offer.stem if isinstance(offer, Path) else getattr(offer, "name", None)
        label = f"{self.noun} '{name[:_LONGEST]}'" if isinstance(name, str) else f"{self.noun} {_describe(offer)}"
        try:
            self.check(offer)
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise OfferError("needs a name of lower-case letters, digits, '.', '_' and '-'")
            if len(name) > _LONGEST:
                raise OfferError(f"has a name of {len(name):,} characters: {_LONGEST} are the most")
        except (OfferError, LatentbenchError) as error:
            raise OfferError(f"{label} {error}") from error
        return name


def _check_model(offer: Any) -> None:
    from latentbench.capabilities import CAPABILITIES, capabilities_of
    from latentbench.config import TrainingOptions
    from latentbench.model import Model

    _check_class(offer, Model)
    _check_version(offer)
    _check_config(offer)
    if not capabilities_of(offer):
        raise OfferError(f"has no capability: give it at least one method of {', '.join(CAPABILITIES)}")
    if offer.fit is Model.fit:
        for method in ("optimizers", "training_step"):
            if getattr(offer, method) is getattr(Model, method):
                raise OfferError(f"has no {method}(): define it, or override fit()")
        if not issubclass(offer.Config, TrainingOptions):
            raise OfferError("trains with the harness's loop: derive its Config from Model.Config")
    if not isinstance(offer.needs, tuple) or not set(offer.needs) <= set(_NEEDS):
        raise OfferError(f"has needs, a tuple of some of {', '.join(_NEEDS)}; it has {offer.needs!r}")
    for attribute in ("null", "deterministic"):
        if not isinstance(getattr(offer, attribute), bool):
            raise OfferError(f"has {attribute}, True or False; it has {getattr(offer, attribute)!r}")
    _check_presets(offer)


def _check_presets(offer: Any) -> None:
    """Check that ``presets`` is a mapping from datasets to options of the model."""
    from latentbench.config import Where

    if not isinstance(offer.presets, Mapping):
        raise OfferError(f"has presets, a mapping from datasets to options; it has {offer.presets!r}")
    for dataset, options in offer.presets.items():
        if not isinstance(dataset, str | Where):
            raise OfferError(f"has presets by dataset name or latentbench.Where; it has one for {dataset!r}")
        if not isinstance(options, Mapping):
            raise OfferError(f"preset for '{dataset}' is a mapping from options to values; it is {options!r}")
        offer.Config.parse(options, f"preset for '{dataset}'")


def _check_dataset(offer: Any) -> None:
    from latentbench.data.dataset import Dataset

    _check_class(offer, Dataset)
    _check_version(offer)
    _check_config(offer)
    _check_texts(offer, "title", "licence", "citation", "source")


def _check_metric(offer: Any) -> None:
    from latentbench.capabilities import MEASURABLE
    from latentbench.metric import MAX_SAMPLES, Metric

    _check_class(offer, Metric)
    _check_version(offer)
    _check_texts(offer, "title", "source")
    capability, bounds = getattr(offer, "capability", None), getattr(offer, "bounds", None)
    if capability not in MEASURABLE:
        raise OfferError(f"needs a capability of {', '.join(MEASURABLE)}; it has {capability!r}")
    if not isinstance(offer.targets, tuple) or not set(offer.targets) <= set(_TARGETS):
        raise OfferError(f"needs targets, a tuple of some of {', '.join(_TARGETS)}; it has {offer.targets!r}")
    if capability != "sample" and offer.samples is not None:
        raise OfferError(f"has samples, which are for the capability sample; its capability is {capability}")
    if capability == "sample" and (type(offer.samples) is not int or not 1 <= offer.samples <= MAX_SAMPLES):
        raise OfferError(f"needs samples, a whole number from 1 to {MAX_SAMPLES}; it has {offer.samples!r}")
    if not isinstance(getattr(offer, "higher_is_better", None), bool):
        raise OfferError("needs higher_is_better, True or False")
    match bounds:
        case (Real() as low, Real() as high) if low < high:
            pass
        case _:
            raise OfferError(f"needs bounds, a pair (low, high) with low < high; it has {bounds!r}")


def _check_yaml(offer: Any) -> None:
    if not isinstance(offer, Path) or offer.suffix.lower() not in (".yaml", ".yml") or not offer.is_file():
        raise OfferError(f"is not the Path of a .yaml file: {offer!r}")


def _check_executor(offer: Any) -> None:
    from latentbench.executor import Executor

    _check_class(offer, Executor)


def _check_command(offer: Any) -> None:
    import click

    if not isinstance(offer, click.Command):
        raise OfferError("is not a click.Command")


def _check_class(offer: Any, base: type) -> None:
    """Check that a class can be instantiated and derives from ``base``."""
    derives = isinstance(offer, type) and issubclass(offer, base)
    if not derives:
        raise OfferError(f"is not a subclass of latentbench.{base.__name__}")
    if isabstract(offer):
        raise OfferError(f"does not implement {', '.join(sorted(offer.__abstractmethods__))}")


def _check_version(offer: Any) -> None:
    if type(offer.version) is not int or offer.version < 1:
        raise OfferError(f"needs a version, a whole number from 1; it has {offer.version!r}")


def _check_config(offer: Any) -> None:
    from latentbench.config import Options

    if not isinstance(offer.Config, type) or not issubclass(offer.Config, Options):
        raise OfferError("needs a Config that derives from latentbench.Options")
    offer.Config.parse({}, "cannot have its default Config")


def _check_texts(offer: Any, *names: str) -> None:
    for name in names:
        text = getattr(offer, name, None)
        if not isinstance(text, str) or not text.strip():
            raise OfferError(f"needs a {name}")


def _describe(offer: Any) -> str:
    """A class by its name, any other object by its type's: its own repr may be long, or fail."""
    return offer.__qualname__ if isinstance(offer, type) else f"object of type {type(offer).__qualname__}"


KINDS: Mapping[KindName, Kind] = {
    "models": Kind("model", "latentbench_models", _check_model),
    "datasets": Kind("dataset", "latentbench_datasets", _check_dataset),
    "metrics": Kind("metric", "latentbench_metrics", _check_metric),
    "boards": Kind("board", "latentbench_boards", _check_yaml),
    "claims": Kind("paper", "latentbench_claims", _check_yaml),
    "executors": Kind("executor", "latentbench_executors", _check_executor),
    "commands": Kind("command", "latentbench_commands", _check_command),
}
