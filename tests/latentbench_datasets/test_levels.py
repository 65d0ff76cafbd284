"""Deep images are scaled from the range that stands for black and white, or refused; right values are exact fractions.

The files are written byte by byte from the formats' specifications (``tests/fixtures/image_files.py``).
"""

import runpy
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from latentbench import EIGHT_BITS, LatentbenchError, ValueRange
from latentbench_datasets.images import declared_range, is_grey, read_centre, read_image, read_mask
from latentbench_datasets.levels import significant, to_eight_bits

FILES = runpy.run_path(str(Path(__file__).parents[1] / "fixtures" / "image_files.py"))
png, tiff = FILES["png"], FILES["tiff"]
SIZE = 12
DRAW = np.random.default_rng(1)
GREY = DRAW.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
OPTION = ValueRange(0, 1023)


def exact(values: npt.NDArray[Any], black: float, white: float) -> npt.NDArray[np.int64]:
    """255 (v - black) / (white - black), rounded half up, in exact arithmetic."""
    low, high = Fraction(black), Fraction(white)
    scaled = [int((Fraction(value) - low) * 255 / (high - low) + Fraction(1, 2)) for value in values.ravel().tolist()]
    return np.array(scaled).reshape(values.shape)


def drawn(least: int, greatest: int, dtype: str) -> npt.NDArray[Any]:
    """Numbers from ``least`` to ``greatest``, both of which occur."""
    values = DRAW.integers(least, greatest + 1, (SIZE, SIZE)).astype(dtype)
    values[0, :2] = least, greatest
    return values


def refusal(path: Path, value_range: ValueRange | None = None) -> str:
    with pytest.raises(LatentbenchError) as caught:
        read_image(path, 1, SIZE, value_range)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


UNSIGNED_32 = (2**31 + 5, 2**32 - 1)
#: What a file holds, how it is written, and the range that the user names.
NAMED: dict[str, tuple[npt.NDArray[Any], Callable[..., Path], int, tuple[float, float]]] = {
    "8 in 16 bits": (drawn(0, 255, "u2"), png, 16, (0, 255)),
    "10 in 16 bits": (drawn(0, 1023, "u2"), png, 16, (0, 1023)),
    "12 in 16 bits": (drawn(0, 4095, "u2"), png, 16, (0, 4095)),
    "16 bits": (drawn(0, 65535, "u2"), png, 16, (0, 65535)),
    "a part of 16 bits": (drawn(64, 940, "u2"), png, 16, (64, 940)),
    "10 in 16 bits, TIFF": (drawn(0, 1023, "u2"), tiff, 16, (0, 1023)),
    "signed 16 bits": (drawn(-1024, 3071, "i2"), tiff, 16, (-1024, 3071)),
    "32 bits": (drawn(*UNSIGNED_32, "u4"), tiff, 32, UNSIGNED_32),
    "signed 32 bits": (drawn(-(2**31), 2**31 - 1, "i4"), tiff, 32, (-(2**31), 2**31 - 1)),
    "floats": (DRAW.random((SIZE, SIZE)).astype("f4"), tiff, 32, (0, 1)),
    "floats below zero": ((DRAW.random((SIZE, SIZE)) - 0.5).astype("f4"), tiff, 32, (-0.5, 0.5)),
    "8 bits that use less": (drawn(16, 235, "u1"), png, 8, (16, 235)),
    "8 bits, TIFF": (drawn(0, 100, "u1"), tiff, 8, (0, 100)),
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_named_range_is_scaled_exactly(tmp_path: Path, name: str, order: str) -> None:
    values, write, bits, named = NAMED[name]
    options = {"order": order} if write is tiff else {}
    path = write(tmp_path / "a.img", values, bits, **options)
    if order == ">" and name == "32 bits":  # Pillow does not open it
        told = refusal(path, ValueRange(*named))
        assert "is a TIFF with 1 channels of 32 bits (unsigned), which cannot be read: save it" in told
        return
    assert is_grey(path)
    np.testing.assert_array_equal(read_image(path, 1, SIZE, ValueRange(*named))[0], exact(values, *named))
    np.testing.assert_array_equal(read_image(path, 3, SIZE, ValueRange(*named)), [exact(values, *named)] * 3)


@pytest.mark.parametrize("name", [name for name in NAMED if not name.startswith("8 bits")])
def test_without_a_range_more_than_eight_bits_are_refused_even_if_all_are_used(tmp_path: Path, name: str) -> None:
    values, write, bits, _ = NAMED[name]
    path = write(tmp_path / "a.img", values, bits)
    assert declared_range(path) is None
    message = refusal(path)
    assert "does not declare its range: name the values that stand for black and white, with value_range=" in message
    with pytest.raises(LatentbenchError, match="does not declare its range: save it with 8 bits"):
        read_centre(path, SIZE, SIZE)


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiffs_are_scaled_alike(tmp_path: Path, compression: str | None) -> None:
    values = drawn(0, 1023, "u2")
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", 1, SIZE, OPTION)[0], exact(values, 0, 1023))


def test_colour_of_eight_bits_is_scaled_in_each_channel(tmp_path: Path) -> None:
    colour = DRAW.integers(16, 236, (SIZE, SIZE, 3), dtype=np.uint8)
    path = png(tmp_path / "a.png", colour, 8)
    expected = exact(colour, 16, 235).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_image(path, 3, SIZE, ValueRange(16, 235)), expected)


