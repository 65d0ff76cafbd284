"""Conformance of a model's options: each has an effect, or is refused by name where others switch it off."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import numpy as np
import torch

from latentbench.capabilities import capabilities_of
from latentbench.config import Options, TrainingOptions
from latentbench.data.splits import Data, Role
from latentbench.errors import LatentbenchError
from latentbench.evaluation.facts import facts_of
from latentbench.evaluation.inference import Parts, infer
from latentbench.model import Model
from latentbench.testing.fits import CPU, SIZES, fit, synthetic
from latentbench.testing.promises import Promises, expect

__all__ = ["check_options"]

_SHORT = {"epochs": 1, "batch_size": 16}
#: Options of the training loop that a model's results do not have to depend on, and for which the harness answers.
_OF_THE_LOOP = TrainingOptions.model_fields.keys() - _SHORT.keys()


def check_options(
    model_class: type[Model],
    *,
    values: Mapping[str, Sequence[Any]] | None = None,
    options: Mapping[str, Any] | None = None,
    channels: int = 1,
    height: int = 8,
    width: int = 8,
    attributes: Mapping[str, int] | None = None,
) -> list[str]:
    """Check that every option of a model changes what it learns or gives, or is refused where others switch it off.

    Each option is set to other values and the model is fitted anew, on 64 synthetic images and for one epoch: all else
    being as in ``options``, and again with every other member of each option that is a choice (``Literal`` or
    ``bool``). It has an effect if parameters, buffers, facts or the output of any capability differ in a single bit.

    An option without effect gives two keys to one setting. Name it in ``Config.unused``, or leave it to a subclass.

    Args:
        model_class: the model.
        values: option -> other values to try. By default the other members of a choice, None if it is allowed, and a
            number near to the default; options of other types need values here. Without any, as in ``{"depth": ()}``,
            an option is left out.
        options: options of the model that differ from its defaults. ``epochs`` is 1 and ``batch_size`` 16 by default.
        channels: C of the images.
        height: H of the images.
        width: W of the images.
        attributes: name -> cardinality; by default two of two values.

    Returns:
        What was checked, one line for each option.

    Raises:
        AssertionError: options have no effect, or there is no value to try; one line for each.
    """
    data = synthetic(channels, height, width, {"left": 2, "right": 2} if attributes is None else attributes)
    short = {name: value for name, value in _SHORT.items() if name in model_class.Config.model_fields}
    base = {**short, **(options or {})}
    promises = Promises(f"model '{model_class.name}'")
    with torch.random.fork_rng(devices=[]):
        with promises.that("it can be fitted", vital=True):
            outcomes: dict[tuple[Any, ...], Parts | None] = {(): _outcome(model_class, base, data)}
            expect(outcomes[()] is not None, "its options are refused")
        fields = [name for name in model_class.Config.model_fields if name not in _OF_THE_LOOP]
        config = model_class.configure("conformance", base)
        given = values or {}
        others = {name: [*(given[name] if name in given else _others(config, name))] for name in fields}
        choices = {name: found for name, found in others.items() if _members(config, name)}
        for name in fields:
            if name in given and not others[name]:
                promises.note(f"the option '{name}' was not tried")
                continue
            with promises.that(f"the option '{name}' has an effect, or is refused"):
                expect(bool(others[name]), "there is no value to try: give one in 'values'")
                for context in _contexts(choices, name):
                    if (place := tuple(context.items())) not in outcomes:
                        outcomes[place] = _outcome(model_class, base | context, data)
                    if (before := outcomes[place]) is None:
                        continue
                    tried = others[name] if not context else others[name][:1]
                    for value in tried:
                        after = _outcome(model_class, base | context | {name: value}, data)
                        where = "".join(f", {other} being {member!r}" for other, member in context.items())
                        expect(after is None or not _equal(before, after), f"{value!r} changes nothing{where}")
    return promises.kept()


def _contexts(choices: Mapping[str, Sequence[Any]], but: str) -> Iterator[dict[str, Any]]:
    """Nothing; then each other member of each choice but one."""
    yield {}
    for name, members in choices.items():
        if name != but:
            yield from ({name: member} for member in members)


def _others(config: Options, name: str) -> list[Any]:
    """Values of an option that differ from the one in ``config`` and are valid by themselves."""
    value = getattr(config, name)
    annotations = _annotations(config, name)
    number = 1 if value is None else value
    near: Sequence[Any] = ()
    if members := _members(config, name):
        near = members
    elif isinstance(number, int) and int in annotations:
        near = (number + 1, number - 1, number + 2)
    elif isinstance(number, int | float) and float in annotations:
        near = (number * 1.5, number / 2, number + 1)
    valid = (other for other in near if other != value and _is_valid(config, name, other))
    chosen = [*valid] if members else [*valid][:1]
    return [*chosen, *([None] if NoneType in annotations and value is not None else [])]


def _members(config: Options, name: str) -> Sequence[Any]:
    """The values of an option that is a choice; of another one, nothing."""
    annotations = _annotations(config, name)
    literals = [get_args(annotation) for annotation in annotations if get_origin(annotation) is Literal]
    return [*chain.from_iterable(literals), *([False, True] if bool in annotations else [])]


def _annotations(config: Options, name: str) -> tuple[Any, ...]:
    """The types of an option's values: int and None of ``int | None``."""
    annotation = type(config).model_fields[name].annotation
    return (annotation,) if get_origin(annotation) is Literal else get_args(annotation) or (annotation,)


def _is_valid(config: Options, name: str, value: Any) -> bool:
    try:
        type(config).parse({name: value}, "a Config")
    except LatentbenchError as error:
        return "has no effect" in str(error) or not str(error).startswith(f"a Config: '{name}'")
    return True


def _outcome(model_class: type[Model], options: Mapping[str, Any], data: Data) -> Parts | None:
    """Everything that a fitted model is and gives, as arrays by name; None if these options are refused."""
    try:
        model, trainer = fit(model_class, model_class.configure("conformance", options), data)
    except LatentbenchError:
        return None
    images = data.splits["test"].batch(torch.arange(SIZES[Role.TEST]), trainer.generator).images
    found = {f"state {name}": value.numpy() for name, value in model.state_dict().items()}
    found |= {f"fact {name}": np.asarray(value) for name, value in facts_of(model, CPU, 0).items()}
    for capability in capabilities_of(model):
        if capability != "decode":  # of codes; encode and reconstruct show what it gives
            try:
                parts = infer(model, capability, [images], model.info, seed=0, device=CPU, where="its output")
            except LatentbenchError:
                continue  # it has not got this capability with these options
            found |= {f"{capability} {part}": array for part, array in parts.items()}
    return found


def _equal(found: Parts, expected: Parts) -> bool:
    return found.keys() == expected.keys() and all(
        np.array_equal(found[name], expected[name], equal_nan=True) for name in expected
    )
