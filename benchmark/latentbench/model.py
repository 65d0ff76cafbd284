"""The contract of a model: options, a network, the losses of a training step, and one or more capabilities."""

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

#: The losses of an update: a scalar, or named scalars of which "loss" is minimized and the others are only reported.
Losses = Tensor | Mapping[str, Tensor]
#: The result of a step: its losses; with several optimizers, (optimizer's name, losses) in the order of the updates.
Step = Losses | Iterator[tuple[str, Losses]]


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands, in plain integers, for schedules to depend on. A resumed run continues with its numbers.

    All numbers refer to the current phase. The defaults are for a model that is not being trained.
    """

    step: int = 0
    """0-based index of the current step: the number of steps that were completed before it.

    In ``after_update`` it is the step of the update, in ``validate`` and ``validation_step`` the last of the epoch.
    """
    epoch: int = 0
    """0-based index of the current epoch."""
    total_steps: int = 1
    """Number of steps of the phase, with a board's budget taken into account. Only early stopping ends sooner.

    For an untrained twin, which makes none, it is the number without a budget, so that schedules can be made.
    """
    steps_per_epoch: int = 1
    phase: str = "main"
    """The name that was passed to ``trainer.fit(..., phase=...)``."""


class Trainer(Protocol):
    """What the harness passes to ``Model.fit``: its training loop, and what a model needs for a loop of its own."""

    device: torch.device
    """The device of the model and the splits."""
    seed: int
    """The run's seed."""
    generator: torch.Generator
    """Draws training batches, on ``device``; it is checkpointed and restored.

    While ``Model.validate`` runs, it is replaced by one that gives the same numbers after every epoch.
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

        A model that trains in several phases calls this once for each, with a different name, and tells them apart by
        ``progress.phase``. ``optimizers``, ``schedulers`` and ``start`` are called anew in each phase. A run that
        was cut off in a later phase resumes there: earlier phases are restored as they ended, and only the model's own
        code between two phases is run again.

        Args:
            model: the model, the same in all phases.
            train: the training split.
            validation: the split on which the model is validated after every epoch, if there is one.
            phase: name of the phase.
            budget_share: if a board limits the steps of a run, the largest share of them, in (0, 1], that this phase
                may use, rounded down. No phase can use more than earlier ones have left.
            options: ``TrainingOptions`` that differ in this phase, such as ``epochs=5``.

        Raises:
            LatentbenchError: a loss or parameter is not finite; options, optimizers, schedulers or losses are invalid;
                two phases have the same name; or the board's budget is used up before this phase.
        """

    def validation_loss(self, model: "Model", split: Split) -> float:
        """Mean of ``model.validation_step`` over the images of ``split``: the default of ``Model.validate``."""


