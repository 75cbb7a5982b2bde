"""Search for the image file that a table or a JSON file names: programs write the same name in many ways."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from umgclip.io.images import FORMAT_OF

_MOST = 64  # most files considered for one name
_DRIVE = re.compile(r"^[A-Za-z]:/")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # the prefix that Label Studio adds to uploaded files


class Match(NamedTuple):
    """The image files that fit a name.

    Attributes:
        names: the files: one, none, or several that fit equally well.
        exact: whether the path is the same.
    """

    names: list[bytes]
    exact: bool = False


def spellings(name: str) -> list[str]:
    """List the paths that a name may mean, the literal one first.

    A URL means its path, or the value of `d` in its query (Label Studio's local files). Backslashes are read as slashes
    and `%20` as a space. A drive, a leading slash and `./` are dropped: they belong to another machine.
    """
    candidates = [name]
    if "://" in name or name.startswith("/data/"):
        parts = urlsplit(name.replace("\\", "/"))
        candidates += [inner for inner in parse_qs(parts.query).get("d", [])] + [parts.path]
    candidates += [spelled.replace("\\", "/") for spelled in candidates]
    candidates += [unquote(spelled) for spelled in candidates]
    return list(dict.fromkeys(clean for spelled in candidates if (clean := plain_path(spelled))))


def plain_path(name: str) -> str:
    """Return a path in Unicode's composed form (NFC), without drive, leading slash, `.`, `..` and doubled slashes."""
    parts: list[str] = []
    for part in _DRIVE.sub("", unicodedata.normalize("NFC", name)).split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def tail_of(path: str) -> str:
    """Return a path reversed and in lower case, as `a.jpg/train/images/`: paths that end alike begin alike."""
    return "".join(f"{part}/" for part in reversed(path.casefold().split("/")))


class FileNames:
    """The files of a source, searched by the names that other programs give them.

    Args:
        db: with the table `files` and its columns `name`, `nfc`, `tail` and `extension`, the latter indexed.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def find(self, name: str) -> Match:
        """Find the image file of this path, else the one with the longest common ending, else one with a similar name.

        The ending is compared without case. A similar name has another extension, or lacks the prefix that Label Studio
        adds.
        """
        tried = spellings(name)
        for spelled in tried:
            rows = self._db.execute("SELECT name FROM files WHERE nfc = ?", (spelled,)).fetchall()
            if rows:
                return Match([row[0] for row in rows[:2]], exact=True)
        for search in (self._ending_alike, self._other_extension):
            for spelled in (*tried, *(short for path in tried if (short := _without_upload(path)))):
                if names := search(spelled):
                    return Match(names)
        return Match([])

    def _ending_alike(self, path: str) -> list[bytes]:
        parts = path.split("/")
        for first in range(len(parts)):
            rows = self._tails(tail_of("/".join(parts[first:])))
            if rows:
                same_case = [name for name, nfc in rows if nfc.endswith("/".join(parts[first:]))]
                return same_case if len(same_case) == 1 else [name for name, _ in rows]
        return []

    def _other_extension(self, path: str) -> list[bytes]:
        folder, _, base = path.rpartition("/")
        stem = base.rpartition(".")[0] if base.rpartition(".")[2].lower() in FORMAT_OF else base
        low = stem.casefold()
        rows = [row for row in self._tails(f"{low}.") if _stem(row[1]).casefold() == low]
        best: list[bytes] = []
        for shared in range(len(folder.split("/")) if folder else 0, -1, -1):
            wanted = tail_of("/".join(folder.split("/")[-shared:])) if shared else ""
            best = [name for name, nfc in rows if tail_of(nfc).partition("/")[2].startswith(wanted)]
            if best:
                break
        return best

    def _tails(self, begin: str) -> list[tuple[bytes, str]]:
        wanted = ", ".join(f"'{extension}'" for extension in sorted(FORMAT_OF))
        return self._db.execute(
            f"SELECT name, nfc FROM files WHERE tail >= ? AND tail < ? AND extension IN ({wanted}) "  # noqa: S608
            f"ORDER BY tail LIMIT {_MOST}",
            (begin, begin + "\U0010ffff"),
        ).fetchall()


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _without_upload(path: str) -> str:
    folder, slash, base = path.rpartition("/")
    short = _UPLOADED.sub("", base)
    return f"{folder}{slash}{short}" if short != base else ""


def several(names: list[bytes]) -> str:
    """Name at most two files for a message, and say whether there are more."""
    shown = [name.decode("utf-8", "backslashreplace") for name in names[:2]]
    return f"{' and '.join(shown)}{' and others' if len(names) > 2 else ''}"
