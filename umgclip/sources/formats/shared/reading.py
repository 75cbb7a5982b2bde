"""Reading image files and what lies beside them, from a folder or from S3, a few ahead where it takes a while."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from umgclip.errors import DataError, OutputError, StorageError, TooLargeError
from umgclip.io.json_text import parse
from umgclip.io.places import Folder, Place
from umgclip.io.texts import decode
from umgclip.safe_text import line_of
from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.note import BoxForm, Note, Problem, Speaker, only_numbers, shown

UNFORESEEN = "import_error"  # the reason of what no importer thought of
# what every other image would meet too: a store that does not answer, a full disk, a broken plan
COMMON_TROUBLE = (StorageError, OutputError, sqlite3.Error)
AHEAD = 16  # requests on their way at once; so many images are held in memory
_SIDECAR_BYTES = 64 << 20
_T = TypeVar("_T")


_ahead: ContextVar[int] = ContextVar("ahead", default=AHEAD)


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Read nothing ahead, so that what ends the process is the image that is asked for."""
    token = _ahead.set(1)
    try:
        yield
    finally:
        _ahead.reset(token)


def unforeseen(error: Exception) -> Problem:
    """The problem of an image about which something was raised that its importer did not think of."""
    return Problem(UNFORESEEN, line_of(error))


def in_order(loads: Iterable[Callable[[], _T]], place: Place) -> Iterator[_T]:
    """What the calls return, in their order; those to S3 are made ahead by threads."""
    if isinstance(place, Folder) or _ahead.get() == 1:
        for load in loads:
            yield load()
        return
    with ThreadPoolExecutor(AHEAD, thread_name_prefix="import") as threads:
        waiting: deque[Future[_T]] = deque()
        try:
            for load in loads:
                waiting.append(threads.submit(load))
                if len(waiting) >= AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def read_image(place: Place, name: str, limit: int) -> bytes | Problem:
    """The bytes of an image file, or why there are none."""
    try:
        return place.read(name, limit)
    except TooLargeError as error:
        return Problem("too_large", str(error))
    except DataError as error:
        exists = place.exists(name) or "expected a file" in str(error)  # a device or a pipe
        return Problem("unreadable" if exists else "no_image", str(error))


def read_beside(
    place: Place, names: Iterable[str], speaker: Speaker, form: BoxForm, encoding: str | None = None
) -> Note:
    """What text and JSON files beside an image say: a caption a line, or whatever the JSON holds.

    Args:
        place: where they lie.
        names: of the files.
        speaker: who says it.
        form: how four numbers of a box are read.
        encoding: of files whose first bytes do not tell it; None: UTF-8.
    """
    note = Note()
    for name in names:
        try:
            content = decode(place.read(name, _SIDECAR_BYTES), encoding)
            if not name.lower().endswith(".json"):
                _captions(note, shown(name), content, speaker)
            else:
                note.merge(read_note(parse(content), speaker, form))
        except (DataError, ValueError) as error:
            note.problems.append(Problem("bad_text", f"{shown(name)}: {why(error)}"))
    return note


def why(error: Exception) -> str:
    """What is wrong with a text, and what helps."""
    helps = "; --encoding names the right one, such as latin-1" if isinstance(error, UnicodeError) else ""
    return f"{type(error).__name__}: {error}{helps}"


def _captions(note: Note, name: str, content: str, speaker: Speaker) -> None:
    """A caption a line; a file of numbers alone is one of labels."""
    note.captions = note.captions or []
    lines = [line for line in content.splitlines() if line.strip()]
    if lines and all(map(only_numbers, lines)):
        what = f"{name}: expected a caption a line, got numbers alone in {len(lines)} lines: {lines[0][:60]!r}"
        note.problems.append(Problem("bad_text", f"{what}; labels of YOLO are read by `umgclip data import yolo`"))
        return
    for line in lines:
        note.caption(line, speaker.captions)
