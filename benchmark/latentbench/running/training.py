"""The training loop: seeded batches, a model's own losses and optimizers, model selection, checkpoint and resume."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from math import inf, isfinite
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from latentbench.config import TrainingOptions
from latentbench.data.splits import Batch, Role, Split
from latentbench.devices import fork_rng
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.model import Losses, Model
from latentbench.records.record import Training
from latentbench.running.checkpoint import load_checkpoint, random_state, save_checkpoint, set_random_state

__all__ = ["TrainingLoop"]

log = logging.getLogger("latentbench")

#: Raise it when the layout of a checkpoint changes: older ones are then not resumed from.
_FORMAT = 1
#: Seconds between two looks at the losses. Between looks the loop never waits for the device.
_LOOK_SECONDS = 0.5
#: What the optimizer of a model that has just one is called.
_ONLY = ""


class TrainingLoop:
    """What the harness gives a model to be fitted with: the loop, and the means for a ``fit`` of its own. Used once.

    Args:
        device: where the model and the splits are.
        seed: the run's seed, >= 0. Batches come from a generator of their own, so they do not depend on what a model
            draws from PyTorch's global one (which the caller seeds before it builds the model).
        max_steps: stop after this many steps at the latest.
        checkpoint: file to resume from and to write to. Each run has its own: what is in it is taken to be this run's.
        notify: called with (steps made, most steps possible, mean losses since the last call), about twice a second,
            and after every epoch, then with the "validation" loss where there is one.
        checkpoint_seconds: time between two checkpoints.

    Attributes:
        generator: what training batches are drawn with, on ``device``.
        training: how the loop went; None until it has ended, and for a model that does not call ``fit``.
        images: training images that passed the loop, over all resumptions.
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
        notify: Callable[[int, int, dict[str, float]], None] = lambda step, total, losses: None,
        checkpoint_seconds: float = 60.0,
    ) -> None:
        self.device = device
        self.seed = seed
        self.max_steps = max_steps
        self.checkpoint = checkpoint
        self.notify = notify
        self.checkpoint_seconds = checkpoint_seconds

        for_batches, for_validation = np.random.SeedSequence(seed).spawn(2)
        self.generator = torch.Generator(device).manual_seed(_as_seed(for_batches))
        self._validation_seed = _as_seed(for_validation)

        self.training: Training | None = None
        self.images = 0
        self.resumed = 0
        self.earlier_seconds = 0.0
        self._used = False

    def fit(self, model: Model, train: Split, validation: Split | None) -> None:
        """Fit ``model`` by its ``training_step`` and ``optimizers``, as the ``TrainingOptions`` in its Config say.

        An epoch passes ``train`` in a fresh random order, the last, smaller batch included; but a last batch of one
        image is left out, because batch statistics are not defined for it. ``max_steps`` may cut the last epoch short.
        ``validation`` is measured after every epoch, at the cost of a forward pass, always with the same batches and
        random numbers and apart from those of training: the same weights come out with it and without. Only with
        ``patience`` does it select: the weights of the epoch with the least validation loss are kept.

        With a ``checkpoint`` file the fit goes on from there, even from its end. On a CPU the result equals that of an
        uninterrupted fit bit for bit. On another kind of device than the checkpoint's it goes on too, with random
        numbers drawn anew. An interrupt can hit the middle of an update, so it writes no checkpoint.

        Raises:
            LatentbenchError: a loss or parameter is not finite (names epoch, step and last checkpoint), patience
                without a validation split, or optimizers and losses that are not what ``Model`` asks for.
            StorageError: the checkpoint cannot be written.
        """
        self._begin(model, train, validation)
        state = self._state
        while state.stopped is None:
            model.train()
            for index in self._rest_of_epoch(len(train)):
                self._step(train.batch(index, self.generator))
                self._look_or_save_when_due()
            self._end_epoch(validation)
        self.images = state.images
        self.training = Training(
            steps=state.step,
            epochs=len(state.losses),
            stopped=state.stopped,
            best_epoch=state.best_epoch,
            losses=state.losses,
        )

    def _begin(self, model: Model, train: Split, validation: Split | None) -> None:
        """Check what is asked for, lay out the steps, and find out where to start."""
        self._model = model
        if self._used:
            raise self._mistake("it calls trainer.fit() twice", "bring its phases into one training_step()")
        if not isinstance(model.config, TrainingOptions):
            raise self._mistake("its Config has no training options", "derive it from Model.Config")
        for split in (train, validation):
            if split is not None and len(split) == 0:
                raise self._mistake(f"the {split.role} split has no images", "change the dataset's options")
            if split is not None and split.image_range != (0, 1):
                low, high = split.image_range
                raise self._mistake(
                    f"the {split.role} split declares images in [{low:g}, {high:g}]",
                    "a test split alone may leave [0, 1]",
                )
        if validation is not None and validation.role is Role.TEST:
            raise self._mistake("its fit selects on a test split", "give trainer.fit() the validation split, or None")
        if model.config.patience is not None and validation is None:
            raise self._mistake("it has 'patience', but the dataset has no validation split", "leave 'patience' unset")
        self._used = True
        self._options = model.config

        full, rest = divmod(len(train), self._options.batch_size)
        self._epoch_steps = max(1, full + (rest > 1))
        self._total = self._options.epochs * self._epoch_steps
        if self.max_steps is not None:
            self._total = min(self._total, self.max_steps)

        self._optimizers = self._optimizers_by_name()
        self._parameters = {
            name: [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for name, optimizer in self._optimizers.items()
        }
        self._unread = _UnreadLosses()
        self._saved_step: int | None = None
        self._state = self._resume()
        self._started = self._looked = self._saved = time.monotonic()

    def _optimizers_by_name(self) -> dict[str, Optimizer]:
        given = self._model.optimizers()
        optimizers = dict(given) if isinstance(given, Mapping) else {_ONLY: given}
        if not optimizers or not all(isinstance(optimizer, Optimizer) for optimizer in optimizers.values()):
            raise self._mistake(f"optimizers() gave {_kind(given)}", "give an optimizer, or a mapping of them by name")
        return optimizers

    def _rest_of_epoch(self, images: int) -> Iterable[Tensor]:
        """Indices of the batches that the running epoch has still to pass."""
        state = self._state
        if state.permutation is None:
            state.permutation = torch.randperm(images, generator=self.generator, device=self.device)
        done = state.step - len(state.losses) * self._epoch_steps
        end = min(self._epoch_steps, done + self._total - state.step)
        return torch.split(state.permutation, self._options.batch_size)[done:end]

    def _step(self, batch: Batch) -> None:
        """The updates of one batch, each on gradients of its own optimizer's parameters only."""
        state, images = self._state, len(batch.images)
        state.step += 1
        state.images += images
        for name, losses in self._updates(batch):
            optimizer, parameters = self._optimizers[name], self._parameters[name]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(losses["loss"], inputs=[p for p in parameters if p.requires_grad])
            optimizer.step()
            self._unread.add(state.step, images, name, losses)

    def _updates(self, batch: Batch) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """(optimizer's name, losses by name) of each update of one step; ``next`` comes when the update is made."""
        with self._precision():
            step = self._model.training_step(batch)
        if _ONLY in self._optimizers:
            yield _ONLY, self._by_name(step)
            return
        if not isinstance(step, Iterator):
            raise self._mistake(f"training_step gave {_kind(step)}", "with named optimizers, yield (name, losses)")
        while True:
            with self._precision():
                update = next(step, None)
            if update is None:
                return
            if not isinstance(update, tuple) or len(update) != 2:
                raise self._mistake(f"training_step yielded {_kind(update)}", "yield (optimizer's name, losses)")
            name, losses = update
            if name not in self._optimizers:
                mend = did_you_mean(str(name), self._optimizers)
                raise self._mistake(f"training_step yielded an unknown optimizer '{name}'", mend)
            yield name, self._by_name(losses)

    def _by_name(self, losses: Losses | Iterator[Any]) -> Mapping[str, Tensor]:
        """The losses of one update, checked as far as that does not wait for the device."""
        if isinstance(losses, Iterator):
            raise self._mistake("training_step yields, but there is one optimizer", "give optimizers() as a mapping")
        named = losses if isinstance(losses, Mapping) else {"loss": losses}
        if "loss" not in named:
            raise self._mistake(f"no 'loss' among its losses ({', '.join(named)})", "call the minimized one 'loss'")
        for name, value in named.items():
            if not isinstance(value, Tensor) or value.ndim != 0:
                raise self._mistake(f"its loss '{name}' is {_kind(value)}", "give a tensor of shape (), such as a mean")
        if not named["loss"].requires_grad:
            raise self._mistake("its loss has no gradient", "compute it from parameters, without detach() or no_grad()")
        return named

    def _precision(self) -> AbstractContextManager[Any]:
        """Autocast, if asked for. It keeps casts of the weights, so it is left before they are updated."""
        if self._options.precision == "bfloat16":
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _look_or_save_when_due(self) -> None:
        """Between two steps: report the losses, and write a checkpoint, each in its interval."""
        now = time.monotonic()
        save = self.checkpoint is not None and now - self._saved >= self.checkpoint_seconds
        if save or now - self._looked >= _LOOK_SECONDS:
            self.notify(self._state.step, self._total, self._look())
        if save:
            self._save()

    def _look(self) -> dict[str, float]:
        """Wait for the losses since the last look, check them, add them to the epoch's, and give their means."""
        entries = self._unread.read(self.device)
        bad = [entry for entry in entries if not isfinite(entry.value)]
        if bad:
            step = bad[0].step
            raise self._not_finite(
                " and ".join(f"loss '{entry.name}' is {entry.value}" for entry in bad if entry.step == step), step
            )
        self._looked = time.monotonic()
        _add(self._state.sums, entries)
        return _means(_add({}, entries))

    def _end_epoch(self, validation: Split | None) -> None:
        """Close the running epoch: its mean losses, the selection of weights, and whether it was the last epoch."""
        state, patience = self._state, self._options.patience
        news = self._look()
        losses = _means(state.sums)
        if validation is not None:
            losses["validation"] = news["validation"] = self._validate(validation)
        state.losses.append(losses)
        state.permutation, state.sums = None, {}

        epoch = len(state.losses)
        if patience is not None and losses["validation"] < state.best_loss:
            state.best_epoch, state.best_loss = epoch, losses["validation"]
            state.best_weights = deepcopy(self._model.state_dict())
        if epoch == self._options.epochs and state.step == epoch * self._epoch_steps:
            state.stopped = "epochs"
        elif state.step == self._total:
            state.stopped = "max_steps"
        elif patience is not None and epoch - (state.best_epoch or 0) >= patience:
            state.stopped = "patience"

        self.notify(state.step, self._total, news)
        if state.stopped is not None:
            if state.best_weights is not None:
                self._model.load_state_dict(state.best_weights)
                state.best_weights = None
            self._save()  # so that a process killed after this does not train again

    def _validate(self, split: Split) -> float:
        """Mean of the model's ``validation_step`` over the images, in eval mode and without gradients."""
        generator = torch.Generator(self.device).manual_seed(self._validation_seed)
        indices = torch.split(torch.arange(len(split), device=self.device), self._options.batch_size)
        losses = []
        self._model.eval()
        with torch.no_grad(), fork_rng(self.device):
            torch.manual_seed(self._validation_seed)
            for index in indices:
                with self._precision():
                    loss = self._model.validation_step(split.batch(index, generator))
                if not isinstance(loss, Tensor) or loss.ndim != 0:
                    raise self._mistake(f"validation_step gave {_kind(loss)}", "give a tensor of shape (), a mean")
                losses.append(loss)
        values: list[float] = torch.stack(losses).tolist()
        mean = sum(value * len(index) for value, index in zip(values, indices, strict=True)) / len(split)
        if not isfinite(mean):
            raise self._not_finite(f"validation loss is {mean}", self._state.step)
        return mean

    def _save(self) -> None:
        """Write a checkpoint, if there is a file for it. Comes between two steps, all losses read and finite."""
        for name, weight in self._model.named_parameters():
            if weight.requires_grad and not weight.isfinite().all():
                raise self._not_finite(f"parameter '{name}' is not finite", self._state.step)
        if self.checkpoint is None:
            return
        self._state.seconds = self.earlier_seconds + time.monotonic() - self._started
        content = {
            "identity": self._identity(),
            "device": self.device.type,
            "state": vars(self._state),
            "model": self._model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self._optimizers.items()},
            "generator": self.generator.get_state(),
            "random": random_state(self.device),
        }
        save_checkpoint(self.checkpoint, content)
        self._saved_step = self._state.step
        self._saved = time.monotonic()

    def _resume(self) -> "_State":
        """Put everything back as it was at the checkpoint, or leave it as it is where there is none."""
        content = load_checkpoint(self.checkpoint) if self.checkpoint is not None else None
        if content is None:
            return _State()
        if content.get("identity") != self._identity():
            log.warning("%s was made by other code: training starts afresh", self.checkpoint)
            return _State()
        state = _State(**content["state"])
        self._saved_step = state.step
        state.resumed += 1
        if state.permutation is not None:
            state.permutation = state.permutation.to(self.device)
        self.resumed, self.earlier_seconds = state.resumed, state.seconds
        self._model.load_state_dict(content["model"])
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(content["optimizers"][name])
        if content["device"] == self.device.type:
            self.generator.set_state(content["generator"])
            set_random_state(content["random"], self.device)
        else:  # states of one kind of generator mean nothing to another
            log.warning("%s comes from '%s': random numbers are drawn anew", self.checkpoint, content["device"])
            for_batches, for_model = np.random.SeedSequence([self.seed, state.step]).spawn(2)
            self.generator.manual_seed(_as_seed(for_batches))
            torch.manual_seed(_as_seed(for_model))
        log.info("resumed at step %d of %d from %s", state.step, self._total, self.checkpoint)
        return state

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share to be resumed from, beside the run that its path stands for."""
        return {
            "format": _FORMAT,
            "torch": str(torch.__version__),
            "weights": {
                name: (str(weight.dtype), tuple(weight.shape))
                for name, weight in self._model.state_dict().items()
                if isinstance(weight, Tensor)
            },
            "optimizers": {
                name: (type(optimizer).__name__, [len(group["params"]) for group in optimizer.param_groups])
                for name, optimizer in self._optimizers.items()
            },
        }

    def _mistake(self, what: str, mend: str) -> LatentbenchError:
        return LatentbenchError(f"model '{self._model.name}': {what}", mend)

    def _not_finite(self, what: str, step: int) -> LatentbenchError:
        """The error for a number that is not finite after ``step`` steps."""
        saved = self._saved_step
        last = "no checkpoint yet" if saved is None else f"last good checkpoint: {self._place(saved)}"
        mend = "lower the learning rate, or keep log, sqrt and division away from 0"
        return self._mistake(f"{what} in {self._place(step)} ({last})", mend)

    def _place(self, step: int) -> str:
        return f"epoch {-(-step // self._epoch_steps)}, step {step}"


@dataclass
class _State:
    """Where a fit stands, apart from weights, optimizers and generators: plain values and tensors."""

    step: int = 0
    """Steps made; the next one is ``step + 1``."""
    images: int = 0
    permutation: Tensor | None = None
    """Order of the running epoch; None between two."""
    sums: "_Sums" = field(default_factory=dict)
    """Of the running epoch, up to the last look."""
    losses: list[dict[str, float]] = field(default_factory=list)
    """Of each epoch that has ended."""
    best_epoch: int | None = None
    best_loss: float = inf
    best_weights: dict[str, Any] | None = None
    stopped: Literal["epochs", "max_steps", "patience"] | None = None
    seconds: float = 0.0
    resumed: int = 0


class _Loss(NamedTuple):
    """One loss of one step: a mean over so many images."""

    step: int
    images: int
    name: str
    value: float


#: Loss name -> (sum over images, images).
_Sums = dict[str, tuple[float, int]]


class _UnreadLosses:
    """Losses left on the device until somebody reads them: adding one starts no kernel and waits for nothing."""

    def __init__(self) -> None:
        self._labels: list[tuple[int, int, str]] = []
        self._values: list[Tensor] = []

    def add(self, step: int, images: int, optimizer: str, losses: Mapping[str, Tensor]) -> None:
        """Note the losses of one update; those of a named optimizer are called ``optimizer/loss``."""
        for name, value in losses.items():
            self._labels.append((step, images, f"{optimizer}/{name}" if optimizer else name))
            self._values.append(value.detach())

    def read(self, device: torch.device) -> list[_Loss]:
        """Take all that were added, in that order; waits for the device once."""
        if not self._values:
            return []
        values = torch.stack([value.to(device) for value in self._values]).tolist()
        losses = [_Loss(*label, value) for label, value in zip(self._labels, values, strict=True)]
        self._labels, self._values = [], []
        return losses


def _add(sums: _Sums, losses: Iterable[_Loss]) -> _Sums:
    """Add losses to ``sums`` one by one, so that the result does not depend on how they come in groups."""
    for loss in losses:
        total, images = sums.get(loss.name, (0.0, 0))
        sums[loss.name] = (total + loss.value * loss.images, images + loss.images)
    return sums


def _means(sums: _Sums) -> dict[str, float]:
    return {name: total / images for name, (total, images) in sums.items()}


def _as_seed(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1, np.uint64)[0])


def _kind(value: object) -> str:
    """What a plugin gave, for an error."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
