"""How an image file stores its pixels: the type of its values, lossy compression, and the range from black to white.

Eight bits or fewer are read as the formats define them: 0 is black and the largest value is white. With more bits this
does not hold, because cameras write 10 or 12 bits into files of 16, and floats have no largest value. The range is then
given by the caller, or declared by the file:

- integers of 9 to 15 bits in TIFF (``BitsPerSample``) use their whole range;
- the significant bits in PNG (``sBIT``) give the range. Values may be scaled up to 16 bits, as the specification
  requires, or not; if both readings are possible, the file is refused;
- ``SMinSampleValue`` and ``SMaxSampleValue`` in TIFF are the range.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["EIGHT_BITS", "Range", "Storage", "significant", "to_eight_bits"]

#: TIFF tags and values.
_BITS, _COMPRESSION, _PHOTOMETRIC, _FORMAT, _LEAST, _GREATEST = 258, 259, 262, 339, 340, 341
_WHITE_IS_ZERO = 0
#: Compressions that keep every bit: none, CCITT, LZW, Deflate, PackBits, LZMA and Zstandard.
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}


class Range(NamedTuple):
    """The values that stand for black and for white."""

    black: float
    white: float

    def __str__(self) -> str:
        return f"[{self.black:g}, {self.white:g}]"


EIGHT_BITS = Range(0, 255)


@dataclass(frozen=True)
class Storage:
    """How a file stores the values of its pixels."""

    bits: int = 8
    """Bits per channel; 8 also for fewer, which Pillow scales up."""
    kind: str = "unsigned"
    """"unsigned", "signed" or "float"."""
    white_is_zero: bool = False
    """Whether larger values are darker, and Pillow does not invert them."""
    significant: int | None = None
    """Number of significant bits that a 16-bit PNG declares; None if it declares none."""
    declared: Range | None = EIGHT_BITS
    """Black and white, as declared by the file or its format; None if by neither."""
    losses: str = ""
    """The lossy compression of the file, such as "a JPEG"; empty if it is lossless."""

    @classmethod
    def of(cls, image: Image.Image, file: BinaryIO) -> "Storage":
        """The storage of an image in one of the formats PNG, JPEG, BMP and TIFF.

        Args:
            image: the opened image.
            file: the file that it was opened from; its position is restored.
        """
        if image.format == "PNG":
            return cls._of_png(file)
        if image.format == "TIFF":
            return cls._of_tiff(image)
        return cls(losses="" if image.format == "BMP" else f"a {image.format}")

    @classmethod
    def _of_png(cls, file: BinaryIO) -> "Storage":
        bits = (_png_chunk(file, b"IHDR") or bytes(9))[8]
        if bits <= 8:
            return cls()
        count = (_png_chunk(file, b"sBIT") or bytes(1))[0]
        if not 1 <= count <= bits:  # none, or one that says nothing
            return cls(bits, declared=None)
        return cls(bits, significant=count, declared=Range(0, 2**count - 1))

    @classmethod
    def _of_tiff(cls, image: Image.Image) -> "Storage":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits, kind = max(tags.get(_BITS, (1,))), _KINDS.get(tags.get(_FORMAT, (1,))[0], "unknown")
        lossless = tags.get(_COMPRESSION, 1) in _LOSSLESS
        losses = "" if lossless else f"a TIFF with {image.info.get('compression', 'unknown')} compression"
        if bits <= 8 and kind == "unsigned":
            return cls(losses=losses)
        declared = Range(0, 2**bits - 1) if bits % 8 and kind == "unsigned" else None
        if _LEAST in tags and _GREATEST in tags:
            least, greatest = (np.ravel(tags[tag])[0] for tag in (_LEAST, _GREATEST))
            declared = Range(float(least), float(greatest)) if least < greatest else None
        return cls(bits, kind, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, declared=declared, losses=losses)

    @property
    def reach(self) -> Range:
        """The least and the greatest value that can be stored."""
        if self.kind == "float":
            return Range(-np.inf, np.inf)
        if self.kind == "signed":
            return Range(-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)
        return Range(0, 2**self.bits - 1)

    def values(self, image: Image.Image) -> npt.NDArray[np.float64]:
        """The values in the file, (H, W) or (H, W, 3)."""
        if self.bits == 8:
            image = image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))
        array = np.asarray(image)
        if self.bits == 32 and self.kind == "unsigned":  # which Pillow gives as signed
            array = array.view(np.uint32)
        return array.astype(np.float64)


def _png_chunk(file: BinaryIO, name: bytes) -> bytes | None:
    """The first chunk of that name before the pixels; the file's position is restored."""
    position = file.tell()
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, found = struct.unpack(">I4s", head)
            if found == name:
                return file.read(length)
            if found == b"IDAT":
                break
            file.seek(length + 4, os.SEEK_CUR)
        return None
    finally:
        file.seek(position)


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


def to_eight_bits(values: npt.NDArray[np.float64], value_range: Range) -> npt.NDArray[np.uint8]:
    """Scale linearly so that black is 0 and white 255, rounding half up.

    Args:
        values: of any shape, all within the range.
        value_range: the values that stand for black and white.
    """
    black, white = value_range
    levels: npt.NDArray[np.uint8] = np.floor((values - black) * 255 / (white - black) + 0.5).astype(np.uint8)
    return levels
