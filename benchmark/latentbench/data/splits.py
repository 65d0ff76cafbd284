"""Splits: images in batches on the device, with a role, typed targets and a content hash; and a dataset's Data."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from math import prod
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = [
    "MISSING",
    "Batch",
    "Data",
    "DataInfo",
    "IndexedSplit",
    "Role",
    "Split",
    "StoredSplit",
    "Targets",
    "content_hash",
]

#: The value of an attribute that is unknown for an image: its label was removed, or has no meaning for it.
MISSING = -1


class Role(StrEnum):
    """What a split may be used for: fitting, model selection, or the final measurement only."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


@dataclass(frozen=True)
class DataInfo:
    """What a model knows of a dataset when it is built: the shape of its images, and attributes with cardinalities."""

    channels: int
    height: int
    width: int
    train_size: int
    """Images in one pass over the training split."""
    attributes: Mapping[str, int] = field(default_factory=dict)
    """Number of values of each attribute, by name."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return (self.channels, self.height, self.width)

    @property
    def image_numel(self) -> int:
        """C * H * W."""
        return prod(self.image_shape)


@dataclass(frozen=True)
class Batch:
    """Images of one step, on the run's device, with the labels that training may use."""

    images: Tensor
    """(B, C, H, W) float32 in [0, 1], or in the ``image_range`` of a test split that declares another."""
    attributes: Mapping[str, Tensor] = field(default_factory=dict)
    """Name -> (B,) int64 in [0, cardinality), or MISSING."""


