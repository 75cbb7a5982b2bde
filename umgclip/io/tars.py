"""Opening tars that anybody may have made: their headers stay small, and what was read is forgotten."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol, cast, runtime_checkable

_HEADER_BYTES = 64 << 10  # of names and attributes of one member; the longest path that systems know has 4 KiB
_MOST_SHARED = 1000  # attributes that hold for all members behind them
_EXTENDED = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK
)  # fmt: skip


@runtime_checkable
class Readable(Protocol):
    """An object that can be read from front to end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes; nothing at the end."""
        ...


class _Info(tarfile.TarInfo):
    """A member's header; Python's own reads headers of any size into memory."""

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _EXTENDED and self.size > _HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {self.size} bytes, expected at most {_HEADER_BYTES}")
        if self.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a file with holes; `tar` without --sparse stores it whole")
        try:
            member: tarfile.TarInfo = super()._proc_member(tar)  # type: ignore[misc]
        except RecursionError as error:
            raise tarfile.ReadError("hundreds of headers before a file") from error
        if len(tar.pax_headers) > _MOST_SHARED:
            raise tarfile.ReadError(f"more than {_MOST_SHARED} attributes of all members")
        return member

    def _proc_gnusparse_10(self, *_: object) -> None:
        raise tarfile.ReadError("a file with holes; `tar` without --sparse stores it whole")


def open_tar(handle: Readable, mode: str = "r|") -> closing[tarfile.TarFile]:
    """Open a tar to read it from front to end (`r|`) or by seeking (`r:`).

    Raises:
        tarfile.TarError: it is none; reading on raises it too where a header is longer than any that makes sense.
    """
    return closing(tarfile.open(fileobj=cast(BinaryIO, handle), mode=mode, tarinfo=_Info))  # type: ignore[call-overload]


def file_names(path: Path) -> Iterator[str]:
    """Yield the names of the files in a tar on this machine, in order; their content is skipped.

    Plain headers, which `io.shards` writes, are read without Python's tarfile, which takes ten times as long for them.

    Raises:
        tarfile.TarError, OSError: it is no complete tar, or it cannot be read.
    """
    names: list[str] = []
    with path.open("rb") as handle:
        while True:
            header = handle.read(tarfile.BLOCKSIZE)
            if header == bytes(tarfile.BLOCKSIZE):
                yield from names
                return
            size = _plain_size(header)
            if size is None:
                break
            names.append(header[:100].split(b"\0", 1)[0].decode("utf-8", "surrogateescape"))
            handle.seek(-(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE, os.SEEK_CUR)
    with closing(tarfile.open(path, "r:")) as tar:
        yield from (info.name for info in tar if info.isfile())


def _plain_size(header: bytes) -> int | None:
    """Return the size of the file behind a plain ustar header; None: it is another kind of header, or damaged."""
    prefix = header[345:346]
    if len(header) != tarfile.BLOCKSIZE or header[156:157] not in (b"0", b"\0") or prefix != b"\0":
        return None
    try:
        size, checksum = (int(header[at : at + length].strip(b"\0 "), 8) for at, length in ((124, 12), (148, 8)))
    except ValueError:
        return None
    is_whole = checksum == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])
    return size if is_whole and size >= 0 else None


def members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the headers of a tar in order, and hold none in memory."""
    for info in tar:
        tar.members.clear()  # type: ignore[attr-defined]
        yield info
