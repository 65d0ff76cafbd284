"""One phase of training, from a fresh start or its checkpoint to its end: epochs, steps, validation, checkpoints."""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from latentbench.config import TrainingOptions
from latentbench.data.splits import Batch, Split
from latentbench.errors import LatentbenchError, blame
from latentbench.model import Model, TrainingProgress, memory_format_of
from latentbench.records.record import Stopped
from latentbench.running.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state
from latentbench.running.losses import Sums, UnreadLosses, add_losses, means
from latentbench.running.selection import Selection
from latentbench.running.updates import Updates, kind_of, mistake

if TYPE_CHECKING:
    from latentbench.running.training import TrainingLoop

__all__ = ["Fit", "Plan", "State", "in_memory_format"]

log = logging.getLogger("latentbench")

#: Raise it when the layout of a checkpoint changes: older checkpoints are then ignored.
_FORMAT = 2
#: Seconds between two readings of the losses. Only then does the loop wait for the device.
_LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """The plan of a phase."""

    phase: str
    options: TrainingOptions
    steps_per_epoch: int
    total: int
    """The most steps that the phase may take."""
    before: int
    """Number of steps of earlier phases."""
    checkpoint: Path | None
    """The phase's checkpoint file."""
    resumable: bool
    """Whether to resume from the file: not if an earlier phase has been trained anew since it was written."""


@dataclass
class State:
    """The state of a phase without weights, optimizers and generators, as plain values and tensors."""

    step: int = 0
    """Number of completed steps."""
    images: int = 0
    permutation: Tensor | None = None
    """Order of the images in the current epoch; None between epochs."""
    sums: Sums = field(default_factory=dict)
    """Sums of the losses in the current epoch, up to the last reading."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Mean losses of each completed epoch."""
    selection: Selection = field(default_factory=Selection)
    stopped: Stopped | None = None
    seconds: float = 0.0
    """Counted over all phases so far, like the next field."""
    resumed: int = 0


