"""What happens to an image on its way to training: its size, a window inside it, its light."""

import cv2
import numpy as np
import pytest

from umgclip.data.canvas import random_window, relit, resampled
from umgclip.geometry.fit import resized


def test_a_window_lies_inside_and_keeps_the_aspect() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        x0, y0, x1, y1 = random_window(120, 60, 0.5, rng)
        assert 0 <= x0 < x1 <= 120
        assert 0 <= y0 < y1 <= 60
        assert x1 - x0 >= 60
        assert abs((x1 - x0) - 2 * (y1 - y0)) <= 1


def test_a_window_of_the_whole_is_the_whole() -> None:
    assert random_window(7, 3, 1.0, np.random.default_rng(0)) == (0, 0, 7, 3)


def test_light_is_left_alone_without_a_random_number() -> None:
    pixels, rng = np.full((2, 2, 3), 100, np.uint8), np.random.default_rng(0)
    assert relit(pixels, 0.0, rng) is pixels
    assert rng.random() == np.random.default_rng(0).random()


def test_light_changes_within_its_bounds() -> None:
    pixels, rng = np.full((2, 2, 3), 100, np.uint8), np.random.default_rng(0)
    seen = [int(relit(pixels, 0.25, rng)[0, 0, 0]) for _ in range(50)]
    assert len(set(seen)) > 10
    assert 55 <= min(seen) < max(seen) <= 145  # contrast by a quarter of 100, brightness by a quarter of 80


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (375, 500, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size_wh", [(224, 224), (96, 48), (640, 400), (1, 1), (500, 30)])
def test_a_resize_for_training_is_pillows_but_for_a_level_here_and_there(picture, size_wh, interpolation):
    ours, pillows = resampled(picture, size_wh, interpolation), resized(picture, size_wh, interpolation)
    assert ours.shape == pillows.shape
    assert ours.dtype == np.uint8
    apart = np.abs(ours.astype(int) - pillows.astype(int))
    assert apart.max() <= 1
    assert apart.mean() < 0.02


def test_parts_of_an_image_that_may_only_be_read_are_resized_too(picture):
    picture = picture.copy()
    picture.flags.writeable = False
    part = picture[10:200:1, 5:300]
    assert (
        np.abs(resampled(part, (64, 64)).astype(int) - resized(np.ascontiguousarray(part), (64, 64)).astype(int)).max()
        <= 1
    )
    mirrored = picture[:, ::-1]
    assert (resampled(mirrored, (500, 375)) == mirrored).all()
