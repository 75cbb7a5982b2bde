"""labelme: a JSON file beside each image, with polygons, rectangles, circles and masks of objects in pixels.

Source: https://github.com/wkentaro/labelme, `labelme/_label_file.py`.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from umgclip.data.wording import tidy
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_text import parse
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.records import Text
from umgclip.sources.formats.shared.annotation_files import Form, chosen_subset, plan_labelled, read_labelled
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden
from umgclip.sources.values import size_px


def _image_of(data: bytes) -> str | None:
    value = parse(decode(data))
    path = value.get("imagePath") if isinstance(value, dict) and "shapes" in value else None
    return path if isinstance(path, str) else None


FORM = Form(
    "labelme's JSON", "json", (("images", "annotations"), ("images", "labels"), ("images", "json")), image_of=_image_of
)
Groups = dict[tuple[str, str], RawRegion]  # by label and group
Points = list[tuple[float, float]]
_CORNERS = 64  # of the polygon that stands for a circle
_MOST_PIXELS = 1 << 28


def plan_labelme(request: Request, plan: ImportPlan, source: Place, _working: Path) -> None:
    """Find the JSON file of each image.

    Raises:
        DataError: there is none.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    plan_labelled(plan, source, FORM, chosen_subset(request, {}, source))
    plan.state("other_files", plan.other_files((*FORMAT_OF, "json")))


def read_labelme(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; one without JSON has no statement about regions."""
    yield from read_labelled(plan, source, span, limit, partial(_note, request=request))


def _note(data: bytes, _name: str, request: Request) -> Note:
    """Parse a labelme file into a note.

    Raises:
        ValueError: the file is not labelme's.
    """
    value = parse(decode(data, request.encoding))
    shapes = value.get("shapes") if isinstance(value, dict) else None
    if not isinstance(shapes, list):
        raise ValueError("expected labelme's object with shapes")
    note = Note(tags=[], regions=[])
    size = value.get("imageWidth"), value.get("imageHeight")
    note.size_wh, wrong = size_px(*size)
    if wrong is not None:
        note.problems.append(Problem("bad_size", wrong))
    groups: Groups = {}
    for number, shape in enumerate(shapes):
        problem = _shape(note, f"given-{number}", shape, groups, request)
        if problem is not None:
            note.problems.append(problem)
    flags = [name for name, flag in (value.get("flags") or {}).items() if flag is True]
    note.unknown.update(f"flag {name}" for name in flags)
    return note


def _shape(note: Note, name: str, shape: Any, groups: Groups, request: Request) -> Problem | None:  # noqa: ANN401
    """Add an object; polygons with the same label and group are one object. Return the problem if it is unusable."""
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not tidy(shape["label"]):
        return Problem("no_class", f"label: expected the name of a class, got {str(shape)[:80]}", name)
    label, group = tidy(shape["label"].replace("_", " ")), shape.get("group_id")
    points = _points(shape.get("points"))
    if points is None:
        got = str(shape.get("points"))[:80]
        return Problem("bad_mask", f"{label}: points: expected pairs of numbers, got {got}", name)
    region = RawRegion(name, tags=[Text(text=label, source=request.speaker.others)])
    kind = shape.get("shape_type") or "polygon"
    if not _place(region, kind, points, shape.get("mask"), note.size_wh):
        what = f"expected an area inside the image, got {kind} of {len(points)} points"
        return Problem("bad_region", f"{label}: shape_type: {what}", name)
    if group is not None and kind == "polygon":
        first = groups.setdefault((label, str(group)), region)
        if first is not region:
            first.shape += region.shape
            return None
    note.region(region)
    return None


def _place(region: RawRegion, kind: str, points: Points, mask: Any, size_wh: tuple[int, int] | None) -> bool:  # noqa: ANN401
    """Set a region's box or shape; return False if the shape has no area or its kind is unknown."""
    if kind == "polygon" and len(points) >= 3:
        region.shape = [[n for point in points for n in point]]
    elif kind == "rectangle" and len(points) in (2, 4):
        xs, ys = [x for x, _ in points], [y for _, y in points]
        region.box = [min(xs), min(ys), max(xs), max(ys)]
    elif kind == "circle" and len(points) == 2:
        region.shape = [_circle(*points)]
    elif kind == "mask" and len(points) == 2 and size_wh is not None:
        region.shape = _mask(mask, points[0], size_wh)
    return region.shape is not None or region.box is not None


def _points(value: Any) -> Points | None:  # noqa: ANN401 - what JSON held
    if not isinstance(value, list):
        return None
    points = []
    for point in value:
        fits = isinstance(point, list) and len(point) == 2
        if not fits or any(
            isinstance(n, bool) or not isinstance(n, int | float) or abs(n) > _MOST_PIXELS for n in point
        ):
            return None
        points.append((float(point[0]), float(point[1])))
    return points


def _is_number(value: Any) -> bool:  # noqa: ANN401 - what JSON held
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST_PIXELS


def _circle(centre: tuple[float, float], edge: tuple[float, float]) -> list[float]:
    radius = math.dist(centre, edge)
    turns = [2 * math.pi * step / _CORNERS for step in range(_CORNERS)]
    return [n for turn in turns for n in (centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn))]


def _mask(value: Any, corner: tuple[float, float], size_wh: tuple[int, int]) -> np.ndarray | None:  # noqa: ANN401
    """Paste a mask, which the file stores as a crop, into a mask of the whole image."""
    try:
        with Image.open(BytesIO(base64.b64decode(value)), formats=("PNG",)) as image:
            piece = np.asarray(image.convert("L")) > 0
    except (OSError, ValueError, TypeError, binascii.Error, SyntaxError, Image.DecompressionBombError):
        return None
    x, y = int(corner[0]), int(corner[1])
    if x < 0 or y < 0 or x + piece.shape[1] > size_wh[0] or y + piece.shape[0] > size_wh[1]:
        return None
    if size_wh[0] * size_wh[1] > _MOST_PIXELS:
        return None
    whole = np.zeros((size_wh[1], size_wh[0]), dtype=bool)
    whole[y : y + piece.shape[0], x : x + piece.shape[1]] = piece
    return whole
