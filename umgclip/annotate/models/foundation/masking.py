"""Masks for the boxes of things, which is the same task for every model that draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from umgclip.annotate.models.foundation.batching import run_batches
from umgclip.annotate.proposal import Pixels, Proposal
from umgclip.annotate.rejected import Failure
from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops

Draw = Callable[[Sequence[tuple[Pixels, list[Proposal]]]], Sequence["list[Proposal] | Failure"]]


def refine_things(
    images: Sequence[Pixels], proposals: Sequence[list[Proposal]], batch: int, draw: Draw
) -> list[list[Proposal] | Failure]:
    """Return the proposals of each image in their order, things as they were drawn and stuff as it was.

    Args:
        images: of any size.
        proposals: of each image.
        batch: images that are drawn at once; images without things are not drawn.
        draw: returns the things of each image of a batch with their masks.
    """
    results: list[list[Proposal] | Failure] = [list(of_image) for of_image in proposals]
    asked = [(row, [p for p in of_image if not p.is_stuff]) for row, of_image in enumerate(proposals)]
    asked = [(row, things) for row, things in asked if things]
    answers = run_batches([(images[row], things) for row, things in asked], batch, draw)
    for (row, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Failure):
            results[row] = answer
        else:
            things = iter(answer)
            results[row] = [p if p.is_stuff else next(things) for p in proposals[row]]
    return results


def with_mask(proposal: Proposal, mask: Bool[np.ndarray, "h w"], source: str, min_box_iou: float) -> Proposal:
    """Return the region with a mask whose box has at least this IoU with its own, or else as it was."""
    if not mask.any():
        return proposal
    drawn = np.array([mask_ops.box_of(mask)])
    overlap = float(box_ops.iou(drawn, np.array([proposal.box_xyxy]))[0, 0])
    return proposal.drawn(mask, source) if overlap >= min_box_iou else proposal


def with_mask_at_point(proposal: Proposal, mask: Bool[np.ndarray, "h w"], source: str) -> Proposal:
    """Return the region with a mask that holds the point at which a model pointed, or else as it was."""
    x, y = proposal.point_xy or (-1.0, -1.0)
    height, width = mask.shape
    holds = 0 <= x < width and 0 <= y < height and bool(mask[int(y), int(x)])
    return proposal.drawn(mask, source) if holds else proposal
