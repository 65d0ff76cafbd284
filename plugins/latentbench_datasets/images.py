"""Image files as uint8 arrays. Files that cannot be read, or only by guessing, are refused by name.

A JPEG has no checksum: damage within its data that libjpeg conceals is noticed only by a published checksum.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from latentbench import LatentbenchError, Storage, ValueRange
from latentbench_datasets.levels import significant, to_eight_bits

__all__ = [
    "SUFFIXES", "declared_range", "image_size", "is_grey", "is_read_alike", "mask_levels", "read_centre", "read_image",
    "read_mask",
]  # fmt: skip

#: Suffixes of the files that are taken for images, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

#: The formats that they may have, whatever their suffix.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
#: Pillow's modes that are read. A palette is replaced by its colours; an alpha channel is dropped if it is opaque.
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_GREY = ("1", "L", "LA", *_DEEP)
_COLOUR = ("RGB", "RGBA", "P", "PA")
_TURNED = range(2, 9)  # values of the tag "Orientation"; others say nothing, and some cameras write 0
#: Pixels of the largest image that is read. Pillow's own limit of 179 million is less than line-scan cameras give.
_MOST_PIXELS = 2**30


def is_grey(path: Path) -> bool:
    """Whether the file has one grey channel, by its header only; grey pictures stored in colour count as colour.

    Raises:
        LatentbenchError: not an image, or of a kind that is not supported.
    """
    return _header(path)[0].mode in _GREY


def declared_range(path: Path) -> ValueRange | None:
    """The values that are black and white, by the file's header only: [0, 255] for 8 bits; None if not declared.

    Raises:
        LatentbenchError: as ``is_grey``.
    """
    return _header(path)[1].declared


def image_size(path: Path) -> tuple[int, int]:
    """Height and width, by the file's header only.

    Raises:
        LatentbenchError: as ``is_grey``.
    """
    header, _ = _header(path)
    return header.height, header.width


def read_image(
    path: Path, channels: int, size: int | tuple[int, int], value_range: ValueRange | None = None
) -> npt.NDArray[np.uint8]:
    """Decode a file and resize it, if it is not of that size.

    Resizing is Pillow's bilinear filter, antialiased: its support grows with the factor of reduction. It computes in
    integers, so that the pixels do not depend on the machine. The aspect is not kept.

    Args:
        path: the file.
        channels: 1 for grey files; 3 for any file, where grey ones have the same value in all channels.
        size: height and width, in pixels; one number for a square.
        value_range: the stored values that are black and white; None: those that the file declares (``levels``).

    Returns:
        (channels, height, width).

    Raises:
        LatentbenchError: the file is empty, cut short or corrupt; is transparent anywhere; has an EXIF orientation; is
            not grey or RGB; holds several images; has more than 8 bits in colour; or has more than 8 bits and no range,
            or values outside it. The message has the path and the reason.
    """
    mend = "name the values that stand for black and white, with value_range=[BLACK, WHITE]"
    image = _eight_bits(path, *_decoded(path), value_range, mend)
    return _resized(image.convert("L" if channels == 1 else "RGB"), size)


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
    image = _eight_bits(path, *_decoded(path), None, "save it with 8 bits").convert("RGB")
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    with _no_limit_of_pillow():
        return _resized(image.crop((left, top, left + side, top + side)), size)


def read_mask(
    path: Path, shape: tuple[int, int], size: int | tuple[int, int], threshold: float | None = None
) -> tuple[npt.NDArray[np.uint8], bool]:
    """Decode a mask, resized by the nearest pixel.

    Black is normal and one other level is anomalous. What has more levels was resized or compressed with losses, or
    tells kinds of defects apart: which of them are anomalous is not to be guessed, and ``threshold`` says it.

    Args:
        path: the file.
        shape: height and width that the mask must have, those of its image.
        size: height and width of the result, in pixels; one number for a square.
        threshold: pixels are anomalous if a stored value is above it, in any channel.

    Returns:
        (height, width) of 0 and 1; and whether a pixel of the file was anomalous.

    Raises:
        LatentbenchError: as ``read_image``; or of another shape than its image; or, without a threshold, with more
            levels than black and one other, or compressed with losses, after which black is not exact.
    """
    values, losses = _decoded_mask(path)
    found = values.shape[:2]
    if found != shape:
        raise LatentbenchError(f"mask {path} has {_by(found)} pixels", f"its image has {_by(shape)}")
    if threshold is None:
        mend = "save masks as PNG with two levels, or say what is anomalous with mask_threshold=T, all levels above T"
        if losses:
            raise LatentbenchError(f"mask {path} is {losses}, after which black is not exact", mend)
        marked = values[(values != 0).any(2)]
        if len(marked) and (marked != marked[0]).any():
            raise LatentbenchError(
                f"mask {path} has {_levels(values)} levels, not black and one other, as resizing or compression with "
                "losses leaves them",
                mend,
            )
    anomalous = (values > (threshold or 0)).any(2)
    mask = Image.fromarray(anomalous.astype(np.uint8))
    return np.asarray(mask.resize(_width_and_height(size), Image.Resampling.NEAREST)), bool(anomalous.any())


def mask_levels(path: Path) -> int:
    """The number of different pixel values of a mask.

    Raises:
        LatentbenchError: as ``read_image``.
    """
    return _levels(_decoded_mask(path)[0])


def is_read_alike(path: Path, threshold: float) -> bool:
    """Whether a mask is the same with a threshold and without, as it is if it has black and one level above it.

    Raises:
        LatentbenchError: as ``read_image``.
    """
    values, losses = _decoded_mask(path)
    same = bool(((values != 0).any(2) == (values > threshold).any(2)).all())
    return same and not losses and _levels(values) <= 2


def _decoded_mask(path: Path) -> tuple[npt.NDArray[np.float64], str]:
    """The values that a mask's file stores, (H, W, channels), and its lossy compression, "" if it has none."""
    image, storage = _decoded(path)
    values = storage.values(image)
    if not np.isfinite(values).all() or values.min() < 0:
        raise LatentbenchError(f"mask {path} has values below 0, or that are not finite", "save it with 0 for normal")
    return np.atleast_3d(values), storage.losses


