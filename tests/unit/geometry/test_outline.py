"""Outlines against the masks that they stand for: drawn again they cover the same pixels."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from umgclip.geometry.outline import svg_path


def filled(path: str, grid_wh: tuple[int, int]) -> np.ndarray:
    """A path as a browser fills it, by the rule `evenodd`."""
    assert re.fullmatch(r"(M\d+ \d+(L\d+ \d+)*Z)*", path)
    points = [np.array([[int(v) for v in p.split()] for p in part[:-1].split("L")]) for part in path.split("M")[1:]]
    canvas = np.zeros(grid_wh[::-1], np.uint8)
    cv2.fillPoly(canvas, points, 1)  # fillPoly's rule is the even-odd one
    return canvas.astype(bool)


def ellipse(height: int, width: int, hole: bool) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    distance = ((x - width / 2) / (width / 3)) ** 2 + ((y - height / 2) / (height / 3)) ** 2
    return (distance < 1) & ((distance > 0.2) | (not hole))


@pytest.mark.parametrize("size_hw", [(60, 80), (600, 1200)], ids=["enlarged", "made smaller"])
@pytest.mark.parametrize("hole", [False, True])
def test_an_outline_covers_what_the_mask_covers(size_hw, hole):
    mask, grid = ellipse(*size_hw, hole), (512, 512 * size_hw[0] // size_hw[1])
    truth = cv2.resize(mask.astype(np.uint8), grid, interpolation=cv2.INTER_NEAREST).astype(bool)
    drawn = filled(svg_path(mask, grid), grid)
    assert (drawn & truth).sum() / (drawn | truth).sum() > 0.96


def test_thin_masks_do_not_vanish():
    mask = np.zeros((9000, 12_000), bool)
    mask[4000, 6000] = True
    assert svg_path(mask, (512, 384))


def test_an_empty_mask_has_no_outline():
    assert svg_path(np.zeros((6, 8), bool), (512, 384)) == ""


def test_noise_stays_small():
    noise = np.random.default_rng(0).random((1000, 1000)) < 0.5
    assert len(svg_path(noise, (512, 512))) < 100_000
