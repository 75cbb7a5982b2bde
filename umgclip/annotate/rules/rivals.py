"""Contradictions between the words of one detector: a thing with two names, and ground that is two kinds of stuff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from umgclip.annotate.proposal import Proposal
from umgclip.annotate.rejected import Rejected
from umgclip.geometry import masks as mask_ops
from umgclip.records import Mask


def best_names(things: Sequence[Proposal], iou: float, most: int) -> tuple[list[Proposal], list[Rejected]]:
    """Return the best things by descending score, without those that a better one with another name covers.

    Args:
        things: with a mask and one tag each.
        iou: IoU of two masks above which they are the same thing.
        most: the largest number of things.

    Returns:
        The things, and the others as `rival`. What comes after `most` things is in neither.
    """
    remaining: list[Proposal] = []
    masks: list[Mask] = []
    refused: list[Rejected] = []
    for thing in sorted(things, key=lambda p: -p.score):
        if len(remaining) == most:
            break
        mask = thing.encoded()
        assert mask is not None  # noqa: S101 - for the type checker: things come with masks
        named = [row for row, other in enumerate(remaining) if other.tags[0].text != thing.tags[0].text]
        overlaps = mask_ops.encoded_iou(mask, [masks[row] for row in named])
        if len(named) and overlaps.max() > iou:
            rival = remaining[named[int(overlaps.argmax())]]
            refused.append(_refused(thing, "rival", f"{rival.tags[0].text} with a score of {rival.score:.3f}"))
        else:
            remaining.append(thing)
            masks.append(mask)
    return remaining, refused


def apart(stuff: Sequence[Proposal], least: float) -> tuple[list[Proposal], list[Rejected]]:
    """Give each pixel of overlapping stuff to the best word, in descending score.

    Args:
        stuff: with a mask and one tag each.
        least: share of a region that no better one may cover; with less of it left, the region is refused.

    Returns:
        The regions, whose masks are apart, and the others as `stuff_overlap`.
    """
    remaining: list[Proposal] = []
    refused: list[Rejected] = []
    taken: np.ndarray | None = None
    for region in sorted(stuff, key=lambda p: -p.score):
        mask = region.mask
        free = mask if taken is None else mask & ~taken
        share = int(np.count_nonzero(free)) / max(1, int(np.count_nonzero(mask)))
        if share == 0 or share < least:
            refused.append(_refused(region, "stuff_overlap", f"{1 - share:.3f} of it is better stuff"))
            continue
        remaining.append(region if share == 1 else region.drawn(free, region.mask_source or ""))
        taken = free if taken is None else taken | free
    return remaining, refused


def _refused(region: Proposal, reason: str, detail: str) -> Rejected:
    return Rejected(
        "proposer", reason, region.tags[0], box_xyxy=region.box_xyxy, score=region.score, source=region.source,
        detail=detail,
    )  # fmt: skip
