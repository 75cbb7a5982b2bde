"""Bytes read from front to end, wherever they come from."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, runtime_checkable


@runtime_checkable
class Stream(Protocol):
    """An open file, or an object of a store."""

    def read(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes, all that are left if negative; nothing at the end."""
        ...

    def close(self) -> None:
        """Release the resources behind the stream."""
        ...

    def __enter__(self) -> Stream: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...
