"""WebDataset tars: `KEY.jpg|png|webp` + `KEY.json`, samples adjacent, bytes fixed by content alone."""

from __future__ import annotations

import hashlib
import tarfile
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.images import EXTENSIONS
from umgclip.io.streams import Stream
from umgclip.io.tars import Readable, members, open_tar
from umgclip.records import KEY, KEY_IN_WORDS

EMBEDDINGS = "teacher.npy"
MEMBER_BYTES = 1 << 30  # no part of a sample is larger


@dataclass(frozen=True)
class RawSample:
    """One sample as stored: key, image file, its extension, the record's JSON, teacher embeddings (npy) or None."""

    key: str
    image: bytes
    extension: str
    json: bytes
    embeddings: bytes | None = None


class ShardWriter:
    """Write samples to one tar whose bytes depend on the samples only (no times, owners or modes).

    Use on the temporary path of `io.atomic.atomic_file`, so that the shard appears whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        # what webdataset's own writer writes, without torch, which that takes with it
        self._file = path.open("wb")
        weakref.finalize(self, self._file.close)  # of a writer that is given up before its end
        self._digest = hashlib.sha256()
        self._keys: set[str] = set()
        self.bytes = 0

    def write(self, sample: RawSample, others: Mapping[str, bytes] | None = None) -> None:
        """Append a sample, and other files of it by extension.

        Raises:
            InputError: the key is none (`umgclip.records.KEY`), or was written before.
        """
        if KEY.fullmatch(sample.key) is None:
            raise InputError(f"key: expected {KEY_IN_WORDS}, got {sample.key[:200]!r}")
        if sample.key in self._keys:
            raise InputError(f"key: expected a new one in each sample of a shard, got {sample.key!r} twice")
        self._keys.add(sample.key)
        parts = {sample.extension: sample.image, "json": sample.json}
        if sample.embeddings is not None:
            parts[EMBEDDINGS] = sample.embeddings
        parts |= others or {}
        for extension in sorted(parts):
            content = parts[extension]
            self._append(_header(f"{sample.key}.{extension}", len(content)))
            self._append(content)
            self._append(bytes(-len(content) % tarfile.BLOCKSIZE))

    @property
    def samples(self) -> int:
        """The number of samples written so far."""
        return len(self._keys)

    @property
    def sha256(self) -> str:
        """The hexadecimal SHA-256 of the bytes written so far; of the whole file after `close`."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Write the end of the tar."""
        if self._file.closed:
            return
        self._append(bytes(2 * tarfile.BLOCKSIZE))
        self._append(bytes(-self.bytes % tarfile.RECORDSIZE))
        self._file.close()

    def _append(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.bytes += len(content)


def _header(name: str, size: int) -> bytes:
    """Return what stands before a file in a tar.

    Everything but name, size and checksum is the same for all files, and `tarfile` takes longer for it than for a small
    image to be written.
    """
    encoded = name.encode("utf-8", "surrogateescape")
    # ustar takes names of 100 bytes, and a key may have 80 characters of several bytes each
    if len(encoded) > tarfile.LENGTH_NAME or size > _USTAR_BYTES:
        return _described(name, size).tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    octal = b"%011o" % size
    checksum = _BLANK_SUM + sum(encoded) + sum(octal) - sum(_BLANK[_SIZE])
    block = bytearray(_BLANK)
    block[: len(encoded)] = encoded
    block[_SIZE] = octal
    block[_CHECKSUM] = b"%06o" % checksum
    return bytes(block)


def _described(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o644, 0
    return member


_SIZE, _CHECKSUM = slice(124, 135), slice(148, 154)  # where octal numbers stand in a header, without their last byte
_USTAR_BYTES = 0o77777777777
_BLANK = _described("", 0).tobuf(tarfile.USTAR_FORMAT)
_BLANK_SUM = int(_BLANK[_CHECKSUM], 8)


def read_shard(path: Path) -> Iterator[RawSample]:
    """Yield the samples of one tar in order.

    Raises:
        DataError: the tar is truncated or damaged, a sample lacks its image or its JSON, or its key is none; names
            shard and key.
    """
    try:
        with path.open("rb") as handle:
            yield from read_samples(handle, str(path))
    except OSError as error:
        raise DataError(f"{path}: not a complete tar ({type(error).__name__}: {error})") from error


def read_samples(handle: Stream, name: str) -> Iterator[RawSample]:
    """Yield the samples of an open tar, read from front to end and called `name` in errors."""
    pending: dict[str, bytes] = {}
    current = ""
    tail = Tail(handle)
    try:
        with open_tar(tail) as tar:
            for info in members(tar):
                if not info.isfile():
                    continue
                if info.size > MEMBER_BYTES:
                    raise DataError(f"{name}: {info.name}: expected at most {MEMBER_BYTES} bytes, got {info.size}")
                member = tar.extractfile(info)
                data = member.read() if member else b""
                if len(data) != info.size:
                    raise DataError(f"{name}: truncated in {info.name}: expected {info.size} bytes, got {len(data)}")
                key, extension = key_and_extension(info.name, name)
                if key != current and pending:
                    yield _sample(name, current, pending)
                    pending = {}
                current = key
                if pending.setdefault(extension.lower(), data) is not data:
                    raise DataError(f"{name}: {info.name}: expected each file of a sample once, got it twice")
        # a tar ends in two blocks of zeros; without them it was cut inside or before a header, which tarfile lets pass
        if any(tail.drained()):
            raise DataError(f"{name}: truncated: expected an end-of-archive mark, found none")
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{name}: not a complete tar ({type(error).__name__}: {error})") from error
    if pending:
        yield _sample(name, current, pending)


def key_and_extension(member: str, where: str) -> tuple[str, str]:
    """Split a member's file name into its key and extension.

    Raises:
        DataError: it is that of no sample; names `where`.
    """
    key, _, extension = member.rpartition("/")[2].partition(".")
    if KEY.fullmatch(key) is None:
        raise DataError(f"{where}: key: expected {KEY_IN_WORDS}, got {key[:200]!r}")
    return key, extension


class Tail:
    """A stream that remembers its last bytes, to tell a whole tar from one that was cut."""

    def __init__(self, handle: Readable) -> None:
        self._handle = handle
        self._last = b""
        self.went_on = False  # whether `drained` came upon anything but zeros

    def read(self, size: int = -1) -> bytes:
        """Read from the stream, and remember its last two blocks."""
        data = self._handle.read(size)
        if data:
            self._last = (self._last + data)[-2 * tarfile.BLOCKSIZE :]
        return data

    def drained(self) -> bytes:
        """Return the end of the stream, at most two blocks; a stream that is too short for them ends in a one."""
        while data := self.read(1 << 20):
            self.went_on = self.went_on or any(data)
        return self._last if len(self._last) == 2 * tarfile.BLOCKSIZE else b"\1"


def _sample(path: str, key: str, files: dict[str, bytes]) -> RawSample:
    extension = next((e for e in EXTENSIONS if e in files), None)
    if extension is None or "json" not in files:
        raise DataError(f"{path}:{key}: expected one image ({', '.join(EXTENSIONS)}) and one json, got {sorted(files)}")
    return RawSample(key, files[extension], extension, files["json"], files.get(EMBEDDINGS))
