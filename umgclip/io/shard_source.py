"""Shards read where they lie: local tars, and those in S3 as they come, without a copy on the disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from umgclip.errors import DataError
from umgclip.io.manifest import ShardInfo
from umgclip.io.places import Place
from umgclip.io.shards import RawSample, read_samples, read_shard
from umgclip.io.storage import Storage, locate
from umgclip.io.streams import Stream


@dataclass(frozen=True)
class ShardAt:
    """A shard: where it lies, and what a manifest says of it."""

    place: Place
    info: ShardInfo

    def __str__(self) -> str:
        return shard_at(self.place, self.info.path)

    def open(self) -> Stream:
        """Open the shard's bytes as a stream from front to end."""
        return open_shard(self.place, self.info.path)

    def samples(self) -> Iterator[RawSample]:
        """Yield the shard's samples in order."""
        with self.open() as handle:
            yield from read_samples(handle, str(self))


_REMOTE = "s3://"


def shard_at(folder: str | Path | Place, path: str) -> str:
    """Return the path or URL of a manifest's shard: its own URL, or below the folder or prefix of the manifest."""
    return path if path.startswith(_REMOTE) else f"{str(folder).rstrip('/')}/{path}"


def open_shard(place: Place, path: str) -> Stream:
    """Open a shard of a manifest as a stream from front to end.

    Raises:
        DataError: there is none.
        InputError, StorageError: S3 refuses or does not answer.
    """
    return _storage().open(locate(path)) if path.startswith(_REMOTE) else place.open(path)


@lru_cache(maxsize=1)
def _storage() -> Storage:
    """Return one client for all shards of a process."""
    return Storage()


def read_shard_at(where: str, sha256: str | None = None) -> Iterator[RawSample]:
    """Yield the samples of a tar in order.

    Args:
        where: a path or an `s3://` URL.
        sha256: of what is in S3, compared at the end; None: anything.

    Raises:
        DataError: the tar is truncated, damaged or another one.
        InputError, StorageError: S3 refuses or does not answer.
    """
    if not where.startswith(_REMOTE):
        yield from read_shard(Path(where))
        return
    with Storage().open(locate(where)) as stream:
        hashed = _Hashed(stream)
        yield from read_samples(hashed, where)
    if sha256 is not None and hashed.digest() != sha256:
        raise DataError(f"{where}: expected sha256 {sha256} as in the manifest, got {hashed.digest()}")


class _Hashed:
    def __init__(self, stream: Stream) -> None:
        self._stream, self._hash = stream, hashlib.sha256()

    def __enter__(self) -> _Hashed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        return self._hash.hexdigest()
