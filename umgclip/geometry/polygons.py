"""Polygons as lists `[x, y, x, y, ...]` in pixels: cut to what is near an image, and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

_MARGIN = 1.0  # sides of the image that are left around it: only what is farther away is cut
_Point = tuple[float, float]


def clipped(polygon: Sequence[float], width: int, height: int) -> list[float]:
    """Clip a polygon to the image and a margin of its size around it; empty if nothing is left.

    A polygon within the margin is not changed, so its pixels are those that COCO's own code gives. Sutherland
    and Hodgman (1974): the outline is cut at one border after the other.

    Args:
        polygon: finite coordinates.
        width: of the image, px.
        height: of the image, px.
    """
    margin = _MARGIN * max(width, height)
    limits = ((0, -margin, width + margin), (1, -margin, height + margin))
    if all(low <= n <= high for axis, low, high in limits for n in polygon[axis::2]):
        return list(polygon)
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    for axis, low, high in limits:
        points = _cut(points, axis, low, float.__ge__)
        points = _cut(points, axis, high, float.__le__)
    return [n for point in points for n in point] if len(points) > 2 else []


def _cut(points: list[_Point], axis: int, border: float, inside: Callable[[float, float], bool]) -> list[_Point]:
    """Return the part of an outline on one side of a border."""
    inside_points: list[_Point] = []
    for before, point in zip([*points[-1:], *points], points, strict=False):
        is_in, was_in = inside(float(point[axis]), border), inside(float(before[axis]), border)
        if is_in != was_in:
            share = (border - before[axis]) / (point[axis] - before[axis])
            other = before[1 - axis] + share * (point[1 - axis] - before[1 - axis])
            inside_points.append((border, other) if axis == 0 else (other, border))
        if is_in:
            inside_points.append(point)
    return inside_points


def outline_px(polygon: Sequence[float]) -> float:
    """Count the pixels that the outline passes: per edge the longer of its extents in x and y."""
    points = list(zip(polygon[::2], polygon[1::2], strict=True))
    return sum(max(abs(x1 - x0), abs(y1 - y0)) + 1 for (x0, y0), (x1, y1) in pairwise([*points, points[0]]))
