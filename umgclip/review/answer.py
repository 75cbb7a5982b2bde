"""A person's answer about one image, whatever tool it was given in."""

from __future__ import annotations

from dataclasses import dataclass

from umgclip.data.corrections import HumanLook
from umgclip.records import Mask

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class AnsweredRegion:
    """A region as it came back.

    Attributes:
        box_xyxy: half-open, in pixels of the image.
        label: its name; None: it has none.
        mask: its pixels; None: the tool has a box alone.
        captions: descriptions; None: the tool did not ask for any.
        shown_id: id of the region that it was when it was shown; None: the tool does not tell.
    """

    box_xyxy: Box
    label: str | None
    mask: Mask | None = None
    captions: tuple[str, ...] | None = None
    shown_id: str | None = None


@dataclass(frozen=True)
class ImageAnswer:
    """The answer that a person submitted about one image; a list that is None was not asked for.

    Attributes:
        key: of the sample.
        sha256: of the image file, where the tool kept it.
        look: who looked, when, in which tool.
        regions: all regions of the image.
        tags: all names of things in the image.
        captions: all descriptions of the image but alt texts.
        sure: whether it is known that the person looked at the image; if not, it counts only if it differs from what
            was shown.
    """

    key: str
    look: HumanLook
    sha256: str | None = None
    regions: tuple[AnsweredRegion, ...] | None = None
    tags: tuple[str, ...] | None = None
    captions: tuple[str, ...] | None = None
    sure: bool = True


@dataclass(frozen=True)
class Unusable:
    """Something in the file of a tool that cannot be used: where it is, a word to count by, and what was wrong."""

    key: str | None
    reason: str
    detail: str


def text_or_none(value: object) -> str | None:
    """Return a value of a tool's file as text; None stays None."""
    return None if value is None else str(value)