def _levels(values: npt.NDArray[np.float64]) -> int:
    """The number of different pixels of (H, W, channels)."""
    return len(np.unique(values.reshape(-1, values.shape[2]), axis=0))


def _eight_bits(
    path: Path, image: Image.Image, storage: Storage, value_range: ValueRange | None, mend: str
) -> Image.Image:
    """The image in 8 bits; its black is 0 and its white 255."""
    if value_range is None and storage.bits <= 8:
        return image
    name = f"image {path} of {storage}"
    values = storage.values(image)
    if value_range is None:
        if storage.declared is None:
            raise LatentbenchError(f"{name} does not declare its range", mend)
        value_range = storage.declared
        if storage.significant:
            try:
                values = significant(values, storage.significant)
            except ValueError as error:
                told = f"{name} declares {storage.significant} significant bits, but its numbers {error}"
                raise LatentbenchError(told, mend) from None
    black, white = value_range
    if not storage.reach.black <= black < white <= storage.reach.white:
        raise LatentbenchError(f"{name} cannot hold the range {value_range}", mend)
    least, greatest = values.min(), values.max()
    if not black <= least <= greatest <= white:  # nor if one of them is not a number
        raise LatentbenchError(
            f"{name} has values from {least:g} to {greatest:g}, beyond its range {value_range}", mend
        )
    return Image.fromarray(to_eight_bits(values, value_range))


