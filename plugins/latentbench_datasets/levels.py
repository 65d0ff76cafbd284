"""Stored values, from the range that stands for black and white (``latentbench.Storage``) to 8 bits."""

import numpy as np
import numpy.typing as npt

from latentbench import ValueRange

__all__ = ["significant", "to_eight_bits"]


def significant(values: npt.NDArray[np.float64], bits: int) -> npt.NDArray[np.float64]:
    """The values of ``bits`` bits that a 16-bit PNG stores, either scaled up to 16 bits or unscaled.

    Args:
        values: integers in [0, 65535].
        bits: how many are significant, 1 to 16.

    Raises:
        ValueError: both readings are possible, or neither; the message says which.
    """
    stored = values.astype(np.int64)
    high = stored >> (16 - bits)
    # Three ways to scale up: append zeros, repeat the highest bits, or round the exact ratio.
    filled, largest = high << (16 - bits), 2**bits - 1
    repeated = sum((high << max(0, shift) >> max(0, -shift)) for shift in range(16 - bits, -bits, -bits))
    rounded = (2 * high * 65535 + largest) // (2 * largest)
    is_scaled = any(bool((stored == scaled).all()) for scaled in (filled, repeated, rounded))
    is_plain = bool(stored.max() <= largest)
    if is_scaled == is_plain and bits < 16 and stored.any():
        how = "can be read in both ways, scaled to 16 bits and not"
        raise ValueError(how if is_scaled else "cannot be read in either way, scaled to 16 bits or not")
    return values if is_plain else high.astype(np.float64)


def to_eight_bits(values: npt.NDArray[np.float64], value_range: ValueRange) -> npt.NDArray[np.uint8]:
    """Scale linearly so that black is 0 and white 255, rounding half up.

    Args:
        values: of any shape, all within the range.
        value_range: the values that stand for black and white.
    """
    black, white = value_range
    levels: npt.NDArray[np.uint8] = np.floor((values - black) * 255 / (white - black) + 0.5).astype(np.uint8)
    return levels
