"""Stored targets: once per split hash, so that values can be computed from predictions without the dataset.

For validation and test splits, everything that a metric receives besides the model's output is stored, except images
and masks, which are the dataset's content.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentbench.data.splits import Batch, Data, DataInfo, Role, Split, Targets
from latentbench.errors import LatentbenchError

__all__ = ["KeptSplit", "kept_data", "kept_targets"]

#: The array that holds, as JSON, the dataset's ``info`` and each split's role, number of images and image range.
_FACTS = "facts"


class KeptSplit(Split):
    """A split with targets and conditions, but without images."""

    def __init__(
        self,
        role: Role,
        images: int,
        image_range: tuple[float, float],
        targets: Targets,
        conditions: Mapping[str, npt.NDArray[np.float64]],
        masked: bool = False,
    ) -> None:
        self.role, self.image_range, self.targets, self.conditions = role, image_range, targets, conditions
        self.masked = masked
        """Whether the dataset has masks for the split."""
        self._images = images

    def __len__(self) -> int:
        return self._images

    @property
    def content_hash(self) -> str:
        """Not known without the images.

        Raises:
            LatentbenchError: always.
        """
        raise LatentbenchError("the images of the split were not kept", "load the data set")

    def to(self, device: torch.device) -> Self:
        """The split itself, which has nothing on a device."""
        return self

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """Not possible without the images.

        Raises:
            LatentbenchError: always.
        """
        raise LatentbenchError("the images of the split were not kept", "load the data set")


def kept_targets(data: Data) -> dict[str, npt.NDArray[Any]]:
    """The arrays that are stored for ``data``.

    Returns:
        Arrays (N,) in their own dtypes, ``split/anomaly``, ``split/mask_known``, ``split/attributes/NAME`` and
        ``split/conditions/NAME``; and the facts of the splits as JSON text.
    """
    splits = {
        name: {"role": str(split.role), "images": len(split), "image_range": list(split.image_range)}
        | ({"masked": True} if split.targets.mask is not None else {})
        for name, split in data.splits.items()
    }
    arrays: dict[str, npt.NDArray[Any]] = {_FACTS: np.array(json.dumps({"info": asdict(data.info), "splits": splits}))}
    for name, split in data.splits.items():
        if split.role is Role.TRAIN:
            continue
        targets = split.targets
        for part, array in (("anomaly", targets.anomaly), ("mask_known", targets.mask_known)):
            if array is not None:
                arrays[f"{name}/{part}"] = array
        for attribute, values in targets.attributes.items():
            arrays[f"{name}/attributes/{attribute}"] = values
        for condition, weights in split.conditions.items():
            arrays[f"{name}/conditions/{condition}"] = weights
    return arrays


def kept_data(arrays: Mapping[str, npt.NDArray[Any]]) -> Data:
    """The data that ``kept_targets`` stored, without images and masks: enough for ``measure``.

    Raises:
        LatentbenchError: the arrays are not of this form.
    """
    try:
        facts = json.loads(str(arrays[_FACTS]))
        splits = {name: _split(name, about, arrays) for name, about in facts["splits"].items()}
        return Data(DataInfo(**facts["info"]), splits)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LatentbenchError(f"the kept targets are not as they should be: {error}") from None


def _split(name: str, about: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> KeptSplit:
    def named(kind: str) -> dict[str, npt.NDArray[Any]]:
        start = f"{name}/{kind}/"
        return {key.removeprefix(start): array for key, array in arrays.items() if key.startswith(start)}

    targets = Targets(
        anomaly=arrays.get(f"{name}/anomaly"),
        mask_known=arrays.get(f"{name}/mask_known"),
        attributes=named("attributes"),
    )
    low, high = about["image_range"]
    role, masked = Role(about["role"]), about.get("masked", False)
    return KeptSplit(role, about["images"], (low, high), targets, named("conditions"), masked)
