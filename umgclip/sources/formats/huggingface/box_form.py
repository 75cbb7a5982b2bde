"""The order of the four numbers of a box: as a name states it, else COCO's; never against what the numbers allow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from umgclip.errors import InputError
from umgclip.sources.note import BoxForm
from umgclip.sources.values import number

FORMS: tuple[BoxForm, ...] = get_args(BoxForm)
IN_WORDS = {
    "xyxy": "two corners (Pascal VOC)",
    "xywh": "corner and size (COCO)",
    "cxcywh": "centre and size (YOLO)",
}
_SLACK_PX, _SLACK = 2.0, 0.02  # how far boxes leave their image in good data sets: px, share of a side
_FEW, _MANY = 0.02, 0.5  # shares of boxes that do not fit
_SHARES = 1.02


class SizedBox(NamedTuple):
    """Four numbers of a box, and the width and height of its image in px."""

    numbers: tuple[float, float, float, float]
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class ReadAs:
    """The reading of boxes: the order of their numbers, and whether these are shares of the image's sides."""

    form: BoxForm
    shares: bool


def stated_form(name: str) -> BoxForm | None:
    """Return the order that the name of a field states, as `bbox_xyxy`; None: it states none."""
    return next((form for form in ("cxcywh", "xyxy", "xywh") if name.lower().rstrip("n").endswith(form)), None)


def four_numbers(box: object) -> tuple[float, float, float, float] | None:
    """Return a box as four numbers; None if it is none."""
    if not isinstance(box, list | tuple) or len(box) != 4:
        return None
    read = [number(each) for each in box]
    numbers = [each for each in read if each is not None]
    return (numbers[0], numbers[1], numbers[2], numbers[3]) if len(numbers) == 4 else None


def are_shares(boxes: Sequence[SizedBox]) -> bool:
    """Return whether boxes are in shares of their images: no number is above 1, and not all are whole."""
    flat = [each for box in boxes for each in box.numbers]
    return bool(flat) and max(map(abs, flat)) <= _SHARES and any(each != int(each) for each in flat)


def choose_form(sample: Iterable[SizedBox], declared: BoxForm | None, where: str) -> ReadAs:
    """Choose how boxes are read, by a sample of them.

    Without a declaration they are COCO's, corner and size. If that, or what was declared, does not fit the images, and
    another order does, the import stops. Shares of the image have no usual order, so they need a declaration.

    Raises:
        InputError: they do not fit; names the order that does.
    """
    boxes = list(sample)
    shares = are_shares(boxes)
    if shares and declared is None:
        fitting = ", ".join(form for form in FORMS if _misfits(boxes, form, shares=True) <= _FEW) or "none"
        raise InputError(
            f"{where}: the numbers are shares of the image, which have no usual order; --box-format names it "
            f"(these fit: {fitting})"
        )
    form: BoxForm = declared or "xywh"
    wrong = _misfits(boxes, form, shares=shares)
    others = {other: _misfits(boxes, other, shares=shares) for other in FORMS if other != form}
    better = [other for other, misfits in others.items() if wrong > _FEW and misfits <= wrong / 4]
    if better or wrong > _MANY:
        best = min(better, key=lambda other: others[other], default=None)
        advice = f"; as {IN_WORDS[best]} they fit: --box-format {best}" if best else "; no other order fits, either"
        raise InputError(
            f"{where}: read as {IN_WORDS[form]}, {100 * wrong:.0f} % of the first {len(boxes)} boxes are empty or "
            f"leave their image, such as {list(boxes[_first(boxes, form, shares=shares)].numbers)}{advice}"
        )
    return ReadAs(form, shares)


def _misfits(boxes: Sequence[SizedBox], form: BoxForm, *, shares: bool) -> float:
    """Return the share of boxes that are empty or leave their image."""
    return sum(not _fits(box, form, shares=shares) for box in boxes) / max(len(boxes), 1)


def _first(boxes: Sequence[SizedBox], form: BoxForm, *, shares: bool) -> int:
    return next(n for n, box in enumerate(boxes) if not _fits(box, form, shares=shares))


def _fits(box: SizedBox, form: BoxForm, *, shares: bool) -> bool:
    x0, y0, x1, y1 = box.numbers
    if form == "xywh":
        x1, y1 = x0 + x1, y0 + y1
    elif form == "cxcywh":
        x0, y0, x1, y1 = x0 - x1 / 2, y0 - y1 / 2, x0 + x1 / 2, y0 + y1 / 2
    if not (x0 < x1 and y0 < y1):
        return False
    sides = (1, 1) if shares else box.size_wh
    for start, end, side in ((x0, x1, sides[0]), (y0, y1, sides[1])):
        slack = _SLACK if shares else max(_SLACK_PX, _SLACK * side)
        if start < -slack or end > side + slack:
            return False
    return True
