"""Samples of a WebDataset tar: neighbouring members with the same key, in any order.

The key is the name up to the first dot, and the rest is the field: `0.jpg` and `0.depth.png` are the image and the
field `depth.png` of sample 0. If no member of a key is written in that form, dots are part of the names: `22.05.jpg`
and `22.06.jpg` are two samples.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from io import RawIOBase
from typing import Any, NamedTuple, cast

from umgclip.errors import StorageError
from umgclip.io.images import EXTENSIONS, FORMAT_OF
from umgclip.io.places import Folder, Place
from umgclip.io.shards import EMBEDDINGS, Tail
from umgclip.io.streams import Stream
from umgclip.io.tars import Readable, members, open_tar
from umgclip.sources.note import Problem, shown

# extensions of a sample's image, the usual ones first
IMAGES = (*EXTENSIONS, *(extension for extension in FORMAT_OF if extension not in EXTENSIONS))
END = "(end)"
HIDDEN = "(hidden)"
_HELD = 64 << 20  # bytes of a key whose members are not yet assigned to samples
_MEMBERS = 10_000  # most members of such a key
_NAME = 4096  # longest path that operating systems allow, characters
_PACKED = 200  # highest ratio of decompressed to compressed size
_FREE = 1 << 30  # bytes that any tar may decompress to
_BROKEN = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError)
_MAGIC = 10


@dataclass
class TarSample:
    """Members of one key, by field.

    `problems` belong to members that are not among them. `is_again`: another sample with this key came before.
    `is_apart`: its image is elsewhere in the tar. `is_dotted`: no member has the form key and field, so dots are part
    of the name.
    """

    key: str
    parts: dict[str, bytes | Problem]
    problems: list[Problem] = field(default_factory=list)
    is_again: bool = False
    is_apart: bool = False
    is_dotted: bool = False

    @property
    def image(self) -> str | None:
        """Field of the image; None if the sample has none."""
        return next((name for name in IMAGES if name in self.parts), None)

    def add(self, name: str, content: bytes | Problem) -> None:
        """Add a member; of two with the same name the first counts."""
        if name in self.parts:
            self.problems.append(Problem("duplicate_name", f"{self.key}.{name}: a second member of this name"))
        else:
            self.parts[name] = content


class TarMember(NamedTuple):
    """A file in a tar with its content; one without name says what is wrong with the rest of the tar."""

    name: str
    content: bytes | Problem

    @property
    def key(self) -> str:
        """Name of the member up to the first dot."""
        folder, slash, base = self.name.rpartition("/")
        return f"{folder}{slash}{base.partition('.')[0]}"

    @property
    def field(self) -> str:
        """The rest of the name in lower case."""
        return self.name[len(self.key) + 1 :].lower()

    @property
    def stem(self) -> str:
        """Name of the member up to the last dot."""
        return self.name.rpartition(".")[0]

    @property
    def is_plain(self) -> bool:
        """True if the member surely has the form key and field."""
        return "." not in self.field or self.field == EMBEDDINGS


def read_samples(source: Place, name: str, limit: int) -> Iterator[TarSample]:
    """Read the samples of a tar, compressed or not.

    A truncated tar gives what is before the break, and then a sample whose field `END` is the problem. A file whose
    name starts with a dot is a sample of its own with the field `HIDDEN`. All samples of a key count, whether they are
    neighbours or apart.

    Args:
        source: the folder or S3 prefix that holds it.
        name: the tar's name.
        limit: most bytes of a member.
    """
    images: set[bytes] = set()
    for sample in _split(read_members(source, name, limit), 2 * limit + _HELD):
        if HIDDEN in sample.parts:
            yield sample
            continue
        mark = blake2b(sample.key.encode("utf-8", "surrogateescape"), digest_size=16).digest()
        if sample.image is None and mark in images:
            apart = "its image stands earlier in the tar; the members of a sample have to stand beside each other"
            sample.is_apart = True
            sample.parts["jpg"] = Problem("no_image", f"{sample.key}: expected an image, got none: {apart}")
            yield sample
            continue
        sample.is_again = sample.image is not None and mark in images
        if sample.image is not None:
            images.add(mark)
        yield sample


def is_hidden(name: str) -> bool:
    """Return whether a member is a hidden file of an operating system: `._0.jpg`, `.DS_Store`."""
    return name.rpartition("/")[2].startswith(".")


def _split(members: Iterator[TarMember], most: int) -> Iterator[TarSample]:
    """Group the members of one key into samples when the next key starts; `most` is the bytes that a key may have."""
    pending: list[TarMember] = []
    fields: set[str] = set()
    held = over = 0
    for member in members:
        if is_hidden(member.name):  # it does not separate the members of a sample
            yield TarSample(shown(member.name), {HIDDEN: member.content})
            continue
        is_end = not member.name
        if pending and (is_end or member.key != pending[0].key):
            yield from _samples(pending, fields, over)
            pending, held, over = [], 0, 0
        elif (held > _HELD or len(pending) >= _MEMBERS) and (ready := _ready(pending, member)):
            yield from _samples(ready, fields)
            pending = [one for one in pending if one.stem == member.stem]
            held = sum(map(_size, pending))
        if is_end:
            yield TarSample(END, {END: member.content})
            return
        if held + _size(member) > most or len(pending) >= _MEMBERS:
            over += 1
            continue
        pending.append(member)
        held += _size(member)
    if pending:
        yield from _samples(pending, fields, over)


def _ready(pending: list[TarMember], after: TarMember) -> list[TarMember]:
    """Return members that need not wait for the end of their key: names with dots, of a whole tar perhaps."""
    if pending[0].is_plain or any(one.is_plain for one in pending):
        return []
    return [one for one in pending if one.stem != after.stem]


def _size(member: TarMember) -> int:
    return len(member.content) if isinstance(member.content, bytes) else 0


def _samples(members: list[TarMember], fields: set[str], over: int = 0) -> Iterator[TarSample]:
    """Yield the samples of a key: one, or as many as there are names with dots.

    Args:
        members: members of the key.
        fields: fields of earlier samples with an image.
        over: number of members that were dropped because the key had too many.
    """
    for sample in _told_apart(members, fields):
        if over:
            what = f"{sample.key}: {over} members more than one sample can have, which were not read"
            sample.problems.append(Problem("too_large", what))
            over = 0
        yield sample


def _told_apart(members: list[TarMember], fields: set[str]) -> Iterator[TarSample]:
    names = {member.field for member in members}
    if any(member.is_plain for member in members) or names <= fields:
        sample = TarSample(shown(members[0].key), {})
        for member in members:
            if member.field in sample.parts and sample.image is not None:  # a new sample with the same key
                yield sample
                sample = TarSample(sample.key, {})
            sample.add(member.field, member.content)
        if sample.image is not None:
            fields |= {name for name in names if "." in name}
        yield sample
        return
    stems = {member.stem for member in members if member.name.rpartition(".")[2].lower() in FORMAT_OF}
    sample_of: dict[str, TarSample] = {}
    for member in members:
        owners = [stem for stem in stems if member.name.startswith(f"{stem}.")]
        owner = min(owners, key=len, default=member.stem)
        sample_of.setdefault(owner, TarSample(shown(owner), {}, is_dotted=True)).add(
            member.name[len(owner) + 1 :].lower(), member.content
        )
    yield from sample_of.values()


def read_members(source: Place, name: str, limit: int) -> Iterator[TarMember]:
    """Yield the files of a tar; after a damaged part comes a member without name. Hidden files come without content."""
    after = "nothing"
    with source.open(name) as handle:
        try:
            tail = Tail(_unpacked(handle))
            with open_tar(tail) as tar:
                for info in members(tar):
                    if info.isdir():
                        continue
                    if len(info.name) > _NAME:
                        raise EOFError(f"a name of {len(info.name)} characters")
                    if is_hidden(info.name):
                        yield TarMember(info.name, b"")
                        continue
                    content = _content(tar, info, limit) if info.isfile() else _linked(source, name, info, limit)
                    after = shown(info.name)
                    yield TarMember(info.name, content)
            last = tail.drained()
            if tail.went_on:
                raise EOFError("another archive, or something else, behind the end-of-archive mark")
            if any(last):
                raise EOFError("no end-of-archive mark")
        except _BROKEN as error:
            if isinstance(error, StorageError):
                raise
            detail = f"after {after}: {type(error).__name__}: {error}"
            yield TarMember("", Problem("truncated_tar", detail))


class _Begun(RawIOBase):
    """A stream whose first bytes were already read, put in front again."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self._head, self._rest = head, rest
        self.taken = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:  # noqa: ANN401 - a buffer
        data = self._head[: len(into)] or self._rest.read(len(into))
        self._head = self._head[len(data) :]
        into[: len(data)] = data
        self.taken += len(data)
        return len(data)