class Fit:
    """One phase of a model's training. It resumes from its checkpoint if there is one, and starts afresh otherwise.

    Args:
        trainer: whose generator, device and notices it uses.
        model: the model, as earlier phases have left it.
        train: what it learns from.
        validation: what is measured after every epoch.
        plan: what to do.
    """

    def __init__(
        self, trainer: "TrainingLoop", model: Model, train: Split, validation: Split | None, plan: Plan
    ) -> None:
        self._trainer, self._model, self._train, self._validation = trainer, model, train, validation
        self._plan, self._options = plan, plan.options
        self._unread = UnreadLosses()
        self._saved_step: int | None = None
        self.state = State()
        self.restored = False
        """Whether the checkpoint was that of the phase's end, so that no step was made."""
        self._set_progress()
        if self._options.memory_format != "contiguous":
            model.to(memory_format=memory_format_of(self._options))  # type: ignore[call-overload]
        self._updates = Updates(model, self._options, trainer.device)

    @property
    def total_step(self) -> int:
        """The step that is being made, or was made last, counted from 1 over this phase and the earlier ones."""
        return self._plan.before + self.state.step

    def run(self) -> None:
        """Resume or start, and train to the end.

        Raises:
            LatentbenchError: a number is not finite, or the model's losses are not what ``Model`` asks for.
            StorageError: the checkpoint cannot be written.
        """
        resumed = self._resume()
        self._looked = self._saved = time.monotonic()
        if not resumed:
            self._start()
        state = self.state
        self.restored = state.stopped is not None
        if self._plan.total == 0 and state.stopped is None:
            state.stopped = "max_steps"
            self._save()
        while state.stopped is None:
            self._model.train()
            for index in self._rest_of_epoch():
                with blame("the training split, batch()"):
                    batch = self._train.batch(index, self._trainer.generator)
                self._step(batch)
                self._look_or_save_when_due()
            self._end_epoch()

    def _start(self) -> None:
        """Call ``Model.start``, and write a checkpoint so that it is not repeated if the process is killed."""
        self.state.resumed = self._trainer.resumed
        if type(self._model).start is Model.start:
            return
        self._model.eval()
        with torch.no_grad():
            self._model.start(self._train, self._trainer)
        self._save()

    def _rest_of_epoch(self) -> Iterable[Tensor]:
        """Indices of the remaining batches of the current epoch."""
        state, plan, trainer = self.state, self._plan, self._trainer
        if state.permutation is None:
            state.permutation = torch.randperm(len(self._train), generator=trainer.generator, device=trainer.device)
        done = state.step - len(state.losses) * plan.steps_per_epoch
        end = min(plan.steps_per_epoch, done + plan.total - state.step)
        return torch.split(state.permutation, self._options.batch_size)[done:end]

    def _step(self, batch: Batch) -> None:
        """Make the updates of one batch, and record their losses."""
        state, images = self.state, len(batch.images)
        self._set_progress()
        state.step += 1
        state.images += images
        for name, losses in self._updates.step(in_memory_format(batch, self._options)):
            self._unread.add(state.step, images, name, losses)

    def _set_progress(self, step: int | None = None) -> None:
        """Set ``model.progress`` to ``step``, by default the next one."""
        state, plan = self.state, self._plan
        step = state.step if step is None else step
        total = plan.total or plan.options.epochs * plan.steps_per_epoch  # over no steps there is no schedule
        self._model.progress = TrainingProgress(step, len(state.losses), total, plan.steps_per_epoch, plan.phase)

    def _look_or_save_when_due(self) -> None:
        """Between two steps, report the losses and write a checkpoint, each if its interval is over."""
        now = time.monotonic()
        save = self._plan.checkpoint is not None and now - self._saved >= self._trainer.checkpoint_seconds
        if save or now - self._looked >= _LOOK_SECONDS:
            self._notify(self._look())
        if save:
            self._save()

    def _notify(self, losses: dict[str, float]) -> None:
        before = self._plan.before
        self._trainer.notify(before + self.state.step, before + self._plan.total, losses)

    def _look(self) -> dict[str, float]:
        """Read the losses since the last reading, check them, add them to the epoch's, and return their means."""
        entries = self._unread.read(self._trainer.device)
        bad = [entry for entry in entries if not isfinite(entry.value)]
        if bad:
            step = bad[0].step
            raise self._not_finite(
                " and ".join(f"loss '{entry.name}' is {entry.value}" for entry in bad if entry.step == step), step
            )
        self._looked = time.monotonic()
        add_losses(self.state.sums, entries)
        return means(add_losses({}, entries))

    def _end_epoch(self) -> None:
        """End the current epoch: mean losses, validation and selection; returns whether training is over."""
        state, options, selection = self.state, self._options, self.state.selection
        news = self._look()
        losses = means(state.sums)
        epoch = len(state.losses) + 1
        validation = self._validate()
        if validation is not None:
            losses["validation"] = news["validation"] = validation
        state.losses.append(losses)
        state.permutation, state.sums = None, {}

        if options.patience is not None and epoch > options.select_after:
            if validation is None:
                mend = "leave 'patience' unset"
                raise mistake(self._model, "it has 'patience', but its validate() gives no loss to select by", mend)
            selection.consider(epoch, validation, self._model)
        if epoch == options.epochs and state.step == epoch * self._plan.steps_per_epoch:
            state.stopped = "epochs"
        elif state.step == self._plan.total:
            state.stopped = "max_steps"
        elif options.patience is not None and selection.has_waited(options.patience, epoch):
            state.stopped = "patience"

        self._notify(news)
        if state.stopped is not None:
            if options.patience is not None and selection.epoch is None:
                log.warning(
                    "model '%s' was trained for %d epochs, and selects after %d: the last weights are kept",
                    *(self._model.name, epoch, options.select_after),
                )
            selection.restore(self._model)
            self._save()  # so that a process killed after this does not train again

    def _validate(self) -> float | None:
        """The result of the model's ``validate``; None also if there is no validation split."""
        if self._validation is None:
            return None
        self._set_progress(self.state.step - 1)
        self._model.eval()
        with self._trainer.validating():
            loss: object = self._model.validate(self._validation, self._trainer)
        if loss is None:
            return None
        if not isinstance(loss, float | int):
            raise mistake(self._model, f"validate() gave {kind_of(loss)}", "give a float, or None")
        if not isfinite(loss):
            raise self._not_finite(f"validation loss is {loss}", self.state.step)
        return float(loss)

    def _save(self) -> None:
        """Write a checkpoint if there is a file for it. Call it between two steps, with all losses read and finite."""
        for name, weight in self._model.named_parameters():
            if weight.requires_grad and not weight.isfinite().all():
                raise self._not_finite(f"parameter '{name}' is not finite", self.state.step)
        if self._plan.checkpoint is None:
            return
        self.state.seconds = self._trainer.seconds()
        content = {
            "identity": self._identity(),
            "device": self._trainer.device.type,
            "state": {**vars(self.state), "selection": vars(self.state.selection)},
            "model": self._model.state_dict(),
            "updates": self._updates.state_dict(),
            "generator": self._trainer.generator.get_state(),
            "random": random_state(self._trainer.device),
        }
        save_checkpoint(self._plan.checkpoint, content)
        self._saved_step = self.state.step
        self._saved = time.monotonic()

    def _resume(self) -> bool:
        """Restore everything from the checkpoint; returns False, without any change, if there is none."""
        path, trainer = self._plan.checkpoint, self._trainer
        content = load_checkpoint(path) if path is not None and self._plan.resumable else None
        if content is None:
            return False
        if content.get("identity") != self._identity():
            log.warning("%s was made by other code: training starts afresh", path)
            return False
        self.state = state = _restored(content["state"], trainer.device)
        self._saved_step = state.step
        state.resumed += 1
        self._model.load_state_dict(content["model"])
        self._updates.load_state_dict(content["updates"])
        if content["device"] == trainer.device.type:
            trainer.generator.set_state(content["generator"])
            set_random_state(content["random"], trainer.device)
        else:  # generators of different kinds of devices have incompatible states
            log.warning("%s comes from '%s': random numbers are drawn anew", path, content["device"])
            trainer.reseed(state.step)
        trainer.resume(state.resumed, state.seconds)
        log.info("resumed at step %d of %d from %s", state.step, self._plan.total, path)
        return True

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be used, besides the run that its path stands for."""
        return {
            "format": _FORMAT,
            "torch": str(torch.__version__),
            "phase": self._plan.phase,
            "code": self._trainer.code,
            "weights": {
                name: (str(weight.dtype), tuple(weight.shape))
                for name, weight in self._model.state_dict().items()
                if isinstance(weight, Tensor)
            },
            **self._updates.identity(),
        }

    def _not_finite(self, what: str, step: int) -> LatentbenchError:
        """The error for a number that is not finite after ``step`` steps."""
        saved = self._saved_step
        last = "no checkpoint yet" if saved is None else f"last good checkpoint: {self._place(saved)}"
        mend = "lower the learning rate, or keep log, sqrt and division away from 0"
        return mistake(self._model, f"{what} in {self._place(step)} ({last})", mend)

    def _place(self, step: int) -> str:
        """The 1-based epoch and step, for messages."""
        place = f"epoch {-(-step // self._plan.steps_per_epoch)}, step {step}" if step else "the initialization"
        return place if self._plan.before == 0 else f"phase '{self._plan.phase}', {place}"


def in_memory_format(batch: Batch, options: TrainingOptions) -> Batch:
    """The batch with its images stored in the order that the option ``memory_format`` asks for."""
    if options.memory_format == "contiguous":
        return batch
    return replace(batch, images=batch.images.contiguous(memory_format=memory_format_of(options)))


def _restored(saved: Mapping[str, Any], device: torch.device) -> State:
    """The state that a checkpoint holds, its order of images on ``device``."""
    state = State(**{**saved, "selection": Selection(**saved["selection"])})
    if state.permutation is not None:
        state.permutation = state.permutation.to(device)
    return state
