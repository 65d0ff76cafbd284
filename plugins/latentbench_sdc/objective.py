"""The objective: squared error of a restored image, weighted by where it was corrupted."""

from typing import Literal

import torch
from torch import Tensor

__all__ = ["Weighting", "restoration_error"]

Weighting = Literal["masked", "plain"]


def restoration_error(restored: Tensor, target: Tensor, mask: Tensor, weights: tuple[float, float] | None) -> Tensor:
    """Squared error of each image, averaged over the clean and the corrupted part by themselves.

    With r = f(x^) - x, a mask M of the corrupted pixels, which may be soft, and 1 - M of the clean ones, it is

        w_c ||(1 - M) r||^2 / (C ||1 - M||_1) + w_m ||M r||^2 / (C ||M||_1),

    where ||M r||^2 stands for sum(M r^2), so that a soft mask divides a pixel's error between the terms. A pixel counts
    w_c / ||1 - M||_1 in the clean part and w_m / ||M||_1 in the corrupted part: where M covers the share
    w_m / (w_c + w_m) of the image, this is (w_c + w_m) times the mean squared error.

    Args:
        restored: f(x^), (B, C, H, W).
        target: x, (B, C, H, W).
        mask: M, (B, 1, H, W) in [0, 1].
        weights: w_c and w_m; None: the plain mean squared error. It is also taken for an image one of whose parts has
            less than a pixel.

    Returns:
        (B,) float32.
    """
    error = (restored.float() - target).square().mean(1, keepdim=True)
    plain = error.mean((1, 2, 3))
    if weights is None:
        return plain
    clean_weight, masked_weight = weights
    masked, clean = mask.sum((1, 2, 3)), (1 - mask).sum((1, 2, 3))
    of_clean = ((1 - mask) * error).sum((1, 2, 3)) / clean.clamp(min=1)
    of_masked = (mask * error).sum((1, 2, 3)) / masked.clamp(min=1)
    both = (masked >= 1) & (clean >= 1)
    return torch.where(both, clean_weight * of_clean + masked_weight * of_masked, plain)
