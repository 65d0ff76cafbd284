"""Conformance on an accelerator: models and datasets are checked on the simulated device."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentbench.config import Options
from latentbench.data.splits import Batch, Data
from latentbench.evaluation.inference import infer
from latentbench.model import Model, Step
from latentbench.running.training import TrainingLoop
from latentbench.testing.promises import Promises, expect
from latentbench.testing.simulated_device import NAME, count_synchronizations, simulated_device

__all__ = ["check_data_on_device", "check_model_on_device"]

_CPU = torch.device("cpu")
_AT_ONCE = 500


def check_model_on_device(
    promises: Promises, model_class: type[Model], config: Options, data: Data, capabilities: Iterable[str]
) -> None:
    """Check on an accelerator a model that fulfils its contract on the CPU.

    It can be fitted there, and each capability works there, with every tensor and every generator on the device. A
    training step does not wait for the device, except the first, which may fill caches. An interrupted fit is resumed
    from its checkpoint: on the same device with the same result, and on the other device without an error.
    """
    with simulated_device() as device:
        fitted: list[tuple[Model, TrainingLoop]] = []
        steps: list[Counter[str]] = []
        with promises.that("on an accelerator it fits, with every tensor and generator there"):
            fitted.append(_fit(model_class, config, data, device, steps=steps))
            for name, value in fitted[0][0].state_dict().items():
                expect(value.device.type == device.type, f"'{name}' is on {value.device}")
                expect(bool(value.isfinite().all()), f"'{name}' is not finite")
        if not fitted:
            return
        model, trainer = fitted[0]
        images = data.to(device).splits["test"].batch(torch.arange(8, device=device), trainer.generator).images
        for capability in capabilities:
            with promises.that(f"on an accelerator {capability}() works, with every tensor and generator there"):
                infer(model, capability, [images], data.info, seed=0, device=device, where="its output")
        if len(steps) > 1:
            with promises.that("0 synchronizations with the accelerator in a training step after the first"):
                _expect_none(sum(steps[1:], Counter()), f"in {len(steps) - 1} steps")
        if trainer.training is not None:
            with promises.that("on an accelerator a fit that is cut off and resumed equals one that is not"):
                resumed, _ = _cut_off_and_resume(model_class, config, data, device, device)
                found = resumed.state_dict()
                for name, value in model.state_dict().items():
                    expect(torch.equal(found[name], value), f"'{name}' differs")
            for start, end in ((_CPU, device), (device, _CPU)):
                with promises.that(f"a checkpoint made on '{start.type}' is resumed on '{end.type}'"):
                    resumed, loop = _cut_off_and_resume(model_class, config, data, start, end)
                    expect(loop.resumed > 0, "training starts afresh")
                    for name, value in resumed.state_dict().items():
                        expect(bool(value.isfinite().all()), f"'{name}' is not finite")


def check_data_on_device(promises: Promises, data: Data) -> None:
    """Check splits on an accelerator: they give the same batches there, and do not wait for it."""
    with simulated_device() as device:
        for name, split in data.splits.items():
            with promises.that(f"split '{name}': on an accelerator it gives the same batches there"):
                index = torch.arange(min(len(split), _AT_ONCE))
                here = split.batch(index, torch.Generator().manual_seed(0))
                moved, generator = split.to(device), torch.Generator(device).manual_seed(0)
                on_device = index.to(device)
                moved.batch(on_device, torch.Generator(device))  # it may fill caches
                with count_synchronizations() as found:
                    there = moved.batch(on_device, generator)
                _expect_none(found, "in a batch")
                _expect_equal("images", there.images, here.images)
                for attribute, labels in there.attributes.items():
                    _expect_equal(f"labels of '{attribute}'", labels, here.attributes[attribute])


def _expect_none(found: Counter[str], where: str) -> None:
    causes = ", ".join(f"{cause}: {count}" for cause, count in found.most_common())
    expect(not found, f"there are {found.total()} {where} ({causes})")


def _expect_equal(what: str, there: Tensor, here: Tensor) -> None:
    expect(there.device.type == NAME, f"{what} are on {there.device}")
    expect(torch.equal(there.cpu(), here), f"{what} differ from those on the CPU")


def _fit(
    model_class: type[Model],
    config: Options,
    data: Data,
    device: torch.device,
    *,
    steps: list[Counter[str]] | None = None,
    **trainer_options: Any,
) -> tuple[Model, TrainingLoop]:
    torch.manual_seed(0)
    model = model_class(config, data.info).to(device)
    trainer = TrainingLoop(device=device, seed=0, **trainer_options)
    data = data.to(device)
    with _counting(model, steps if steps is not None else []):
        model.fit(data.train, data.validation, trainer)
    return model, trainer


@contextmanager
def _counting(model: Model, steps: list[Counter[str]]) -> Iterator[None]:
    """Add to ``steps`` the synchronizations of each step: from the call of ``training_step`` to its last update.

    What a model trains by optimizers in its own ``fit`` is no part of a step.
    """
    training_step, after_update = model.training_step, model.after_update
    begun: list[Counter[str]] = []

    def counted(batch: Batch) -> Step:
        begun[:] = [Counter(found)]
        return training_step(batch)

    def updated(optimizer: str) -> None:
        after_update(optimizer)
        if len(begun) == 1:
            steps.append(Counter())
            begun.append(steps[-1])
        steps[-1].update(found - begun[0] - steps[-1])

    with count_synchronizations() as found:
        model.training_step = counted  # type: ignore[method-assign]
        model.after_update = updated  # type: ignore[method-assign]
        try:
            yield
        finally:
            del model.training_step, model.after_update


class _CutOffError(Exception):
    """Simulates an interruption of the run."""


def _cut_off_and_resume(
    model_class: type[Model], config: Options, data: Data, start: torch.device, end: torch.device
) -> tuple[Model, TrainingLoop]:
    """A fit that is cut off half-way on one device and resumed on the other."""

    def cut_off(step: int, total: int, losses: dict[str, float]) -> None:
        if 2 * step >= total:
            raise _CutOffError

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.pt"
        with suppress(_CutOffError):
            _fit(model_class, config, data, start, checkpoint=checkpoint, checkpoint_seconds=0.0, notify=cut_off)
        return _fit(model_class, config, data, end, checkpoint=checkpoint)
