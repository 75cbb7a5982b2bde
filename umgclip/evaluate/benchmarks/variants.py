"""The choice among the variants of a read-out, such as sizes of a crop, without looking at the images it counts for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Shaped


def best_of_other_half(
    values: Shaped[np.ndarray, "variants r"], right: Bool[np.ndarray, "variants r"], second: Bool[np.ndarray, " r"]
) -> Shaped[np.ndarray, " r"]:
    """Return the values of one variant: for each half of the images the one that is best on the other half.

    Args:
        values: what each variant says of each region.
        right: whether it is right.
        second: whether the region's image is in the second half; see `in_second_half`.
    """
    if len(values) == 1:
        return values[0]
    chosen = values[0].copy()
    for half in (second, ~second):
        if half.any():
            chosen[half] = values[right[:, ~half].sum(axis=1).argmax()][half]
    return chosen
