"""Textures that fill blobs, from a local folder of images such as the Describable Textures Dataset."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from latentbench import LatentbenchError

__all__ = ["read_textures"]

#: Suffixes of the files that are read, in lower case.
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
#: Pillow's mode for each number of channels.
_MODES = {1: "L", 3: "RGB"}


def read_textures(folder: Path | str, *, channels: int, size: int, limit: int = 200) -> Tensor:
    """Read the images below a folder, cut to their central square and resized. Nothing is downloaded.

    Args:
        folder: for instance ``images`` of the Describable Textures Dataset (Cimpoi et al., CVPR 2014).
        channels: 1 or 3; colours become luma and grey becomes equal channels.
        size: height and width of the result.
        limit: read no more than so many, evenly spaced among the files by their paths, so that every sub-folder of a
            large set has a part. 200 RGB textures of 128 pixels take 39 MB.

    Returns:
        (N, channels, size, size) float32 in [0, 1], on the CPU.

    Raises:
        LatentbenchError: there is no image, or a file is none.
    """
    if channels not in _MODES:
        raise LatentbenchError(f"textures of {channels} channels", "1 and 3 can be read")
    files = sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise LatentbenchError(f"no textures in {folder}", f"it needs images that end in {', '.join(_SUFFIXES)}")
    count = min(limit, len(files))
    chosen = [files[index * len(files) // count] for index in range(count)]
    return torch.stack([_read(path, _MODES[channels], size) for path in chosen])


def _read(path: Path, mode: str, size: int) -> Tensor:
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert(mode), (size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise LatentbenchError(f"texture {path} cannot be read ({error})", "replace or remove it") from None
    pixels = np.atleast_3d(np.asarray(square)).transpose(2, 0, 1)
    return torch.from_numpy(pixels.astype(np.float32) / 255)