class _Measured:
    """Decompressed stream with a limit on the ratio of its size to the compressed size."""

    def __init__(self, packed: _Begun, unpacked: Readable) -> None:
        self._packed, self._unpacked, self._size = packed, unpacked, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._unpacked.read(size)
        self._size += len(data)
        if self._size > _FREE + _PACKED * self._packed.taken:
            raise EOFError(f"{self._packed.taken} bytes unpack to more than {_PACKED} times as many")
        return data


def _unpacked(handle: Stream) -> Readable:
    """Return the decompressed stream of a tar; checksums of gzip and the others are checked at its end."""
    head = handle.read(_MAGIC)
    begun = _Begun(head, handle)
    raw: Any = begun
    if head.startswith(b"\x1f\x8b\x08"):
        return _Measured(begun, cast(Readable, gzip.GzipFile(fileobj=raw)))
    if head.startswith(b"BZh") and head.endswith(b"1AY&SY"):
        return _Measured(begun, cast(Readable, bz2.BZ2File(raw)))
    if head.startswith(b"\xfd7zXZ\0"):
        return _Measured(begun, cast(Readable, lzma.LZMAFile(raw)))
    return cast(Readable, raw)


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, limit: int) -> bytes | Problem:
    if info.size > limit:
        return Problem("too_large", f"expected at most {limit} bytes, got {info.size}")
    member = tar.extractfile(info)
    data = member.read() if member else b""
    if len(data) != info.size:
        raise EOFError(f"expected {info.size} bytes of {info.name}, got {len(data)}")
    return data


def _linked(source: Place, name: str, info: tarfile.TarInfo, limit: int) -> bytes | Problem:
    """Read the target of a link inside a tar, if the tar is a local uncompressed file."""
    reason = "tar --dereference --hard-dereference stores the files themselves"
    if isinstance(source, Folder) and (info.islnk() or info.issym()):
        try:
            with source.open(name) as handle, open_tar(handle, "r:") as tar:
                opened = tar.extractfile(tar.getmember(info.name))
                data = opened.read(limit + 1) if opened else b""
                return data if len(data) <= limit else Problem("too_large", f"expected at most {limit} bytes, got more")
        except (*_BROKEN, KeyError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}"
    what = f"a link to {shown(info.linkname)}" if info.linkname else f"an entry of type {info.type!r}"
    return Problem("link", f"{shown(info.name)}: expected a file, got {what}; {reason}")
