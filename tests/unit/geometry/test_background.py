"""What differs from the border of an image."""

import numpy as np
import pytest

from umgclip.geometry.background import background_distance, main_object, smooth_lab

GREEN, BLUE, RED = (60, 160, 60), (60, 60, 200), (220, 40, 40)


def canvas(height: int = 80, width: int = 100) -> np.ndarray:
    """Green above, blue below, a little noise."""
    pixels = np.empty((height, width, 3), np.float64)
    pixels[: height // 2], pixels[height // 2 :] = GREEN, BLUE
    noise = np.random.default_rng(0).normal(0, 4, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def truth(y: slice, x: slice) -> np.ndarray:
    mask = np.zeros((80, 100), bool)
    mask[y, x] = True
    return mask


def test_both_colours_of_the_border_are_near_and_an_object_is_far() -> None:
    pixels = canvas()
    pixels[30:55, 40:70] = RED
    distance = background_distance(smooth_lab(pixels))
    inside = truth(slice(33, 52), slice(43, 67))
    outside = ~truth(slice(25, 60), slice(35, 75))
    outside[36:44] = False  # the horizon is a mixture of both
    assert distance.shape == (80, 100)
    assert np.quantile(distance[outside], 0.95) < 3.0
    assert distance[inside].min() > 10.0


def test_the_main_object_is_the_largest_piece() -> None:
    pixels = canvas()
    pixels[20:60, 30:70] = RED
    pixels[66:74, 86:94] = RED
    assert iou(main_object(pixels), truth(slice(20, 60), slice(30, 70))) > 0.8  # smoothing adds a rim of a pixel


def test_holes_are_filled() -> None:
    pixels = canvas()
    hole = pixels[36:46, 45:55].copy()
    pixels[20:60, 30:70] = RED
    pixels[36:46, 45:55] = hole
    assert main_object(pixels)[36:46, 45:55].all()


def test_a_tighter_distance_takes_more() -> None:
    pixels = canvas()
    assert main_object(pixels, distance=1.0).sum() > main_object(pixels, distance=50.0).sum()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_flat_image_has_no_object(value: int) -> None:
    mask = main_object(np.full((48, 64, 3), value, np.uint8))
    assert mask.shape == (48, 64)
    assert not mask.any()


def test_the_result_is_the_same_each_time() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    first = background_distance(smooth_lab(pixels))
    assert np.array_equal(first, background_distance(smooth_lab(pixels)))


def test_smoothing_keeps_flat_colours() -> None:
    lab = smooth_lab(np.full((10, 10, 3), 255, np.uint8))
    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab, np.broadcast_to([255.0, 128.0, 128.0], (10, 10, 3)), atol=1e-3)
