"""Files and nothing else: a device, a pipe or a socket in a file's place has no end, or waits for ever."""

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
        ValueError: no file can have such a name.
    """
    # a pipe that nobody writes to would wait; of no effect on files
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(handle).st_mode)
    if kind == stat.S_IFREG:
        return os.fdopen(handle, "rb")
    os.close(handle)
    raise (IsADirectoryError if kind == stat.S_IFDIR else NoFileError)(
        f"expected a file, found {_KINDS.get(kind, 'something else')}"
    )
