"""Image files as uint8 arrays: what cannot be read, or would have to be guessed, is refused by name.

A JPEG has no checksum: damage amid its data that libjpeg bridges is not noticed here, but by a published file's sum.
"""

import io
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from latentbench import LatentbenchError

__all__ = ["SUFFIXES", "image_size", "is_grey", "read_centre", "read_image", "read_mask"]

#: Of the files that are taken for images, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

#: Pillow's modes that are read. 16-bit greys keep their high byte, as Pillow keeps that of 16-bit colours; a palette
#: gives its colours; an alpha channel is dropped where it hides nothing.
_GREY = ("1", "L", "LA", "I;16", "I;16B", "I;16L")
_COLOUR = ("RGB", "RGBA", "P", "PA")
_UPRIGHT = 1  # value of the EXIF tag "Orientation"


def is_grey(path: Path) -> bool:
    """Whether the file holds one grey channel, by its header alone; grey pictures stored in colour are colour.

    Raises:
        LatentbenchError: no image, or of a kind that is not read.
    """
    return _header(path).mode in _GREY


def image_size(path: Path) -> tuple[int, int]:
    """Height and width, by the file's header alone.

    Raises:
        LatentbenchError: as ``is_grey``.
    """
    header = _header(path)
    return header.height, header.width


def read_image(path: Path, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """Decode a file and resize it to a square, if it is not of that size.

    Resizing is Pillow's bilinear filter, antialiased: its support grows with the factor of reduction. It computes in
    integers, so that the pixels do not depend on the machine. The aspect is not kept.

    Args:
        path: the file.
        channels: 1 for grey files; 3 for any, grey ones have the same value in all three.
        size: of the square, in pixels.

    Returns:
        (channels, size, size).

    Raises:
        LatentbenchError: empty, cut short, corrupt; transparent anywhere; to be turned by its EXIF orientation; not
            grey or RGB; with the path and the reason.
    """
    return _resized(_eight_bits(_decoded(path)).convert("L" if channels == 1 else "RGB"), size)


def read_centre(path: Path, side: int, size: int) -> npt.NDArray[np.uint8]:
    """Decode a file to RGB, cut the square of ``side`` pixels out of its centre, and resize that.

    Gives the very pixels of torchvision's ``CenterCrop(side)`` and ``Resize(size)`` of the Pillow image: a margin of an
    odd number of pixels is halved to the even number (45 / 2 gives 22), and resizing is that of ``read_image``.

    Args:
        path: the file.
        side: of the square in the file's pixels, no longer than the image's sides.
        size: of the square afterwards.

    Returns:
        (3, size, size).

    Raises:
        LatentbenchError: as ``read_image``.
    """
    image = _eight_bits(_decoded(path)).convert("RGB")
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return _resized(image.crop((left, top, left + side, top + side)), size)


def read_mask(path: Path, shape: tuple[int, int], size: int) -> tuple[npt.NDArray[np.uint8], bool]:
    """Decode a mask: black is normal, anything else is anomalous; resized to a square by the nearest pixel.

    Args:
        path: the file.
        shape: height and width that the mask must have, those of its image.
        size: of the square, in pixels.

    Returns:
        (size, size) of 0 and 1; and whether a pixel of the file was anomalous.

    Raises:
        LatentbenchError: as ``read_image``; or of another shape than its image; or a JPEG, whose black is not exact.
    """
    if path.suffix.lower() in (".jpg", ".jpeg"):
        raise LatentbenchError(f"mask {path} is a JPEG", "its zeros are not exact: save masks as PNG")
    image = _decoded(path)
    found = (image.height, image.width)
    if found != shape:
        raise LatentbenchError(f"mask {path} has {_by(found)} pixels", f"its image has {_by(shape)}")
    pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    anomalous = (pixels.reshape(*shape, -1) != 0).any(2)
    mask = Image.fromarray(anomalous.astype(np.uint8))
    return np.asarray(mask.resize((size, size), Image.Resampling.NEAREST)), bool(anomalous.any())


def _eight_bits(image: Image.Image) -> Image.Image:
    """The high byte of 16-bit greys; others as they are."""
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)) if image.mode.startswith("I;16") else image


def _resized(image: Image.Image, size: int) -> npt.NDArray[np.uint8]:
    """(channels, size, size), by Pillow's antialiased bilinear filter."""
    if image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


def _header(path: Path) -> Image.Image:
    """The file's header, checked; its pixels cannot be read any more."""
    try:
        with path.open("rb") as file:
            return _opened(path, file, path.stat().st_size)
    except OSError as error:
        raise LatentbenchError(f"cannot read image {path}: {error.strerror}") from None


def _decoded(path: Path) -> Image.Image:
    """The whole file, in mode 1, L, 16-bit grey, RGB or P; a PNG's checksums are compared."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read image {path}: {error.strerror}") from None
    image = _opened(path, io.BytesIO(content), len(content))
    try:
        Image.open(io.BytesIO(content)).verify()
        image.load()
    except Exception as error:  # the decoders have no common type of error
        raise _corrupt(path, len(content), error) from None
    if image.getexif().get(ExifTags.Base.Orientation, _UPRIGHT) != _UPRIGHT:
        raise LatentbenchError(f"image {path} is to be turned by its EXIF orientation", "turn its pixels and save it")
    return _opaque(path, image)


def _opened(path: Path, file: BinaryIO, length: int) -> Image.Image:
    """The image in ``file``, its header read."""
    if length == 0:
        raise LatentbenchError(f"image {path} is empty (0 bytes)", "put the file there again")
    try:
        image = Image.open(file)
    except Exception as error:
        raise _corrupt(path, length, error) from None
    if image.mode not in _GREY + _COLOUR:
        raise LatentbenchError(f"image {path} is of Pillow's mode {image.mode}", "save it as grey or RGB, 8 or 16 bits")
    return image


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    """The image without its alpha channel, where that hides nothing."""
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise LatentbenchError(f"image {path} is transparent in places", "lay it on a background and save it")
        return image.convert(image.mode.removesuffix("A"))
    return image


def _corrupt(path: Path, length: int, error: Exception) -> LatentbenchError:
    reason = "it is no image" if isinstance(error, UnidentifiedImageError) else " ".join(str(error).split())
    return LatentbenchError(
        f"image {path} is corrupt or cut short ({length:,} bytes; {reason})", "put the file there again"
    )


def _by(shape: tuple[int, int]) -> str:
    """Width x height, as image viewers say it."""
    return f"{shape[1]}x{shape[0]}"
