"""CMI's losses for all attribute values at once against a loop over values, and what a step is made of: one thread."""

import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from time import thread_time
from timeit import repeat
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from latentbench import Batch, DataInfo
from latentbench_cmi.model import Shift, ShiftBase, ShiftCMI

LOOP = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "cmi_loop.py"))
INFO = DataInfo(channels=1, height=32, width=64, train_size=9943, attributes={"left": 2, "right": 2})
BATCH = 100
PUBLISHED_STEPS = 40_000
#: A crowded machine can spoil a measurement: what is too slow is so every time.
ATTEMPTS = 3


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Looped(ShiftCMI):
    """The same model, its losses written with a loop over attributes and values."""

    def build(self, info: DataInfo) -> None:
        super().build(info)
        self.networks = torch.nn.ModuleList(LOOP["as_modules"](self.discriminators))
        self.discriminators = self.networks

    def dependence(self, z: Tensor, s: Tensor) -> Tensor:
        return self._loss(z, s, real_is=0)

    def discrimination(self, z: Tensor, s: Tensor) -> Tensor:
        return self._loss(z, s, real_is=1)

    def _loss(self, z: Tensor, s: Tensor, *, real_is: int) -> Tensor:
        def permute(k: int, items: Tensor) -> Tensor:
            return items[torch.randperm(len(items))]

        loss: Tensor = LOOP["cmi_losses"](z, s, list(self.networks), 2, permute, real_is=real_is)
        return loss


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    labels = {name: torch.arange(BATCH) % 2 for name in INFO.attributes}
    return Batch(torch.rand(BATCH, 1, 32, 64, generator=generator), labels)


def build(cls: type[Shift]) -> Shift:
    torch.manual_seed(0)
    return cls(cls.Config(), INFO)


def stepper(model: Shift) -> Callable[[], None]:
    """A whole step as the harness makes it: each update on gradients of its own parameters."""
    data, optimizers = batch(), dict(model.optimizers())
    parameters = {name: parameters_of(optimizer) for name, optimizer in optimizers.items()}

    def step() -> None:
        for name, losses in model.training_step(data):
            loss = losses if isinstance(losses, Tensor) else losses["loss"]
            optimizers[name].zero_grad()
            torch.autograd.backward(loss, inputs=parameters[name])
            optimizers[name].step()

    return step


def parameters_of(optimizer: Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def losses(model: Shift) -> Callable[[], None]:
    """Both adversarial losses of a step with their gradients, without encoder, heads and optimizers."""
    data = batch()
    s, z = model.labels(data), model.code(data.images).detach().requires_grad_()
    parameters = [*model.discriminators.parameters()]

    def both() -> None:
        torch.autograd.backward(model.dependence(z, s), inputs=[z])
        torch.autograd.backward(model.discrimination(z.detach(), s), inputs=parameters)

    return both


def milliseconds(*functions: Callable[[], None]) -> list[float]:
    """The least CPU time of a call of each, taken in turns, so that what else the machine does falls on all."""
    rounds = [[min(repeat(f, timer=thread_time, number=5, repeat=2)) / 5 * 1e3 for f in functions] for _ in range(25)]
    return [min(times) for times in zip(*rounds, strict=True)]


@pytest.mark.usefixtures("one_thread")
def test_the_losses_are_at_least_twice_as_fast_as_with_a_loop_over_four_groups(benchmark: Any) -> None:
    ours, looped = losses(build(ShiftCMI)), losses(build(Looped))
    ratios: list[float] = []
    while len(ratios) < ATTEMPTS and max(ratios, default=0.0) < 2:
        fast, slow = milliseconds(ours, looped)
        ratios.append(slow / fast)
    benchmark.extra_info |= {"losses, ms": fast, "losses with a loop, ms": slow, "ratio": ratios[-1]}
    benchmark(ours)
    assert ratios[-1] >= 2


@pytest.mark.usefixtures("one_thread")
def test_a_whole_step_is_faster_than_with_a_loop_and_spends_less_on_the_adversary_than_on_the_rest(
    benchmark: Any,
) -> None:
    """The rest is encoder and heads, which Base has too; the report holds the shares, and what a published run takes."""
    steps = [stepper(build(cls)) for cls in (ShiftBase, ShiftCMI, Looped)]
    found: list[tuple[float, float]] = []
    while len(found) < ATTEMPTS and not (found and found[-1][0] >= 1.25 and found[-1][1] <= 0.5):
        base, cmi, looped = milliseconds(*steps)
        found.append((looped / cmi, 1 - base / cmi))
    ratio, share = found[-1]
    benchmark.extra_info |= {
        "step of Base, ms": base,
        "step of CMI, ms": cmi,
        "ratio to a step with a loop": ratio,
        "share of the adversary": share,
        "published run without its data, minutes": PUBLISHED_STEPS * cmi / 60e3,
    }
    benchmark(steps[1])
    assert ratio >= 1.25
    assert share <= 0.5
