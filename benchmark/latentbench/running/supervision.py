"""Checks that a training split has the labels that a model requires."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from latentbench.data.splits import MISSING, Data, Split
from latentbench.errors import LatentbenchError

__all__ = ["check_supervision"]

#: Number of images drawn to inspect the labels of a split that composes its images.
_SAMPLE = 1000


def check_supervision(model: str, data: Data, device: torch.device) -> None:
    """Refuse data from which a model cannot learn its attributes, before training.

    Call it for a model whose ``needs`` names "attributes".

    Args:
        model: name of the model, for the message.
        data: what it is to be trained on, resident on ``device``.
        device: where a composed split draws. Its labels are seen in one batch, drawn with a generator of their own, so
            that the draws of training stay as they are.

    Raises:
        LatentbenchError: the dataset has no attributes; one has a single value; or the training labels of one are all
            missing, show a single value, or are outside of [0, cardinality).
    """
    attributes = data.info.attributes
    if not attributes:
        raise LatentbenchError(
            f"model '{model}' learns from attributes, and the dataset has none", "choose a dataset that has"
        )
    labels = _labels(data.train, device)
    for attribute, cardinality in attributes.items():
        if cardinality < 2:
            raise LatentbenchError(
                f"model '{model}' cannot learn attribute '{attribute}' of {cardinality} value", "it takes two"
            )
        if attribute not in labels:
            raise LatentbenchError(
                f"model '{model}': the training split has no labels of attribute '{attribute}'",
                "choose a dataset that has, or train a model without supervision",
            )
        _check_labels(f"model '{model}'", attribute, cardinality, labels[attribute])


def _labels(train: Split, device: torch.device) -> Mapping[str, npt.NDArray[np.int64]]:
    """The labels of a stored split; of a composed one, those of a batch."""
    if train.targets.attributes:
        return train.targets.attributes
    index = torch.arange(min(len(train), _SAMPLE), device=device)
    batch = train.batch(index, torch.Generator(device).manual_seed(0))
    return {name: values.cpu().numpy() for name, values in batch.attributes.items()}


def _check_labels(where: str, attribute: str, cardinality: int, labels: npt.NDArray[np.int64]) -> None:
    seen = sorted({int(value) for value in np.unique(labels)} - {MISSING})
    outside = [value for value in seen if not 0 <= value < cardinality]
    if outside:
        raise LatentbenchError(
            f"{where}: attribute '{attribute}' has the training label {outside[0]}",
            f"labels are 0 to {cardinality - 1}, or {MISSING} where one is missing",
        )
    if not seen:
        raise LatentbenchError(
            f"{where}: every training label of attribute '{attribute}' is missing", "keep some of them"
        )
    if len(seen) < 2:
        raise LatentbenchError(
            f"{where}: the training labels of attribute '{attribute}' show one value, {seen[0]}",
            "it takes two to learn",
        )
