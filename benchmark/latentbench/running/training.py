"""The training loop that models are handed: seeded batches, phases under one budget, validation, and what came out."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentbench.config import TrainingOptions
from latentbench.data.splits import Role, Split
from latentbench.devices import fork_rng
from latentbench.model import Model
from latentbench.records.record import Training, TrainingPhase
from latentbench.running.fitting import Fit, Plan, State, in_memory_format
from latentbench.running.updates import autocast, kind_of, mistake

__all__ = ["TrainingLoop"]


class TrainingLoop:
    """What the harness gives a model to be fitted with: the loop, and the means for a ``fit`` of its own.

    Args:
        device: where the model and the splits are.
        seed: the run's seed, >= 0. Batches come from a generator of their own, so they do not depend on what a model
            draws from PyTorch's global one (which the caller seeds before it builds the model).
        max_steps: stop after this many steps of all phases together at the latest.
        checkpoint: file to resume from and to write to; later phases have files beside it. Each run has its own: what
            is in it is taken to be this run's.
        code: what identifies the run's third-party code; a checkpoint that other code made is not resumed from.
        notify: called with (steps made, most steps possible, mean losses since the last call), about twice a second,
            and after every epoch, then with the "validation" loss where there is one. Steps are those of all phases
            up to and including the running one.
        checkpoint_seconds: time between two checkpoints.

    Attributes:
        generator: what batches are drawn with, on ``device``.
        training: how the loop went; None until a phase has ended, and for a model that does not call ``fit``.
        images: training images that passed the loop, over all phases and resumptions.
        resumed: how often the loop was taken up again from a checkpoint.
        earlier_seconds: time that the loop had taken up to the checkpoint that this trainer resumed from.
    """

    def __init__(
        self,
        *,
        device: torch.device,
        seed: int,
        max_steps: int | None = None,
        checkpoint: Path | None = None,
        code: Mapping[str, str] | None = None,
        notify: Callable[[int, int, dict[str, float]], None] = lambda step, total, losses: None,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.device = device
        self.seed = seed
        self.max_steps = max_steps
        self.checkpoint = checkpoint
        self.code = dict(code or {})
        self.notify = notify
        self.checkpoint_seconds = checkpoint_seconds

        for_batches, for_validation = np.random.SeedSequence(seed).spawn(2)
        self.generator = torch.Generator(device).manual_seed(_as_seed(for_batches))
        self._validation_seed = _as_seed(for_validation)

        self.training: Training | None = None
        self.images = 0
        self.resumed = 0
        self.earlier_seconds = 0.0
        self._model: Model | None = None
        self._phases: dict[str, State] = {}
        self._restored = True  # all phases up to here, as they ended
        self._options = TrainingOptions()
        self._started: float | None = None

    def fit(
        self,
        model: Model,
        train: Split,
        validation: Split | None,
        *,
        phase: str = "main",
        budget_share: float = 1.0,
        **options: Any,
    ) -> None:
        """Fit ``model`` by its ``training_step`` and ``optimizers``, as the ``TrainingOptions`` in its Config say.

        An epoch passes ``train`` in a fresh random order, the last, smaller batch included; but a last batch of one
        image is left out, because batch statistics are not defined for it. ``max_steps`` may cut the last epoch short.
        ``validation`` is measured after every epoch, by default at the cost of a forward pass, always with the same
        batches and random numbers and apart from those of training: the same weights come out with it and without.
        Only with ``patience`` does it select: the weights of the epoch with the least validation loss are kept, of
        those after the first ``select_after`` epochs.

        With a ``checkpoint`` file the fit goes on from there, even from its end. On a CPU the result equals that of an
        uninterrupted fit bit for bit. On another kind of device than the checkpoint's it goes on too, with random
        numbers drawn anew. An interrupt can hit the middle of an update, so it writes no checkpoint.

        Arguments and phases are those of ``latentbench.Trainer.fit``.

        Raises:
            LatentbenchError: a loss or parameter is not finite (names epoch, step and last checkpoint), patience
                without a validation split or loss, options that do not exist, phases that do not fit together, or
                optimizers, schedulers and losses that are not what ``Model`` asks for.
            StorageError: the checkpoint cannot be written.
        """
        plan = self._plan(model, train, validation, phase, budget_share, options)
        self._options = plan.options
        if self._started is None:
            self._started = time.monotonic()
        self._phases[phase] = State()  # it counts as begun, even if it fails
        fit = Fit(self, model, train, validation, plan)
        fit.run()
        self._phases[phase] = fit.state
        self._restored = self._restored and fit.restored
        self.images = sum(state.images for state in self._phases.values())
        self.training = _summary(self._phases)

    def validation_loss(self, model: Model, split: Split) -> float:
        """Mean of the model's ``validation_step`` over the images, in batches as in training."""
        indices = torch.split(torch.arange(len(split), device=self.device), self._options.batch_size)
        losses = []
        for index in indices:
            batch = in_memory_format(split.batch(index, self.generator), self._options)
            with autocast(self._options, self.device):
                loss = model.validation_step(batch)
            if not isinstance(loss, Tensor) or loss.ndim != 0:
                raise mistake(model, f"validation_step gave {kind_of(loss)}", "give a tensor of shape (), a mean")
            losses.append(loss)
        values: list[float] = torch.stack(losses).tolist()
        return sum(value * len(index) for value, index in zip(values, indices, strict=True)) / len(split)

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Without gradients, all generators seeded as after every epoch, and put back at the end."""
        training = self.generator
        self.generator = torch.Generator(self.device).manual_seed(self._validation_seed)
        try:
            with torch.no_grad(), fork_rng(self.device):
                torch.manual_seed(self._validation_seed)
                yield
        finally:
            self.generator = training

    def reseed(self, step: int) -> None:
        """Seed all generators anew, by the run's seed and the step at which they go on."""
        for_batches, for_model = np.random.SeedSequence([self.seed, step]).spawn(2)
        self.generator.manual_seed(_as_seed(for_batches))
        torch.manual_seed(_as_seed(for_model))

    def resume(self, resumed: int, seconds: float) -> None:
        """Note that a phase goes on from a checkpoint: how often that has happened, and what came before in seconds."""
        self.resumed, self.earlier_seconds, self._started = resumed, seconds, time.monotonic()

    def seconds(self) -> float:
        """Time that the loop has taken, over all phases and resumptions."""
        return self.earlier_seconds + time.monotonic() - (self._started or 0.0)

    def _plan(
        self,
        model: Model,
        train: Split,
        validation: Split | None,
        phase: str,
        budget_share: float,
        changes: dict[str, Any],
    ) -> Plan:
        """Check what is asked for, and lay out the steps."""
        if phase in self._phases:
            mend = "name the second one: trainer.fit(..., phase='...')"
            raise mistake(model, f"it calls trainer.fit() twice for the phase '{phase}'", mend)
        if self._model is not None and self._model is not model:
            raise mistake(model, "it calls trainer.fit() for another model than before", "make it a part of the first")
        self._model = model
        if not isinstance(model.config, TrainingOptions):
            raise mistake(model, "its Config has no training options", "derive it from Model.Config")
        options = TrainingOptions.parse(
            {**{name: getattr(model.config, name) for name in TrainingOptions.model_fields}, **changes},
            f"model '{model.name}', phase '{phase}'",
        )
        for split in (train, validation):
            if split is not None and len(split) == 0:
                raise mistake(model, f"the {split.role} split has no images", "change the dataset's options")
            if split is not None and split.image_range != (0, 1):
                low, high = split.image_range
                raise mistake(
                    model,
                    f"the {split.role} split declares images in [{low:g}, {high:g}]",
                    "a test split alone may leave [0, 1]",
                )
        if validation is not None and validation.role is Role.TEST:
            raise mistake(model, "its fit selects on a test split", "give trainer.fit() the validation split, or None")
        if options.patience is not None and validation is None:
            raise mistake(model, "it has 'patience', but the dataset has no validation split", "leave 'patience' unset")

        full, rest = divmod(len(train), options.batch_size)
        steps_per_epoch = max(1, full + (rest > 1))
        before = sum(state.step for state in self._phases.values())
        total = options.epochs * steps_per_epoch
        if not 0 < budget_share <= 1:
            raise mistake(model, f"the budget_share of phase '{phase}' is {budget_share:g}", "give one in (0, 1]")
        if self.max_steps is not None:
            total = min(total, max(1, int(self.max_steps * budget_share)), self.max_steps - before)
        if total < 1:
            raise mistake(
                model,
                f"the budget of {self.max_steps} steps has none left for the phase '{phase}'",
                "divide it with trainer.fit(..., budget_share=...)",
            )
        checkpoint = self._checkpoint(len(self._phases))
        return Plan(phase, options, steps_per_epoch, total, before, checkpoint, resumable=self._restored)

    def _checkpoint(self, earlier_phases: int) -> Path | None:
        """The file of a phase: that of the first as given, that of the second with "-2" added to its name."""
        if self.checkpoint is None or earlier_phases == 0:
            return self.checkpoint
        return self.checkpoint.with_stem(f"{self.checkpoint.stem}-{earlier_phases + 1}")


def _summary(phases: dict[str, State]) -> Training:
    """How the phases that have ended went, together and each."""
    ended = [
        TrainingPhase(
            phase=phase,
            steps=state.step,
            epochs=len(state.losses),
            stopped=state.stopped,
            best_epoch=state.selection.epoch,
        )
        for phase, state in phases.items()
        if state.stopped is not None
    ]
    several = len(ended) > 1
    return Training(
        steps=sum(phase.steps for phase in ended),
        epochs=sum(phase.epochs for phase in ended),
        stopped=ended[-1].stopped,
        best_epoch=None if several else ended[0].best_epoch,
        losses=[losses for state in phases.values() for losses in state.losses],
        phases=ended if several else [],
    )


def _as_seed(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0])
