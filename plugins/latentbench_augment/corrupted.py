"""What a corruption returns."""

from typing import NamedTuple

from torch import Tensor

__all__ = ["Corrupted"]


class Corrupted(NamedTuple):
    """Corrupted images, and where they are corrupted."""

    images: Tensor
    """(B, C, H, W) in [0, 1], of the clean images' dtype."""
    mask: Tensor
    """(B, 1, H, W) float32 in [0, 1]: 0 where the image is clean, 1 where it is corrupted, opacity not included."""
