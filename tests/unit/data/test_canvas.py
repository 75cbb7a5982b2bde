"""What happens at random to an image: windows lie inside it, and nothing is drawn for what is switched off."""

import numpy as np

from umgclip.data.canvas import random_window, relit


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
