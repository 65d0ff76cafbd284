"""Typed options: the base of every plugin's Config, and its errors as one clear line."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import to_jsonable_python

from latentbench.errors import LatentbenchError, did_you_mean

__all__ = ["Options", "Presets", "TrainingOptions", "Where", "canonical", "differing", "format_options", "one_line"]


class Options(BaseModel):
    """Options of a model or a dataset: typed fields with defaults, frozen, unknown names and infinite numbers refused.

    Subclass it as ``Config`` inside the plugin's class. Every field has a default, so that ``Config()`` is the
    documented standard setting; the values enter the run's key, so two settings are never mixed.

    To add an option when records exist, give it ``Field(exclude_if=lambda value: value == default)``: at its default
    it is left out of the key, and earlier records stay runs of the same setting.

    One setting should have one key. An option that has no effect at some values of the others is named by ``unused``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def unused(self) -> Mapping[str, str]:
        """The options that have no effect because of the values of others, each with the reason.

        The reason is the rest of a sentence: "'sigma' has no effect: only the gaussian reconstruction has one". A
        user who sets such an option is told so; in presets it is ignored, and it is left out of the run's key.
        """
        return {}

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str, *, presets: Collection[str] = ()) -> Self:
        """Validate ``values``; ``where`` names their owner in an error ("model 'vae'").

        Args:
            values: the options that differ from the defaults.
            where: their owner.
            presets: names of those that nobody asked for. They are ignored where they have no effect.

        Raises:
            LatentbenchError: unknown option (near misses offered), wrong type, value out of range, or an option that
                has no effect.
        """
        for name in values:
            if name not in cls.model_fields:
                raise LatentbenchError(f"{where} has no option '{name}'", did_you_mean(name, cls.model_fields))
        try:
            options = cls.model_validate(dict(values))
            unused = options.unused()
            for name, reason in unused.items():
                if name in values and name not in presets:
                    raise LatentbenchError(f"{where}: '{name}' has no effect: {reason}", "leave it out")
            used = {name: value for name, value in values.items() if name not in unused}
            return options if len(used) == len(values) else cls.model_validate(used)
        except ValidationError as error:
            raise LatentbenchError(f"{where}: {one_line(error)}") from None

    @model_serializer(mode="wrap")
    def _used(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        unused = self.unused()
        return {name: value for name, value in dump(self).items() if name not in unused}


class TrainingOptions(Options):
    """Options of the harness's training loop, part of the Config of every model that uses it."""

    epochs: int = Field(20, ge=1, description="passes over the training split")
    batch_size: int = Field(128, ge=1, description="images per step")
    patience: int | None = Field(
        None, ge=1, description="stop after this many epochs without a better validation loss, keep the best weights"
    )
    select_after: int = Field(
        0,
        ge=0,
        description="with patience: ignore the first epochs, whose losses are not comparable yet, in the selection",
        exclude_if=lambda value: value == 0,
    )
    clip_gradients: float | None = Field(
        None,
        gt=0,
        description="scale gradients down to this norm, taken over all parameters of an optimizer, where it is larger",
        exclude_if=lambda value: value is None,
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16: autocast of the forward pass in training and validation; weights, optimizer and "
        "evaluation stay float32. A CPU without instructions for it (AVX-512 BF16, AMX) takes several times as long",
    )
    memory_format: Literal["contiguous", "channels_last"] = Field(
        "contiguous",
        description="order of images and convolution weights in memory; channels_last often makes convolutions faster",
        exclude_if=lambda value: value == "contiguous",
    )

    @model_validator(mode="after")
    def _selection_needs_patience(self) -> Self:
        if self.select_after and self.patience is None:
            raise ValueError("select_after needs patience: without it nothing is selected")
        return self


@dataclass(frozen=True)
class Where:
    """A dataset with particular option values, as the key of a model's preset.

    >>> print(Where("ood", pair="fashion-mnist"))
    ood (pair=fashion-mnist)
    """

    dataset: str
    """The dataset's name."""
    options: Mapping[str, Any]
    """The options that have to have these values; the others may have any."""

    def __init__(self, dataset: str, **options: Any) -> None:
        object.__setattr__(self, "dataset", dataset)
        object.__setattr__(self, "options", to_jsonable_python(options))

    def __hash__(self) -> int:
        return hash((self.dataset, canonical(self.options)))

    def __str__(self) -> str:
        return f"{self.dataset} ({format_options(self.options)})"

    def holds(self, dataset: str, options: Options | None) -> bool:
        """Whether this matches the dataset with these options; False if the options are unknown.

        Raises:
            LatentbenchError: the dataset has no option of a name that is used here.
        """
        if dataset != self.dataset or options is None:
            return False
        for name in self.options:
            if name not in type(options).model_fields:
                what = f"the preset for '{self}' asks for an option '{name}', which dataset '{dataset}' lacks"
                raise LatentbenchError(what, did_you_mean(name, type(options).model_fields))
        return all(to_jsonable_python(getattr(options, name)) == value for name, value in self.options.items())


#: A model's options by dataset name, or by dataset name and options (``Where``). All that match are merged in order; a
#: later entry overrides an earlier one, option by option.
Presets = Mapping[str | Where, Mapping[str, Any]]


#: The types of errors where several values are asked for.
_SEQUENCES = {"list_type", "tuple_type", "set_type", "frozen_set_type"}


def one_line(error: ValidationError) -> str:
    """A pydantic error as one line: each field, what it should be, and what was given."""
    parts = []
    for item in error.errors(include_url=False):
        field, message, given = (
            ".".join(map(str, item["loc"])),
            item["msg"].removeprefix("Value error, "),
            item["input"],
        )
        if not field:  # about several fields together
            parts.append(message)
        elif isinstance(given, (dict, list)) or item["type"] == "missing":
            parts.append(f"'{field}': {message}")
        elif item["type"] in _SEQUENCES and isinstance(given, (str, int, float)):
            parts.append(f"'{field}': {message}, got {given!r} (one value is written [{given}])")
        else:
            parts.append(f"'{field}': {message}, got {given!r}")
    return "; ".join(parts)


_CANONICAL = json.JSONEncoder(sort_keys=True)


def canonical(value: Any) -> str:
    """The value as JSON with sorted keys, so that equal values give equal text."""
    return _CANONICAL.encode(value)


def format_options(options: Mapping[str, Any]) -> str:
    """Options as text for people.

    >>> format_options({"latent_dim": 4, "precision": "float32"})
    'latent_dim=4, precision=float32'
    """
    values = {name: value if isinstance(value, str) else canonical(value) for name, value in options.items()}
    return ", ".join(f"{name}={value}" for name, value in values.items())


def differing(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each of several settings, what is not alike in all of them.

    >>> differing([{"epochs": 20, "beta": 1}, {"epochs": 20, "beta": 4}, {"epochs": 20}])
    [{'beta': 1}, {'beta': 4}, {}]
    """
    names = dict.fromkeys(name for setting in settings for name in setting)
    texts = {name: {canonical(one[name]) if name in one else None for one in settings} for name in names}
    return [{name: value for name, value in one.items() if len(texts[name]) > 1} for one in settings]