@given(st.integers(8, 16), st.data())
def test_eight_bits_come_back_from_any_depth_that_they_were_scaled_to(bits: int, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, 255))
    deep = int(Fraction(level * (2**bits - 1), 255) + Fraction(1, 2))
    assert to_eight_bits(np.array([float(deep)]), ValueRange(0, 2**bits - 1)).tolist() == [level]


@pytest.mark.parametrize(
    ("values", "value_range", "told"),
    [
        (drawn(0, 1500, "u2"), OPTION, "has values from 0 to 1500, beyond its range [0, 1023]"),
        (drawn(3, 900, "u2"), ValueRange(10, 1023), "has values from 3 to 900, beyond its range [10, 1023]"),
        (drawn(0, 200, "u1"), OPTION, "of 8 bits (unsigned) cannot hold the range [0, 1023]"),
        (drawn(0, 200, "u2"), ValueRange(-1, 200), "of 16 bits (unsigned) cannot hold the range [-1, 200]"),
        (drawn(0, 200, "i2"), ValueRange(0, 65535), "of 16 bits (signed) cannot hold the range [0, 65535]"),
        (np.full((SIZE, SIZE), np.nan, "f4"), ValueRange(0, 1), "has values from nan to nan"),
        (np.full((SIZE, SIZE), np.inf, "f4"), ValueRange(0, 1), "has values from inf to inf"),
    ],
)
def test_numbers_beyond_the_range_are_refused_and_so_is_a_range_beyond_the_numbers(
    tmp_path: Path, values: npt.NDArray[Any], value_range: ValueRange, told: str
) -> None:
    assert told in refusal(tiff(tmp_path / "a.tif", values, values.itemsize * 8), value_range)


# What a file declares itself


@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_the_bits_of_a_sample_are_its_range(tmp_path: Path, bits: int) -> None:
    values = drawn(0, 2**bits - 1, "u2")
    path = tiff(tmp_path / "a.tif", values, bits)
    if bits != 12:  # Pillow opens no other
        assert f"is a TIFF with 1 channels of {bits} bits (unsigned), which cannot be read" in refusal(path)
        return
    assert declared_range(path) == (0, 4095)
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], exact(values, 0, 4095))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("write", [png, tiff])
def test_eight_bits_and_fewer_have_all_of_their_range(tmp_path: Path, bits: int, write: Callable[..., Path]) -> None:
    values = drawn(0, 2**bits - 1, "u1")
    path = write(tmp_path / "a.img", values, bits)
    assert declared_range(path) == EIGHT_BITS
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], exact(values, 0, 2**bits - 1))


