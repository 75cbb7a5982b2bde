"""The scale of the places in answers: declared by `box_unit`, checked, never guessed."""

from __future__ import annotations

from dataclasses import dataclass

from umgclip.annotate.models.vlm.answers import NoAnswerError
from umgclip.annotate.models.vlm.boxes import BoxesAnswer, GroundedObject
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit

_SLACK = 0.01  # of a side: models point slightly past the edge
_ASKED = {
    "pixel": "pixels",
    "thousandth": "thousandths of the image's width and height",
    "share": "shares of the image's width and height, from 0 to 1",
    "percent": "percent of the image's width and height",
}
_SIDES = {"thousandth": 1000.0, "share": 1.0, "percent": 100.0}


@dataclass(frozen=True)
class Scale:
    """The meaning of coordinates: their unit, and the picture that was sent.

    Attributes:
        unit: of coordinates.
        sent_wh: width and height of the picture in pixels.
        image_wh: width and height of the image in it; None: it fills the picture.
        at_xy: the image's upper left corner in the picture.
    """

    unit: BoxUnit
    sent_wh: tuple[int, int]
    image_wh: tuple[int, int] | None = None
    at_xy: tuple[int, int] = (0, 0)

    @property
    def request(self) -> str:
        """The sentence of the prompt that asks for this scale."""
        return f" Boxes are x0, y0, x1, y1 in {_ASKED[self.unit]}."

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height of the picture in this unit."""
        if self.unit == "pixel":
            return float(self.sent_wh[0]), float(self.sent_wh[1])
        return _SIDES[self.unit], _SIDES[self.unit]

    def check(self, answer: BoxesAnswer) -> None:
        """Refuse an answer whose places cannot have this scale.

        Raises:
            NoAnswerError: one lies out of the image, or all lie within its first thousandth, percent or pixel, as
                shares of 1 do; the whole answer then has another scale.
        """
        width, height = self.sides
        for one in answer.objects:
            x0, y0, x1, y1 = one.box
            if min(x0 / width, y0 / height) < -_SLACK or max(x1 / width, y1 / height) > 1 + _SLACK:
                raise self._fault(f"within {width:g} x {height:g}", one)
        if answer.objects and self.unit != "share" and max(max(one.box) for one in answer.objects) <= 1:
            raise self._fault(f"of more than one {self.unit}", answer.objects[0])

    def _fault(self, expected: str, one: GroundedObject) -> NoAnswerError:
        what, got = ("points", one.box[:2]) if one.is_point else ("boxes", one.box)
        return NoAnswerError("box_scale", f"box_unit {self.unit}: expected {what} {expected}, got {list(got)}")

    def to_pixels(self, box: Box, image_wh: tuple[int, int]) -> Box:
        """Convert a box of an answer to pixels of the stored image."""
        x0, x1 = (self._stored(side, 0, image_wh) for side in box[::2])
        y0, y1 = (self._stored(side, 1, image_wh) for side in box[1::2])
        return x0, y0, x1, y1

    def from_pixels(self, box: Box, image_wh: tuple[int, int]) -> Box:
        """Convert a box in pixels of the stored image to this unit."""
        x0, x1 = (self._written(side, 0, image_wh) for side in box[::2])
        y0, y1 = (self._written(side, 1, image_wh) for side in box[1::2])
        return x0, y0, x1, y1

    def _stored(self, side: float, axis: int, image_wh: tuple[int, int]) -> float:
        in_picture = side / self.sides[axis] * self.sent_wh[axis] - self.at_xy[axis]
        return in_picture * image_wh[axis] / (self.image_wh or self.sent_wh)[axis]

    def _written(self, side: float, axis: int, image_wh: tuple[int, int]) -> float:
        in_picture = side * (self.image_wh or self.sent_wh)[axis] / image_wh[axis] + self.at_xy[axis]
        return in_picture / self.sent_wh[axis] * self.sides[axis]
