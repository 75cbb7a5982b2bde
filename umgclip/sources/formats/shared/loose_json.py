"""Tolerant parser for JSON about one image: our own records, img2dataset, FineHARD, GRIT, UMG-41M and similar files.

Names are compared without case and punctuation, so `box_xyxy`, `bboxXYXY` and `Box-XYXY` are the same. Unknown fields
are counted by name; their meaning is never guessed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from umgclip.errors import DataError
from umgclip.records import Text, parse_record
from umgclip.safe_text import brief
from umgclip.sources.note import BoxForm, Note, Problem, RawRegion, Speaker, append_text
from umgclip.sources.values import expected, number, share, size_px, whole

_PLAIN = re.compile(r"[^a-z0-9]")
_CAPTION = re.compile(r"caption|^alt$|alttext|^text$|^texts$|^title$|^descriptions?$|^raw$|^sentences?$")
_TAGS = frozenset(
    ("tag", "tags", "label", "labels", "classes", "category", "categories", "keywords", "categoryname", "classname")
)
_REGIONS = frozenset(
    ("region", "regions", "object", "objects", "instances", "annotations", "boxes", "bboxes", "bboxinfo", "segments",
     "masks", "foreground", "foregrounds", "things")
)  # fmt: skip
_STUFF = frozenset(("background", "backgrounds", "stuff"))
_GROUNDED = {"nounchunks": "tags", "refexps": "captions"}
_SCORE = ("score", "confidence", "conf", "prob", "probability")
_SIZE = {"width": 0, "imagewidth": 0, "imgwidth": 0, "w": 0, "height": 1, "imageheight": 1, "imgheight": 1, "h": 1}
_BOX: Mapping[str, BoxForm | None] = {
    "bbox": None, "box": None, "xyxy": "xyxy", "boxxyxy": "xyxy", "bboxxyxy": "xyxy", "xywh": "xywh",
    "boxxywh": "xywh", "bboxxywh": "xywh",
}  # fmt: skip
_MASK = frozenset(("mask", "segmentation", "segmentations", "segm", "rle", "maskrle", "polygon", "polygons"))
_FLAGS = frozenset(("isstuff", "isbackground", "isthing", "iscrowd"))
_PHRASE = frozenset(("phrase", "expression", "shortexpr", "longexpr", "expr", "refexp", "grounding"))
# fields that do not describe the image's content: ignored silently
_SILENT = frozenset(
    ("key", "id", "imageid", "imgid", "uid", "status", "errormessage", "originalwidth", "originalheight", "exif",
     "sha256", "md5", "hash", "fpath", "path", "filename", "file", "image", "imagepath", "imgpath", "imagename",
     "dataset", "split", "schemaversion", "clipsimilarityvitb32", "clipsimilarityvitl14", "area", "flagshortneg",
     "flaglongneg", "iscn", "originalkey", "categoryid")
)  # fmt: skip


@dataclass
class _Region:
    """A region while its fields are read, and the names of its unknown fields."""

    raw: RawRegion
    unknown: list[str] = field(default_factory=list)


def read_note(value: Any, speaker: Speaker, form: BoxForm = "xyxy") -> Note:  # noqa: ANN401 - what JSON held
    """Parse the JSON about an image into a note.

    Args:
        value: the decoded JSON: a mapping, a caption, or a list of regions.
        speaker: authors of the texts.
        form: order of the four numbers of a `box` or `bbox`.
    """
    note = Note()
    if isinstance(value, str):
        note.caption(value, speaker.captions)
    elif isinstance(value, list) and value and _is_texts(value):
        _texts(value, note.caption, speaker.captions, split=False)
    elif isinstance(value, list):
        _regions(note, value, speaker, form, is_stuff=False)
    elif not isinstance(value, dict):
        note.unknown["(no object)"] += 1
    elif "schema_version" in value:
        _record(note, value)
    else:
        _mapping(note, value, speaker, form)
    return note


def _record(note: Note, value: dict[str, Any]) -> None:
    """Parse a record of this package; an export adds a `caption` beside it."""
    try:
        note.record = parse_record({k: v for k, v in value.items() if k != "caption"}, where="json")
    except DataError as error:
        note.problems.append(Problem("bad_record", str(error)))


def _mapping(note: Note, value: dict[str, Any], speaker: Speaker, form: BoxForm) -> None:
    size: list[Any] = [None, None]
    grounded = {}
    for name, inner in value.items():
        plain = _PLAIN.sub("", str(name).lower())
        if inner is None or plain in _SILENT:
            continue
        if plain in _SIZE:
            size[_SIZE[plain]] = inner
        elif plain in _GROUNDED:
            grounded[_GROUNDED[plain]] = inner
        elif plain in _REGIONS | _STUFF and _is_regions(inner):
            _regions(note, inner, speaker, form, is_stuff=plain in _STUFF)
        elif not _words(note, plain, inner, speaker):
            note.unknown[str(name)[:80]] += 1
    note.size_wh, wrong = size_px(*size)
    if wrong is not None:
        note.problems.append(Problem("bad_size", wrong))
    if grounded:
        _ground(note, value, grounded, speaker)


def _words(note: Note, plain: str, value: Any, speaker: Speaker) -> bool:  # noqa: ANN401 - what JSON held
    """Read a field of texts, URL or license; return False if it is none of these."""
    if plain in _TAGS or plain.removesuffix("s") + "s" in _TAGS or (plain in _REGIONS and _is_texts(value)):
        note.tags = note.tags or []
        return _texts(value, note.tag, speaker.others, split=True)
    if _CAPTION.search(plain):
        note.captions = note.captions or []
        return _texts(value, note.caption, speaker.captions, split=False)
    if plain not in ("url", "license", "licence") or not isinstance(value, str):
        return False
    if plain == "url":
        note.url = value
    else:
        note.license = value
    return True


def _is_regions(value: Any) -> bool:  # noqa: ANN401 - what JSON held
    """Return whether a value is a list of mappings or boxes, a mapping, or an empty list."""
    if isinstance(value, dict):
        return True
    return isinstance(value, list) and all(isinstance(inner, dict | list) for inner in value)


def _is_texts(value: Any) -> bool:  # noqa: ANN401 - what JSON held
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(inner, str) for inner in value))


def _texts(
    value: Any,  # noqa: ANN401 - what JSON held
    add: Callable[[str, str, float], None],
    source: str,
    *,
    split: bool,
) -> bool:
    """Add the texts of a value; return False if it has none."""
    texts = list(_spoken(value, split=split))
    for text, score in texts:
        add(text, source, score)
    return bool(texts) or value in ("", [], {})


def _spoken(value: Any, *, split: bool) -> Iterator[tuple[str, float]]:  # noqa: ANN401 - what JSON held
    """Yield texts with scores from a text, a list, a mapping with text and score, or a mapping of texts to scores."""
    if isinstance(value, str):
        yield from ((part, 1.0) for part in (re.split(r"\s*[|,;]\s*", value) if split else [value]))
    elif isinstance(value, list):
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], float):
            yield value[0], value[1]
        else:
            for inner in value:
                yield from _spoken(inner, split=False)
    elif isinstance(value, dict):
        plain = {_PLAIN.sub("", str(name).lower()): inner for name, inner in value.items()}
        score = next((_sure(plain[name]) for name in _SCORE if isinstance(plain.get(name), int | float)), 1.0)
        texts = [
            v for k, v in plain.items() if isinstance(v, str) and (_CAPTION.search(k) or k in _TAGS or k == "name")
        ]
        if texts:
            yield texts[0], score
        elif value and all(isinstance(inner, int | float) for inner in value.values()):
            yield from ((str(name), _sure(inner)) for name, inner in value.items())
        else:
            for inner in value.values():
                yield from _spoken(inner, split=split) if isinstance(inner, str | list) else ()


def _sure(value: Any) -> float:  # noqa: ANN401 - what JSON held
    """Return a score as it is; NaN if it is not a finite number, which is reported where the score is used."""
    read = number(value)
    return math.nan if read is None else read


def _regions(note: Note, value: Any, speaker: Speaker, form: BoxForm, *, is_stuff: bool) -> None:  # noqa: ANN401
    """Add the regions of a list of mappings or boxes, or of a mapping from names to them."""
    note.regions = note.regions or []
    named = value.items() if isinstance(value, dict) else ((None, inner) for inner in value)
    for name, inner in named:
        for one in inner if isinstance(inner, list) and inner and isinstance(inner[0], dict | list) else [inner]:
            region = _Region(RawRegion(id=f"given-{len(note.regions)}", form=form, is_stuff=is_stuff))
            if isinstance(one, dict):
                _region(region, one, speaker)
            else:
                region.raw.box = one[:4] if isinstance(one, list) else None
                region.raw.score = _sure(one[4]) if isinstance(one, list) and len(one) == 5 else 1.0
            if isinstance(name, str) and not name.isdigit():
                region.raw.tags = append_text(region.raw.tags, name, speaker.others)
            region.raw.shares = _are_shares(region.raw.box)
            note.unknown.update(f"region.{unknown}" for unknown in region.unknown)
            note.regions.append(region.raw)


def _are_shares(box: Any) -> bool:  # noqa: ANN401 - what JSON held
    """Return whether the numbers of a box are shares of the image: none above 1, and not all whole."""
    try:
        return all(abs(n) <= 1.001 for n in box) and any(n != int(n) for n in box)
    except (TypeError, ValueError, OverflowError):
        return False


def _region(region: _Region, value: dict[str, Any], speaker: Speaker) -> None:
    raw = region.raw
    score = 1.0
    for name, inner in value.items():
        plain = _PLAIN.sub("", str(name).lower())
        if inner is None or plain in _SILENT:
            continue
        if plain in _BOX:
            _read_box(raw, inner, _BOX[plain] or raw.form)
        elif plain in _MASK:
            raw.shape = inner
        elif plain in _SCORE and isinstance(inner, int | float):
            raw.score, score = _sure(inner), share(inner) or 0.0
        elif plain in _FLAGS:
            _flag(raw, plain, inner)
        elif plain.endswith("negs") or "negative" in plain:
            raw.negatives = _read(region, raw.negatives, inner, (speaker.others, 1.0))
        elif plain in _TAGS or plain == "name" or plain.removesuffix("s") + "s" in _TAGS:
            raw.tags = _read(region, raw.tags, inner, (speaker.others, score))
        elif plain in _PHRASE or _CAPTION.search(plain):
            raw.captions = _read(region, raw.captions, inner, (speaker.others, score))
        else:
            region.unknown.append(str(name)[:80])


def _flag(raw: RawRegion, plain: str, value: Any) -> None:  # noqa: ANN401 - what JSON held
    if plain == "iscrowd":
        raw.is_crowd = bool(value)
    else:
        raw.is_stuff = bool(value) != (plain == "isthing")


def _read(region: _Region, texts: list[Text], value: Any, by: tuple[str, float]) -> list[Text]:  # noqa: ANN401
    """Append the texts of a value, with their scores multiplied by the region's."""
    source, score = by
    for text, stated in _spoken(value, split=False):
        sure = share(stated)
        if sure is None:
            region.unknown.append(f"score {brief(stated)}")
        texts = append_text(texts, text, source, score if sure is None else sure * score)
    return texts