#: How numbers of fewer bits may stand in 16, as the PNG specification (W3C, third edition, 12.4) has it or not.
WRITERS: dict[str, Callable[[int, int], int]] = {
    "scaled linearly": lambda number, bits: (2 * number * 65535 + 2**bits - 1) // (2 * (2**bits - 1)),
    "followed by zeros": lambda number, bits: number << (16 - bits),
    "followed by themselves": lambda number, bits: int(f"{number:0{bits}b}" * 16, 2) >> (16 * bits - 16),
    "left as they are": lambda number, bits: number,
}


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 15, 16])
@pytest.mark.parametrize("writer", WRITERS)
def test_significant_bits_of_a_png_are_its_range_however_it_was_written(tmp_path: Path, writer: str, bits: int) -> None:
    values = drawn(0, 2**bits - 1, "u2")
    stored = np.vectorize(lambda number: WRITERS[writer](int(number), bits))(values).astype("u2")
    path = png(tmp_path / "a.png", stored, 16, chunks={"tEXt": b"Comment\0sBIT\x05", "sBIT": bytes([bits])})
    assert declared_range(path) == (0, 2**bits - 1)
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], exact(values, 0, 2**bits - 1))


def test_significant_bits_that_can_be_read_in_two_ways_or_in_none_are_refused(tmp_path: Path) -> None:
    sbit = {"sBIT": bytes([12])}
    dark = png(tmp_path / "dark.png", GREY.astype("u2") << 4, 16, chunks=sbit)  # 8 of 12 bits plain, or dark and scaled
    assert "12 significant bits, but its numbers can be read in both ways, scaled to 16 bits and not: name" in refusal(
        dark
    )
    expected = exact(GREY.astype("u2") << 4, 0, 4095)
    np.testing.assert_array_equal(read_image(dark, 1, SIZE, ValueRange(0, 4095))[0], expected)
    other = png(tmp_path / "other.png", drawn(0, 60001, "u2") | 1, 16, chunks=sbit)
    assert "12 significant bits, but its numbers cannot be read in either way, scaled to 16 bits or not" in refusal(
        other
    )
    black = png(tmp_path / "black.png", np.zeros((SIZE, SIZE), "u2"), 16, chunks=sbit)
    assert not read_image(black, 1, SIZE).any()


@given(st.integers(1, 16), st.lists(st.integers(0, 65535), min_size=1, max_size=20))
def test_significant_bits_are_the_numbers_themselves_or_their_high_bits_or_refused(
    bits: int, numbers: list[int]
) -> None:
    values = np.array(numbers, np.float64)
    try:
        found = significant(values, bits)
    except ValueError:
        return
    plain, high = np.array_equal(found, values), np.array_equal(found, np.array(numbers) >> (16 - bits))
    assert plain or high
    assert found.max() < 2**bits


def test_least_and_greatest_sample_values_of_a_tiff_are_its_range(tmp_path: Path) -> None:
    values = drawn(3, 900, "u2")
    path = tiff(tmp_path / "a.tif", values, 16, tags={340: ("H", 0), 341: ("H", 1023)})
    assert declared_range(path) == (0, 1023)
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], exact(values, 0, 1023))
    floats = DRAW.random((SIZE, SIZE)).astype("f4")
    path = tiff(tmp_path / "f.tif", floats, 32, tags={340: ("f", -1.0), 341: ("f", 1.0)})
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], exact(floats, -1, 1))
    assert declared_range(tiff(tmp_path / "b.tif", values, 16, tags={340: ("H", 9), 341: ("H", 9)})) is None
    # Extremes of the picture, which "are not to affect its appearance" (TIFF 6.0, page 36).
    assert declared_range(tiff(tmp_path / "c.tif", values, 16, tags={280: ("H", 3), 281: ("H", 900)})) is None


# What Pillow would read as something else


