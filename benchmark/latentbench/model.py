"""The contract of a model: a Config, a network, the losses of one step, and one or more capabilities."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from latentbench.config import Options, Presets, TrainingOptions, Where
from latentbench.data.splits import Batch, DataInfo, Split
from latentbench.errors import LatentbenchError

__all__ = ["Losses", "Model", "Step", "Trainer", "TrainingProgress", "memory_format_of"]

#: What a step gives to minimize: a scalar, or named scalars of which "loss" is minimized and the others are reported.
Losses = Tensor | Mapping[str, Tensor]
#: One step: its losses; or, with several optimizers, (optimizer's name, losses) in the order of the updates.
Step = Losses | Iterator[tuple[str, Losses]]


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands, in plain integers: what a schedule is a function of. The same after a resume.

    All numbers are of the running phase. The defaults are those of a model that is not being trained.
    """

    step: int = 0
    """0-based index of the running step: the number of steps that were completed before it.

    In ``after_update`` it is the step of the update, in ``validate`` and ``validation_step`` the last one of the epoch.
    """
    epoch: int = 0
    """0-based index of the running epoch."""
    total_steps: int = 1
    """Steps until the end, a board's budget included. Only early stopping makes fewer."""
    steps_per_epoch: int = 1
    phase: str = "main"
    """As named in ``trainer.fit(..., phase=...)``."""


class Trainer(Protocol):
    """What the harness gives a model to be fitted with: its training loop, and the means for a ``fit`` of its own."""

    device: torch.device
    """Where the model and the splits are."""
    seed: int
    """The run's."""
    generator: torch.Generator
    """What training batches are drawn with, on ``device``; checkpointed and restored.

    While ``Model.validate`` runs it is another one, which gives the same numbers after every epoch.
    """

    def fit(
        self,
        model: "Model",
        train: Split,
        validation: Split | None,
        *,
        phase: str = "main",
        budget_share: float = 1.0,
        **options: Any,
    ) -> None:
        """Train ``model`` by its ``training_step`` and ``optimizers``, as the ``TrainingOptions`` in its Config say.

        A model that trains in several phases calls this once for each, with a name of its own for each, and tells them
        apart by ``progress.phase``. Optimizers, schedulers and ``start`` are asked for anew in each phase. A run that
        was cut off in a later phase resumes there: earlier phases are restored as they ended, and only the model's own
        code between two phases is run again.

        Args:
            model: the model, the same in all phases.
            train: what it learns from.
            validation: what is measured after every epoch, if anything.
            phase: name of the phase.
            budget_share: where a board limits the steps of a run, the share of them, in (0, 1], that this phase may
                use at most, rounded down. Each phase can use no more than what earlier ones have left.
            options: ``TrainingOptions`` that are different in this phase, such as ``epochs=5``.

        Raises:
            LatentbenchError: a loss or parameter is not finite; options, optimizers, schedulers or losses do not fit;
                two phases have one name, or a board's steps are used up before this one.
        """

    def validation_loss(self, model: "Model", split: Split) -> float:
        """Mean of ``model.validation_step`` over the images of ``split``: what ``Model.validate`` gives by default."""


