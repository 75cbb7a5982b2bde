"""Image files in a folder, with captions in a table or in files beside them; UMG-41M is a folder with JSON files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from umgclip.data.wording import first_spellings, name_key, tidy
from umgclip.io.atomic import sha256_file
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch
from umgclip.sources.formats.other_formats import refuse_other_formats, tell_unread_tables
from umgclip.sources.formats.shared.caption_tables import CaptionTable
from umgclip.sources.formats.shared.labels import read_class_names
from umgclip.sources.formats.shared.reading import in_order, read_beside, read_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import HUMAN, Request
from umgclip.sources.source_files import extension_of, is_hidden

BESIDE = ("txt", "caption", "json")
_REPEATED = "rows of the table that say again what another said"
_NO_CLASS = Problem("no_class", "expected an image in the folder of its class")


def plan_folder(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the files of a folder and read the table of captions, if any."""
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    plan.plan_files(FORMAT_OF)
    others = Counter(plan.other_files((*FORMAT_OF, *BESIDE)))
    plan.state("other_files", others + Counter(plan.lone_files(BESIDE)))
    if request.kind == "folder" and not request.captions:
        if request.labels == "none" and not request.ignore_labels:
            refuse_other_formats(plan, source, request.source)
        tell_unread_tables(plan)
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


def read_folder(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    names = plan.fact("class_names") or {}

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            note = Note()
            for _, text in plan.extras(item.position):
                had = len(note.captions or []) + len(note.problems)
                note.caption(text, request.speaker.captions)
                if len(note.captions or []) + len(note.problems) == had:
                    note.told[_REPEATED] += 1
            _label(note, item, request, names)
            yield partial(_load, request, source, item, plan.beside(item.name, BESIDE), note, limit)

    yield from in_order(loads(), source)


def _load(
    request: Request, source: Place, item: PlannedImage, beside: list[str], note: Note, limit: int
) -> SourceImage:
    note.merge(read_beside(source, beside, request.speaker, request.box_format, request.encoding))
    data: bytes | Problem = _NO_CLASS
    if request.labels == "folders" and note.single is None and request.split == "train":
        note.problems.append(_NO_CLASS)
    if request.labels == "none" or note.single is not None or request.split == "train":
        data = read_image(source, item.name, limit)
    return SourceImage(shown(item.name), data, extension_of(item.name), note)


def _label(note: Note, item: PlannedImage, request: Request, names: dict[str, str]) -> None:
    if request.labels != "folders":
        return
    folder, _, rest = shown(item.name).partition("/")
    if rest:
        note.single = _class_of(folder, names)
        note.tag(note.single, HUMAN)


def _class_of(folder: str, names: dict[str, str]) -> str:
    return names.get(folder) or tidy(folder.replace("_", " "))
