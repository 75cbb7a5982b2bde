"""WebDataset tars: of img2dataset, of this package, or any with images beside texts and JSON."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from pydantic import ValidationError

from umgclip.errors import StorageError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place
from umgclip.io.shards import Tail
from umgclip.io.streams import Stream
from umgclip.manifest import MANIFEST, Manifest
from umgclip.sources.folder import read_class_names
from umgclip.sources.found import Found, Note, Problem, shown
from umgclip.sources.notes import read_note
from umgclip.sources.plan import Plan
from umgclip.sources.request import HUMAN, Request

TARS = ("tar", "tgz", "gz")
_TEXTS = ("txt", "caption", "text", "alt")
_LABELS = ("cls", "class")
_OURS = "teacher.npy"
_MANIFEST_BYTES = 256 << 20
_KNOWN = frozenset((*FORMAT_OF, *_TEXTS, *_LABELS, "json"))


def plan_tars(request: Request, plan: Plan, place: Place, working: Path) -> None:
    """List the tars; classes come from a manifest of ours beside them, or from a file of names."""
    plan.add_files(entry for entry in place.entries() if not entry.name.rpartition("/")[2].startswith("."))
    plan.plan_files(TARS)
    plan.state("other_files", {})
    names = read_class_names(request.class_names, working)
    if names:
        plan.seen("class_names", names)
        plan.state("class_names", names)
        plan.state("classes", {"things": list(dict.fromkeys(names.values())), "stuff": []})
    elif place.exists(MANIFEST):
        try:
            classes = Manifest.model_validate_json(place.read(MANIFEST, _MANIFEST_BYTES)).classes
        except ValidationError:
            return  # somebody else's manifest
        if classes is not None:
            plan.state("classes", classes.model_dump())


def read_tars(request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some tars. A tar that breaks off gives what it holds up to there, and a problem."""
    for item in plan.items(*span):
        for key, parts in read_groups(place, item.name, limit):
            yield _found(f"{shown(item.name)}:{key}", parts, request, plan)


def read_groups(place: Place, name: str, limit: int) -> Iterator[tuple[str, dict[str, bytes | Problem]]]:
    """The samples of a tar: key, and what it holds by extension; the extension "" is why it breaks off."""
    with place.open(name) as handle:
        yield from _groups(handle, limit, packed=not name.endswith(".tar"))


def _groups(handle: Stream, limit: int, *, packed: bool) -> Iterator[tuple[str, dict[str, bytes | Problem]]]:
    """Neighbouring members of one name, by extension."""
    pending: dict[str, bytes | Problem] = {}
    current, tail = "", Tail(handle)
    try:
        with tarfile.open(fileobj=cast(BinaryIO, tail), mode="r|*") as tar:
            for info in tar:
                if not info.isfile() or info.name.rpartition("/")[2].startswith("."):
                    continue
                key, extension = _split(info.name, current, pending)
                if key != current and pending:
                    yield shown(current), pending
                    pending = {}
                current = key
                pending[extension] = _content(tar, info, limit)
        if not packed and any(tail.drained()):
            raise EOFError("no end-of-archive mark")
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, StorageError):
            raise
        if pending:
            yield shown(current), pending
        broken = Problem("truncated_tar", f"after {shown(current) or 'nothing'}: {type(error).__name__}: {error}")
        yield "(end)", {"": broken}
        return
    if pending:
        yield shown(current), pending


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo, limit: int) -> bytes | Problem:
    if info.size > limit:
        return Problem("too_large", f"expected at most {limit} bytes, got {info.size}")
    member = tar.extractfile(info)
    data = member.read() if member else b""
    if len(data) != info.size:
        raise EOFError(f"expected {info.size} bytes of {info.name}, got {len(data)}")
    return data


def _split(name: str, current: str, pending: dict[str, bytes | Problem]) -> tuple[str, str]:
    """Key and extension: the first dot of the name parts them, or the last where the rest is no extension we know.

    So `a.jpg` and `a.seg.png` are one sample, and `22.05.jpg` and `22.06.jpg` are two.
    """
    folder, slash, base = name.rpartition("/")
    stem, _, extension = base.partition(".")
    key = f"{folder}{slash}{stem}"
    extension = extension.lower()
    if extension in _KNOWN or extension == _OURS or "." not in extension:
        return key, extension
    last = extension.rpartition(".")[2]
    has_image = key == current and any(part in FORMAT_OF for part in pending)
    if last in _KNOWN and not has_image:
        return name[: -len(last) - 1], last
    return key, extension


def _found(name: str, parts: dict[str, bytes | Problem], request: Request, plan: Plan) -> Found:
    note = Note()
    extension = next((e for e in parts if e in FORMAT_OF), "")
    for part, content in parts.items():
        if part == extension:
            continue
        if isinstance(content, Problem):
            note.problems.append(content)
        elif part == "json":
            _read_json(note, content, request)
        elif part in _TEXTS:
            _read_text(note, content, request)
        elif part in _LABELS:
            _read_label(note, content, plan)
        elif part != _OURS:
            note.unknown[f".{part}"] += 1
    if "" in parts and isinstance(parts[""], Problem):
        return Found(name, parts[""], "", Note())
    data = parts.get(extension, Problem("no_image", f"expected an image among {sorted(parts)}"))
    return Found(name, data, extension, note)


def _read_json(note: Note, content: bytes, request: Request) -> None:
    try:
        note.join(read_note(json.loads(content), request.speaker, request.box_format))
    except (ValueError, RecursionError) as error:
        note.problems.append(Problem("bad_text", f"json: {type(error).__name__}: {error}"))


def _read_text(note: Note, content: bytes, request: Request) -> None:
    try:
        note.caption(content.decode("utf-8-sig"), request.speaker.captions)
    except UnicodeDecodeError as error:
        note.problems.append(Problem("bad_text", f"txt: {error}"))
    note.captions = note.captions or []


def _read_label(note: Note, content: bytes, plan: Plan) -> None:
    number = content.decode("ascii", "replace").strip()
    name = (plan.fact("class_names") or {}).get(number)
    if name is None:
        note.problems.append(Problem("no_class", f"class {number!r}: expected its name in --class-names"))
        return
    note.single = name
    note.tag(name, HUMAN)
