"""Pictures of a user's own: Pillow's pixels in the shape that is asked for, or one line that says why not."""

import runpy
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from latentbench.data.pictures import Header, read_header, read_picture
from latentbench.errors import LatentbenchError

FILES = runpy.run_path(str(Path(__file__).parents[2] / "fixtures" / "image_files.py"))
png, tiff = FILES["png"], FILES["tiff"]
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
GREY = COLOUR[..., 0]


def saved(path: Path, array: np.ndarray, **options) -> Path:
    Image.fromarray(array).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_a_picture_of_the_right_size_keeps_its_pixels(tmp_path, suffix):
    assert (read_picture(saved(tmp_path / f"c.{suffix}", COLOUR), (3, 12, 20)) == COLOUR.transpose(2, 0, 1)).all()
    assert (read_picture(saved(tmp_path / f"g.{suffix}", GREY), (1, 12, 20))[0] == GREY).all()
    assert (read_picture(tmp_path / f"g.{suffix}", (3, 12, 20)) == GREY).all()


def test_colours_become_grey_and_sizes_change_as_pillow_does_it(tmp_path):
    path = saved(tmp_path / "c.png", COLOUR)
    expected = Image.fromarray(COLOUR).convert("L").resize((8, 6), Image.Resampling.BILINEAR)
    found = read_picture(path, (1, 6, 8))
    assert found.shape == (1, 6, 8)
    assert found.dtype == np.uint8
    assert (found[0] == np.asarray(expected)).all()


