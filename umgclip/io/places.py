"""A folder or an S3 prefix, seen alike: names of files under it, their bytes, and what is put there."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Protocol, runtime_checkable

from umgclip.errors import DataError, InputError, TooLargeError
from umgclip.io.atomic import atomic_file, explain_os_errors
from umgclip.io.regular import NoFileError, open_regular
from umgclip.io.storage import Location, Storage, locate
from umgclip.io.streams import Stream


@dataclass(frozen=True)
class Entry:
    """A file under a place: its name with `/` between folders, its size, and a mark that changes with its content."""

    name: str
    bytes: int
    stamp: str


@runtime_checkable
class Place(Protocol):
    """A folder or S3 prefix. Names are relative; local ones may hold surrogates for bytes that are not UTF-8."""

    def entries(self) -> Iterator[Entry]:
        """Yield all files below, in no order."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of one file.

        Raises:
            DataError: there is none.
            TooLargeError: it has more than `limit` bytes; this is a DataError, too.
        """
        ...

    def open(self, name: str) -> Stream:
        """Open a file to read from front to end.

        Raises:
            DataError: there is none.
        """
        ...

    def seekable(self, name: str) -> BufferedReader:
        """Open a file to read parts of it in any order.

        Raises:
            DataError: there is none.
        """
        ...

    def exists(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None: there is none."""
        ...

    def put(self, path: Path, name: str) -> None:
        """Store a local file under a name; it appears whole or not at all."""
        ...

    def delete(self, name: str) -> None:
        """Take a file away; nothing happens where there is none."""
        ...

    def within(self, name: str) -> Place:
        """Return a folder below this one as a place."""
        ...


def place_at(where: str | Path) -> Place:
    """Return the place that a path or an `s3://` URL names.

    Raises:
        InputError: it is a URL of another kind.
    """
    if isinstance(where, str) and "://" in where:
        if not where.startswith("s3://"):
            raise InputError(f"expected a path or s3://BUCKET/PREFIX, got {where!r}")
        return Prefix(locate(where))
    return Folder(Path(where))


@dataclass(frozen=True)
class Folder:
    """A folder of a local file system."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def entries(self) -> Iterator[Entry]:
        """Yield all files in it and below, links followed once; a device, a pipe, a link to nothing cannot be read."""
        if not self.path.is_dir():
            raise DataError(f"{self.path}: expected a folder, found {'a file' if self.path.exists() else 'none'}")
        seen: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            inner = waiting.pop()
            try:
                status = (self.path / inner).stat()
                if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
                    continue
                seen.add((status.st_dev, status.st_ino))
                with os.scandir(self.path / inner) as listing:
                    for entry in listing:
                        name = f"{inner}/{entry.name}" if inner else entry.name
                        if entry.is_dir():
                            waiting.append(name)
                        elif entry.is_file():
                            about = entry.stat()
                            yield Entry(name, about.st_size, str(about.st_mtime_ns))
                        else:
                            yield Entry(name, 0, "no file")
            except OSError as error:
                raise DataError(f"{self.path / inner}: cannot be listed ({error.strerror})") from error

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of one file."""
        with self.open(name) as handle:
            size = os.fstat(handle.fileno()).st_size
            if size > limit:
                raise TooLargeError(f"{self.path / name}: expected at most {limit} bytes, got {size}")
            data = handle.read(size + 1)
            if len(data) > size:  # files of /proc and the like have more than their size says
                data += handle.read(limit + 1 - len(data))
            if len(data) > limit:
                raise TooLargeError(f"{self.path / name}: expected at most {limit} bytes, got more")
            return data

    def open(self, name: str) -> BufferedReader:
        """Open a file to read from front to end."""
        try:
            return open_regular(self.path / name)
        except (NoFileError, IsADirectoryError) as error:
            raise DataError(f"{self.path / name}: {error}") from error
        except (OSError, ValueError) as error:  # a null byte in the name is a ValueError
            raise DataError(f"{self.path / name}: cannot be read ({type(error).__name__})") from error

    def seekable(self, name: str) -> BufferedReader:
        """Open a file to read parts of it in any order."""
        return self.open(name)

    def exists(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        return (self.path / name).is_file()

    def size(self, name: str) -> int | None:
        """Return the size of a file in bytes."""
        return (self.path / name).stat().st_size if self.exists(name) else None

    def put(self, path: Path, name: str) -> None:
        """Link or copy a file to here."""
        target = self.path / name
        with explain_os_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                os.link(path, target)
            except OSError:  # another file system, or one without links
                with atomic_file(target) as temporary:
                    shutil.copyfile(path, temporary)

    def delete(self, name: str) -> None:
        """Delete a file from the folder."""
        (self.path / name).unlink(missing_ok=True)

    def within(self, name: str) -> Folder:
        """Return a folder below this one."""
        return Folder(self.path / name)


class Prefix:
    """Keys of a bucket that begin alike."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._storage = Storage()

    def __str__(self) -> str:
        return str(self.location)

    def __reduce__(self) -> tuple[type[Prefix], tuple[Location]]:
        return Prefix, (self.location,)  # a client does not travel to another process

    def entries(self) -> Iterator[Entry]:
        """Yield all objects below; placeholders of folders are left out."""
        base = self.location.key.rstrip("/")
        start = Location(self.location.bucket, f"{base}/" if base else "")
        for stored in self._storage.list(start):
            if not stored.location.key.endswith("/"):
                yield Entry(stored.location.key[len(start.key) :], stored.bytes, stored.etag)

    def read(self, name: str, limit: int) -> bytes:
        """Return the bytes of one object."""
        return self._storage.read(self.location / name, limit)

    def open(self, name: str) -> Stream:
        """Open an object as a stream of bytes."""
        return self._storage.open(self.location / name)

    def seekable(self, name: str) -> BufferedReader:
        """Open an object to read parts of it in any order, each by a request of its own."""
        return self._storage.seekable(self.location / name)

    def exists(self, name: str) -> bool:
        """Return whether an object of this name exists."""
        return self._storage.exists(self.location / name)

    def size(self, name: str) -> int | None:
        """Return the size of an object in bytes."""
        return self._storage.size(self.location / name)

    def put(self, path: Path, name: str) -> None:
        """Upload a local file as an object."""
        self._storage.put(path, self.location / name)

    def delete(self, name: str) -> None:
        """Delete one object from the bucket."""
        self._storage.delete(self.location / name)

    def within(self, name: str) -> Prefix:
        """Return a longer prefix as a place."""
        return Prefix(self.location / name)


@contextmanager
def placed(place: Place, name: str) -> Iterator[Path]:
    """Give a temporary local path; on success it becomes the file `name`, which appears whole or not at all.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
        InputError, StorageError: S3 refuses or does not answer.
    """
    if isinstance(place, Folder):
        with atomic_file(place.path / name) as temporary:
            yield temporary
        return
    with tempfile.TemporaryDirectory(prefix="umgclip-put-") as scratch:
        temporary = Path(scratch) / "file"
        yield temporary
        place.put(temporary, name)


def fetch(where: str | Path, into: Path) -> Path:
    """Return a file as a local path: itself, or a copy downloaded into a folder.

    Raises:
        DataError: there is none.
    """
    if isinstance(where, str) and where.startswith("s3://"):
        source = locate(where)
        path = into / source.key.rpartition("/")[2]
        Storage().get(source, path)
        return path
    path = Path(where)
    if not path.is_file():
        actual = "a folder" if path.is_dir() else "a device, a pipe or the like" if path.exists() else "none"
        raise DataError(f"{path}: expected a file, found {actual}")
    return path
