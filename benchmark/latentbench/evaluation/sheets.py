"""Contact sheets: rows of labelled image tiles as one small PNG, the same bytes for the same tiles."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

__all__ = ["MAX_BYTES", "Row", "Sheet", "heat", "png"]

#: File size above which smaller tiles are tried.
MAX_BYTES = 200_000
#: Longer side of a tile in pixels, in the order in which sizes are tried.
_SIDES = (96, 64, 48, 32, 24, 16)
_GAP, _MARGIN, _LINE = 3, 8, 16
_BACKGROUND, _INK = 255, 0
#: Colours of a heat map from its least to its greatest value: five points of matplotlib's "inferno".
_HEAT = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]) / 255

#: (H, W) gray or (H, W, 3) colour, float in [0, 1]; None leaves the place empty.
Tile = npt.NDArray[np.floating] | None


@dataclass(frozen=True)
class Row:
    """A row of tiles, and its label."""

    label: str
    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Sheet:
    """What one picture shows."""

    title: str
    rows: Sequence[Row]
    columns: Sequence[str] = ()
    """Labels above the columns; one that is followed by empty ones stands for those, too."""


def heat(values: npt.NDArray[np.floating], low: float, high: float) -> npt.NDArray[np.float64]:
    """(H, W) values as colours (H, W, 3): ``low`` and below dark, ``high`` and above bright."""
    scaled = ((values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)).clip(0, 1)
    points = np.linspace(0, 1, len(_HEAT))
    return np.stack([np.interp(scaled, points, channel) for channel in _HEAT.T], axis=2)


def png(sheet: Sheet) -> bytes:
    """The sheet as a PNG of at most ``MAX_BYTES`` where the smallest tiles allow it; gray if all tiles are."""
    gray = all(tile is None or tile.ndim == 2 for row in sheet.rows for tile in row.tiles)
    content = b""
    for side in _SIDES:
        file = io.BytesIO()
        _draw(sheet, side, "L" if gray else "RGB").save(file, "PNG", compress_level=6)
        content = file.getvalue()
        if len(content) <= MAX_BYTES:
            break
    return content


def _draw(sheet: Sheet, side: int, mode: str) -> Image.Image:
    font = ImageFont.load_default(12)
    images = [[None if tile is None else _image(tile, side, mode) for tile in row.tiles] for row in sheet.rows]
    sizes = [image.size for row in images for image in row if image is not None] or [(side, side)]
    width, height = (max(sizes_of_axis) + _GAP for sizes_of_axis in zip(*sizes, strict=True))
    labels = max((ceil(font.getlength(row.label)) for row in sheet.rows), default=0)
    left = _MARGIN + (labels + _MARGIN if labels else 0)
    top = _MARGIN + _LINE + (_LINE if any(sheet.columns) else 0)
    across = max((len(row) for row in images), default=0) * width
    canvas = Image.new(
        mode,
        (
            max(left + across, _MARGIN + ceil(font.getlength(sheet.title))) + _MARGIN,
            top + len(images) * height + _MARGIN,
        ),
        _colour(_BACKGROUND, mode),
    )
    draw = ImageDraw.Draw(canvas)

    def write(x: int, y: int, text: str) -> None:
        draw.text((x, y), text, fill=_colour(_INK, mode), font=font)

    write(_MARGIN, _MARGIN - 4, sheet.title)
    for number, label in enumerate(sheet.columns):
        write(left + number * width, top - _LINE, label)
    for number, (row, tiles) in enumerate(zip(sheet.rows, images, strict=True)):
        y = top + number * height
        write(_MARGIN, y + (height - _LINE) // 2, row.label)
        for place, tile in enumerate(tiles):
            if tile is not None:
                canvas.paste(tile, (left + place * width, y))
    return canvas


def _image(tile: npt.NDArray[np.floating], side: int, mode: str) -> Image.Image:
    """The tile with a longer side of about ``side``: enlarged by a whole factor, or reduced by averaging."""
    image = Image.fromarray(np.rint(tile.clip(0, 1) * 255).astype(np.uint8)).convert(mode)
    longer = max(image.size)
    if longer > side:
        width, height = (max(1, round(length * side / longer)) for length in image.size)
        return image.resize((width, height), Image.Resampling.BOX)
    factor = side // longer
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _colour(level: int, mode: str) -> int | tuple[int, int, int]:
    return level if mode == "L" else (level, level, level)
