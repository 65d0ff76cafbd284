"""Fits for the conformance kit: on synthetic images, cut off and resumed, and under a budget."""

import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentbench.config import Options
from latentbench.data.splits import MISSING, Data, DataInfo, Role, StoredSplit, Targets
from latentbench.model import Model
from latentbench.running.training import TrainingLoop
from latentbench.testing.promises import expect

__all__ = ["CPU", "SIZES", "build", "cut_off_and_resume", "expect_equal_states", "fit", "synthetic"]

CPU = torch.device("cpu")
#: Images of each split.
SIZES = {Role.TRAIN: 64, Role.VALIDATION: 32, Role.TEST: 24}
#: How often a fit is cut off at most, not counting the beginnings of phases.
_CUTS = 8


def synthetic(channels: int, height: int, width: int, attributes: Mapping[str, int]) -> Data:
    """Noisy images in which each attribute brightens a band of columns, in proportion to its value."""
    draw = np.random.default_rng(0)
    splits = {}
    for role, size in SIZES.items():
        images = draw.integers(0, 60, (size, channels, height, width))
        labels = {name: draw.integers(values, size=size) for name, values in attributes.items()}
        bands = np.array_split(np.arange(width), max(1, len(attributes)))
        for band, (name, values) in zip(bands, attributes.items(), strict=False):
            images[..., band] += (180 * labels[name] // max(1, values - 1))[:, None, None, None]
            if role is Role.TRAIN:
                labels[name][::10] = MISSING
        targets = Targets(attributes=labels)
        splits[str(role)] = StoredSplit(role, torch.from_numpy(images.astype(np.uint8)), targets)
    return Data(DataInfo(channels, height, width, SIZES[Role.TRAIN], attributes), splits)


def build(model_class: type[Model], config: Options, data: Data, seed: int = 0) -> Model:
    """A new model, its weights drawn with ``seed``."""
    torch.manual_seed(seed)
    return model_class(config, data.info)


def fit(
    model_class: type[Model], config: Options, data: Data, seed: int = 0, **trainer_options: Any
) -> tuple[Model, TrainingLoop]:
    """A new fitted model, and its trainer."""
    model = build(model_class, config, data, seed)
    trainer = TrainingLoop(device=CPU, seed=seed, **trainer_options)
    model.fit(data.train, data.validation, trainer)
    return model, trainer


class _CutOffError(Exception):
    """Simulates an interruption of the run."""


def cut_off_and_resume(model_class: type[Model], config: Options, data: Data, whole: TrainingLoop) -> Model:
    """A model whose fit was cut off many times and each time resumed with a new model and trainer.

    The fit is cut off in the first step, before a checkpoint of a step is written; in the first step of each later
    phase; and in steps that are spread evenly, including the last one. A checkpoint is written after every step, so
    each fit continues where the one before was cut off.

    Args:
        model_class: the model's class.
        config: its options.
        data: what it is fitted on.
        whole: the trainer of a fit that was not cut off.

    Raises:
        AssertionError: the fit started afresh although a checkpoint had been written.
    """
    assert whole.training is not None
    steps = whole.training.steps
    begins = np.cumsum([1, *(phase.steps for phase in whole.training.phases[:-1])])
    cuts = sorted({*np.linspace(1, steps, _CUTS).round().astype(int).tolist(), *begins.tolist()})
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        for cut in cuts:

            def cut_off(step: int, total: int, losses: dict[str, float], cut: int = cut) -> None:
                if step >= cut:
                    raise _CutOffError

            with suppress(_CutOffError):
                fit(model_class, config, data, checkpoint=checkpoint, checkpoint_seconds=0.0, notify=cut_off)
        written = checkpoint.exists()
        model, trainer = fit(model_class, config, data, checkpoint=checkpoint)
        expect(trainer.resumed > 0 or not written, "its checkpoint cannot be resumed from, so training starts afresh")
    return model


def expect_equal_states(found: Model, expected: Model) -> None:
    """Expect that two models have the same parameters and buffers, bit for bit."""
    states = found.state_dict(), expected.state_dict()
    expect(states[0].keys() == states[1].keys(), "they have learned different parameters and buffers")
    for name, value in states[0].items():
        expect(torch.equal(value, states[1][name]), f"'{name}' differs")
