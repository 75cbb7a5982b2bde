"""Checks that every metric makes of its arguments, with one wording for what is wrong."""

from collections.abc import Sequence

import numpy as np

from umgclip.errors import InputError


def require_shape(name: str, array: np.ndarray, axes: str, **sizes: int) -> None:
    """Raise unless an array has the named axes, and the known sizes along them.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check.
        axes: axis names separated by spaces, such as ``"n c"``.
        **sizes: known sizes of some of the axes, such as ``n=8``.

    Raises:
        InputError: the array has another number of axes, or another size along a known one.
    """
    names = axes.split()
    wanted = [sizes.get(axis) for axis in names]
    fits = array.ndim == len(names) and all(
        size is None or size == came for size, came in zip(wanted, array.shape, strict=True)
    )
    if not fits:
        expected = ", ".join(
            axis if size is None else f"{axis}={size}" for axis, size in zip(names, wanted, strict=True)
        )
        raise InputError(f"{name}: expected shape ({expected}), got {array.shape}")


def require_some(name: str, array: np.ndarray) -> None:
    """Raise if an array has no element.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check, of any shape.

    Raises:
        InputError: an axis has size 0.
    """
    if array.size == 0:
        raise InputError(f"{name}: expected at least one element, got shape {array.shape}")


def require_scores(name: str, array: np.ndarray) -> None:
    """Raise unless an array is floating point and free of NaN; infinite scores are allowed.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check, of any shape.

    Raises:
        InputError: another dtype, or a NaN.
    """
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"{name}: expected a floating point array, got dtype {array.dtype}")
    missing = int(np.isnan(array).sum())
    if missing:
        raise InputError(f"{name}: expected no NaN, got {missing} of {array.size}")


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise unless an array is floating point and finite.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check, of any shape.

    Raises:
        InputError: another dtype, a NaN or an infinity.
    """
    require_scores(name, array)
    infinite = int(np.isinf(array).sum())
    if infinite:
        raise InputError(f"{name}: expected finite numbers, got {infinite} infinite of {array.size}")


def require_bools(name: str, array: np.ndarray) -> None:
    """Raise unless an array is boolean.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check, of any shape.

    Raises:
        InputError: another dtype.
    """
    if array.dtype != np.bool_:
        raise InputError(f"{name}: expected a boolean array, got dtype {array.dtype}")


def require_integers(name: str, array: np.ndarray, low: int | None = None, high: int | None = None) -> None:
    """Raise unless an array is of integers ``low <= value < high``.

    Args:
        name: the argument's name, which starts the message.
        array: the array to check, of any shape.
        low: the least value allowed; None for no bound.
        high: one more than the greatest value allowed; None for no bound.

    Raises:
        InputError: another dtype, or a value outside the bounds.
    """
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name}: expected an integer array, got dtype {array.dtype}")
    if array.size == 0:
        return
    least, greatest = int(array.min()), int(array.max())
    if low is not None and least < low:
        raise InputError(f"{name}: expected values of at least {low}, got {least}")
    if high is not None and greatest >= high:
        raise InputError(f"{name}: expected values below {high}, got {greatest}")


def require_ks(ks: Sequence[int]) -> None:
    """Raise unless there is at least one cut-off and every one is 1 or more.

    Args:
        ks: cut-offs of a ranking, in items.

    Raises:
        InputError: no cut-off, or one below 1.
    """
    if not ks or min(ks) < 1:
        raise InputError(f"ks: expected one or more integers of at least 1, got {tuple(ks)}")
