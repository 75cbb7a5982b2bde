"""The built-in proposer: the masks of `umgclip.proposals.mask_tree` as proposals of the annotator."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from umgclip.annotate.proposal import Pixels
from umgclip.annotate.roles import Proposal
from umgclip.geometry import masks as mask_ops
from umgclip.params import ProposerParams
from umgclip.proposals.mask_tree import MaskTree


class SegmentTree:
    """A proposer of segments, their unions on the way up, and connected pieces of the foreground."""

    name = "segment-tree/2"

    def __init__(self, params: ProposerParams) -> None:
        self._tree = MaskTree(params)

    def propose_images(self, images: Sequence[Pixels], captions: Sequence[str]) -> list[list[Proposal]]:
        """Return the proposals of each image; captions are ignored."""
        del captions
        return [self.propose(pixels) for pixels in images]

    def propose(self, pixels: UInt8[np.ndarray, "h w 3"]) -> list[Proposal]:
        """Return class-agnostic things by descending score, then the background as one stuff region.

        The masks of an image that is segmented at a smaller scale are stored encoded, because they are large.
        """
        masks = self._tree.masks(pixels)
        if self._tree.shrinks((pixels.shape[0], pixels.shape[1])):
            return [Proposal(mask_ops.encode(one.mask), one.score, is_stuff=one.is_stuff) for one in masks]
        return [Proposal.of_mask(one.mask, one.score, is_stuff=one.is_stuff) for one in masks]