class Model(nn.Module):
    """A method as a plugin: subclass it, and add a method for each capability (``latentbench.capabilities``).

    ``build`` makes the network; ``optimizers`` and ``training_step`` define how a batch trains it; the harness provides
    the loop. A model that is trained in another way overrides ``fit`` and needs neither. ``schedulers``, ``start``,
    ``after_update`` and ``validate`` are optional.

    Everything that the fitted model needs lives in its parameters and buffers: they are what is checkpointed, saved and
    restored. Random numbers come from PyTorch's global generator, which the harness seeds, checkpoints and restores;
    with any other source, a resumed run differs.
    """

    name: ClassVar[str]
    """Its name on boards and the command line; by default the class's name in kebab case."""
    version: ClassVar[int] = 1
    """Raise it when the same Config gives other results: old records then no longer count as this model's."""
    presets: ClassVar[Presets] = {}
    """The options that this model uses on a dataset, where they differ from the Config's defaults.

    The keys are names of datasets, or ``Where(name, option=value)``, which matches only if the dataset has this option
    value. A later entry overrides an earlier one, option by option.
    """
    needs: ClassVar[tuple[str, ...]] = ()
    """What its training requires: "attributes", or nothing. Boards leave it out on datasets without attributes."""
    null: ClassVar[bool] = False
    """A row without a trained network, that others are read against, shown in a group of its own and without a rank."""
    deterministic: ClassVar[bool] = False
    """Equal results for every seed: boards run it once."""

    class Config(TrainingOptions):
        """Options; subclass it in the plugin (or derive from ``Options`` when the model brings its own ``fit``)."""

    config: Options
    info: DataInfo
    progress: TrainingProgress = TrainingProgress()
    """Where training stands; kept up to date by the loop for every method that it calls, ``optimizers`` included."""

    @classmethod
    def suits(cls, info: DataInfo) -> str | None:
        """Why the model cannot be used on a dataset, in one sentence that a board shows; None if it can.

        It is for datasets whose shapes do not fit, whatever the options ("28x28 pixels cannot be halved three times").
        Boards leave the model out there. To require attributes, use ``needs``.
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
            options: options of the model that differ from its preset.
            dataset_options: the dataset's Config. Without it, presets that depend on its options are ignored.

        Raises:
            LatentbenchError: unknown option, wrong type, value out of range, or one of ``options`` has no effect.
        """
        values: dict[str, Any] = {}
        try:
            for key, preset in cls.presets.items():
                if key.holds(dataset, dataset_options) if isinstance(key, Where) else key == dataset:
                    values.update(preset)
        except LatentbenchError as error:
            raise LatentbenchError(f"model '{cls.name}': {error}") from None
        return cls.Config.parse({**values, **options}, f"model '{cls.name}'", presets=values.keys() - options.keys())

    def build(self, info: DataInfo) -> None:
        """Create parameters and buffers for the images that ``info`` describes, on the CPU."""

    def optimizers(self) -> torch.optim.Optimizer | Mapping[str, torch.optim.Optimizer]:
        """The optimizer of all parameters; or several by name, each with its own parameters."""
        raise TypeError(f"model '{self.name}' has no optimizers(): define it, or override fit()")

    def schedulers(self, optimizers: Any) -> LRScheduler | Mapping[str, LRScheduler]:
        """Learning-rate schedulers from ``torch.optim.lr_scheduler``; by default there are none.

        Each is stepped after every training step, ``progress.total_steps`` times in all, whether or not that step
        updated its optimizer. To change a rate once an epoch, count in ``progress.steps_per_epoch``:
        ``StepLR(optimizers, 10 * self.progress.steps_per_epoch)``. Their state is checkpointed and restored, and must
        therefore consist of numbers, strings, tensors and containers of these.

        Args:
            optimizers: the result of ``optimizers()``: one optimizer, or a mapping by name.

        Returns:
            The scheduler of the one optimizer; or, with named optimizers, schedulers by their optimizer's name.
        """
        return {}

    def start(self, train: Split, trainer: "Trainer") -> None:
        """Initialize from data, before the first step: mixture components, scales. By default nothing is done.

        It counts as initialization and not as training, so the model's untrained twin is started, too.

        It is called once for each phase, in eval mode and without gradients, after ``optimizers()``, so change
        parameters in place. It is not called on a resume, because a checkpoint is written right after it. Its results
        must be in parameters and buffers.
        """

    def training_step(self, batch: Batch) -> Step:
        """The losses of one batch; ``self.progress`` says which step it is.

        With several optimizers, yield ``(name, losses)`` for each update: the harness steps that optimizer, on
        gradients of its own parameters only, before it resumes the generator. The code after the ``yield`` therefore
        sees the updated weights. The losses are read when the update is made: what a hook of the optimizer or
        ``after_update`` adds to the mapping, such as the norm of the gradient, is reported with them.
        """
        raise TypeError(f"model '{self.name}' has no training_step(): define it, or override fit()")

    def after_update(self, optimizer: str) -> None:
        """Called without gradients after each update, to average or clip weights. By default it does nothing.

        Args:
            optimizer: name of the optimizer that was stepped; "" if ``optimizers()`` returned a single one.
        """

    def validate(self, split: Split, trainer: "Trainer") -> float | None:
        """The loss for early stopping and model selection, smaller = better; by default the mean ``validation_step``.

        It is called after every epoch, in eval mode and without gradients. PyTorch's global generator and
        ``trainer.generator`` are seeded in the same way each time, and restored afterwards.

        Return None for a model without a validation loss, such as a GAN: nothing is recorded then, and ``patience`` is
        refused.
        """
        return trainer.validation_loss(self, split)

    def validation_step(self, batch: Batch) -> Tensor:
        """Mean loss of a validation batch, () and smaller = better.

        The default is the loss that ``training_step`` minimizes, in its first update if there are several.
        """
        step = self.training_step(batch)
        if not isinstance(step, Tensor | Mapping):
            _, step = next(step)
        return step if isinstance(step, Tensor) else step["loss"]

    def facts(self) -> Mapping[str, float]:
        """Finite numbers that are measured or proved of the fitted model itself, by name, such as a Lipschitz constant.

        They go into the run's record. A metric, in contrast, is measured on a split and compares models.
        """
        return {}

    def pictures(self, images: Tensor) -> Mapping[str, Tensor]:
        """Further pictures by name, besides those that the harness makes from the capabilities.

        Args:
            images: some test images, (B, C, H, W) float32 in [0, 1] on the run's device.

        Returns:
            Name -> (C, H, W); (N, C, H, W) for a sheet of N tiles; or (R, A, C, H, W) for one of R rows of A tiles. In
            [0, 1]. A name that the harness uses, such as "reconstructions", replaces the harness's picture.
        """
        return {}

    def generated_pictures(self) -> Mapping[str, Tensor]:
        """Further pictures of generated images alone, as ``pictures`` returns them.

        They are published even where the dataset's images may not be.
        """
        return {}

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit on ``train``, on ``trainer.device``, with ``validation`` for selection; by default the harness's loop."""
        trainer.fit(self, train, validation)


def memory_format_of(options: Options) -> torch.memory_format:
    """The order in which images and convolution weights are stored, by the option ``memory_format`` if there is one."""
    channels_last = getattr(options, "memory_format", "contiguous") == "channels_last"
    return torch.channels_last if channels_last else torch.contiguous_format
