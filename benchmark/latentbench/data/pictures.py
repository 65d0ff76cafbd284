"""Picture files of a user's own, brought into the shape of a dataset's images.

Only what leaves no doubt is read here: one image of 8 bits a channel, without transparency. A dataset whose files are
read otherwise says how (``latentbench.Dataset.read_picture``).
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from latentbench.data.storage import Storage
from latentbench.errors import LatentbenchError

__all__ = ["SUFFIXES", "Header", "read_header", "read_picture"]

#: Endings of the files that are taken for pictures, in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF")
#: Pixels that a picture may have.
_MOST_PIXELS = 2**30
#: Pillow's modes of 8 bits or fewer, of one grey channel and of colours.
_GREY, _COLOUR = ("1", "L", "LA"), ("RGB", "RGBA", "P", "PA", "CMYK")


@dataclass(frozen=True)
class Header:
    """What a picture file says of itself."""

    height: int
    width: int
    grey: bool
    """Whether it has one channel of brightness, of any number of bits."""


def read_header(path: Path) -> Header:
    """Read no more than the file's header.

    Raises:
        LatentbenchError: not a picture, or one of more than 2^30 pixels.
    """
    with _opened(path) as image:
        return Header(image.height, image.width, image.mode not in _COLOUR)


def read_picture(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Decode a file, turn it as its EXIF orientation says, and resize it by Pillow's antialiased bilinear filter.

    Args:
        path: the file.
        shape: (C, H, W) of the result: C is 1 for grey, into which colours are converted, or 3. The aspect is not kept.

    Returns:
        (C, H, W).

    Raises:
        LatentbenchError: not a picture, cut short, transparent in places, of more than 8 bits a channel or of signed
            ones, or one of several in its file.
    """
    channels, height, width = shape
    if channels not in (1, 3):
        raise LatentbenchError(f"picture {path} cannot become an image of {channels} channels")
    with _opened(path) as image:
        storage = _storage(path, image)
        if storage.deep:  # which the mode need not tell: of deep colours, Pillow keeps the high bytes
            what = f"picture {path} has channels of {storage}, not of 8 bits"
            raise LatentbenchError(what, "save it with 8 bits, its values scaled as those of the training images were")
        if storage.images > 1:
            raise LatentbenchError(f"picture {path} holds {storage.images} images", "save each in a file of its own")
        if image.mode not in (*_GREY, *_COLOUR):
            raise LatentbenchError(f"picture {path} is of Pillow's mode {image.mode}", "save it as grey or RGB")
        try:
            turned = ImageOps.exif_transpose(image)
        except Exception as error:  # the decoders have no common type of error
            raise LatentbenchError(f"picture {path} is corrupt or cut short: {' '.join(str(error).split())}") from None
    if turned.has_transparency_data and np.asarray(turned.convert("RGBA"))[..., 3].min() < 255:
        raise LatentbenchError(f"picture {path} is transparent in places", "lay it on a background and save it")
    resized = turned.convert("L" if channels == 1 else "RGB").resize((width, height), Image.Resampling.BILINEAR)
    return np.atleast_3d(np.asarray(resized)).transpose(2, 0, 1)


def _storage(path: Path, image: Image.Image) -> Storage:
    """How the file stores the picture's values."""
    try:
        with path.open("rb") as file:
            return Storage.of(image, file)
    except Exception as error:  # damaged headers have no common type of error
        raise LatentbenchError(f"picture {path} is corrupt or cut short: {' '.join(str(error).split())}") from None


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture with only its header read; line scans are larger than what Pillow takes for a decompression bomb.

    Pillow gets the open file, not its path: it would map the pixels of some files into memory, and take width for
    height where those of a TIFF are to be turned by a quarter.
    """
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            if stored := Storage.unread(file):
                what = f"picture {path} is {stored}, which cannot be read"
                raise LatentbenchError(what, "save it with 8 bits") from None
            raise LatentbenchError(f"picture {path} is none of {', '.join(_FORMATS)}, or is damaged") from None
        except OSError as error:
            raise LatentbenchError(f"cannot read picture {path}: {error.strerror or error}") from None
        finally:
            Image.MAX_IMAGE_PIXELS = limit
        if image.width * image.height > _MOST_PIXELS:
            shape = f"{image.width}x{image.height}"
            raise LatentbenchError(
                f"picture {path} has {shape} pixels, more than {_MOST_PIXELS:,}", "cut it into tiles"
            )
        yield image