def _resized(image: Image.Image, size: int | tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(channels, height, width), by Pillow's antialiased bilinear filter."""
    if image.size != _width_and_height(size):
        image = image.resize(_width_and_height(size), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(image)).transpose(2, 0, 1)


def _width_and_height(size: int | tuple[int, int]) -> tuple[int, int]:
    """The size in Pillow's order, from one number or (height, width)."""
    return (size, size) if isinstance(size, int) else (size[1], size[0])


def _header(path: Path) -> tuple[Image.Image, Storage]:
    """The file's checked header, and how it stores values. The pixels cannot be read from the result."""
    try:
        with path.open("rb") as file:
            return _opened(path, file, path.stat().st_size)
    except OSError as error:
        raise LatentbenchError(f"cannot read image {path}: {error.strerror}") from None


def _decoded(path: Path) -> tuple[Image.Image, Storage]:
    """The decoded file, in mode 1, L, RGB, P or a deeper grey, and how it stores values. Checksums are verified."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LatentbenchError(f"cannot read image {path}: {error.strerror}") from None
    image, storage = _opened(path, io.BytesIO(content), len(content))
    try:
        with _no_limit_of_pillow():
            Image.open(io.BytesIO(content)).verify()
            # Before the pixels: Pillow turns those of a TIFF when it loads them, and drops the tag.
            orientation = image.getexif().get(ExifTags.Base.Orientation)
            image.load()
    except MemoryError:
        raise
    except Exception as error:  # the decoders have no common type of error
        raise _corrupt(path, len(content), error) from None
    if orientation in _TURNED:
        raise LatentbenchError(f"image {path} is to be turned by its EXIF orientation", "turn its pixels and save it")
    return _opaque(path, image), storage


@contextmanager
def _no_limit_of_pillow() -> Iterator[None]:
    """Let Pillow read images of any size: it guards against decompression bombs, and these are the user's own files."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _opened(path: Path, file: BinaryIO, length: int) -> tuple[Image.Image, Storage]:
    """The image in ``file`` with only its header read, and how it stores values."""
    if length == 0:
        raise LatentbenchError(f"image {path} is empty (0 bytes)", "put the file there again")
    try:
        with _no_limit_of_pillow():
            image = Image.open(file, formats=_FORMATS)
        storage = Storage.of(image, file)
    except Exception as error:
        if isinstance(error, UnidentifiedImageError) and (stored := Storage.unread(file)):
            mend = "save it as integers of 8 or 16 bits, or grey as float32"
            raise LatentbenchError(f"image {path} is {stored}, which cannot be read", mend) from None
        raise _corrupt(path, length, error) from None
    if storage.images > 1:
        raise LatentbenchError(f"image {path} holds {storage.images} images", "save each in a file of its own")
    if image.width * image.height > _MOST_PIXELS:
        shape = _by((image.height, image.width))
        raise LatentbenchError(f"image {path} has {shape} pixels, more than {_MOST_PIXELS:,}", "cut it into tiles")
    if image.mode not in _GREY + _COLOUR:
        raise LatentbenchError(f"image {path} is of Pillow's mode {image.mode}", "save it as grey or RGB")
    if image.mode not in _DEEP and storage.deep:
        # Pillow keeps the high byte of each channel, and takes signed bytes for unsigned ones.
        raise LatentbenchError(
            f"image {path} has channels of {storage}, which are read in grey images alone",
            "save it with 8 bits a channel, scaled by the range that its numbers have",
        )
    if image.mode in _DEEP and storage.white_is_zero:
        raise LatentbenchError(f"image {path} stores white as 0, which is read of 8 bits alone", "save it inverted")
    return image, storage


def _opaque(path: Path, image: Image.Image) -> Image.Image:
    """The image without its alpha channel, which has to be opaque."""
    if image.mode in _DEEP:
        if "transparency" in image.info and (np.asarray(image) == image.info["transparency"]).any():
            raise LatentbenchError(f"image {path} is transparent in places", "lay it on a background and save it")
    elif image.has_transparency_data:
        image = image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            raise LatentbenchError(f"image {path} is transparent in places", "lay it on a background and save it")
        return image.convert(image.mode.removesuffix("A"))
    return image


def _corrupt(path: Path, length: int, error: Exception) -> LatentbenchError:
    reason = (
        "it is not an image of a known format"
        if isinstance(error, UnidentifiedImageError)
        else " ".join(str(error).split())
    )
    return LatentbenchError(
        f"image {path} is corrupt or cut short ({length:,} bytes; {reason})", "put the file there again"
    )


def _by(shape: tuple[int, int]) -> str:
    """Width x height, as image viewers say it."""
    return f"{shape[1]}x{shape[0]}"
