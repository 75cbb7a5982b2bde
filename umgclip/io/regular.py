"""Opens regular files only: a device, a pipe or a socket may have no end, or block for ever."""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

_KINDS = {
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}  # fmt: skip


class NoFileError(OSError):
    """A path that leads to something other than a regular file."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file to be read; links are followed.

    Raises:
        NoFileError: it is a device, a pipe or a socket.
        IsADirectoryError: it is a folder.
        OSError: it cannot be opened.
        ValueError: the path cannot be the name of a file.
    """
    # a pipe without a writer would block; O_NONBLOCK has no effect on files
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise (IsADirectoryError if kind == stat.S_IFDIR else NoFileError)(
        f"expected a file, found {_KINDS.get(kind, 'something else')}"
    )
