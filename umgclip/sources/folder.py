"""Image files in a folder, with captions in a table or in files beside them; UMG-41M is a folder with JSON files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch
from umgclip.io.texts import decode
from umgclip.sources.captions import CaptionTable
from umgclip.sources.found import Found, Note, Problem, shown
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.reading import in_order, read_beside, read_image
from umgclip.sources.request import HUMAN, Request
from umgclip.wording import first_spellings, name_key, tidy

BESIDE = ("txt", "caption", "json")
_REPEATED = "rows of the table that say again what another said"
_NO_CLASS = Problem("no_class", "expected an image in the folder of its class")


def plan_folder(request: Request, plan: Plan, place: Place, working: Path) -> None:
    """List the files; read the table of captions."""
    plan.add_files(entry for entry in place.entries() if not _is_hidden(entry.name))
    plan.plan_files(FORMAT_OF)
    plan.state("other_files", plan.other_files((*FORMAT_OF, *BESIDE)))
    if request.captions:
        table = fetch(request.captions, working)
        plan.seen("captions", sha256_file(table))
        plan.add_rows(CaptionTable(table, request, plan).rows())
        plan.match_rows("caption")
    if request.labels == "folders":
        names = read_class_names(request.class_names, working)
        if request.class_names:
            plan.seen("class_names", names)
        spelled = first_spellings(_class_of(folder, names) for folder in map(shown, plan.folders()))
        names |= {folder: spelled[name_key(_class_of(folder, names))] for folder in map(shown, plan.folders())}
        plan.state("class_names", names)
        plan.state("classes", {"things": sorted(spelled.values()), "stuff": []})


def read_folder(request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions."""
    names = plan.fact("class_names") or {}

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            note = Note()
            for _, text in plan.extras(item.position):
                had = len(note.captions or [])
                note.caption(text, request.speaker.captions)
                if len(note.captions or []) == had:
                    note.told[_REPEATED] += 1
            _label(note, item, request, names)
            yield partial(_load, request, place, item, plan.beside(item.name, BESIDE), note, limit)

    yield from in_order(loads(), place)


def _load(request: Request, place: Place, item: Item, beside: list[str], note: Note, limit: int) -> Found:
    note.join(read_beside(place, beside, request.speaker, request.box_format, request.encoding))
    data: bytes | Problem = _NO_CLASS
    if request.labels == "folders" and note.single is None and request.split == "train":
        note.problems.append(_NO_CLASS)
    if request.labels == "none" or note.single is not None or request.split == "train":
        data = read_image(place, item.name, limit)
    return Found(shown(item.name), data, extension_of(item.name), note)


def _is_hidden(name: str) -> bool:
    """Whether a file or one of its folders begins with a dot, as those that systems leave behind do."""
    return name.startswith(".") or "/." in name or "__MACOSX/" in name


def _label(note: Note, item: Item, request: Request, names: dict[str, str]) -> None:
    if request.labels != "folders":
        return
    folder, _, rest = shown(item.name).partition("/")
    if rest:
        note.single = _class_of(folder, names)
        note.tag(note.single, HUMAN)


def _class_of(folder: str, names: dict[str, str]) -> str:
    return names.get(folder) or tidy(folder.replace("_", " "))


def read_class_names(where: str | None, working: Path) -> dict[str, str]:
    """Names of classes by folder (JSON object, or lines of folder, tab, name) or by number (JSON array, or lines).

    Raises:
        InputError: the file holds something else.
        DataError: there is no such file.
    """
    if where is None:
        return {}
    path = fetch(where, working)
    try:
        text = decode(path.read_bytes())
        content = json.loads(text) if path.suffix.lower() == ".json" else None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path}: expected names of classes as lines or JSON in UTF-8, got another file: {error}"
        ) from error
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        named = {str(key): value for key, value in pairs}
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        named = {
            line.partition("\t")[0] if "\t" in line else str(number): line.rpartition("\t")[2]
            for number, line in enumerate(lines)
        }
    if not named or not all(isinstance(name, str) and tidy(name) for name in named.values()):
        raise InputError(f"{path}: expected a name for each class, got {str(named)[:80]}")
    return {key: tidy(name) for key, name in named.items()}
