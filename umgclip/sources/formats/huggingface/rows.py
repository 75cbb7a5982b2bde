"""From a row to a note, by the rules for COCO: the same content gives the same record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from umgclip.data.wording import tidy
from umgclip.io.json_text import parse
from umgclip.records import Text
from umgclip.safe_text import brief, cause
from umgclip.sources.formats.coco.note_builder import FileFacts, ListedImage, NoteBuilder
from umgclip.sources.formats.coco.umgclip_fields import OURS
from umgclip.sources.formats.huggingface.box_form import ReadAs
from umgclip.sources.formats.huggingface.columns import ChosenColumns, Part, class_name
from umgclip.sources.formats.shared.labels import Label, synonyms
from umgclip.sources.note import Note, Problem, RawRegion, append_text
from umgclip.sources.request import HUMAN
from umgclip.sources.values import expected, flag, whole, words

CAPTIONS, OBJECTS = "0:row", "1:row"  # the row as an image of a captions file, and of an instances file
KINDS = {"0": "caption", "1": "instance"}
MISSING = -1  # number of a class that `datasets` writes where there is none
_MOST_MASK_PX = 1 << 28
_TEXT_FIELDS = ("raw", "text", "caption", "sentence")
_TAGS = "tags"


@dataclass(frozen=True)
class RowFacts:
    """Facts of the plan about all rows: the columns, the order of boxes, labels, and names of the classes' numbers."""

    columns: ChosenColumns
    boxes: ReadAs
    files: FileFacts
    class_names: Mapping[str, str]


@dataclass
class RowBuilder(NoteBuilder):
    """A note builder that takes names as categories, besides numbers, and no category as no label.

    `exact` says that this package wrote the names.
    """

    exact: bool = False

    def label(self, one: ListedImage, category: Any) -> Label | None:  # noqa: ANN401 - what a row held
        """Return the label of a category; None if it is a number without a name."""
        if category is None or category == MISSING or (isinstance(category, str) and not tidy(category)):
            return Label("", [])
        known = super().label(one, category)
        if known is None and isinstance(category, str):
            name = class_name(category, exact=self.exact)
            return Label(name, [name] if self.exact else synonyms(name))
        return known


def note_of(row: Mapping[str, Any], facts: RowFacts) -> Note:
    """Return what a row says about its image; its image is not looked at."""
    columns = facts.columns
    builder = RowBuilder(facts.files, exact=columns.is_ours)
    note = builder.note
    names = [name for column in columns.tags for name in _listed(row.get(column))] if columns.tags else None
    ours = read_ours(row.get(columns.ours or ""), note, names)
    size = {"width": row.get(columns.width or ""), "height": row.get(columns.height or "")}
    if columns.captions:
        builder.image({"of": CAPTIONS, **ours.get("captions", {})})
        add_captions(builder, {name: row.get(name) for name in columns.captions}, ours.get("texts", []))
    if columns.objects is not None:
        builder.image({"of": OBJECTS, **size, **ours.get("objects", {})})
        for number, value in enumerate(_objects(row, columns, note)):
            _object(builder, value, number, facts)
    elif ours:
        builder.image({"of": OBJECTS, **ours.get("objects", {})})
    builder.end()
    _classes(note, row, facts, is_restored=bool(ours))
    if not ours:
        note.url = note.url or words(row.get(columns.url or ""))
        note.license = note.license or words(row.get(columns.license or ""))
    return note


def read_ours(text: Any, note: Note, tags: list[Any] | None) -> dict[str, Any]:  # noqa: ANN401 - what a row held
    """Return our fields of a row, if this package wrote it: those of captions and those of objects.

    Args:
        text: JSON of the fields.
        note: gets a problem if it is something else.
        tags: the image's tags in a column of their own, which somebody may have edited; None: there is none.
    """
    if not isinstance(text, str) or not text:
        return {}
    try:
        value = parse(text)
        captions, about = value["captions"], value["image"]
        if tags is not None:
            _follow_tags(about, tags)
        return {"captions": {OURS: captions["image"]}, "texts": captions["texts"], "objects": {OURS: about}}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        note.problems.append(
            Problem("bad_record", f"{OURS}: expected what an export wrote, got {brief(text)}: {error}")
        )
        return {}


