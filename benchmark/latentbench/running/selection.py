"""Model selection by the validation loss: which epoch's weights are kept, and when to stop early."""

from copy import deepcopy
from dataclasses import dataclass
from math import inf
from typing import Any

from torch import nn

__all__ = ["Selection"]


@dataclass
class Selection:
    """The best epoch so far, and its weights. Plain values and tensors, so that it can be checkpointed."""

    epoch: int | None = None
    """1-based number of the best epoch; None if no epoch has been considered."""
    loss: float = inf
    weights: dict[str, Any] | None = None

    def consider(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Keep the model's weights if ``loss`` is less than that of every epoch considered before."""
        if loss < self.loss:
            self.epoch, self.loss = epoch, loss
            self.weights = deepcopy(model.state_dict())

    def has_waited(self, patience: int, epoch: int) -> bool:
        """Whether, by the end of ``epoch``, ``patience`` epochs have brought nothing better."""
        return self.epoch is not None and epoch - self.epoch >= patience

    def restore(self, model: nn.Module) -> None:
        """Load the kept weights into the model, if there are any, and release them."""
        if self.weights is not None:
            model.load_state_dict(self.weights)
            self.weights = None
