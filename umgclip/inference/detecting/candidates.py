"""Regions that may be things: from a proposer by name, from a function of the user's, or given as boxes or masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, UInt8

from umgclip.errors import InputError
from umgclip.inference.arguments import box_shares, masks_inside
from umgclip.inference.request_values import short

Pixels = UInt8[np.ndarray, "_ _ 3"]
Masks = list[Bool[np.ndarray, "height width"]]
if TYPE_CHECKING:
    Proposer = str | Callable[[np.ndarray], Any]
else:  # what came is checked below, with its own messages
    Proposer = Any
BUILT_IN = "segment_tree"


@dataclass(frozen=True, eq=False)
class Candidates:
    """Regions of one image before they have a name.

    Attributes:
        boxes_xyxy: their boxes in pixels, inside the image.
        masks: their pixels; None where only boxes are known.
        scores: confidence of a proposer of the user's that each is one thing, 0 to 1; else 1.
    """

    boxes_xyxy: Float[np.ndarray, "n 4"]
    masks: Masks | None
    scores: Float[np.ndarray, " n"]


def given_boxes(value: Any, size_wh: tuple[int, int], where: str) -> Candidates:  # noqa: ANN401 - checked here
    """Return boxes as candidates, cut at the border of the image.

    Args:
        value: one row `x0, y0, x1, y1` per box, in pixels.
        size_wh: of the image.
        where: name of the argument, for errors.

    Raises:
        InputError: the shape is wrong, or a box is empty or outside the image; names the box.
    """
    shares = box_shares(value, size_wh, where).numpy().astype(np.float64)
    return Candidates(shares * np.array([*size_wh, *size_wh]), None, np.ones(len(shares)))


def given_masks(value: Any, size_wh: tuple[int, int], where: str) -> Candidates:  # noqa: ANN401 - checked here
    """Return masks as candidates, with the tightest box of each.

    Args:
        value: one array of bool per region, of the image's height and width.
        size_wh: of the image.
        where: name of the argument, for errors.

    Raises:
        InputError: a mask is empty or has another size than the image; names the mask.
    """
    masks = masks_inside(value, (size_wh[1], size_wh[0]), where)
    return Candidates(_boxes_of(masks), masks, np.ones(len(masks)))


def check_proposer(proposer: Proposer) -> None:
    """Check that something proposes: a known name, or a function.

    Raises:
        InputError: it does neither, or the package is missing that it needs.
    """
    if callable(proposer):
        return
    if proposer != BUILT_IN:
        raise InputError(
            f"proposer: expected {BUILT_IN!r}, or a function that takes an array (height, width, 3) and returns boxes "
            f"or masks, got {short(proposer)}"
        )
    _mask_tree()


def propose(proposer: Proposer, pixels: Pixels) -> Candidates:
    """Return the candidates of a proposer in one image.

    A function gets the upright RGB pixels. It returns boxes (n, 4) or masks (n, height, width), or an object with
    `xyxy` and, if known, `mask` and `confidence`, such as `supervision.Detections`.

    Args:
        proposer: a name or a function, as `check_proposer` takes it.
        pixels: the image.

    Raises:
        InputError: what the function returns is neither boxes nor masks; names the first that is wrong.
    """
    size_wh = pixels.shape[1], pixels.shape[0]
    if not callable(proposer):
        # its objectness is left out: in the measurement of docs/detect.md it made the ranking worse
        masks = [one.mask for one in _mask_tree().masks(pixels) if not one.is_stuff]
        return Candidates(_boxes_of(masks), masks, np.ones(len(masks)))
    answer = proposer(pixels)
    if isinstance(answer, Candidates):
        return answer
    if not hasattr(answer, "xyxy"):
        read = given_masks if _are_masks(answer) else given_boxes
        return read(answer, size_wh, "proposer")
    mask = getattr(answer, "mask", None)
    read, value = (given_boxes, answer.xyxy) if mask is None else (given_masks, np.asarray(mask))
    candidates = read(value, size_wh, "proposer")
    confidence = getattr(answer, "confidence", None)
    if confidence is None:
        return candidates
    return Candidates(candidates.boxes_xyxy, candidates.masks, _scores(confidence, len(candidates.scores)))


def _scores(confidence: Any, count: int) -> Float[np.ndarray, " n"]:  # noqa: ANN401 - from a user's function
    scores = np.asarray(confidence, np.float64)
    if scores.shape != (count,) or not ((scores >= 0) & (scores <= 1)).all():
        raise InputError(
            f"proposer: expected a confidence from 0 to 1 for each of {count} regions, got {short(scores)}"
        )
    return scores


def _are_masks(answer: Any) -> bool:  # noqa: ANN401 - from a user's function
    if hasattr(answer, "ndim"):
        return answer.ndim == 3
    first = answer[0] if isinstance(answer, Sequence) and not isinstance(answer, str) and len(answer) else None
    return getattr(first, "ndim", 1) == 2


def _boxes_of(masks: Masks) -> Float[np.ndarray, "n 4"]:
    boxes = np.zeros((len(masks), 4))
    for row, mask in enumerate(masks):
        ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        boxes[row] = xs[0], ys[0], xs[-1] + 1, ys[-1] + 1
    return boxes


@cache
def _mask_tree() -> Any:  # noqa: ANN401 - a class that is imported here
    from umgclip.params import ProposerParams

    try:
        from umgclip.proposals.mask_tree import MaskTree
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("cv2"):
            raise
        raise InputError(
            f"proposer: {BUILT_IN} needs OpenCV, which is not installed; give boxes_xyxy, masks or a proposer of your "
            "own, or run: pip install opencv-contrib-python-headless"
        ) from error
    return MaskTree(ProposerParams())