def _follow_tags(about: dict[str, Any], names: list[Any]) -> None:
    """Change our tags to those in their own column, which somebody may have edited."""
    names = [clean for name in names if isinstance(name, str) and (clean := tidy(name))]
    stored = {tag["text"]: tag for tag in about.get(_TAGS) or []}
    if set(names) != set(stored):
        about[_TAGS] = [stored.get(name) or Text(text=name, source=HUMAN).model_dump(mode="json") for name in names]


def add_captions(builder: NoteBuilder, columns: Mapping[str, Any], stored: Sequence[Any]) -> None:
    """Add the texts of columns as captions; those that an export stored are restored with their sources and scores."""
    exact = list(stored)
    for column, values in columns.items():
        for number, text in enumerate(_listed(values)):
            if text is None:
                continue  # a list that is padded with nulls
            fields = text if isinstance(text, dict) else {"text": text}
            value = next((fields[name] for name in _TEXT_FIELDS if name in fields), None)
            annotation = {"id": f"{column}[{number}]", "caption": value}
            same = next((each for each in exact if isinstance(each, dict) and each.get("text") == value), None)
            if same is not None:
                exact.remove(same)
                annotation[OURS] = same
            builder.caption(annotation)


def _listed(value: Any) -> list[Any]:  # noqa: ANN401 - what a row held
    return value if isinstance(value, list) else [] if value is None else [value]


def objects_of(row: Mapping[str, Any], columns: ChosenColumns) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a row; what cannot be read is left out."""
    yield from _objects(row, columns, Note())


def _objects(row: Mapping[str, Any], columns: ChosenColumns, note: Note) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a row, from a list of structs, a struct of lists, or columns of lists."""
    part = columns.part
    value = row if columns.objects == "" else row.get(columns.objects or "")
    if part is None or value is None:
        return
    if isinstance(value, list):
        for number, one in enumerate(value):
            if isinstance(one, dict):
                yield one
            elif one is not None:
                note.problems.append(
                    Problem("bad_region", f"{columns.objects}[{number}]: expected fields, got {brief(one)}")
                )
        return
    if not isinstance(value, Mapping):
        note.problems.append(Problem("bad_region", expected(columns.objects or "objects", "a list of objects", value)))
        return
    names = [name for name in (*part[:8], *part.captions) if name and isinstance(value.get(name), list)]
    lengths = {name: len(value[name]) for name in names}
    if len(set(lengths.values())) > 1:
        got = ", ".join(f"{name} {length}" for name, length in lengths.items())
        note.problems.append(
            Problem("bad_region", f"{columns.objects or 'objects'}: expected lists of one length, got {got}")
        )
        return
    for number in range(next(iter(lengths.values()), 0)):
        yield {name: value[name][number] for name in names}


def _object(builder: RowBuilder, value: Mapping[str, Any], number: int, facts: RowFacts) -> None:
    part, one = facts.columns.part, builder.listed[OBJECTS]
    if part is None:
        return
    stated = value.get(part.id or "")
    stated = stated.removeprefix("given-") if isinstance(stated, str) else stated  # as an export writes ours
    annotation = {"id": stated, "category_id": value.get(part.category or "")}
    if part.crowd is not None:
        annotation["iscrowd"] = value.get(part.crowd)
    if part.ours is not None and isinstance(value.get(part.ours), str):
        _restore(annotation, value[part.ours], builder.note)
    region = builder.region(one, annotation, _shape(value.get(part.mask or ""), builder.note, number))
    if region is None:
        return
    region.box, region.form, region.shares = value.get(part.box or ""), facts.boxes.form, facts.boxes.shares
    if part.score is not None and value.get(part.score) is not None:
        region.score = value[part.score]
    if part.stuff is not None:
        region.is_stuff = bool(flag(value.get(part.stuff) or 0))
        region.is_crowd = region.is_crowd and not region.is_stuff
    _phrases(region, value, part, builder)
    builder.keep(region)


