"""A region's box as a picture of its own."""

from __future__ import annotations

import numpy as np

from umgclip.annotate.proposal import Proposal
from umgclip.annotate.roles import Pixels
from umgclip.geometry import boxes as box_ops


def region_crop(pixels: Pixels, proposal: Proposal, context: float) -> Pixels:
    """A region's box, `context` times as large, cut to its image."""
    height, width = pixels.shape[:2]
    around = box_ops.clip(box_ops.expand(np.array([proposal.box_xyxy]), context), width, height)[0]
    x0, y0 = np.floor(around[:2]).astype(int)
    x1, y1 = np.ceil(around[2:]).astype(int)
    return pixels[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
