"""Pascal VOC: one XML file per image with boxes of objects, in `Annotations` next to `JPEGImages` or beside the image.

VOC counts pixels from 1, and the last pixel of a box belongs to it: `xmin` 1 and `xmax` 10 are the first ten pixels,
from 0 to 10. Source: the VOC 2012 development kit, section 4.1.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.records import Text
from umgclip.sources.formats.shared.annotation_files import (
    ALL,
    Form,
    Subset,
    chosen_subset,
    plan_labelled,
    read_labelled,
)  # fmt: skip
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden

_FILENAME = re.compile(rb"<filename>\s*([^<]+?)\s*</filename>")


def _image_of(data: bytes) -> str | None:
    match = _FILENAME.search(data)
    return html.unescape(match[1].decode("utf-8", "replace")) if match else None


FORM = Form(
    "Pascal VOC's XML", "xml",
    (("JPEGImages", "Annotations"), ("images", "annotations"), ("images", "Annotations"), ("images", "labels")),
    image_of=_image_of,
)  # fmt: skip
SETS = "ImageSets"
_IMAGES = "JPEGImages"
_FLAGS = ("difficult", "truncated", "occluded")
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")
_DECLARED = re.compile(rb"\s*<\?xml[^>]*encoding=[\"']([A-Za-z0-9_.-]+)[\"']")
_KNOWN = frozenset(("name", "bndbox", "pose", "part", *_FLAGS))
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_LIST_BYTES = 256 << 20


def plan_voc(request: Request, plan: ImportPlan, source: Place, _working: Path) -> None:
    """Find the images of the subset and the XML file of each.

    Raises:
        InputError: there is no such subset.
        DataError: there is no XML.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    lists: dict[str, _Listed] = {}
    names = [name for name in plan.file_names(["txt"]) if f"/{SETS}/" in f"/{name}"]
    names = [name for name in names if f"/{SETS}/Main/" in f"/{name}"] or names
    for name in names:
        root, _, base = name.rpartition(f"{SETS}/")
        if "_" not in base:  # aeroplane_train.txt lists the images with one class
            called = base.rpartition("/")[2].removesuffix(".txt")
            lists.setdefault(called, _Listed(plan, source, request.encoding)).files.append((root, name))
    known = {name: listed for name, listed in lists.items() if request.subset or name in ("train", "val")}
    subset = chosen_subset(request, dict(known), source)
    plan_labelled(plan, source, FORM, _photographs(plan, subset))
    if isinstance(subset.holds, _Listed):
        subset.holds.report()
    plan.seen("subset", subset.name)
    plan.state("other_files", plan.other_files((*FORMAT_OF, "xml", "txt")))


def _photographs(plan: ImportPlan, subset: Subset) -> Subset:
    """Restrict a subset to `JPEGImages`, if there is such a folder: `SegmentationClass` holds maps."""
    inside = f"/{_IMAGES}/"
    if not any(inside in f"/{name}" for name in plan.file_names(FORMAT_OF)):
        return subset
    name = _IMAGES if subset.name == ALL else subset.name
    return Subset(name, lambda path: inside in f"/{path}" and subset.holds(path))


class _Listed:
    """Membership test of a subset: one list for each root, such as VOC2007 and VOC2012."""

    def __init__(self, plan: ImportPlan, source: Place, encoding: str | None) -> None:
        self._plan, self._source, self._encoding = plan, source, encoding
        self.files: list[tuple[str, str]] = []
        self._left: dict[str, set[str]] | None = None
        self._ids: dict[str, frozenset[str]] = {}

    def __call__(self, name: str) -> bool:
        if self._left is None:
            self._left = {}
            for root, path in self.files:
                self._left.setdefault(root, set()).update(self._read(path))
            self._ids = {root: frozenset(ids) for root, ids in self._left.items()}
        folder, _, base = name.rpartition("/")
        stem = base.rpartition(".")[0]
        for root, ids in self._ids.items():
            inner = folder.removeprefix(root).partition("/")[2]
            called = [one for one in (stem, f"{inner}/{stem}", base) if one in ids]
            if name.startswith(root) and called:
                self._left[root].difference_update(called)
                return True
        return False

    def _read(self, path: str) -> Iterator[str]:
        try:
            text = decode(self._source.read(path, _LIST_BYTES), self._encoding)
        except UnicodeError as error:
            raise InputError(f"{shown(path)}: expected names of images in UTF-8, got other bytes") from error
        for line in filter(str.strip, text.splitlines()):
            name, _, flag = line.strip().rpartition(" ")
            yield name.strip() if flag in ("1", "0", "-1") and name else line.strip()

    def report(self) -> None:
        """Report the names in the lists that no image has."""
        for ids in (self._left or {}).values():
            for name in sorted(ids):
                self._plan.add_problem(name, Problem("no_image", f"a line of {shown(self.files[0][1])}: no such image"))


