"""The scale of the boxes in answers: declared by `box_unit`, checked, never guessed."""

from __future__ import annotations

from dataclasses import dataclass

from umgclip.annotate.models.vlm.answers import BoxesAnswer, NoAnswerError
from umgclip.annotate.proposal import Box
from umgclip.params.vlm import BoxUnit

_SLACK = 0.01  # of a side: models point slightly past the edge
_ASKED = {
    "pixel": "pixels",
    "thousandth": "thousandths of the image's width and height",
    "share": "shares of the image's width and height, from 0 to 1",
}


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
        return (1000.0, 1000.0) if self.unit == "thousandth" else (1.0, 1.0)

    def check(self, answer: BoxesAnswer) -> None:
        """Refuse an answer whose boxes cannot have this scale.

        Raises:
            NoAnswerError: a box reaches out of the image, or all boxes lie within its first thousandth or pixel, as
                shares of 1 do; the whole answer then has another scale.
        """
        width, height = self.sides
        for one in answer.objects:
            x0, y0, x1, y1 = one.box
            if min(x0 / width, y0 / height) < -_SLACK or max(x1 / width, y1 / height) > 1 + _SLACK:
                raise self._fault(f"boxes within {width:g} x {height:g}", one.box)
        if answer.objects and self.unit != "share" and max(max(one.box) for one in answer.objects) <= 1:
            raise self._fault(f"boxes of more than one {self.unit}", answer.objects[0].box)

    def _fault(self, expected: str, box: Box) -> NoAnswerError:
        return NoAnswerError("box_scale", f"box_unit {self.unit}: expected {expected}, got {list(box)}")

    def to_pixels(self, box: Box, image_wh: tuple[int, int]) -> Box:
        """Convert a box of an answer to pixels of the stored image."""
        per_x, per_y = image_wh[0] / self.sides[0], image_wh[1] / self.sides[1]
        return box[0] * per_x, box[1] * per_y, box[2] * per_x, box[3] * per_y
