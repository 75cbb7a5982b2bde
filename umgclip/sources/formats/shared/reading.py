"""Reading of image files and the files beside them, from a folder or from S3, where requests are made ahead."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from umgclip.errors import DataError, OutputError, StorageError, TooLargeError
from umgclip.io.json_text import parse
from umgclip.io.places import Folder, Place
from umgclip.io.texts import decode
from umgclip.safe_text import line_of
from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.note import BoxForm, Note, Problem, Speaker, only_numbers, shown

UNFORESEEN = "import_error"  # reason code of an error that no importer foresaw
# errors that every other image would hit, too: S3 does not answer, a full disk, a damaged plan
COMMON_TROUBLE = (StorageError, OutputError, sqlite3.Error)
AHEAD = 16  # concurrent requests; as many images are held in memory
_SIDECAR_BYTES = 64 << 20
_T = TypeVar("_T")


_alone: ContextVar[bool] = ContextVar("alone", default=False)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Disable reading ahead, so that if the process dies, the requested image is the cause."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def unforeseen(error: Exception) -> Problem:
    """Return the problem for an image that raised an exception which its importer did not expect."""
    return Problem(UNFORESEEN, line_of(error))


def in_order(loads: Iterable[Callable[[], _T]], source: Place) -> Iterator[_T]:
    """Yield the results of the calls in their order; calls to S3 are made ahead by threads."""
    if isinstance(source, Folder):
        return (load() for load in loads)
    return made_ahead(loads, threads=AHEAD, most=AHEAD)


def made_ahead(calls: Iterable[Callable[[], _T]], *, threads: int, most: int) -> Iterator[_T]:
    """Yield the results of the calls in their order, while threads make the next ones, unless `one_at_a_time`.

    Args:
        calls: taken by the thread that takes the results.
        threads: that make calls.
        most: calls that are made or wait for their result to be taken.
    """
    if _alone.get():
        for call in calls:
            yield call()
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="import") as executor:
        waiting: deque[Future[_T]] = deque()
        try:
            for call in calls:
                waiting.append(executor.submit(call))
                if len(waiting) >= most:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_image(source: Place, name: str, limit: int) -> bytes | Problem:
    """Read an image file; return its bytes, or the problem if it is unreadable or not below the source."""
    if name.startswith("/") or ".." in name.split("/"):
        return Problem("no_image", f"expected a path below {source}, got {shown(name)}")
    try:
        return source.read(name, limit)
    except TooLargeError as error:
        return Problem("too_large", str(error))
    except DataError as error:
        exists = source.exists(name) or "expected a file" in str(error)  # a device or a pipe
        return Problem("unreadable" if exists else "no_image", str(error))


def local_copy(source: Place, name: str, working: Path) -> Path:
    """Return a file of the source as a local path; one in S3 is downloaded, for formats that read places in it."""
    if isinstance(source, Folder):
        return source.path / name
    path = working / name.replace("/", "_")
    with source.open(name) as stream, path.open("wb") as target:
        while piece := stream.read(1 << 20):
            target.write(piece)
    return path


def read_beside(
    source: Place, names: Iterable[str], speaker: Speaker, form: BoxForm, encoding: str | None = None
) -> Note:
    """Read text and JSON files beside an image: one caption per line, or whatever the JSON states.

    Args:
        source: the folder or S3 prefix that holds them.
        names: names of the files.
        speaker: authors of the texts.
        form: order of the four numbers of a box.
        encoding: encoding of files without a byte order mark; None: UTF-8.
    """
    note = Note()
    for name in names:
        try:
            content = decode(source.read(name, _SIDECAR_BYTES), encoding)
            if not name.lower().endswith(".json"):
                _captions(note, shown(name), content, speaker)
            else:
                note.merge(read_note(parse(content), speaker, form))
        except (DataError, ValueError) as error:
            note.problems.append(Problem("bad_text", f"{shown(name)}: {why(error)}"))
    return note


def why(error: Exception) -> str:
    """Describe an error in a text, with the option that may help."""
    helps = "; --encoding names the right one, such as latin-1" if isinstance(error, UnicodeError) else ""
    return f"{type(error).__name__}: {error}{helps}"


def _captions(note: Note, name: str, content: str, speaker: Speaker) -> None:
    """Add one caption per line; a file of numbers only holds labels and is a problem."""
    note.captions = note.captions or []
    lines = [line for line in content.splitlines() if line.strip()]
    if lines and all(map(only_numbers, lines)):
        what = f"{name}: expected a caption a line, got numbers alone in {len(lines)} lines: {lines[0][:60]!r}"
        note.problems.append(Problem("bad_text", f"{what}; `umgclip data import yolo` reads YOLO labels"))
        return
    for line in lines:
        note.caption(line, speaker.captions)
