"""Planning of a COCO import: every JSON file is read once as a stream, and none is held in memory."""

from __future__ import annotations

from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.images import orientation_of
from umgclip.io.places import Place, fetch, place_at
from umgclip.sources.formats.coco.categories import Categories, join
from umgclip.sources.formats.coco.elements import CocoFile
from umgclip.sources.formats.coco.listing import Listing
from umgclip.sources.formats.coco.umgclip_fields import with_classes
from umgclip.sources.formats.shared.labels import class_list
from umgclip.sources.formats.shared.origins import COCO
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request

_SUSPECTS = 20  # most images checked to learn how a file measures turned images
_LOOK_BYTES = 256 << 20


def plan_coco(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Read the JSON files, one after the other, and find the images that they list."""
    files = _files(request, working)
    plan.add_files(source.entries())
    listing = Listing(plan, [file.path for file in files])
    for file in files:
        plan.seen(file.kind, sha256_file(file.path))
        plan.add_rows(file.read(plan, listing))
    _check_masks(request)
    listing.resolve()
    listing.give_rows([file.kind for file in files])
    plan.state("kinds", {str(file.number): file.kind for file in files})
    plan.state("licenses", {f"{file.number}:{key}": text for file in files for key, text in file.licenses.items()})
    plan.state("exchanged", [str(file.number) for file in files if _is_exchanged(file, listing, source)])
    _state_labels(files, plan)


def _files(request: Request, working: Path) -> list[CocoFile]:
    given = [("caption", request.captions), *(("instance", path) for path in request.annotations)]
    given.append(("segments", request.panoptic))
    wanted = [(kind, where) for kind, where in given if where]
    if not wanted:
        raise InputError("coco: expected --captions, --instances or --panoptic, got none of them")
    files: list[CocoFile] = []
    known: dict[tuple[str, str], str] = {}
    for number, (kind, where) in enumerate(wanted):
        path = _fetched(where, working / str(number))
        content = kind, sha256_file(path)
        if content in known:
            raise InputError(f"coco: expected each file once, {where} and {known[content]} are the same")
        known[content] = where
        files.append(CocoFile(number, kind, path, Categories(where)))
    return files


def _fetched(where: str, working: Path) -> Path:
    working.mkdir(exist_ok=True)  # files from different folders may have the same name
    try:
        return fetch(where, working)
    except DataError as error:
        raise COCO.missing(where, "a file") from error


def open_masks(request: Request) -> Place | None:
    """Open the folder of the PNG files: the given one, or the folder beside the JSON with its name, as in COCO."""
    if not request.panoptic:
        return None
    return place_at(request.panoptic_masks or request.panoptic.removesuffix(".json"))


def _check_masks(request: Request) -> None:
    """Check that the folder of masks has any file: one missing PNG costs its image, all of them stop the import."""
    masks = open_masks(request)
    try:
        there = masks is None or any(True for _ in masks.entries())
    except DataError:
        there = False
    if not there:
        raise COCO.missing(masks, "the PNG files of the segments, or --panoptic-masks")


def _is_exchanged(file: CocoFile, listing: Listing, source: Place) -> bool:
    """Return whether boxes of turned images only fit if width and height of the file are exchanged.

    Label Studio, for one, shows an image upright but writes the size of its file.
    """
    for name, size in listing.suspects(file.number, _SUSPECTS):
        try:
            turn, raw = orientation_of(source.read(name, _LOOK_BYTES))
        except DataError:
            continue
        if turn >= 5 and size in (raw, raw[::-1]):
            return True
    return False


def _state_labels(files: list[CocoFile], plan: ImportPlan) -> None:
    joined = join((file.number, file.categories) for file in files)
    plan.state("labels", joined.labels)
    for file in files:
        plan.tell("root categories that name nothing, left out", len(file.categories.roots()))
        nameless = sum(not c.names and not c.is_none for c in file.categories.by_id.values())
        plan.tell("categories without name", nameless)
        plan.tell("categories of one name, with their ids behind it", file.categories.shared())
    classes = joined.classes()
    if classes:
        listed = class_list(classes, groups=joined.groups)
        for file in files:
            listed = with_classes(listed, file.ours, file.categories.where)
        plan.state("classes", listed)
