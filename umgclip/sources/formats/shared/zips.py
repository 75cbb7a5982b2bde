"""Reading zips that anybody may have made, one entry at a time: `zipfile` holds the whole directory in memory.

A zip of twelve million files has a directory of more than a gigabyte, which becomes many more as Python objects. Here
the entries are read in order and forgotten, and a file is read later by its entry.
Source: PKWARE's APPNOTE.TXT 6.3, 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_END, _END64, _LOCATOR64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_CENTRAL, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_COMMENT = 1 << 16  # bytes of the longest comment behind the directory
_FULL = 0xFFFFFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 1, 1 << 11


class ZipError(ValueError):
    """A zip, or a file in it, that is damaged or of a kind that is not read."""


@dataclass(frozen=True)
class ZipEntry:
    """One file in a zip, as its directory describes it.

    Attributes:
        name: as written, with folders.
        at: position of its local header in the file.
        packed: compressed bytes.
        size: bytes.
        crc: CRC-32 of its content.
        method: 0: stored, 8: deflated; -1: encrypted.
    """

    name: str
    at: int
    packed: int
    size: int
    crc: int
    method: int


def zip_entries(path: Path) -> Iterator[ZipEntry]:
    """Yield the files in a zip in the order of its directory; folders are left out.

    Raises:
        ZipError: there is no directory, as in a download that was cut off, or it is damaged.
    """
    with path.open("rb") as file:
        count, size, at, shift = _directory(file)
        file.seek(at + shift)
        read = 0
        for number in range(count):
            head = file.read(_CENTRAL.size)
            if len(head) < _CENTRAL.size or not head.startswith(b"PK\x01\x02"):
                raise ZipError(f"expected {count} files in its directory, got {number}; the rest is damaged")
            fields = _CENTRAL.unpack(head)
            variable = file.read(fields[10] + fields[11] + fields[12])
            read += len(head) + len(variable)
            if read > size:
                raise ZipError(f"expected {count} files in its directory, which ends after {number}")
            entry = _entry(fields, variable, shift)
            if not entry.name.endswith("/"):
                yield entry


def read_entry(file: BinaryIO, entry: ZipEntry, limit: int) -> bytes:
    """Read one file of an open zip.

    Raises:
        ZipError: it is damaged, encrypted, compressed in another way, or larger than `limit` bytes.
    """
    if entry.size > limit:
        raise ZipError(f"expected at most {limit} bytes, got {entry.size}")
    file.seek(entry.at)
    head = file.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise ZipError("its header is damaged")
    name, extra = _LOCAL.unpack(head)[-2:]
    file.seek(name + extra, 1)
    return read_packed(file, entry, limit)


def read_packed(file: BinaryIO, entry: ZipEntry, limit: int) -> bytes:
    """Read a file whose compressed bytes come next, and check its length and its checksum.

    Raises:
        ZipError: see `read_entry`.
    """
    if entry.method not in (_STORED, _DEFLATED):
        kind = "an encrypted one" if entry.method < 0 else f"method {entry.method}"
        raise ZipError(f"expected a file that is stored or deflated, got {kind}")
    data = file.read(min(entry.packed, limit + (limit >> 3) + 1024))
    if entry.method == _DEFLATED:
        unpack = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpack.decompress(data, entry.size + 1)
        except zlib.error as error:
            raise ZipError(f"it is damaged ({error})") from error
    if len(data) != entry.size:
        raise ZipError(f"expected {entry.size} bytes, got {'more' if len(data) > entry.size else len(data)}")
    if zlib.crc32(data) != entry.crc:
        raise ZipError("its checksum is another")
    return data


def _directory(file: BinaryIO) -> tuple[int, int, int, int]:
    """Return files, bytes and position of the directory, and by how much all positions are too small."""
    length = file.seek(0, 2)
    start = max(0, length - _COMMENT - _END.size)
    file.seek(start)
    tail = file.read()
    mark = tail.rfind(b"PK\x05\x06")
    if mark < 0 or len(tail) - mark < _END.size:
        raise ZipError("expected the directory of a zip at its end, got none; a download that was cut off has none")
    end = start + mark
    _, _, _, _, count, size, at, _ = _END.unpack_from(tail, mark)
    at64 = end - _LOCATOR64.size - _END64.size
    file.seek(max(0, at64))
    wide, locator = file.read(_END64.size), file.read(4)
    if at64 >= 0 and locator == b"PK\x06\x07":  # numbers of 64 bits count wherever they are written
        if not wide.startswith(b"PK\x06\x06"):
            raise ZipError("the end of its directory is damaged")
        end, (count, size, at) = at64, _END64.unpack(wide)[7:]
    shift = end - size - at  # bytes that were put in front of the zip
    if shift < 0 or at + shift + size > length:
        raise ZipError("the end of its directory is damaged")
    return count, size, at, shift


def _entry(fields: tuple[Any, ...], variable: bytes, shift: int) -> ZipEntry:
    flags, method, crc, packed, size, name_length, extra_length = (fields[i] for i in (3, 4, 7, 8, 9, 10, 11))
    raw, extra = variable[:name_length], variable[name_length : name_length + extra_length]
    name = raw.decode("utf-8", "replace") if flags & _UTF8 else raw.decode("cp437")
    wide = _wide(extra)
    numbers = []
    for number in (size, packed, fields[16]):  # APPNOTE 4.5.3: only those that are full, in this order
        if number == _FULL and len(wide) >= 8:
            number, wide = int.from_bytes(wide[:8], "little"), wide[8:]
        numbers.append(number)
    size, packed, at = numbers
    return ZipEntry(name, at + shift, packed, size, crc, -1 if flags & _ENCRYPTED else method)


def _wide(extra: bytes) -> bytes:
    """Return the numbers of 64 bits in an extra field."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == 1:
            return extra[4 : 4 + length]
        extra = extra[4 + length :]
    return b""