def test_deep_colour_is_refused_and_not_cut_to_its_high_bytes(tmp_path: Path) -> None:
    colour = np.full((SIZE, SIZE, 3), (1000, 2000, 300), np.uint16)
    for path in (png(tmp_path / "a.png", colour, 16), tiff(tmp_path / "a.tif", colour, 16)):
        for read in (lambda path=path: read_image(path, 3, SIZE, ValueRange(0, 4095)), lambda path=path: is_grey(path)):
            with pytest.raises(LatentbenchError, match=r"a\.\w+ has channels of 16 bits .* save it with 8 bits"):
                read()
        with pytest.raises(LatentbenchError, match="has channels of 16 bits"):
            read_mask(path, (SIZE, SIZE), SIZE)
    with_alpha = np.dstack([drawn(0, 1023, "u2"), np.full((SIZE, SIZE), 65535, "u2")])
    assert "has channels of 16 bits" in refusal(png(tmp_path / "b.png", with_alpha, 16))


@pytest.mark.parametrize(
    ("pixels", "stored"),
    [
        (DRAW.random((SIZE, SIZE)).astype("f2"), "1 channels of 16 bits (float)"),
        (DRAW.random((SIZE, SIZE)), "1 channels of 64 bits (float)"),
        (DRAW.random((SIZE, SIZE, 3)).astype("f4"), "3 channels of 32 bits (float)"),
        (np.full((SIZE, SIZE, 3), 7, "u4"), "3 channels of 32 bits (unsigned)"),
    ],
)  # fmt: skip
def test_a_whole_file_that_cannot_be_read_is_not_called_damaged(
    tmp_path: Path, pixels: npt.NDArray[Any], stored: str
) -> None:
    path = tiff(tmp_path / "a.tif", pixels, pixels.itemsize * 8)
    assert f"is a TIFF with {stored}, which cannot be read: save it as integers" in refusal(path)
    path.write_bytes(path.read_bytes()[:100])  # within the tags
    assert "corrupt or cut short" in refusal(path)


def test_several_images_in_a_file_are_refused_and_a_preview_is_none(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.roll(GREY, place, 1)) for place in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    assert "pages.tif holds 3 images: save each in a file of its own" in refusal(tmp_path / "pages.tif")
    chunk = {"acTL": (2).to_bytes(4, "big") + bytes(4)}
    assert "a.png holds 2 images" in refusal(png(tmp_path / "a.png", GREY, 8, chunks=chunk))
    preview = pages[0].resize((4, 4))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(tmp_path / "preview.tif", save_all=True, append_images=[preview])
    np.testing.assert_array_equal(read_image(tmp_path / "preview.tif", 1, SIZE)[0], GREY)


def test_signed_bytes_and_inverted_deep_images_are_refused(tmp_path: Path) -> None:
    assert "channels of 8 bits (signed)" in refusal(tiff(tmp_path / "a.tif", drawn(-128, 127, "i1"), 8))
    inverted = {262: ("H", 0)}
    for values, bits in ((drawn(0, 1023, "u2"), 16), (DRAW.random((SIZE, SIZE)).astype("f4"), 32)):
        assert "stores white as 0" in refusal(tiff(tmp_path / "b.tif", values, bits, tags=inverted), OPTION)
    path = tiff(tmp_path / "c.tif", GREY, 8, tags=inverted)
    np.testing.assert_array_equal(read_image(path, 1, SIZE)[0], 255 - GREY, "which Pillow inverts")


def test_a_transparent_level_of_a_deep_image_is_refused_where_it_occurs(tmp_path: Path) -> None:
    values = drawn(10, 1023, "u2")
    there, elsewhere = ({"tRNS": int(level).to_bytes(2, "big")} for level in (values[3, 4], 5))
    assert "transparent" in refusal(png(tmp_path / "a.png", values, 16, chunks=there), OPTION)
    path = png(tmp_path / "b.png", values, 16, chunks=elsewhere)
    np.testing.assert_array_equal(read_image(path, 1, SIZE, OPTION)[0], exact(values, 0, 1023))


def test_another_format_under_a_known_suffix_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"P5 2 2 65535\n" + np.array([1000, 2000, 300, 0], ">u2").tobytes())
    assert "not an image of a known format" in refusal(tmp_path / "a.png", OPTION)