def _restore(annotation: dict[str, Any], text: str, note: Note) -> None:
    try:
        annotation[OURS] = parse(text) if text else None
    except ValueError:
        note.problems.append(Problem("bad_record", f"{OURS}: expected what an export wrote, got {brief(text)}"))


def _phrases(region: RawRegion, value: Mapping[str, Any], part: Part, builder: RowBuilder) -> None:
    """Add the captions of an object; those of a restored region are its own where they are still the same."""
    if not part.captions:
        return
    texts: list[Text] = []
    for name in part.captions:
        for text in _listed(value.get(name)):
            if isinstance(text, str):
                texts = append_text(texts, text, builder.files.speaker.others)
            elif text is not None:
                builder.note.problems.append(Problem("bad_text", expected(name, "a text", text), region.id or None))
    put_captions(region, texts)


def put_captions(region: RawRegion, texts: list[Text]) -> None:
    """Set the captions of a region; those of a restored one stay as they were where their text is the same."""
    known = region.known
    if known is not None and [text.text for text in known.captions or []] != [text.text for text in texts]:
        exact = {text.text: text for text in known.captions or []}
        region.known = known.model_copy(update={"captions": [exact.get(text.text, text) for text in texts]})
    region.captions = texts


def _shape(value: Any, note: Note, number: int) -> Any:  # noqa: ANN401 - what a row held, or pixels
    """Return the shape of an object: polygons, run lengths, or the pixels of a picture of its mask."""
    if isinstance(value, str):
        try:
            value = parse(value) if value.strip() else None
        except ValueError:
            note.problems.append(Problem("bad_mask", f"object {number}: expected JSON of a mask, got {brief(value)}"))
            return None
    if not isinstance(value, dict):
        return value
    if set(value) == {"bytes", "path"}:
        data = value["bytes"]
        if not isinstance(data, bytes):
            note.problems.append(
                Problem("bad_mask", f"object {number}: expected a picture of a mask, got {brief(value)}")
            )
            return None
        return _picture(data, note, number)
    if value.get("counts") is None and value.get("size") is None:
        return None
    return {**value, "counts": _text(value.get("counts"))}


def _text(counts: Any) -> Any:  # noqa: ANN401 - what a row held
    return counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts


def _picture(data: bytes, note: Note, number: int) -> np.ndarray | None:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "TIFF", "BMP", "WEBP")) as picture:
            if picture.width * picture.height > _MOST_MASK_PX:
                raise ValueError(f"expected at most {_MOST_MASK_PX} pixels, got {picture.width} x {picture.height}")
            return np.asarray(picture.convert("L")) > 0
    except Exception as error:  # noqa: BLE001 - any error of Pillow about broken bytes
        note.problems.append(Problem("bad_mask", f"object {number}: not a readable picture ({cause(error)})"))
        return None


def _classes(note: Note, row: Mapping[str, Any], facts: RowFacts, *, is_restored: bool) -> None:
    """Add the class of an image that shows one thing, and the classes of lists as tags."""
    columns = facts.columns
    source = facts.files.speaker.others
    if columns.label is not None:
        name = _class(row.get(columns.label), columns.label_names, facts.class_names, columns.label, note)
        name = name if name is None else class_name(name, exact=columns.is_ours)
        if name is not None:
            note.single = name if columns.objects is None or is_restored else None
            if not is_restored:
                note.tag(name, source)
    if is_restored:
        return
    for column, names in columns.tags.items():
        note.tags = note.tags or []
        for value in _listed(row.get(column)):
            name = _class(value, names, facts.class_names, column, note)
            if name is not None:
                note.tag(name, source)


def _class(
    value: Any,  # noqa: ANN401 - what a row held
    names: tuple[str, ...],
    others: Mapping[str, str],
    column: str,
    note: Note,
) -> str | None:
    if value is None or value == MISSING:
        return None
    if isinstance(value, str):
        return tidy(others.get(value, value)) or None
    number = whole(value)
    name = names[number] if number is not None and 0 <= number < len(names) else others.get(str(number))
    if name is None:
        most = f"a number below {len(names)}" if names else "a number with a name in --class-names"
        note.problems.append(Problem("no_class", expected(column, most, value)))
    return tidy(name) or None if name is not None else None
