"""pHash: 64 bits of an image's low frequencies, which survive another size, another codec and a little editing."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import UInt8

SIDE_PX = 32  # side of the grey image for the cosine transform


def perceptual_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """Compute the 64-bit pHash of an image; images that look alike differ in few bits.

    The image is first shrunk by area averaging: OpenCV's own shrinking looks at four pixels per cell, so that its pHash
    changes with the size of a large image.
    """
    small = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return int.from_bytes(cv2.img_hash.pHash(small).tobytes(), "big")
