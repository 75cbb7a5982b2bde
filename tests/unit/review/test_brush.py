"""Brush strokes are read as Label Studio writes them, and a bad one is an error rather than a wrong mask."""

import numpy as np
import pytest

from umgclip.errors import InputError
from umgclip.review.tools.brush import decode_brush, encode_brush


@pytest.mark.parametrize("seed", range(6))
def test_any_mask_comes_back(seed):
    draw = np.random.default_rng(seed)
    mask = draw.random((int(draw.integers(1, 40)), int(draw.integers(1, 40)))) < draw.random()
    assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


def test_a_run_longer_than_the_longest_is_cut():
    mask = np.zeros((300, 200), bool)
    mask[:, 100:] = True
    mask[150:] = True  # 120,000 values in a row
    assert (decode_brush(encode_brush(mask), mask.shape) == mask).all()


def test_a_single_white_pixel_by_hand():
    # 4 values, words of 8 bits, sizes 3, 4, 8, 16; one run: repeats, size 0 (3 bits), length 4, value 255
    bits = f"{4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "1" + "00" + f"{3:03b}" + f"{255:08b}"
    data = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]
    assert encode_brush(np.ones((1, 1), bool)) == data
    assert decode_brush(data, (1, 1)).tolist() == [[True]]


def test_values_that_do_not_repeat_are_read_one_by_one():
    # the same header, and a run of four values of its own: red, green, blue, and an alpha of 1
    bits = f"{4:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "0" + "00" + f"{3:03b}"
    bits += "".join(f"{value:08b}" for value in (9, 8, 7, 1))
    data = [int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8)]
    assert decode_brush(data, (1, 1)).tolist() == [[True]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-3], "ends within a run"),
        (lambda data: data[:3], "expected bytes of a brush stroke"),
        (lambda data: [*data[:-1], 999], "expected bytes of a brush stroke"),
        (lambda data: [0, 0, 0, 8, *data[4:]], "expected 48 values .*4 x 3.*, got 8"),
        (lambda data: ["a"], "expected bytes"),
    ],
)
def test_a_bad_stroke_is_refused(change, message):
    mask = np.eye(3, 4, dtype=bool)
    with pytest.raises(InputError, match=message):
        decode_brush(change(encode_brush(mask)), mask.shape)


def test_mutated_strokes_are_masks_or_errors():
    mask = np.eye(9, 7, dtype=bool)
    data = encode_brush(mask)
    draw = np.random.default_rng(0)
    outcomes = {True: 0, False: 0}
    for _ in range(2000):
        mutated = list(data)
        for _ in range(int(draw.integers(1, 4))):
            mutated[int(draw.integers(len(mutated)))] = int(draw.integers(256))
        try:
            outcomes[decode_brush(mutated, mask.shape).shape == mask.shape] += 1
        except InputError:
            outcomes[False] += 1
    assert outcomes[True] > 0
    assert outcomes[False] > 0
