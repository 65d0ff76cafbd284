"""The training loop that is passed to models: seeded batches, phases under one budget, validation, and a summary."""

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
    """What the harness passes to ``Model.fit``: the loop, and what a model needs for a loop of its own.

    Args:
        device: the device of the model and the splits.
        seed: the run's seed, >= 0. Batches have a generator of their own, so they do not depend on what a model draws
            from PyTorch's global one (which the caller seeds before it builds the model).
        max_steps: the most steps that all phases together may take; with 0 the model stays as it is initialized,
            ``Model.start`` included.
        checkpoint: file to resume from and to write to; later phases have files beside it. It must belong to this run
            alone, because its content is not checked against the run.
        code: identifies the run's third-party code; a checkpoint that other code made is not resumed from.
        notify: called with (steps made, most steps possible, mean losses since the last call), about twice a second,
            and after every epoch, then with the "validation" loss if there is one. Steps are counted over all phases
            up to and including the current one.
        checkpoint_seconds: time between two checkpoints.

    Attributes:
        generator: draws the batches, on ``device``.
        training: summary of the training; None until a phase has ended, and for a model that does not call ``fit``.
        images: number of training images processed, over all phases and resumptions.
        resumed: how often the loop was resumed from a checkpoint.
        earlier_seconds: time spent up to the checkpoint that this trainer resumed from.
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
        self._restored = True  # whether all phases so far were restored as they ended
        self._options = TrainingOptions()
        self._started: float | None = None
        self._fit: Fit | None = None

    @property
    def step(self) -> int:
        """The step that is being made, or was made last, counted from 1 over all phases; 0 before the first."""
        return self._fit.total_step if self._fit else 0

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

        An epoch passes over ``train`` in a new random order. The last, smaller batch is included unless it has a single
        image, for which batch statistics are undefined. ``max_steps`` may cut the last epoch short. The model is
        validated on ``validation`` after every epoch, always with the same batches and random numbers, which are
        independent of those of training, so that validation does not change the weights. It selects only with
        ``patience``: then the weights of the epoch with the least validation loss are kept, among the epochs after the
        first ``select_after``.

        With ``max_steps=0`` each phase ends before its first step: ``optimizers``, ``schedulers`` and ``start`` are
        called as before training, so that the weights are those from which a training with the same seed sets out.
        Nothing is validated or selected, there are no losses, and the running statistics of batch normalization are
        the initial ones.

        If there is a ``checkpoint`` file, the fit resumes from it, even at its end. On a CPU the result equals that of
        an uninterrupted fit bit for bit. On another kind of device than the checkpoint's it resumes with random numbers
        drawn anew. An interrupt writes no checkpoint, because it can come in the middle of an update.

        Arguments and phases are those of ``latentbench.Trainer.fit``.

        Raises:
            LatentbenchError: a loss or parameter is not finite (the message has epoch, step and last checkpoint);
                ``patience`` without a validation split or loss; unknown options; inconsistent phases; or optimizers,
                schedulers or losses that violate the contract of ``Model``.
            StorageError: the checkpoint cannot be written.
        """
        plan = self._plan(model, train, validation, phase, budget_share, options)
        self._options = plan.options
        if self._started is None:
            self._started = time.monotonic()
        self._phases[phase] = State()  # it counts as begun, even if it fails
        self._fit = fit = Fit(self, model, train, validation, plan)
        fit.run()
        self._phases[phase] = fit.state
        self._restored = self._restored and fit.restored
        self.images = sum(state.images for state in self._phases.values())
        self.training = _summary(self._phases)

    def validation_loss(self, model: Model, split: Split) -> float:
        """Mean of the model's ``validation_step`` over the images, in batches of the training size."""
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
        """Disable gradients and seed all generators in a fixed way; restore both at the end."""
        training = self.generator
        self.generator = torch.Generator(self.device).manual_seed(self._validation_seed)
        try:
            with torch.no_grad(), fork_rng(self.device):
                torch.manual_seed(self._validation_seed)
                yield
        finally:
            self.generator = training

    def reseed(self, step: int) -> None:
        """Seed all generators from the run's seed and the step at which training resumes."""
        for_batches, for_model = np.random.SeedSequence([self.seed, step]).spawn(2)
        self.generator.manual_seed(_as_seed(for_batches))
        torch.manual_seed(_as_seed(for_model))

    def resume(self, resumed: int, seconds: float) -> None:
        """Record that a phase was resumed: how often that has happened, and the seconds spent before."""
        self.resumed, self.earlier_seconds, self._started = resumed, seconds, time.monotonic()

    def seconds(self) -> float:
        """Time spent in the loop, over all phases and resumptions."""
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
        """Check the arguments of ``fit``, and plan the steps."""
        if phase in self._phases:
            mend = "name the second one: trainer.fit(..., phase='...')"
            raise mistake(model, f"it calls trainer.fit() twice for the phase '{phase}'", mend)
        if self._model is not None and self._model is not model:
            raise mistake(
                model, "it calls trainer.fit() for two different models", "make the second a part of the first"
            )
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
        if self.max_steps == 0:
            total = 0
        elif self.max_steps is not None:
            total = min(total, max(1, int(self.max_steps * budget_share)), self.max_steps - before)
        if total < 1 and self.max_steps != 0:
            raise mistake(
                model,
                f"the budget of {self.max_steps} steps has none left for the phase '{phase}'",
                "divide it with trainer.fit(..., budget_share=...)",
            )
        checkpoint = self._checkpoint(len(self._phases))
        return Plan(phase, options, steps_per_epoch, total, before, checkpoint, resumable=self._restored)

    def _checkpoint(self, earlier_phases: int) -> Path | None:
        """The checkpoint file of a phase: the given one for the first, with "-2" added to its name for the second."""
        if self.checkpoint is None or earlier_phases == 0:
            return self.checkpoint
        return self.checkpoint.with_stem(f"{self.checkpoint.stem}-{earlier_phases + 1}")


def _summary(phases: dict[str, State]) -> Training:
    """Summary of the phases that have ended, together and one by one."""
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
