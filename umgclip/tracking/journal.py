"""A journal on disk of what a run logs, until MLflow has it: neither an outage nor a kill loses it.

One file a run, in the spool of the checkout. Line 1 says how many bytes were sent, line 2 whose they are, each further
line is one entry: values of metrics, a tag, a file, the end. The process of the run holds a lock on it; a file that
no process holds belongs to a run whose process died, or whose end could not be sent.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from umgclip.io.atomic import explain_os_errors
from umgclip.tracking.experiment import checkout

SPOOL = "UMGCLIP_SPOOL"
SUFFIX = ".jsonl"
_SENT_WIDTH = 20
_MOST_VALUES = 1000  # MLflow's limit on one log_batch
_logger = logging.getLogger(__name__)
Entry = Mapping[str, Any]


def spool_folder(root: Path) -> Path:
    """Return the folder with the journals of a checkout's runs: `UMGCLIP_SPOOL`, else `.umgclip/spool` in it."""
    named = os.environ.get(SPOOL, "").strip()
    return Path(named) if named else checkout(root) / ".umgclip" / "spool"


@dataclass(frozen=True)
class Owner:
    """The run that a journal is of, and the name of its store (a URI without its password)."""

    store: str
    run_id: str


class Journal:
    """Entries in the order of their coming; not safe between threads.

    Where the file cannot be written (full disk, no permission) entries wait in memory instead.
    """

    def __init__(self, owner: Owner, path: Path, file: BinaryIO | None) -> None:
        self.owner = owner
        self.path = path
        self.values = 0  # numbers that wait
        self.entries = 0
        self._file = file
        self._sent = self._end = 0
        self._memory: list[bytes] = []
        self._warned = False
        self._batch: tuple[int, int, int, int] = (0, 0, 0, 0)

    @classmethod
    def create(cls, folder: Path, owner: Owner) -> Journal:
        """Begin one; a folder that cannot be written costs a warning."""
        path = folder / f"{owner.run_id}{SUFFIX}"
        try:
            file = _new(path, owner)
        except OSError as error:
            _logger.warning("%s: cannot be written (%s); what MLflow misses is lost if it stays away", path, error)
            return cls(owner, path, None)
        journal = cls(owner, path, file)
        journal._sent = journal._end = path.stat().st_size
        return journal

    @classmethod
    def adopt(cls, path: Path) -> Journal | None:
        """Take over a journal; None if a process holds it, it is gone, or unreadable (then put aside)."""
        try:
            file = path.open("r+b")
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                return cls._read(path, file)
        except (BlockingIOError, FileNotFoundError):  # at work, or just ended
            pass
        except (ValueError, KeyError, TypeError) as error:
            _logger.warning("%s: expected the journal of a run, got %s; put aside", path, error)
            path.replace(path.with_suffix(".damaged"))
        file.close()
        return None

    @classmethod
    def _read(cls, path: Path, file: BinaryIO) -> Journal:
        sent = int(file.readline())
        header = json.loads(file.readline())
        journal = cls(Owner(str(header["store"]), str(header["run_id"])), path, file)
        journal._sent = journal._end = max(sent, file.tell())
        file.seek(journal._sent)
        for line in file:
            if not line.endswith(b"\n"):  # the writer died in the middle of it
                break
            journal._end += len(line)
            journal._count(json.loads(line), 1)
        return journal

    def append(self, entry: Entry) -> None:
        """Add an entry: on disk from now on, as far as a kill of this process goes."""
        if len(values := entry.get("metrics", {})) > _MOST_VALUES:
            names = list(values)
            for start in range(0, len(names), _MOST_VALUES):
                self.append({**entry, "metrics": {name: values[name] for name in names[start : start + _MOST_VALUES]}})
            return
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        if self._file is None or self._memory or not self._write(line):
            self._memory.append(line)
        self._count(entry, 1)

    def batch(self) -> list[Entry]:
        """Return the oldest waiting entries: metrics up to a request's limit, others singly; empty if none wait."""
        entries: list[Entry] = []
        sent = self._sent
        in_memory = values = 0
        for line, of_memory in self._lines():
            entry = json.loads(line)
            size = len(entry.get("metrics", ()))
            if entries and (size == 0 or "metrics" not in entries[0] or values + size > _MOST_VALUES):
                break
            entries.append(entry)
            values += size
            in_memory += of_memory
            sent += 0 if of_memory else len(line)
        self._batch = (sent, in_memory, values, len(entries))
        return entries

    def done(self) -> None:
        """Mark what `batch` returned last as delivered."""
        self._sent, in_memory, values, entries = self._batch
        self._batch = (self._sent, 0, 0, 0)
        del self._memory[:in_memory]
        self.values -= values
        self.entries -= entries
        if self._file is not None:
            with suppress(OSError):  # a batch that is sent twice changes nothing
                os.pwrite(self._file.fileno(), f"{self._sent:0{_SENT_WIDTH}d}".encode(), 0)

    def keep(self, path: Path) -> str:
        """Copy a file or a folder to be sent later, and return its name in the journal's own folder.

        Raises:
            OutputError: it cannot be written.
        """
        copy = self._files / f"{time.time_ns():x}" / path.name
        with explain_os_errors(copy):
            copy.parent.mkdir(parents=True)
            if path.is_dir():
                shutil.copytree(path, copy)
            else:
                shutil.copy2(path, copy)
        return str(copy.relative_to(self._files))

    def copy_of(self, name: str) -> Path:
        """Return the path of a file that `keep` copied."""
        return self._files / name

    def ended(self) -> bool:
        """Return whether the run's end is among the waiting entries."""
        return any("end" in json.loads(line) for line, _ in self._lines())

    def written_at_ms(self) -> int:
        """Return the time of the last entry, in ms since 1970."""
        return int(self.path.stat().st_mtime * 1000)

    def close(self, *, remove: bool) -> None:
        """Release the file; without `remove` the next run, or `umgclip sync`, sends the entries that wait."""
        if remove and self._file is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
            shutil.rmtree(self._files, ignore_errors=True)
        if self._file is not None:
            fcntl.flock(self._file, fcntl.LOCK_UN)  # a forked worker may have the file open, too
            self._file.close()
            self._file = None

    @property
    def lost(self) -> int:
        """Entries that are in memory alone."""
        return len(self._memory)

    @property
    def _files(self) -> Path:
        return self.path.with_suffix(".files")

    def _lines(self) -> Iterator[tuple[bytes, bool]]:
        if self._file is not None and self._sent < self._end:
            self._file.seek(self._sent)
            at = self._sent
            while at < self._end:
                line = self._file.readline()
                at += len(line)
                yield line, False
        yield from ((line, True) for line in self._memory)

    def _write(self, line: bytes) -> bool:
        assert self._file is not None  # noqa: S101 - for the type checker
        try:
            if os.pwrite(self._file.fileno(), line, self._end) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            if not self._warned:
                _logger.warning("%s: cannot be written (%s); what follows waits in memory", self.path, error)
            self._warned = True
            with suppress(OSError):
                os.ftruncate(self._file.fileno(), self._end)
            return False
        self._end += len(line)
        return True

    def _count(self, entry: Entry, entries: int) -> None:
        self.values += len(entry.get("metrics", ()))
        self.entries += entries


def _new(path: Path, owner: Owner) -> BinaryIO:
    """Create a journal's file, locked before anybody can see it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".new")
    header = json.dumps({"store": owner.store, "run_id": owner.run_id, "pid": os.getpid()})
    file = os.fdopen(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.pwrite(file.fileno(), f"{0:0{_SENT_WIDTH}d}\n{header}\n".encode(), 0)
        unfinished.replace(path)
    except OSError:
        file.close()
        unfinished.unlink(missing_ok=True)
        raise
    return file
