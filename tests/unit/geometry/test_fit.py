"""Where an image comes to lie on a model's canvas."""

import numpy as np
import pytest

from umgclip.geometry.fit import covered_cells, on_canvas, resized


@pytest.mark.parametrize(
    ("size_wh", "expected"),
    [
        ((224, 224), (14, 14)),
        ((640, 480), (10, 14)),  # 480 / 640 of 14 rows is 10.5, to even
        ((480, 640), (14, 10)),
        ((2000, 10), (1, 14)),  # a hair of an image still has a row
        ((7, 7), (14, 14)),
    ],
)
def test_sides_in_proportion_are_whole_cells(size_wh: tuple[int, int], expected: tuple[int, int]) -> None:
    assert covered_cells(size_wh, (14, 14), (16, 16), "pad") == expected
    assert covered_cells(size_wh, (14, 14), (16, 16), "squash") == (14, 14)


def test_a_canvas_that_is_no_square() -> None:
    assert covered_cells((100, 100), (4, 8), (16, 16), "pad") == (4, 4)


def test_the_image_lies_at_the_top_left_and_the_rest_is_black() -> None:
    pixels = np.full((20, 30, 3), 200, np.uint8)
    canvas = on_canvas(resized(pixels, (48, 32)), (64, 64))
    assert canvas.shape == (64, 64, 3)
    assert (canvas[:32, :48] == 200).all()
    assert canvas[32:].max() == canvas[:, 48:].max() == 0


def test_an_image_that_fits_is_not_touched() -> None:
    pixels = np.zeros((8, 9, 3), np.uint8)
    assert on_canvas(resized(pixels, (9, 8)), (9, 8)) is pixels
