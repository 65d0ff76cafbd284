"""Facts: numbers that a fitted model reports of itself, checked before they go into its record."""

from math import isfinite

import torch

from latentbench.errors import LatentbenchError
from latentbench.evaluation.inference import seeded
from latentbench.model import Model

__all__ = ["facts_of"]


def facts_of(model: Model, device: torch.device, seed: int) -> dict[str, float]:
    """The result of ``Model.facts`` for a fitted model, called under the same conditions as a capability.

    Raises:
        LatentbenchError: a fact is not a finite number.
    """
    model.eval()
    with seeded(device, seed), torch.inference_mode():
        facts = model.facts()
    for name, value in facts.items():
        if not (isinstance(value, int | float) and isfinite(value)):
            raise LatentbenchError(f"model '{model.name}', facts(): {name!r} is {value!r}", "expected a finite number")
    return {name: float(value) for name, value in facts.items()}
