"""Random views: their size, their seed, and what they show."""

from collections.abc import Callable

import numpy as np
import pytest

from umgclip.base.views import cut_out, subject, whole

View = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
GREEN, RED = (60, 160, 60), (220, 40, 40)


def scene(height: int = 96, width: int = 96) -> np.ndarray:
    """A red square off the centre, on noisy green."""
    noise = np.random.default_rng(0).normal(0, 5, (height, width, 3))
    pixels = np.clip(np.array(GREEN) + noise, 0, 255).astype(np.uint8)
    pixels[10:34, 10:34] = RED
    return pixels


def alone(pixels: np.ndarray, image_px: int, rng: np.random.Generator) -> np.ndarray:
    """The view of what stands out, or of the whole where nothing does."""
    found = subject(pixels)
    return whole(pixels, image_px, rng) if found is None else cut_out(pixels, found, image_px, rng)


def red_share(pixels: np.ndarray) -> float:
    channels = pixels.astype(int)
    return float((channels[..., 0] > channels[..., 1] + 60).mean())


@pytest.mark.parametrize("view", [whole, alone])
@pytest.mark.parametrize("size", [(96, 96), (60, 150), (30, 30)])
@pytest.mark.parametrize("out", [24, 48])
def test_shape_and_type(view: View, size: tuple[int, int], out: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    result = view(pixels, out, np.random.default_rng(0))
    assert result.shape == (out, out, 3)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("view", [whole, alone])
def test_the_generator_decides_the_view(view: View) -> None:
    pixels = scene()
    before = pixels.copy()
    one, same, other = (view(pixels, 48, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.array_equal(pixels, before), "the image itself is not touched"


def test_whole_keeps_what_is_there() -> None:
    shares = [red_share(whole(scene(), 48, np.random.default_rng(seed))) for seed in range(10)]
    assert np.mean(shares) == pytest.approx(24 * 24 / 96**2, rel=0.5)


def test_cut_out_enlarges_the_object_and_flattens_the_ground() -> None:
    for seed in range(10):
        view = alone(scene(), 48, np.random.default_rng(seed))
        assert red_share(view) > 0.15  # of 0.06 in the image
        ground = view[view[..., 1] > view[..., 0] + 60].astype(float)
        assert np.median(np.abs(ground - np.median(ground, axis=0))) <= 1, "one colour"


def test_a_subject_is_the_object_its_box_and_the_colour_around_it() -> None:
    found = subject(scene())
    assert found is not None
    assert found.box_xyxy == pytest.approx((10, 10, 34, 34), abs=2)
    assert found.mask[20, 20]
    assert not found.mask[60, 60]
    assert np.abs(found.colour.astype(int) - GREEN).max() <= 5


def test_nothing_stands_out_of_a_flat_image() -> None:
    assert subject(np.full((64, 64, 3), 90, np.uint8)) is None


def test_mirroring_happens_about_half_of_the_time() -> None:
    left = [whole(scene(), 48, np.random.default_rng(seed)) for seed in range(40)]
    reds = [view[..., 0].astype(int) - view[..., 1] > 60 for view in left]
    on_left = sum(bool(red[:, :24].sum() > red[:, 24:].sum()) for red in reds)
    assert 10 <= on_left <= 30
