"""Refusals of arguments that broadcasting would otherwise accept in silence."""

from torch import Tensor

from umgclip.errors import InputError


def require_shape(name: str, value: Tensor, expected: tuple[int, ...]) -> None:
    """Refuse a tensor whose shape is not the one expected.

    Args:
        name: The argument, as the caller knows it.
        value: The tensor that came.
        expected: Its shape, every size.

    Raises:
        InputError: The shapes differ; the text has the name, the expected shape and the one that came.
    """
    if tuple(value.shape) != expected:
        raise InputError(f"{name}: expected shape {expected}, got {tuple(value.shape)}")


def require_index(name: str, value: Tensor, lowest: int, size: int) -> None:
    """Refuse integers outside `[lowest, size)`.

    On a GPU an index out of range is a device-side assert that names nothing and ends the process.

    Args:
        name: The argument, as the caller knows it.
        value: Integers, any shape, possibly none.
        lowest: Least value allowed.
        size: One more than the greatest value allowed.

    Raises:
        InputError: A value is out of range; the text has the name, the range and the values' extremes.
    """
    if value.numel() == 0:
        return
    least, most = int(value.min()), int(value.max())
    if least < lowest or most >= size:
        raise InputError(f"{name}: expected indices in [{lowest}, {size}), got values from {least} to {most}")
