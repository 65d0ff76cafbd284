"""How an image file stores its pixels: the type of its values, lossy compression, and the range from black to white.

Pillow's mode does not tell: of channels of 16 bits it keeps the high byte, in mode RGB, and it takes signed bytes for
unsigned ones.

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
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

__all__ = ["EIGHT_BITS", "Storage", "ValueRange"]

#: TIFF tags and values.
_SUBFILE, _BITS, _COMPRESSION, _PHOTOMETRIC, _CHANNELS = 254, 258, 259, 262, 277
_FORMAT, _LEAST, _GREATEST = 339, 340, 341
_REDUCED = 1  # a bit of _SUBFILE: a smaller version of another image in the file
_WHITE_IS_ZERO = 0
_PIECES = ((273, 279), (324, 325))  # where strips or tiles begin, and their lengths
#: Compressions that keep every bit: none, CCITT, LZW, Deflate, PackBits, LZMA and Zstandard.
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
_KINDS = {1: "unsigned", 2: "signed", 3: "float"}


class ValueRange(NamedTuple):
    """The values that stand for black and for white."""

    black: float
    white: float

    def __str__(self) -> str:
        return f"[{self.black:g}, {self.white:g}]"


EIGHT_BITS = ValueRange(0, 255)


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
    declared: ValueRange | None = EIGHT_BITS
    """Black and white, as declared by the file or its format; None if by neither."""
    losses: str = ""
    """The lossy compression of the file, such as "a JPEG"; empty if it is lossless."""
    images: int = 1
    """Pages of a TIFF but for smaller versions of them, and frames of an animated PNG; Pillow gives the first."""

    def __str__(self) -> str:
        return f"{self.bits} bits ({self.kind})"

    @property
    def deep(self) -> bool:
        """Whether channels have more than 8 bits, or numbers that are not 0 and more."""
        return self.bits > 8 or self.kind != "unsigned"

    @classmethod
    def of(cls, image: Image.Image, file: BinaryIO) -> "Storage":
        """The storage of an image in one of the formats PNG, JPEG, BMP and TIFF.

        Args:
            image: the opened image.
            file: the file that it was opened from; its position is restored.
        """
        if image.format == "PNG":
            frames = _png_chunk(file, b"acTL")
            return replace(cls._of_png(file), images=int.from_bytes(frames[:4], "big") if frames else 1)
        if image.format == "TIFF":
            pages = [page.get(_SUBFILE, 0) for page in _tiff_directories(file)]
            return replace(cls._of_tiff(image), images=sum(not kind & _REDUCED for kind in pages))
        return cls(losses="" if image.format == "BMP" else f"a {image.format}")

    @classmethod
    def _of_png(cls, file: BinaryIO) -> "Storage":
        bits = (_png_chunk(file, b"IHDR") or bytes(9))[8]
        if bits <= 8:
            return cls()
        count = (_png_chunk(file, b"sBIT") or bytes(1))[0]
        if not 1 <= count <= bits:  # none, or one that says nothing
            return cls(bits, declared=None)
        return cls(bits, significant=count, declared=ValueRange(0, 2**count - 1))

    @classmethod
    def _of_tiff(cls, image: Image.Image) -> "Storage":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits, kind = max(tags.get(_BITS, (1,))), _KINDS.get(tags.get(_FORMAT, (1,))[0], "unknown")
        lossless = tags.get(_COMPRESSION, 1) in _LOSSLESS
        losses = "" if lossless else f"a TIFF with {image.info.get('compression', 'unknown')} compression"
        if bits <= 8 and kind == "unsigned":
            return cls(losses=losses)
        declared = ValueRange(0, 2**bits - 1) if bits % 8 and kind == "unsigned" else None
        if _LEAST in tags and _GREATEST in tags:
            least, greatest = (np.ravel(tags[tag])[0] for tag in (_LEAST, _GREATEST))
            declared = ValueRange(float(least), float(greatest)) if least < greatest else None
        return cls(bits, kind, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, declared=declared, losses=losses)

    @staticmethod
    def unread(file: BinaryIO) -> str:
        """What a whole TIFF stores that Pillow cannot open; empty for any other file, whose position is restored."""
        position = file.tell()
        try:
            page = next(_tiff_directories(file))
            at, of = next((at, of) for at, of in _PIECES if at in page)
            ends = [start + length for start, length in zip(page[at], page[of], strict=True)]
            if max(ends) > file.seek(0, os.SEEK_END):
                return ""
            bits, kind = max(page[_BITS]), _KINDS.get(page.get(_FORMAT, (1,))[0], "unknown")
            return f"a TIFF with {page.get(_CHANNELS, 1)} channels of {bits} bits ({kind})"
        except Exception:  # damaged directories have no common type of error
            return ""
        finally:
            file.seek(position)

    @property
    def reach(self) -> ValueRange:
        """The least and the greatest value that can be stored."""
        if self.kind == "float":
            return ValueRange(-np.inf, np.inf)
        if self.kind == "signed":
            return ValueRange(-(2 ** (self.bits - 1)), 2 ** (self.bits - 1) - 1)
        return ValueRange(0, 2**self.bits - 1)

    def values(self, image: Image.Image) -> npt.NDArray[np.float64]:
        """The values in the file, (H, W) or (H, W, 3)."""
        if self.bits == 8:
            image = image.convert({"1": "L", "P": "RGB"}.get(image.mode, image.mode))
        array = np.asarray(image)
        if self.bits == 32 and self.kind == "unsigned":  # which Pillow gives as signed
            array = array.view(np.uint32)
        return array.astype(np.float64)


def _tiff_directories(file: BinaryIO) -> Iterator[ImageFileDirectory_v2]:
    """The tags of each page; the file's position is restored."""
    position = file.tell()
    try:
        file.seek(0)
        head = file.read(8)
        if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF
            head += file.read(8)
        page, seen = ImageFileDirectory_v2(head), set[int]()
        while page.next and page.next not in seen:
            seen.add(page.next)
            file.seek(page.next)
            page = ImageFileDirectory_v2(head)
            page.load(file)
            yield page
    finally:
        file.seek(position)


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
