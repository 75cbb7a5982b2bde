"""Refuse boxes that are too small, too large or too long."""

from __future__ import annotations

from umgclip.annotate.proposal import Box
from umgclip.params.roles import RulesParams


def size_fault(box_xyxy: Box, image_hw: tuple[int, int], params: RulesParams) -> str | None:
    """Return the reason to refuse a box, or None.

    Args:
        box_xyxy: half-open, in pixels.
        image_hw: height and width of its image in pixels.
        params: `area_px_min`, `area_share_min`, `area_share_max` and `aspect_max`.
    """
    width, height = box_xyxy[2] - box_xyxy[0], box_xyxy[3] - box_xyxy[1]
    area, share = width * height, width * height / (image_hw[0] * image_hw[1])
    if area < params.area_px_min or share < params.area_share_min:
        return "too_small"
    if share > params.area_share_max:
        return "too_large"
    if params.aspect_max is not None and max(width, height) > params.aspect_max * min(width, height):
        return "too_long"
    return None
