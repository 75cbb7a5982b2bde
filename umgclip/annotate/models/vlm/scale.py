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
    """The meaning of coordinates: their unit, and width and height in pixels of the image that was sent."""

    unit: BoxUnit
    sent_wh: tuple[int, int]

    @property
    def request(self) -> str:
        """The sentence of the prompt that asks for this scale."""
        return f" Boxes are x0, y0, x1, y1 in {_ASKED[self.unit]}."

    @property
    def sides(self) -> tuple[float, float]:
        """Width and height of the image in this unit."""
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
        per_x, per_y = image_wh[0] / self.sides[0], image_wh[1] / self.sides[1]
        return box[0] * per_x, box[1] * per_y, box[2] * per_x, box[3] * per_y

    def from_pixels(self, box: Box, image_wh: tuple[int, int]) -> Box:
        """Convert a box in pixels of the stored image to this unit."""
        per_x, per_y = self.sides[0] / image_wh[0], self.sides[1] / image_wh[1]
        return box[0] * per_x, box[1] * per_y, box[2] * per_x, box[3] * per_y
