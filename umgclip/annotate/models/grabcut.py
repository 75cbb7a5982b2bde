"""Masks by GrabCut (Rother et al., SIGGRAPH 2004), started from the box or mask of a proposal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Bool, UInt8

from umgclip.annotate.proposal import PixelMask, Pixels, Proposal
from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.params import MaskerParams

_MIN_AGREEMENT = 0.5  # IoU of a cut with its start below which it has diverged


class GrabCut:
    """A masker: a few iterations in a crop around each thing; if the cut diverges, the start stays."""

    name = "grabcut/1"

    def __init__(self, params: MaskerParams) -> None:
        self._params = params

    def refine_images(self, images: Sequence[Pixels], proposals: Sequence[list[Proposal]]) -> list[list[Proposal]]:
        """Return each image's proposals with the masks that `refine` draws; it never fails."""
        return [self.refine(pixels, of_image) for pixels, of_image in zip(images, proposals, strict=True)]

    def refine(self, pixels: UInt8[np.ndarray, "h w 3"], proposals: list[Proposal]) -> list[Proposal]:
        """Return the proposals with masks for labelled things; pixels of other labelled things count as background.

        Proposals that have a mask keep it, unless `redraw` is set.
        """
        taken = {row: p.mask for row, p in enumerate(proposals) if p.tags and not p.is_stuff}
        refined = list(proposals)
        for row in taken:
            proposal = proposals[row]
            if proposal.has_mask and not self._params.redraw:
                continue
            others = np.any([m for other, m in taken.items() if other != row], axis=0) if len(taken) > 1 else None
            cut = self._cut(pixels, proposal, others)
            shared = np.logical_and(cut, proposal.mask).sum() / max(np.logical_or(cut, proposal.mask).sum(), 1)
            if shared >= _MIN_AGREEMENT:
                refined[row] = replace(proposal, shape=PixelMask(cut))
        return refined

    def _cut(
        self, pixels: UInt8[np.ndarray, "h w 3"], proposal: Proposal, others: Bool[np.ndarray, "h w"] | None
    ) -> Bool[np.ndarray, "h w"]:
        height, width = pixels.shape[:2]
        around = box_ops.expand(np.array([proposal.box_xyxy]), self._params.context)
        x0, y0, x1, y1 = box_ops.clip(around, width, height)[0].astype(int)
        window = (slice(y0, max(y1, y0 + 2)), slice(x0, max(x1, x0 + 2)))
        mask = np.zeros(proposal.mask.shape, bool)
        start, apart = proposal.mask[window], None if others is None else others[window]
        cut = self._cut_window(pixels[window], start, apart)
        if cut is None:
            return proposal.mask
        mask[window] = cut
        return mask

    def _cut_window(
        self, pixels: UInt8[np.ndarray, "h w 3"], start: Bool[np.ndarray, "h w"], others: Bool[np.ndarray, "h w"] | None
    ) -> Bool[np.ndarray, "h w"] | None:
        """Cut out a crop, or return None if there is nothing to cut. A large crop is cut at a smaller scale."""
        height, width = start.shape
        scale = self._params.working_px / max(height, width)
        if scale >= 1:
            return self._grab(pixels, start, others)
        size = max(2, round(width * scale)), max(2, round(height * scale))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        cut = self._grab(small, _shrunk(start, size), None if others is None else _shrunk(others, size))
        return None if cut is None else mask_ops.enlarged(cut, (height, width))

    def _grab(
        self, pixels: UInt8[np.ndarray, "h w 3"], start: Bool[np.ndarray, "h w"], others: Bool[np.ndarray, "h w"] | None
    ) -> Bool[np.ndarray, "h w"] | None:
        state = np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        core = cv2.erode(start.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=2, borderValue=0).astype(bool)
        near = cv2.dilate(start.astype(np.uint8), np.ones((3, 3), np.uint8), iterations=3).astype(bool)
        state[core] = cv2.GC_FGD
        state[~near] = cv2.GC_BGD
        if others is not None:
            state[others & ~start] = cv2.GC_BGD
        if not (state == cv2.GC_BGD).any() or not np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD)).any():
            return None
        cv2.setRNGSeed(0)
        models = np.zeros((1, 65)), np.zeros((1, 65))
        crop = np.ascontiguousarray(pixels)
        cv2.grabCut(crop, state, None, *models, self._params.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _shrunk(mask: Bool[np.ndarray, "h w"], size_wh: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    return cv2.resize(mask.astype(np.uint8) * 255, size_wh, interpolation=cv2.INTER_AREA) > 127
