"""Pairs of two images and two texts: which are matched right, one way and the other (MMVP-VLM, Winoground)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float


def matched(similarity: Float[np.ndarray, "pairs 2 2"]) -> dict[str, Bool[np.ndarray, " pairs"]]:
    """Return for each pair whether all of it is matched right; ties count as wrong.

    Args:
        similarity: of image i and text j of each pair; text i belongs to image i.

    Returns:
        `t2i`: each text is nearer to its own image than to the other one (MMVP-VLM, Tong et al., CVPR 2024;
        Winoground's image score). `i2t`: each image is nearer to its own text (Winoground's text score). `both`: both
        of these. Of scores at random, 1/4, 1/4 and 1/6 of the pairs are right.

    Example:
        >>> similarity = np.array([[[0.9, 0.8], [0.1, 0.2]]])  # the first image is nearer to both texts
        >>> {way: right.tolist() for way, right in matched(similarity).items()}
        {'t2i': [False], 'i2t': [True], 'both': [False]}
    """
    true = np.stack([similarity[:, 0, 0], similarity[:, 1, 1]], axis=1)
    other_image = np.stack([similarity[:, 1, 0], similarity[:, 0, 1]], axis=1)
    t2i: np.ndarray = np.all(true > other_image, axis=1)
    i2t: np.ndarray = np.all(true > other_image[:, ::-1], axis=1)
    return {"t2i": t2i, "i2t": i2t, "both": np.logical_and(t2i, i2t)}
