"""Codes for sheets of generated images: walks along each code."""

from collections.abc import Sequence

import torch
from torch import Tensor

from latentbench_infostylegan.codes import Codes

__all__ = ["ACROSS", "walks"]

#: Images in a row.
ACROSS = 8


def walks(codes: Codes, start: Tensor) -> Tensor:
    """Codes along each code in turn, the others being those of ``start``: (rows * ACROSS, D).

    A continuous code has a row from -1 to 1. A categorical code has its values in order, in as many rows as they need;
    the last one is filled up with its last value.

    Args:
        codes: the prior.
        start: (D,).
    """
    rows = []
    for place, width in zip(_places(codes.widths), codes.widths, strict=True):
        if width == 1:
            values = torch.linspace(-1, 1, ACROSS, device=start.device)[:, None]
        else:
            count = -(-width // ACROSS) * ACROSS
            values = torch.eye(width, device=start.device)[torch.arange(count).clamp_max(width - 1)]
        row = start.repeat(len(values), 1)
        row[:, place : place + width] = values
        rows.append(row)
    return torch.cat(rows)


def _places(widths: Sequence[int]) -> list[int]:
    """Where each code begins in the vector."""
    return [sum(widths[:number]) for number in range(len(widths))]
