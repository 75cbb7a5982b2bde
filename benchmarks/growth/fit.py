"""The exponent of a cost: the slope of its logarithm over the logarithm of the size."""

from __future__ import annotations

import math
from collections.abc import Sequence

_LEAST = 0.1  # share of the largest value; below it, what every size costs hides the slope


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """Fit `value = factor * size ** exponent` by least squares of the logarithms.

    A cost has a part that every size pays, which flattens the slope of small sizes. So the fit takes the largest sizes:
    those whose value is at least a tenth of the largest one, and at least the largest two.

    Args:
        sizes: at least one, above 0, rising.
        values: of each size; those that are not above 0 are left out.

    Returns:
        The exponent, 1 for a linear cost; None with fewer than two values above 0.

    Example:
        >>> round(exponent([10, 100, 1000], [1.0, 10.0, 100.0]), 3)
        1.0
        >>> round(exponent([1000, 10000], [50.0, 50.0]), 3)
        0.0
    """
    points = [(math.log(size), math.log(value)) for size, value in zip(sizes, values, strict=True) if value > 0]
    if len(points) < 2:
        return None
    bar = max(value for _, value in points) + math.log(_LEAST)
    first = next(row for row, (_, value) in enumerate(points) if value >= bar)
    used = points[min(first, len(points) - 2) :]
    middle = sum(x for x, _ in used) / len(used)
    level = sum(y for _, y in used) / len(used)
    return sum((x - middle) * (y - level) for x, y in used) / sum((x - middle) ** 2 for x, _ in used)


def n_log_n(first: float, last: float) -> float:
    """Return the exponent that a cost of n log n shows between two sizes.

    Example:
        >>> round(n_log_n(1e4, 1e5), 3)
        1.097
    """
    return 1 + math.log(math.log(last) / math.log(first)) / math.log(last / first)
