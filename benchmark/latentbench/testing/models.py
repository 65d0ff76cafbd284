"""Conformance of a model: it is built, fitted, resumed, saved, loaded and used on small synthetic images."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load, save
from torch import Tensor

from latentbench.capabilities import capabilities_of, samples_at_codes
from latentbench.data.splits import Role
from latentbench.evaluation.company import TOLERANCE, change_in_company
from latentbench.evaluation.facts import facts_of
from latentbench.evaluation.inference import WHOLE_CODE, Parts, as_codes, infer
from latentbench.model import Model
from latentbench.plugins.contracts import KINDS
from latentbench.testing.fits import CPU, SIZES, build, cut_off_and_resume, expect_equal_states, fit, synthetic
from latentbench.testing.on_device import check_model_on_device
from latentbench.testing.promises import Promises, expect

__all__ = ["TOLERANCE", "check_model"]

_SHORT = {"epochs": 2, "batch_size": 16}
#: Steps of the budget that every model has to respect.
_FEW_STEPS = 3


def check_model(
    model_class: type[Model],
    *,
    channels: int = 1,
    height: int = 16,
    width: int = 32,
    attributes: Mapping[str, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[str]:
    """Check that a model fulfils its contract, on 64 training images of which every tenth has no labels.

    - It can be registered, built and fitted, and a budget of steps is respected. Without a step, as its untrained twin
      on a board, each of its capabilities still gives what it should.
    - If it says that it is deterministic, two seeds give the same results.
    - Fits with one seed are equal, even if one of them is cut off and resumed again and again, with its schedules, its
      ``start``, its hooks and in all of its phases.
    - It trains with channels-last images and gives the same results with channels-last weights.
    - Everything that it has learned is in its ``state_dict``.
    - Each capability takes images alone, does not change them, returns the right type, shape, dtype and range, and
      draws random numbers from PyTorch's global generator only. If it draws none, an image has the same result in any
      batch; if it does, the same beside any other images.
    - On a simulated accelerator (``latentbench.testing.simulated_device``), which is tried if all of this holds, no
      tensor and no generator is left on the CPU, a training step does not wait for the device, and a checkpoint can be
      resumed there and moved between the devices.

    Args:
        model_class: the model.
        channels: C of the images.
        height: H of the images.
        width: W of the images.
        attributes: name -> cardinality; by default two of two values.
        options: options of the model that differ from its defaults. ``epochs`` is 2 and ``batch_size`` 16 by default.

    Returns:
        What was checked, one line per promise.

    Raises:
        AssertionError: promises are broken; one line for each.
    """
    promises = Promises(f"model '{getattr(model_class, 'name', model_class)}'")
    data = synthetic(channels, height, width, {"left": 2, "right": 2} if attributes is None else attributes)
    with torch.random.fork_rng(devices=[]):
        with promises.that("it can be offered: name, version, Config, presets, capabilities", vital=True):
            KINDS["models"].name(model_class)
        with promises.that("it builds", vital=True):
            short = {name: value for name, value in _SHORT.items() if name in model_class.Config.model_fields}
            config = model_class.configure("conformance", {**short, **(options or {})})
            build(model_class, config, data)
        with promises.that("it fits, and what it has learned is finite", vital=True):
            model, trainer = fit(model_class, config, data)
            for name, value in model.state_dict().items():
                expect(bool(torch.isfinite(value).all()), f"'{name}' is not finite")
        repeatable = False
        with promises.that("two fits with one seed are equal"):
            expect_equal_states(fit(model_class, config, data)[0], model)
            repeatable = True
        if repeatable and trainer.training is not None:
            with promises.that("a fit that is cut off and resumed equals one that is not"):
                expect_equal_states(cut_off_and_resume(model_class, config, data, trainer), model)
        if trainer.training is not None:
            with promises.that(f"it fits in a budget of {_FEW_STEPS} steps, in all of its phases"):
                training = fit(model_class, config, data, max_steps=_FEW_STEPS)[1].training
                expect(training is not None and training.steps <= _FEW_STEPS, "it makes more steps")
        images = data.splits["test"].batch(torch.arange(SIZES[Role.TEST]), trainer.generator).images
        outputs: dict[str, Parts] = {}
        for name in capabilities_of(model):
            if name == "decode":
                continue  # below: it is given codes
            with promises.that(f"{name}() takes images alone, leaves them as they are, and gives what it should"):
                outputs[name] = _run(model, name, images)
            if name in outputs and not _check_capability(promises, model, name, images, outputs[name]):
                del outputs[name]
        if trainer.training is not None:
            with promises.that("without a step, as its untrained twin, it gives what it should, too"):
                twin, untrained = fit(model_class, config, data, max_steps=0)
                expect(untrained.training is not None and untrained.training.steps == 0, "it makes steps")
                for name in outputs:
                    _run(twin, name, images)
        if model_class.deterministic:
            with promises.that("it is deterministic, as it says: two seeds give the same results"):
                other, _ = fit(model_class, config, data, seed=1)
                for name, parts in outputs.items():
                    expect(_equal(_run(other, name, images, seed=1), parts), f"its {name}() differs")
        _check_codes(promises, model, outputs)
        with promises.that("facts() are finite numbers, the same each time"):
            expect(facts_of(model, CPU, 0) == facts_of(model, CPU, 0), "with one seed they are not the same")
        with promises.that("all that it has learned is in its state_dict: a new model that loads it gives the same"):
            reloaded = build(model_class, config, data, seed=1)
            reloaded.load_state_dict(load(save({k: v.contiguous().clone() for k, v in model.state_dict().items()})))
            for capability, parts in outputs.items():
                expect(_equal(_run(reloaded, capability, images), parts), f"its {capability}() differs")
        if trainer.training is not None:
            with promises.that("it trains channels-last, and gives the same with its weights in that order"):
                channels_last = config.model_copy(update={"memory_format": "channels_last"})
                fit(model_class, channels_last, data)
                reordered = build(model_class, channels_last, data)
                reordered.load_state_dict(model.state_dict())
                for capability in outputs.keys() - {"cluster"}:  # which rounding may turn
                    found = _run(reordered, capability, images)
                    _expect_close(found, outputs[capability], f"channels-last, in {capability}(),")
        if not promises.broken:
            check_model_on_device(promises, model_class, config, data, outputs)
    return promises.kept()


def _check_capability(promises: Promises, model: Model, capability: str, images: Tensor, outputs: Parts) -> bool:
    """Check a capability whose outputs have the right form; returns whether the same seed gives the same outputs."""
    if capability in ("reconstruct", "sample"):
        with promises.that(f"{capability}() gives images in [0, 1]"):
            low, high = outputs[""].min(), outputs[""].max()
            expect(low >= 0 and high <= 1, f"they are in [{low:g}, {high:g}]")
    repeatable = _equal(_run(model, capability, images), outputs)
    with promises.that(f"{capability}() draws from PyTorch's global generator alone"):
        expect(repeatable, "with one seed it gives two results")
    if not repeatable or capability == "sample":
        return repeatable
    if not _equal(_run(model, capability, images, seed=1), outputs):
        with promises.that(f"{capability}() gives an image the same result with any others, if it draws the same"):
            change = change_in_company(partial(_run_batches, model, capability, images), np.arange(len(images)))
            expect(change <= TOLERANCE, f"with others it differs by {change:.2g} of the spread")
        return True
    with promises.that(f"{capability}() gives an image the same result in any batch"):
        for size in (1, 7):
            _expect_close(_run(model, capability, images, batch_size=size), outputs, f"in batches of {size}")
    return True


def _check_codes(promises: Promises, model: Model, outputs: Mapping[str, Parts]) -> None:
    """Check what takes codes: ``decode``, and ``sample`` if it has the argument."""
    able = ["decode"] * ("decode" in capabilities_of(model)) + ["sample"] * samples_at_codes(model)
    for name in able:
        if "encode" not in outputs:
            promises.note(f"{name}() at codes was not tried: there are none of encode()")
            continue
        with promises.that(f"{name}() takes codes of encode(), leaves them as they are, and gives images in [0, 1]"):
            images = _run_at(model, name, outputs["encode"])
            expect(images.min() >= 0 and images.max() <= 1, f"they are in [{images.min():g}, {images.max():g}]")
            again = _run_at(model, name, outputs["encode"])
            expect(np.array_equal(again, images), "with one seed it gives two results")
            if name == "decode":
                single = _run_at(model, name, outputs["encode"], batch_size=1)
                _expect_close({"": single}, {"": images}, "in batches of 1")


def _run_at(model: Model, capability: str, codes: Parts, batch_size: int | None = None) -> np.ndarray[Any, Any]:
    """The capability's output for codes, in float32; checks its form, and that the codes were not changed."""
    codes = {part: array.astype(np.float32) for part, array in codes.items()}
    size = len(next(iter(codes.values())))
    starts = range(0, size, batch_size or size)
    batches = [
        as_codes({part: array[start : start + (batch_size or size)].copy() for part, array in codes.items()}, CPU)
        for start in starts
    ]
    images = infer(model, capability, (), model.info, seed=0, device=CPU, where="its output", codes=batches)[""]
    for batch, start in zip(batches, starts, strict=True):
        for part, tensor in batch.items() if isinstance(batch, Mapping) else [(WHOLE_CODE, batch)]:
            expect(np.array_equal(tensor.numpy(), codes[part][start : start + len(tensor)]), "it changes the codes")
    return images


def _run(model: Model, capability: str, images: Tensor, *, seed: int = 0, batch_size: int | None = None) -> Parts:
    """The capability's output; checks its form, and that the images were not changed."""
    given = images.clone()
    batches = torch.split(given, batch_size or len(given))
    parts = infer(model, capability, batches, model.info, seed=seed, device=CPU, where="its output")
    expect(torch.equal(given, images), "it changes the images in place")
    return parts


def _run_batches(
    model: Model, capability: str, images: Tensor, batches: Sequence[npt.NDArray[np.int64]], seed: int
) -> Parts:
    """The capability's output for batches of images, given by index."""
    given = (images[torch.from_numpy(index)] for index in batches)
    return infer(model, capability, given, model.info, seed=seed, device=CPU, where="its output")


def _equal(found: Parts, expected: Parts) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[part], expected[part]) for part in expected)


def _expect_close(found: Parts, expected: Parts, how: str) -> None:
    for part, values in expected.items():
        moved, largest = np.abs(found[part] - values).max(), np.abs(values).max()
        label = f"'{part}'" if part else "it"
        expect(bool(moved <= TOLERANCE * largest), f"{how} {label} differs by {moved:.2g}, of {largest:.2g}")
