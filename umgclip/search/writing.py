"""One writer at a time for an index: a file lock beside a folder, a lock object in S3."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

from umgclip.errors import DataError, InputError, UmgclipError
from umgclip.io import locks
from umgclip.io.storage import Location, Storage, locate

LOCK = "writer.json"
_ALIVE_S, _BEAT_S = 600.0, 60.0  # a lock without a sign of life for so long is that of a dead process
_MOST_BYTES = 1 << 16
_log = logging.getLogger(__name__)


@contextmanager
def only_writer(out: str | Path) -> Iterator[None]:
    """Keep other processes from writing an index until the block ends; in S3 also those of other machines.

    A lock in a folder ends with its process. One in S3 is renewed every minute; ten minutes after the last renewal it
    counts for nothing.

    Raises:
        InputError: another process is at work on the index; names it.
        OutputError, StorageError: no lock can be made there.
    """
    if not str(out).startswith("s3://"):
        with locks.only_writer(Path(out)):
            yield
        return
    where, storage = locate(str(out)) / LOCK, Storage()
    etag = _taken(storage, where, str(out))
    ended = Event()
    beat = Thread(target=_renew, args=(storage, where, etag, ended), daemon=True)
    beat.start()
    try:
        yield
    finally:
        ended.set()
        beat.join()
        storage.delete(where)


def _content() -> bytes:
    return json.dumps({"host": socket.gethostname(), "process": os.getpid(), "at": time.time()}).encode()


def _taken(storage: Storage, where: Location, out: str) -> str:
    """Write the lock object and return its mark."""
    if (etag := storage.swap(where, _content(), None)) is not None:
        return etag
    with storage.open(where) as stream:
        holder, mark = _read(stream.read(_MOST_BYTES)), stream.etag
    age = time.time() - holder["at"]
    if age > _ALIVE_S and (etag := storage.swap(where, _content(), mark)) is not None:
        return etag
    raise InputError(
        f"--out: process {holder['process']} of {holder['host']} is at work on {out} (last sign {max(0, age):.0f} s "
        f"ago); wait for it, or name another place; if it was killed, wait {_ALIVE_S / 60:.0f} minutes from that sign"
    )


def _read(data: bytes) -> dict[str, Any]:
    try:
        content = json.loads(data)
        return {"host": str(content["host"]), "process": int(content["process"]), "at": float(content["at"])}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{LOCK}: expected the lock of an index, got {data[:80]!r}; delete it") from error


def _renew(storage: Storage, where: Location, etag: str, ended: Event) -> None:
    while not ended.wait(_BEAT_S):
        try:
            following = storage.swap(where, _content(), etag)
        except UmgclipError as error:
            _log.warning("%s: the lock could not be renewed: %s", where, error)
            continue
        if following is None:
            _log.warning("%s: another process took the lock; stop one of the two", where)
            return
        etag = following