@dataclass(frozen=True)
class Targets:
    """Ground truth for the images of a split. Metrics see it, models do not. None means unknown."""

    anomaly: npt.NDArray[np.uint8] | None = None
    """(N,) 1 where the image is anomalous, else 0."""
    mask: npt.NDArray[np.uint8] | None = None
    """(N, H, W) 1 where the pixel is anomalous, else 0."""
    mask_known: npt.NDArray[np.bool_] | None = None
    """(N,) False where an image's mask is missing: missing is not the same as all-normal. None: all known."""
    attributes: Mapping[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    """Name -> (N,) in [0, cardinality), or MISSING."""

    def has(self, name: str) -> bool:
        """Whether the target called ``name`` ("anomaly", "mask", "attributes") is known for this split."""
        return bool(self.attributes) if name == "attributes" else getattr(self, name) is not None


class Split(ABC):
    """Images with one role. They are stored (perhaps in an array that splits share) or composed for each batch."""

    role: Role
    targets: Targets = Targets()
    conditions: Mapping[str, npt.NDArray[np.float64]] = {}
    """Named weights of the images, each (N,) and >= 0: the same images under several test distributions.

    A metric is computed once under each condition; without conditions, once with equal weights.
    """
    image_range: tuple[float, float] = (0.0, 1.0)
    """Least and greatest value that a pixel may have. Only a test split may declare another range than [0, 1]."""

    @abstractmethod
    def __len__(self) -> int:
        """Images in one pass."""

    @property
    @abstractmethod
    def content_hash(self) -> str:
        """Hex SHA-256 of everything that decides the split's images and targets."""

    @abstractmethod
    def to(self, device: torch.device) -> Self:
        """The same split with its data resident on ``device``."""

    @abstractmethod
    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The images at ``index`` ((B,) int64, on the split's device).

        A composed split draws B fresh images with ``generator`` (on the split's device) and uses only the length of
        ``index``; a stored split returns the images at ``index`` and does not use the generator.
        """


class StoredSplit(Split):
    """Images held as one uint8 array.

    Args:
        role: what the split may be used for.
        images: (N, C, H, W) uint8, 0..255 for 0..1.
        targets: the ground truth, each array of length N.
        conditions: named weights of the images, each (N,).
    """

    def __init__(
        self,
        role: Role,
        images: Tensor,
        targets: Targets | None = None,
        conditions: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be (N, C, H, W) uint8, got {tuple(images.shape)} {images.dtype}")
        self.role = role
        self.images = images
        self.targets = targets or Targets()
        self.conditions = conditions or {}
        self._attributes = {name: torch.from_numpy(values) for name, values in self.targets.attributes.items()}
        self._hash: str | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def content_hash(self) -> str:
        """Hex SHA-256 of images, targets and conditions."""
        if self._hash is None:
            targets = self.targets
            self._hash = content_hash(
                str(self.role),
                self.images.cpu().numpy(),
                {"anomaly": targets.anomaly, "mask": targets.mask, "mask_known": targets.mask_known},
                targets.attributes,
                self.conditions,
            )
        return self._hash

    def to(self, device: torch.device) -> Self:
        """A split that shares this one's targets, its images on ``device``."""
        moved = type(self)(self.role, self.images.to(device), self.targets, self.conditions)
        moved._attributes = {name: values.to(device) for name, values in self._attributes.items()}
        moved._hash = self._hash
        return moved

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The images at ``index``, as float32 in [0, 1]."""
        images = self.images.index_select(0, index).to(torch.float32).div_(255)
        return Batch(images, {name: values[index] for name, values in self._attributes.items()})


class IndexedSplit(Split):
    """Some images of a uint8 array that several splits share, for example one that is mapped from a file.

    As long as the split stays on the array's device, the array is neither copied nor read as a whole.

    Args:
        role: what the split may be used for.
        images: (M, C, H, W) uint8, 0..255 for 0..1.
        rows: (N,) int64 in [0, M), the indices of the split's images, in its order.
        images_hash: identifies ``images``, whose bytes are not read for the content hash (``Prepared.content_hash``).
        targets: the ground truth, each array of length N.
        conditions: named item weights, each (N,).
    """

    def __init__(
        self,
        role: Role,
        images: Tensor,
        rows: npt.NDArray[np.int64],
        images_hash: str,
        targets: Targets | None = None,
        conditions: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(f"images must be (M, C, H, W) uint8, got {tuple(images.shape)} {images.dtype}")
        if rows.ndim != 1 or rows.dtype != np.int64 or (len(rows) and not 0 <= rows.min() <= rows.max() < len(images)):
            raise ValueError(f"rows must be (N,) int64 in [0, {len(images)}), got {rows.shape} {rows.dtype}")
        self.role = role
        self.rows = rows
        self.images_hash = images_hash
        self.targets = targets or Targets()
        self.conditions = conditions or {}
        self._store = images
        self._place = torch.from_numpy(rows)
        self._attributes = {name: torch.from_numpy(values) for name, values in self.targets.attributes.items()}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) uint8: a copy of the split's own images."""
        return self._store.index_select(0, self._place)

    @cached_property
    def content_hash(self) -> str:
        """Hex SHA-256 of what identifies the images, and of rows, targets and conditions."""
        return content_hash(str(self.role), self.images_hash, self.rows, vars(self.targets), self.conditions)

    def to(self, device: torch.device) -> Self:
        """The same split; on another device it has a copy of its own images only."""
        if device == self._store.device:
            return self
        moved = copy(self)
        moved._store = self.images.to(device)
        moved._place = torch.arange(len(self), device=device)
        moved._attributes = {name: values.to(device) for name, values in self._attributes.items()}
        return moved

    def batch(self, index: Tensor, generator: torch.Generator) -> Batch:
        """The images at ``index``, as float32 in [0, 1]."""
        images = self._store.index_select(0, self._place[index]).to(torch.float32).div_(255)
        return Batch(images, {name: values[index] for name, values in self._attributes.items()})


@dataclass(frozen=True)
class Data:
    """A loaded dataset: its splits by name, and what models may know about it."""

    info: DataInfo
    splits: Mapping[str, Split]

    def __post_init__(self) -> None:
        counts = {role: sum(split.role is role for split in self.splits.values()) for role in Role}
        if counts[Role.TRAIN] != 1 or counts[Role.VALIDATION] > 1:
            raise ValueError(f"a dataset has one train split and at most one validation split, got {counts}")

    @property
    def train(self) -> Split:
        """The split that models are fitted on."""
        return next(split for split in self.splits.values() if split.role is Role.TRAIN)

    @property
    def validation(self) -> Split | None:
        """The split that models are selected on, if the dataset has one."""
        return next((split for split in self.splits.values() if split.role is Role.VALIDATION), None)

    @property
    def split_hash(self) -> str:
        """Hex SHA-256 over the splits' names, roles and contents. Runs with different hashes are never compared."""
        return content_hash({name: f"{split.role} {split.content_hash}" for name, split in self.splits.items()})

    def to(self, device: torch.device) -> "Data":
        """The same data, resident on ``device``."""
        return replace(self, splits={name: split.to(device) for name, split in self.splits.items()})


def content_hash(*parts: Any) -> str:
    """Hex SHA-256 of strings, numbers, None, arrays and mappings of these (order of keys does not matter)."""
    digest = hashlib.sha256()

    def update(part: Any) -> None:
        if isinstance(part, Mapping):
            digest.update(f"map {len(part)};".encode())
            for key in sorted(part):
                update(key)
                update(part[key])
        elif isinstance(part, np.ndarray):
            digest.update(f"array {part.dtype.str} {part.shape};".encode())
            digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            text = repr(part)
            digest.update(f"{type(part).__name__} {len(text)} {text};".encode())

    for part in parts:
        update(part)
    return digest.hexdigest()