def _read_box(raw: RawRegion, value: Any, form: BoxForm) -> None:  # noqa: ANN401 - what JSON held
    raw.form = form
    if isinstance(value, dict):
        plain = {_PLAIN.sub("", str(name).lower()): inner for name, inner in value.items()}
        for names, of in (
            (("x0", "y0", "x1", "y1"), "xyxy"),
            (("x1", "y1", "x2", "y2"), "xyxy"),
            (("xmin", "ymin", "xmax", "ymax"), "xyxy"),
            (("left", "top", "right", "bottom"), "xyxy"),
            (("x", "y", "w", "h"), "xywh"),
            (("x", "y", "width", "height"), "xywh"),
            (("left", "top", "width", "height"), "xywh"),
        ):
            if all(name in plain for name in names):
                raw.box, raw.form = [plain[name] for name in names], "xyxy" if of == "xyxy" else "xywh"
                return
        raw.box = [float("nan")] * 4  # refused, with the region's name, when the region is placed
    elif isinstance(value, list) and len(value) == 5 and isinstance(value[4], int | float):
        raw.box, raw.score = value[:4], _sure(value[4])  # FineHARD: the box and its score
    else:
        raw.box = value


def _ground(note: Note, value: dict[str, Any], grounded: dict[str, Any], speaker: Speaker) -> None:
    """Read GRIT's rows `[start, end, x0, y0, x1, y1, score]`: a span of the caption and a box in image shares."""
    caption = value.get("caption")
    if not isinstance(caption, str):
        said_of = "a text that its rows point into"
        note.problems.append(Problem("bad_region", expected("caption", said_of, caption)))
        return
    note.regions = note.regions or []
    by_box: dict[tuple[float, ...], RawRegion] = {}
    for kind, rows in grounded.items():
        for row in rows if isinstance(rows, list) else [rows]:
            numbers = [n for n in map(number, row) if n is not None] if isinstance(row, list | tuple) else []
            start, end = (whole(n) for n in row[:2]) if len(numbers) == 7 == len(row) else (None, None)
            if start is None or end is None:
                note.problems.append(Problem("bad_region", f"{kind}: expected seven numbers, got {brief(row)}"))
                continue
            text, box = caption[start:end], tuple(numbers[2:6])
            region = by_box.get(box)
            if region is None:
                region = RawRegion(id=f"given-{len(note.regions)}", box=box, shares=True, score=numbers[6])
                by_box[box] = region
                note.regions.append(region)
            setattr(region, kind, append_text(getattr(region, kind), text, speaker.others, numbers[6]))
