"""Textures that fill blobs, from a local folder of images such as the Describable Textures Dataset."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from latentbench import LatentbenchError, Storage

__all__ = ["MOST_TEXTURES", "read_textures"]

#: No more images of a folder are read, unless another limit is given.
MOST_TEXTURES = 200

#: Suffixes of the files that are read, in lower case.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
#: Pillow's mode for each number of channels.
_MODES = {1: "L", 3: "RGB"}


def read_textures(folder: Path | str, *, channels: int, size: int, limit: int = MOST_TEXTURES) -> Tensor:
    """Read the images below a folder: their central squares, resized. Nothing is downloaded.

    Args:
        folder: for instance ``images`` of the Describable Textures Dataset (Cimpoi et al., CVPR 2014).
        channels: 1 or 3; colours become luma and grey becomes equal channels.
        size: height and width of the result.
        limit: read no more than so many, evenly spaced among the files by their paths, so that all sub-folders have a
            part. 200 textures of 3 channels and 128 pixels take 39 MB.

    Returns:
        (N, channels, size, size) float32 in [0, 1], on the CPU.

    Raises:
        LatentbenchError: there is no such folder, or no file in it that ends like an image's; or one cannot be read,
            has more than 8 bits or signed ones, or holds several images.
    """
    if channels not in _MODES:
        raise LatentbenchError(f"textures of {channels} channels", "1 and 3 can be read")
    folder = Path(folder)
    if not folder.is_dir():
        what = f"{folder} is a file" if folder.exists() else f"there is no folder {folder}"
        start = "" if folder.is_absolute() else f"; a relative path starts from the working folder, {Path.cwd()}"
        raise LatentbenchError(f"textures cannot be read: {what}", f"give the path of a folder of images{start}")
    paths = folder.rglob("*")
    files = sorted(path for path in paths if path.suffix.lower() in _SUFFIXES and not path.name.startswith("."))
    if not files:
        raise LatentbenchError(f"no textures in {folder}", f"put images there that end in {', '.join(_SUFFIXES)}")
    count = min(limit, len(files))
    chosen = [files[index * len(files) // count] for index in range(count)]
    return torch.stack([_read(path, _MODES[channels], size) for path in chosen])


def _read(path: Path, mode: str, size: int) -> Tensor:
    """One texture, (channels, size, size)."""
    try:
        with path.open("rb") as file, Image.open(file) as image:
            storage = Storage.of(image, file)
            if storage.deep:
                raise LatentbenchError(
                    f"texture {path} has channels of {storage}, not of 8 bits", "save it with 8 bits"
                )
            if storage.images > 1:
                raise LatentbenchError(
                    f"texture {path} holds {storage.images} images", "save each in a file of its own"
                )
            square = ImageOps.fit(image.convert(mode), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        what = f"texture {path} cannot be read ({_reason(error)})"
        raise LatentbenchError(what, "save it anew, or move it out of the folder") from None
    pixels = np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def _reason(error: Exception) -> str:
    """Why a file cannot be read, without its path."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    return " ".join(str(getattr(error, "strerror", None) or error).split())