@pytest.mark.parametrize(
    ("orientation", "shown"),
    [
        (2, GREY[:, ::-1]), (3, GREY[::-1, ::-1]), (4, GREY[::-1]),
        (5, GREY.T), (6, np.rot90(GREY, -1)), (7, GREY[::-1, ::-1].T), (8, np.rot90(GREY)),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("name", "options"), [("a.png", {}), ("a.tif", {}), ("a.tif", {"compression": "tiff_lzw"})])
def test_a_picture_is_turned_once_as_its_orientation_says(tmp_path, name, options, orientation, shown):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = saved(tmp_path / name, GREY, exif=exif, **options)
    assert (read_picture(path, (1, *shown.shape))[0] == shown).all()


@pytest.mark.parametrize(
    ("mode", "grey"),
    [("L", True), ("1", True), ("LA", True), ("I;16", True), ("RGB", False), ("P", False), ("RGBA", False)],
)  # fmt: skip
def test_the_header_tells_size_and_channels(tmp_path, mode, grey):
    path = tmp_path / "a.png"
    (Image.new("I;16", (20, 12)) if mode == "I;16" else Image.fromarray(COLOUR).convert(mode)).save(path)
    assert read_header(path) == Header(height=12, width=20, grey=grey)


def test_an_opaque_alpha_channel_is_no_matter_and_a_transparent_one_is_refused(tmp_path):
    opaque = np.dstack([COLOUR, np.full((12, 20), 255, np.uint8)])
    assert (read_picture(saved(tmp_path / "o.png", opaque), (3, 12, 20)) == COLOUR.transpose(2, 0, 1)).all()
    opaque[3, 4, 3] = 254
    with pytest.raises(LatentbenchError, match=r"picture .*t\.png is transparent in places: lay it on a background"):
        read_picture(saved(tmp_path / "t.png", opaque), (3, 12, 20))


def test_a_line_scan_above_the_limit_of_pillow_is_read_and_one_beyond_reason_is_refused(tmp_path, monkeypatch):
    scan = saved(tmp_path / "scan.png", np.tile(COLOUR, (2, 1, 1)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(scan)
    assert read_header(scan) == Header(height=24, width=20, grey=False)
    assert (read_picture(scan, (3, 24, 20))[:, :12] == COLOUR.transpose(2, 0, 1)).all()
    assert Image.MAX_IMAGE_PIXELS == 100
    content = bytearray(scan.read_bytes())
    content[16:24] = struct.pack(">II", 40_000, 30_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(LatentbenchError, match=r"bomb\.png has 40000x30000 pixels, more than 1,073,741,824: cut it"):
        read_header(tmp_path / "bomb.png")


def test_what_needs_guessing_or_cannot_be_read_is_refused_by_name(tmp_path):
    deep = saved(tmp_path / "deep.png", RNG.integers(0, 4000, (12, 20), dtype=np.uint16))
    with pytest.raises(
        LatentbenchError, match=r"deep\.png has channels of 16 bits \(unsigned\), not of 8 .*save it with 8"
    ):
        read_picture(deep, (1, 12, 20))
    whole = saved(tmp_path / "whole.png", COLOUR).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(LatentbenchError, match=r"cut\.png is corrupt or cut short"):
        read_picture(tmp_path / "cut.png", (3, 12, 20))
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(LatentbenchError, match=r"text\.png is none of PNG, JPEG, BMP, TIFF, or is damaged"):
        read_picture(tmp_path / "text.png", (3, 12, 20))
    with pytest.raises(LatentbenchError, match=r"cannot read picture .*none\.png: No such file"):
        read_header(tmp_path / "none.png")
    with pytest.raises(LatentbenchError, match=r"cannot become an image of 2 channels"):
        read_picture(tmp_path / "whole.png", (2, 12, 20))


@pytest.mark.parametrize(
    ("name", "write", "pixels", "stored"),
    [
        ("grey.png", png, RNG.integers(0, 1024, (12, 20), dtype=np.uint16), r"16 bits \(unsigned\)"),
        ("alpha.png", png, np.full((12, 20, 2), (700, 65535), np.uint16), r"16 bits \(unsigned\)"),
        ("colour.png", png, RNG.integers(0, 1024, (12, 20, 3), dtype=np.uint16), r"16 bits \(unsigned\)"),
        ("colour.tif", tiff, RNG.integers(0, 1024, (12, 20, 3), dtype=np.uint16), r"16 bits \(unsigned\)"),
        ("signed.tif", tiff, RNG.integers(-128, 128, (12, 20), dtype=np.int8), r"8 bits \(signed\)"),
        ("float.tif", tiff, RNG.random((12, 20)).astype(np.float32), r"32 bits \(float\)"),
    ],
)  # fmt: skip
def test_deep_or_signed_channels_are_refused_whatever_mode_pillow_gives_them(tmp_path, name, write, pixels, stored):
    path = write(tmp_path / name, pixels, pixels.itemsize * 8)
    for channels in (1, 3):
        with pytest.raises(LatentbenchError, match=rf"{name} has channels of {stored}, not of 8 bits: save it with 8"):
            read_picture(path, (channels, 12, 20))


@pytest.mark.parametrize("write", [png, tiff])
def test_the_same_writers_files_of_8_bits_are_read_pixel_by_pixel(tmp_path, write):
    assert (read_picture(write(tmp_path / "c", COLOUR, 8), (3, 12, 20)) == COLOUR.transpose(2, 0, 1)).all()
    assert (read_picture(write(tmp_path / "g", GREY, 8), (1, 12, 20))[0] == GREY).all()


def test_pages_and_files_that_pillow_does_not_open_are_told_apart_from_damage(tmp_path):
    page = Image.fromarray(GREY)
    page.save(tmp_path / "pages.tif", save_all=True, append_images=[page])
    with pytest.raises(LatentbenchError, match=r"pages\.tif holds 2 images: save each in a file of its own"):
        read_picture(tmp_path / "pages.tif", (1, 12, 20))
    tiff(tmp_path / "double.tif", RNG.random((12, 20)), 64)
    with pytest.raises(
        LatentbenchError, match=r"double\.tif is a TIFF with 1 channels of 64 bits \(float\), which can"
    ):
        read_header(tmp_path / "double.tif")
