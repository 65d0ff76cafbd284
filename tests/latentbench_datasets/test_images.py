"""Image files are read as what they show, resized by known filters, or refused by name and reason."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from latentbench import LatentbenchError
from latentbench_datasets.images import image_size, is_grey, mask_levels, read_centre, read_image, read_mask

DRAW = np.random.default_rng(0)
GREY = DRAW.integers(0, 256, (12, 12), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (12, 12, 3), dtype=np.uint8)


def saved(path: Path, array: npt.NDArray[Any] | Image.Image, **options: Any) -> Path:
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(path, **options)
    return path


def message_of(path: Path, channels: int = 3) -> str:
    with pytest.raises(LatentbenchError) as caught:
        read_image(path, channels, 12)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def with_alpha(colour: npt.NDArray[np.uint8], alpha: int) -> npt.NDArray[np.uint8]:
    return np.dstack([colour, np.full(colour.shape[:2], alpha, np.uint8)])


def palette() -> tuple[Image.Image, npt.NDArray[np.uint8]]:
    """A palette image of four colours, and what it shows."""
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]], np.uint8)
    index = (np.arange(144).reshape(12, 12) % 4).astype(np.uint8)
    image = Image.fromarray(index).convert("P")
    image.putpalette(colours.tobytes())
    image.putdata(index.ravel().tolist())
    return image, colours[index]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif"])
def test_a_grey_image_of_the_right_size_keeps_every_pixel(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, GREY)
    assert is_grey(path)
    assert image_size(path) == (12, 12)
    np.testing.assert_array_equal(read_image(path, 1, 12), GREY[None])
    np.testing.assert_array_equal(read_image(path, 3, 12), np.stack([GREY] * 3))


def test_a_colour_image_has_its_channels_first(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", COLOUR)
    assert not is_grey(path)
    np.testing.assert_array_equal(read_image(path, 3, 12), COLOUR.transpose(2, 0, 1))


def test_a_jpeg_is_near_what_it_was_made_of(tmp_path: Path) -> None:
    smooth = np.tile(np.arange(0, 240, 20, dtype=np.uint8), (12, 1))
    path = saved(tmp_path / "a.JPG", smooth, quality=95)
    assert is_grey(path)
    assert np.abs(read_image(path, 1, 12)[0].astype(int) - smooth).max() <= 4


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GREY > 128))
    assert is_grey(path)
    np.testing.assert_array_equal(read_image(path, 1, 12)[0], (GREY > 128) * 255)


def test_a_palette_gives_its_colours(tmp_path: Path) -> None:
    image, shown = palette()
    path = saved(tmp_path / "a.png", image)
    assert Image.open(path).mode == "P"
    assert not is_grey(path)
    np.testing.assert_array_equal(read_image(path, 3, 12), shown.transpose(2, 0, 1))


def test_an_alpha_channel_that_hides_nothing_is_dropped(tmp_path: Path) -> None:
    colour = saved(tmp_path / "colour.png", with_alpha(COLOUR, 255))
    np.testing.assert_array_equal(read_image(colour, 3, 12), COLOUR.transpose(2, 0, 1))
    grey = saved(tmp_path / "grey.png", np.dstack([GREY, np.full_like(GREY, 255)]))
    assert is_grey(grey)
    np.testing.assert_array_equal(read_image(grey, 1, 12)[0], GREY)


def test_an_image_that_is_transparent_in_places_is_refused(tmp_path: Path) -> None:
    one_pixel = with_alpha(COLOUR, 255)
    one_pixel[3, 4, 3] = 254
    assert "transparent" in message_of(saved(tmp_path / "a.png", one_pixel))
    assert "transparent" in message_of(saved(tmp_path / "b.png", palette()[0], transparency=1))


def test_kinds_of_pixels_that_need_a_choice_are_refused(tmp_path: Path) -> None:
    assert "mode CMYK" in message_of(saved(tmp_path / "a.jpg", Image.fromarray(COLOUR).convert("CMYK")))
    with pytest.raises(LatentbenchError, match=r"a\.jpg is of Pillow's mode CMYK"):
        is_grey(tmp_path / "a.jpg")


def oriented(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "packed.tif"])
def test_an_orientation_that_is_not_applied_is_refused(tmp_path: Path, name: str, orientation: int) -> None:
    packed = {"compression": "tiff_lzw"} if name == "packed.tif" else {}  # which Pillow decodes by another way
    path = saved(tmp_path / name, GREY, exif=oriented(orientation), **packed)
    assert bytes([0x12, 0x01]) in path.read_bytes() or bytes([0x01, 0x12]) in path.read_bytes()
    assert "EXIF orientation" in message_of(path)
    for read in (mask_levels, lambda file: read_mask(file, (12, 12), 12, 100), lambda file: read_centre(file, 6, 6)):
        with pytest.raises(LatentbenchError, match="EXIF orientation: turn its pixels and save it"):
            read(path)


@pytest.mark.parametrize("orientation", [0, 1, 9])
@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_an_orientation_that_says_nothing_turns_nothing(tmp_path: Path, suffix: str, orientation: int) -> None:
    turned = saved(tmp_path / f"a.{suffix}", COLOUR, exif=oriented(orientation))
    plain = saved(tmp_path / f"b.{suffix}", COLOUR)
    np.testing.assert_array_equal(read_image(turned, 3, 12), read_image(plain, 3, 12))


def test_an_image_above_the_limit_of_pillow_is_read_and_the_limit_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.png", GREY)
    expected = read_image(path, 1, 12), read_mask(path, GREY.shape, 12, 100)[0], read_centre(path, 6, 6)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(path)
    found = read_image(path, 1, 12), read_mask(path, GREY.shape, 12, 100)[0], read_centre(path, 6, 6)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_line_scan_of_225_megapixels_has_its_size_and_one_beyond_reason_is_refused_by_it(tmp_path: Path) -> None:
    scan = saved(tmp_path / "scan.png", Image.new("1", (2048, 110_000)), compress_level=1)
    assert image_size(scan) == (110_000, 2048)
    content = bytearray(scan.read_bytes())
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(
        LatentbenchError, match=r"bomb.png has 100000x100000 pixels, more than 1,073,741,824: cut it in"
    ):
        image_size(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.9])
def test_an_empty_or_truncated_file_is_refused(tmp_path: Path, suffix: str, kept: float) -> None:
    path = saved(tmp_path / f"a.{suffix}", DRAW.integers(0, 256, (64, 64), dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    message = message_of(path)
    assert ("is empty (0 bytes)" if kept == 0 else "is corrupt or cut short") in message


def test_a_flipped_bit_in_a_png_is_refused_wherever_it_is(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", GREY)
    content = path.read_bytes()
    end = content.index(b"IEND") - 4  # of the last, empty chunk nothing but the name counts
    for place in range(end):
        broken = bytearray(content)
        broken[place] ^= 4
        path.write_bytes(broken)
        with pytest.raises(LatentbenchError, match=r"a\.png"):
            read_image(path, 1, 12)


def test_a_file_that_is_no_image_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>404</html>")
    assert "it is not an image" in message_of(tmp_path / "a.png")
    assert "No such file" in message_of(tmp_path / "b.png")
    with pytest.raises(LatentbenchError, match=r"b\.png: No such file"):
        is_grey(tmp_path / "b.png")


def triangle(size: int, out: int) -> npt.NDArray[np.float64]:
    """(out, size): weights of an antialiased bilinear filter, whose support grows with the factor of reduction."""
    scale = size / out
    centres = (np.arange(out) + 0.5) * scale
    distances = np.abs(np.arange(size) + 0.5 - centres[:, None]) / max(scale, 1)
    weights = np.clip(1 - distances, 0, None)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize(("shape", "size"), [((24, 24), 12), ((50, 31), 12), ((7, 9), 12)])
def test_resizing_is_an_antialiased_bilinear_filter(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    image = DRAW.integers(0, 256, shape, dtype=np.uint8)
    expected = triangle(shape[0], size) @ image @ triangle(shape[1], size).T
    found = read_image(saved(tmp_path / "a.png", image), 1, size)[0]
    assert np.abs(found - expected).max() < 1.1, "two roundings to whole levels"


@pytest.mark.parametrize(("shape", "size"), [((24, 24), 12), ((50, 31), 12), ((7, 9), 12), ((12, 12), 12)])
def test_a_mask_takes_the_pixel_under_each_centre(tmp_path: Path, shape: tuple[int, int], size: int) -> None:
    marked = DRAW.random(shape) < 0.4
    mask, has_any = read_mask(saved(tmp_path / "m.png", marked.astype(np.uint8) * 255), shape, size)
    rows, columns = (((np.arange(size) + 0.5) * side / size).astype(int) for side in shape)
    np.testing.assert_array_equal(mask, marked[rows][:, columns])
    assert mask.dtype == np.uint8
    assert has_any


def test_a_masks_anomalous_pixels_are_those_that_are_not_black(tmp_path: Path) -> None:
    marked = GREY > 128
    stored: dict[str, npt.NDArray[Any] | Image.Image] = {
        "grey": marked.astype(np.uint8) * 255,
        "small values": marked.astype(np.uint8),
        "16 bits": marked.astype(np.uint16),
        "one bit": Image.fromarray(marked),
        "colour": np.dstack([np.zeros_like(GREY), marked.astype(np.uint8) * 255, np.zeros_like(GREY)]),
        "opaque": with_alpha(np.dstack([marked.astype(np.uint8)] * 3), 255),
        "all marked": np.full_like(GREY, 255),
        "none marked": np.zeros_like(GREY),
    }
    for name, image in stored.items():
        expected = {"all marked": np.ones_like(GREY), "none marked": np.zeros_like(GREY)}.get(name, marked)
        mask, has_any = read_mask(saved(tmp_path / f"{name}.png", image), (12, 12), 12)
        np.testing.assert_array_equal(mask, expected, err_msg=name)
        assert has_any == expected.any()
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "group4", "packbits"):
        image = Image.fromarray(marked if compression == "group4" else marked.astype(np.uint8))
        mask, _ = read_mask(saved(tmp_path / "m.tif", image, compression=compression), (12, 12), 12)
        np.testing.assert_array_equal(mask, marked, err_msg=compression)


def disc(size: int) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.asarray(y**2 + x**2 < (size / 4) ** 2)


def test_a_mask_that_was_compressed_with_losses_is_refused_whatever_its_suffix_says(tmp_path: Path) -> None:
    white = disc(64).astype(np.uint8) * 255
    files: dict[str, tuple[str, dict[str, Any], str]] = {
        "a.png": ("JPEG", {"quality": 75}, "is a JPEG"),
        "b.tif": ("TIFF", {"compression": "jpeg", "quality": 75}, "is a TIFF with jpeg compression"),
        "c.tif": ("JPEG", {"quality": 100}, "is a JPEG"),
    }
    for name, (container, options, told) in files.items():
        path = saved(tmp_path / name, white, format=container, **options)
        with pytest.raises(LatentbenchError) as caught:
            read_mask(path, (64, 64), 64)
        assert str(caught.value) == (
            f"mask {path} {told}, after which black is not exact: save masks as PNG with two levels, or say what is "
            "anomalous with mask_threshold=T, all levels above T"
        )
        residue = np.asarray(Image.open(path))
        mask, has_any = read_mask(path, (64, 64), 64, threshold=127)
        np.testing.assert_array_equal(mask, residue > 127)
        assert has_any
        if name != "c.tif":
            assert (residue > 0).sum() > 1.1 * disc(64).sum(), "what reading all that is not black would have marked"
        assert (mask != disc(64)).sum() <= 8


def test_a_mask_of_many_levels_is_refused_with_their_number_unless_a_threshold_is_named(tmp_path: Path) -> None:
    white = Image.fromarray(disc(64).astype(np.uint8) * 255)
    smooth = np.asarray(white.resize((96, 96), Image.Resampling.BICUBIC))
    white.save(tmp_path / "a.jpg")
    residue = np.asarray(Image.open(tmp_path / "a.jpg"))
    kinds = disc(64).astype(np.uint8) * np.repeat(np.array([1, 2], np.uint8), 32)
    depth = disc(64) * np.linspace(0.1, 1, 64, dtype=np.float32)
    grey = np.where(disc(64), 255, 1).astype(np.uint8)
    colours = np.dstack([kinds, kinds * 0, 3 - kinds]) * disc(64)[..., None].astype(np.uint8)
    for name, array, levels in [
        ("smooth.png", smooth, len(set(smooth.ravel().tolist()))),
        ("residue.png", residue, len(set(residue.ravel().tolist()))),
        ("kinds.png", kinds, 3),
        ("colours.png", colours, 3),
        ("no black.png", grey, 2),
        ("depth.tif", depth, len(set(depth.ravel().tolist()))),
    ]:
        path, shape = saved(tmp_path / name, array), array.shape[:2]
        with pytest.raises(LatentbenchError) as caught:
            read_mask(path, shape, shape[0])
        assert f"mask {path} has {levels} levels, not black and one other" in str(caught.value)
        assert "mask_threshold=T" in str(caught.value)
        assert mask_levels(path) == levels
        for threshold in (0, 1, 127.5):
            mask, has_any = read_mask(path, shape, shape[0], threshold)
            expected = np.array([[np.max(pixel) > threshold for pixel in row] for row in array])
            np.testing.assert_array_equal(mask, expected, err_msg=name)
            assert has_any == expected.any()


def test_a_palette_mask_goes_by_its_colours_not_by_their_numbers(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [1, 0]], np.uint8)).convert("P")
    image.putpalette([255, 255, 255, 0, 0, 0])  # number 0 is white
    image.putdata([0, 1, 1, 0])
    mask, _ = read_mask(saved(tmp_path / "m.png", image), (2, 2), 2)
    assert mask.tolist() == [[1, 0], [0, 1]]


def test_a_mask_that_is_lost_by_resizing_is_told_from_a_black_one(tmp_path: Path) -> None:
    lone = np.zeros((64, 64), np.uint8)
    lone[0, 0] = 255
    mask, has_any = read_mask(saved(tmp_path / "lone.png", lone), (64, 64), 8)
    assert not mask.any()
    assert has_any
    _, has_any = read_mask(saved(tmp_path / "black.png", np.zeros((64, 64), np.uint8)), (64, 64), 8)
    assert not has_any


def test_a_mask_of_another_size_or_with_inexact_zeros_is_refused(tmp_path: Path) -> None:
    mask = saved(tmp_path / "m.png", np.zeros((10, 20), np.uint8))
    with pytest.raises(LatentbenchError, match=r"m\.png has 20x10 pixels: its image has 10x20"):
        read_mask(mask, (20, 10), 12)
    with pytest.raises(LatentbenchError, match=r"m\.jpg is a JPEG"):
        read_mask(saved(tmp_path / "m.jpg", GREY), (12, 12), 12)


def test_image_and_mask_stay_aligned_when_both_are_resized(tmp_path: Path) -> None:
    """A bright blob on black and its mask: the resized image at half brightness gives the mask but for its border."""
    y, x = np.mgrid[:333, :241]
    blob = ((y - 100) / 60) ** 2 + ((x - 150) / 30) ** 2 < 1
    image = read_image(saved(tmp_path / "a.png", blob.astype(np.uint8) * 255), 1, 64)[0]
    mask, _ = read_mask(saved(tmp_path / "m.png", blob.astype(np.uint8) * 255), blob.shape, 64)
    differing = (image > 127) != (mask == 1)
    assert differing.sum() <= 4
    for array in (image > 127, mask == 1):
        rows, columns = np.nonzero(array)
        assert abs(rows.mean() + 0.5 - 100.5 * 64 / 333) < 0.25
        assert abs(columns.mean() + 0.5 - 150.5 * 64 / 241) < 0.25
