"""The contract of a model: a Config, a network, the losses of one step, and one or more capabilities."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from latentbench.config import Options, Presets, TrainingOptions, Where
from latentbench.data.splits import Batch, DataInfo, Split
from latentbench.errors import LatentbenchError

__all__ = ["Losses", "Model", "Step", "Trainer"]

#: What a step gives to minimize: a scalar, or named scalars of which "loss" is minimized and the others are reported.
Losses = Tensor | Mapping[str, Tensor]
#: One step: its losses; or, with several optimizers, (optimizer's name, losses) in the order of the updates.
Step = Losses | Iterator[tuple[str, Losses]]


class Trainer(Protocol):
    """What the harness gives a model to be fitted with: its training loop, and the means for a ``fit`` of its own."""

    device: torch.device
    """Where the model and the splits are."""
    seed: int
    """The run's."""
    generator: torch.Generator
    """What training batches are drawn with, on ``device``; checkpointed and restored."""

    def fit(self, model: "Model", train: Split, validation: Split | None) -> None:
        """Fit ``model`` by its ``training_step`` and ``optimizers``, as the ``TrainingOptions`` in its Config say.

        Raises:
            LatentbenchError: a loss or parameter is not finite; or options, optimizers and losses that do not fit.
        """


class Model(nn.Module):
    """A method as a plugin: subclass it, and add a method for each capability (``latentbench.capabilities``).

    ``build`` makes the network, ``optimizers`` and ``training_step`` say how a batch trains it; the harness brings the
    loop around them. A model that trains otherwise overrides ``fit`` and needs neither.

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
        """The optimizer of all parameters; or several by name, each of its own parameters.

        A learning-rate schedule is resumed only as far as it lives in the optimizer (``param_groups``) or in a buffer.
        """
        raise TypeError(f"model '{self.name}' has no optimizers(): give them, or override fit()")

    def training_step(self, batch: Batch) -> Step:
        """The losses of one batch.

        With several optimizers, yield ``(name, losses)`` for each update: the harness steps that optimizer, on
        gradients of its own parameters only, before the generator goes on. So what follows sees the updated weights.
        """
        raise TypeError(f"model '{self.name}' has no training_step(): give it, or override fit()")

    def validation_step(self, batch: Batch) -> Tensor:
        """Mean loss of a validation batch, () and smaller = better: what early stopping and model selection watch.

        By default the loss that ``training_step`` minimizes, of the first update where there are several.
        """
        step = self.training_step(batch)
        if not isinstance(step, Tensor | Mapping):
            _, step = next(step)
        return step if isinstance(step, Tensor) else step["loss"]

    def fit(self, train: Split, validation: Split | None, trainer: "Trainer") -> None:
        """Fit on ``train``, on ``trainer.device``; ``validation`` is for selection. By default the harness's loop."""
        trainer.fit(self, train, validation)