def read_voc(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; one without XML has no statement about regions."""
    yield from read_labelled(plan, source, span, limit, partial(_note, request=request))


def _note(data: bytes, name: str, request: Request) -> Note:
    """Parse an XML file into a note.

    Raises:
        ValueError: it is not XML, or not Pascal VOC's.
    """
    root = _parsed(data, request.encoding)
    note = Note(tags=[], regions=[])
    size = [_number(root.findtext(f"size/{side}")) for side in ("width", "height")]
    if size[0] and size[1] and min(size[0], size[1]) >= 1:
        note.size_wh = (int(size[0]), int(size[1]))
    elif root.find("size") is not None:
        note.told["VOC files that give no size of their image"] += 1
    called = (root.findtext("filename") or "").replace("\\", "/").strip().rpartition("/")[2]
    base = name.rpartition("/")[2]
    if called and called.casefold() not in (base.casefold(), base.rpartition(".")[0].casefold()):
        note.told["VOC files whose filename is another than that of their image"] += 1
    for number, element in enumerate(root.iterfind("object")):
        problem = _object(note, f"given-{number}", element, request)
        if problem is not None:
            note.problems.append(problem)
    return note


def _parsed(data: bytes, encoding: str | None) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("expected a file without DOCTYPE and entities; remove them")
    declared = _DECLARED.match(data)
    try:
        # expat reads no other files; its remaining danger is entities, which are refused
        root = ElementTree.fromstring(data if declared else decode(data, encoding).lstrip("\ufeff"))  # noqa: S314
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if declared is None:
            helps = "; --encoding names another encoding, such as gb18030" if isinstance(error, UnicodeError) else ""
            raise ValueError(f"expected XML, got other text: {error}{helps}") from error
        named = encoding or declared[1].decode("ascii")  # expat knows few encodings, and some declarations are wrong
        try:
            root = ElementTree.fromstring(_DECLARATION.sub("", data.decode(named)))  # noqa: S314
        except (ElementTree.ParseError, LookupError) as second:
            raise ValueError(f"{second} (read as {named})") from second
    if root.tag != "annotation":
        raise ValueError(f"expected <annotation>, got <{root.tag[:40]}>")
    return root


def _object(note: Note, name: str, element: ElementTree.Element, request: Request) -> Problem | None:
    """Add an object to the note; return the problem if it is unusable."""
    label = tidy((element.findtext("name") or "").replace("_", " "))
    if not label:
        return Problem("no_class", "name: expected the class of the object, got none", name)
    note.unknown.update(f"object.{inner.tag}" for inner in element if inner.tag not in _KNOWN)
    if element.find("part") is not None:
        note.told["objects with parts, which are not read"] += 1
    corners = [_number(element.findtext(f"bndbox/{side}")) for side in _SIDES]
    if None in corners:
        got = {side: element.findtext(f"bndbox/{side}") for side in _SIDES}
        return Problem("bad_box", f"{label}: expected four numbers in bndbox, got {got}", name)
    x0, y0, x1, y1 = (n for n in corners if n is not None)
    first = request.first_pixel
    if min(x0, y0) < first:
        note.told["VOC boxes that begin at pixel 0 (files that count from 0: --first-pixel 0)"] += 1
    region = RawRegion(name, box=[max(x0 - first, 0.0), max(y0 - first, 0.0), x1, y1])
    region.tags = [Text(text=label, source=request.speaker.others)]
    note.region(region)
    for flag in _FLAGS:
        if (_number(element.findtext(flag)) or 0) > 0:
            note.told[f"objects that are {flag}"] += 1
    return None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