class Model(nn.Module):
    """A method as a plugin: subclass it, and add a method for each capability (``latentbench.capabilities``).

    ``build`` makes the network, ``optimizers`` and ``training_step`` say how a batch trains it; the harness brings the
    loop around them. A model that trains otherwise overrides ``fit`` and needs neither. Methods that are optional:
    ``schedulers``, ``start``, ``after_update`` and ``validate``.

    Everything that the fitted model needs lives in its parameters and buffers: they are what is checkpointed, saved and
    restored. Randomness comes from PyTorch's global generator, which the harness seeds, checkpoints and restores; a
    draw from anywhere else makes a resumed run differ.
    """

    name: ClassVar[str]
    """How boards and the command line call it; by default the class's name in kebab case."""
    version: ClassVar[int] = 1
    """Raise it when the same Config gives other results: old records then no longer count as this model's."""
    presets: ClassVar[Presets] = {}
    """The options that this model uses on a dataset, where they differ from the Config's defaults.

    Dataset name -> options, and ``Where(name, option=value)`` -> options that are used just where the dataset has
    these options itself. A later entry overrides an earlier one, option by option.
    """
    needs: ClassVar[tuple[str, ...]] = ()
    """What it cannot learn without: "attributes". Boards leave it out on datasets that have none."""

    class Config(TrainingOptions):
        """Options; subclass it in the plugin (or derive from ``Options`` when the model brings its own ``fit``)."""

    config: Options
    info: DataInfo
    progress: TrainingProgress = TrainingProgress()
    """Where training stands; kept up to date by the loop for every method that it calls, ``optimizers`` included."""

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Why it cannot be used on a dataset, in one sentence that a board shows; None where it can.

        For what its shapes rule out, whatever the options ("28x28 pixels cannot be halved three times"): boards then
        leave the model out there. For attributes ``needs`` is shorter.
        """
        return None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", cls.__name__).lower()

    def __init__(self, config: Options, info: DataInfo) -> None:
        super().__init__()
        self.config = config
        self.info = info
        self.build(info)

    @classmethod
    def configure(cls, dataset: str, options: Mapping[str, Any], dataset_options: Options | None = None) -> Options:
        """The Config for ``dataset``: the defaults, then the presets that apply, then ``options``.

        Args:
            dataset: the dataset's name.
            options: those of the model that are to differ from its preset.
            dataset_options: the dataset's Config; without it, presets that ask for options of the dataset are left out.

        Raises:
            LatentbenchError: unknown option, wrong type or value out of range.
        """
        values: dict[str, Any] = {}
        try:
            for key, preset in cls.presets.items():
                if key.holds(dataset, dataset_options) if isinstance(key, Where) else key == dataset:
                    values.update(preset)
        except LatentbenchError as error:
            raise LatentbenchError(f"model '{cls.name}': {error}") from None
        return cls.Config.parse({**values, **options}, f"model '{cls.name}'")

    def build(self, info: DataInfo) -> None:
        """Make parameters and buffers for images of ``info``, on the CPU."""

    def optimizers(self) -> torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer]:
        """The optimizer of all parameters; or several by name, each of its own parameters."""
        raise TypeError(f"model '{self.name}' has no optimizers(): give them, or override fit()")

    def schedulers(self, optimizers: Any) -> LRScheduler | Mapping[str, LRScheduler]:
        """Learning-rate schedulers from ``torch.optim.lr_scheduler``; by default there are none.

        Each is stepped after every training step, ``progress.total_steps`` times in all, whether or not that step
        updated its optimizer. To change a rate once an epoch, count in ``progress.steps_per_epoch``:
        ``StepLR(optimizers, 10 * self.progress.steps_per_epoch)``. Their state is checkpointed and restored, and must
        therefore consist of numbers, strings, tensors and containers of these.

        Args:
            optimizers: what ``optimizers()`` gave: one, or a mapping by name.

        Returns:
            The scheduler of the one optimizer; or, with named optimizers, schedulers by their optimizer's name.
        """
        return {}

    def start(self, train: Split, trainer: "Trainer") -> None:
        """Initialize from data, before the first step: mixture components, scales. By default nothing is done.

        Called once for each phase, in eval mode and without gradients, after ``optimizers()``: so change parameters in
        place. Not called on a resume: a checkpoint is written right after it. What it leaves behind must be in
        parameters and buffers.
        """

    def training_step(self, batch: Batch) -> Step:
        """The losses of one batch; ``self.progress`` says which step it is.

        With several optimizers, yield ``(name, losses)`` for each update: the harness steps that optimizer, on
        gradients of its own parameters only, before the generator goes on. So what follows sees the updated weights.
        """
        raise TypeError(f"model '{self.name}' has no training_step(): give it, or override fit()")

    def after_update(self, optimizer: str) -> None:
        """Called without gradients after each update: to average weights, or to clip them. By default nothing is done.

        Args:
            optimizer: name of the optimizer that was stepped; "" if ``optimizers()`` gave just one.
        """

    def validate(self, split: Split, trainer: "Trainer") -> float | None:
        """What early stopping and model selection watch, smaller = better; by default the mean ``validation_step``.

        Called after every epoch, in eval mode and without gradients, with PyTorch's global generator and
        ``trainer.generator`` seeded alike each time and put back afterwards.

        None stands for a model without a validation loss, such as a GAN: nothing is recorded then, and ``patience`` is
        refused.
        """
        return trainer.validation_loss(self, split)

    def validation_step(self, batch: Batch) -> Tensor:
        """Mean loss of a validation batch, () and smaller = better.

        By default the loss that ``training_step`` minimizes, of the first update where there are several.
        """
        step = self.training_step(batch)
        if not isinstance(step, Tensor | Mapping):
            _, step = next(step)
        return step if isinstance(step, Tensor) else step["loss"]

    def facts(self) -> Mapping[str, float]:
        """What is measured or proved of the fitted model itself, such as a Lipschitz constant, by name; finite.

        It goes into the run's record. A metric, in contrast, is measured on a split, and compares models.
        """
        return {}

    def pictures(self, images: Tensor) -> Mapping[str, Tensor]:
        """Pictures of its own, beside those that the harness makes from its capabilities, by name.

        Args:
            images: some test images, (B, C, H, W) float32 in [0, 1] on the run's device.

        Returns:
            Name -> (N, C, H, W), N tiles of one sheet, or (C, H, W); in [0, 1]. A name that the harness gives, such as
            "reconstructions", replaces its picture.
        """
        return {}

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit on ``train``, on ``trainer.device``; ``validation`` is for selection. By default the harness's loop."""
        trainer.fit(self, train, validation)


def memory_format_of(options: Options) -> torch.memory_format:
    """The order in which images and convolution weights are stored, by the option ``memory_format`` if there is one."""
    channels_last = getattr(options, "memory_format", "contiguous") == "channels_last"
    return torch.channels_last if channels_last else torch.contiguous_format
