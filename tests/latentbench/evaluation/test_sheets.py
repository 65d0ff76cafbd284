"""Contact sheets: tiles stand where they should, pixel for pixel, and files stay small and equal."""

import io

import numpy as np
import pytest
from PIL import Image

from latentbench.evaluation import sheets
from latentbench.evaluation.sheets import MAX_BYTES, Row, Sheet, heat, png


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def blocks(array: np.ndarray, level: int) -> np.ndarray:
    """Where the pixels of one gray level are: first and last row and column."""
    rows, columns = np.nonzero(array == level)
    return np.array([rows.min(), rows.max(), columns.min(), columns.max()])


def test_tiles_stand_in_rows_and_columns_enlarged_by_a_whole_factor():
    levels = np.array([[60, 90, 120], [70, 100, 130]])
    rows = [Row("", [np.full((8, 16), level / 255) for level in row]) for row in levels]
    drawn = pixels(png(Sheet("", rows)))
    assert drawn.ndim == 2  # gray
    places = np.array([[blocks(drawn, level) for level in row] for row in levels])
    assert (places[..., 1] - places[..., 0] + 1 == 48).all()  # 8 * 96 / 16
    assert (places[..., 3] - places[..., 2] + 1 == 96).all()
    assert (places[0, :, :2] == places[0, 0, :2]).all()
    assert (places[:, 0, 2:] == places[0, 0, 2:]).all()
    assert (np.diff(places[0, :, 2]) > 96).all()
    assert (np.diff(places[:, 0, 0]) > 48).all()


def test_pixels_are_shown_as_they_are():
    tile = np.random.default_rng(0).integers(1, 255, (32, 32)) / 255
    drawn = pixels(png(Sheet("", [Row("", [tile])])))
    top, left = 24, 8  # margins, and the line of the title
    np.testing.assert_array_equal(drawn[top : top + 96 : 3, left : left + 96 : 3], np.rint(tile * 255))


def test_large_images_are_reduced_by_their_mean():
    tile = np.kron([[0.2, 0.8], [0.6, 0.4]], np.ones((96, 96)))
    tile[::2] += 0.1
    tile[1::2] -= 0.1
    drawn = pixels(png(Sheet("", [Row("", [tile])])))[24:120, 8:104]
    expected = np.kron([[0.2, 0.8], [0.6, 0.4]], np.ones((48, 48))) * 255
    np.testing.assert_allclose(drawn, expected, atol=1)


def test_colour_makes_a_colour_sheet_and_an_empty_place_stays_empty():
    red = np.zeros((4, 4, 3))
    red[..., 0] = 1
    drawn = pixels(png(Sheet("", [Row("", [red, None, np.full((4, 4), 0.5)])])))
    assert drawn.shape[2] == 3
    assert (drawn[30, 10] == (255, 0, 0)).all()
    assert (drawn[24:120, 108:200] == 255).all()
    assert (drawn[30, 220] == 128).all()


def test_labels_stand_before_rows_and_above_columns_and_never_on_a_tile():
    tiles = [np.full((8, 8), 0.5)] * 2
    plain, labelled = (
        pixels(png(Sheet("", [Row(row, tiles)], columns))) for row, columns in (("", ()), ("a row", ("one", "two")))
    )
    assert labelled.shape[1] > plain.shape[1]
    assert labelled.shape[0] > plain.shape[0]
    assert (labelled < 100).any()
    before, after = (drawn[-(99 + 8) :, -(2 * 99 + 8) :] for drawn in (plain, labelled))
    np.testing.assert_array_equal(before, after)


def test_a_file_that_is_too_large_is_drawn_smaller():
    noise = np.random.default_rng(0).random((8, 8, 64, 64, 3))
    content = png(Sheet("noise", [Row("", list(row)) for row in noise]))
    assert len(content) <= MAX_BYTES
    assert pixels(content).shape[0] < 8 * 64


@pytest.mark.parametrize("side", sheets._SIDES)
def test_the_same_tiles_give_the_same_bytes(side):
    sheet = Sheet("title", [Row("row", [np.random.default_rng(0).random((side, side, 3))])])
    assert png(sheet) == png(sheet)


def test_heat_goes_from_dark_to_bright_and_is_cut_at_both_ends():
    values = np.linspace(-1, 3, 41).reshape(1, -1)
    brightness = heat(values, 0, 2).mean(2)[0]
    assert (np.diff(brightness) >= 0).all()
    assert (np.diff(brightness[10:31]) > 0).all()
    assert brightness[:10].max() == brightness[10] < 0.01
    assert brightness[31:].min() == brightness[30] > 0.8
    np.testing.assert_array_equal(heat(values, 1, 1), heat(np.zeros((1, 41)), 0, 2))


def test_a_sheet_of_nothing_has_its_title_alone():
    assert pixels(png(Sheet("nothing", []))).ndim == 2
