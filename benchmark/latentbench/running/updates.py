"""The updates of one training step: a model's losses are checked and minimized by its optimizers."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from latentbench.config import TrainingOptions
from latentbench.data.splits import Batch
from latentbench.errors import LatentbenchError, did_you_mean
from latentbench.model import Losses, Model

__all__ = ["Updates", "autocast", "kind_of", "mistake"]

#: Name of the optimizer of a model with a single one.
_ONLY = ""


class Updates:
    """A model's optimizers and schedulers, and what they do in one step.

    Args:
        model: the model; its ``progress`` says what is to come.
        options: how it is trained.
        device: where it is.

    Raises:
        LatentbenchError: optimizers or schedulers that are not what ``Model`` asks for.
    """

    def __init__(self, model: Model, options: TrainingOptions, device: torch.device) -> None:
        self._model, self._options, self._device = model, options, device
        given = model.optimizers()
        self.optimizers = self._optimizers_by_name(given)
        self.schedulers = self._schedulers_by_name(model.schedulers(given))
        self._parameters = {
            name: [parameter for group in optimizer.param_groups for parameter in group["params"]]
            for name, optimizer in self.optimizers.items()
        }

    def step(self, batch: Batch) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Make the updates of one batch, each on gradients of its own optimizer's parameters only.

        Yields:
            The optimizer's name ("" for the only one) and the losses by name, after each update.
        """
        for name, losses in self._losses(batch):
            optimizer, parameters = self.optimizers[name], self._parameters[name]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(losses["loss"], inputs=[p for p in parameters if p.requires_grad])
            if self._options.clip_gradients is not None:
                clip_grad_norm_(parameters, self._options.clip_gradients)
            optimizer.step()
            with torch.no_grad():
                self._model.after_update(name)
            yield name, losses
        for scheduler in self.schedulers.values():
            scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``."""
        return {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "schedulers": {name: scheduler.state_dict() for name, scheduler in self.schedulers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore optimizers and schedulers. The learning rates are in the optimizers' states."""
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, scheduler in self.schedulers.items():
            scheduler.load_state_dict(state["schedulers"][name])

    def identity(self) -> dict[str, Any]:
        """What must be equal for optimizers and schedulers to take over a saved state."""
        return {
            "optimizers": {
                name: (type(optimizer).__name__, [len(group["params"]) for group in optimizer.param_groups])
                for name, optimizer in self.optimizers.items()
            },
            "schedulers": {name: type(scheduler).__name__ for name, scheduler in self.schedulers.items()},
        }

    def _optimizers_by_name(self, given: Any) -> dict[str, Optimizer]:
        optimizers = dict(given) if isinstance(given, Mapping) else {_ONLY: given}
        if not optimizers or not all(isinstance(optimizer, Optimizer) for optimizer in optimizers.values()):
            mend = "give an optimizer, or a mapping of them by name"
            raise mistake(self._model, f"optimizers() gave {kind_of(given)}", mend)
        return optimizers

    def _schedulers_by_name(self, given: Any) -> dict[str, LRScheduler]:
        schedulers = dict(given) if isinstance(given, Mapping) else {_ONLY: given}
        for name, scheduler in schedulers.items():
            if not isinstance(scheduler, LRScheduler) or isinstance(scheduler, ReduceLROnPlateau):
                mend = "give a scheduler of torch.optim.lr_scheduler that steps without a loss"
                raise mistake(self._model, f"schedulers() gave {kind_of(scheduler)}", mend)
            if name not in self.optimizers:
                raise self._unknown(name)
            if scheduler.optimizer is not self.optimizers[name]:
                label = f" '{name}'" if name else ""
                mend = "make it with the one that schedulers() is given"
                raise mistake(self._model, f"the scheduler{label} is of another optimizer", mend)
        return schedulers

    def _unknown(self, name: str) -> LatentbenchError:
        """The error for a scheduler of an unknown optimizer."""
        if name == _ONLY:
            mend = f"give a mapping by optimizer, of {', '.join(self.optimizers)}"
            return mistake(self._model, "schedulers() gave one scheduler, but the optimizers have names", mend)
        if _ONLY in self.optimizers:
            mend = "there is one optimizer, without a name: give just its scheduler"
        else:
            mend = did_you_mean(str(name), self.optimizers)
        return mistake(self._model, f"schedulers() gave a scheduler of an unknown optimizer '{name}'", mend)

    def _losses(self, batch: Batch) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
        """Yield (optimizer's name, losses by name) for each update of a step; the update is made before the next."""
        with autocast(self._options, self._device):
            step = self._model.training_step(batch)
        if _ONLY in self.optimizers:
            yield _ONLY, self._by_name(step)
            return
        if not isinstance(step, Iterator):
            raise mistake(
                self._model, f"training_step gave {kind_of(step)}", "with named optimizers, yield (name, losses)"
            )
        while True:
            with autocast(self._options, self._device):
                update = next(step, None)
            if update is None:
                return
            if not isinstance(update, tuple) or len(update) != 2:
                raise mistake(
                    self._model, f"training_step yielded {kind_of(update)}", "yield (optimizer's name, losses)"
                )
            name, losses = update
            if name not in self.optimizers:
                mend = did_you_mean(str(name), self.optimizers)
                raise mistake(self._model, f"training_step yielded an unknown optimizer '{name}'", mend)
            yield name, self._by_name(losses)

    def _by_name(self, losses: Losses | Iterator[Any]) -> Mapping[str, Tensor]:
        """The losses of one update, checked as far as is possible without waiting for the device."""
        model = self._model
        if isinstance(losses, Iterator):
            raise mistake(model, "training_step yields, but there is one optimizer", "give optimizers() as a mapping")
        named = losses if isinstance(losses, Mapping) else {"loss": losses}
        if "loss" not in named:
            raise mistake(model, f"no 'loss' among its losses ({', '.join(named)})", "call the minimized one 'loss'")
        for name, value in named.items():
            if not isinstance(value, Tensor) or value.ndim != 0:
                mend = "give a tensor of shape (), such as a mean"
                raise mistake(model, f"its loss '{name}' is {kind_of(value)}", mend)
        if not named["loss"].requires_grad:
            mend = "compute it from parameters, without detach() or no_grad()"
            raise mistake(model, "its loss has no gradient", mend)
        return named


def autocast(options: TrainingOptions, device: torch.device) -> AbstractContextManager[Any]:
    """Autocast, if the options ask for it. It caches casts of the weights, so leave it before they are updated."""
    if options.precision == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def mistake(model: Model, what: str, mend: str) -> LatentbenchError:
    """The error for a plugin's mistake."""
    return LatentbenchError(f"model '{model.name}': {what}", mend)


def kind_of(value: object) -> str:
    """A description of what a plugin returned, for messages."""
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{type(value).__name__}"
