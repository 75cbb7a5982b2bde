"""Reader of the images of FiftyOne's samples, each with what its fields say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from umgclip.data.wording import tidy
from umgclip.errors import DataError
from umgclip.io.images import SIDEWAYS, orientation_of
from umgclip.io.json_text import parse
from umgclip.io.places import Place
from umgclip.records import Text
from umgclip.safe_text import brief, cause
from umgclip.sources.formats.coco.note_builder import FileFacts
from umgclip.sources.formats.coco.umgclip_fields import OURS
from umgclip.sources.formats.fiftyone.masks import placed, unpacked
from umgclip.sources.formats.fiftyone.planning import ChosenFields
from umgclip.sources.formats.huggingface.box_form import four_numbers
from umgclip.sources.formats.huggingface.images import find_image
from umgclip.sources.formats.huggingface.rows import (
    CAPTIONS,
    KINDS,
    OBJECTS,
    RowBuilder,
    add_captions,
    put_captions,
    read_ours,
)
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage, append_text, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.values import expected, size_px

_MASK_BYTES = 256 << 20
_TAGS = "image_tags"


def read_fiftyone(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    chosen = ChosenFields.restored(plan.fact("fields"))
    files = FileFacts({}, {}, KINDS, frozenset(), request.split == "benchmark", request.speaker)
    for item in plan.items(*span):
        sample = next(content for kind, content in plan.extras(item.position) if kind == "sample")
        image = find_image(plan, source, item.name, limit)
        sample_reader = _Sample(sample, chosen, files, plan, source)
        note = sample_reader.note_of(image.data)
        yield SourceImage(shown(item.name), image.data, image.extension, note)


class _Sample:
    """One sample, while its fields become a note."""

    def __init__(
        self, sample: Mapping[str, Any], chosen: ChosenFields, files: FileFacts, plan: ImportPlan, source: Place
    ) -> None:
        self._sample, self._chosen, self._plan, self._source = sample, chosen, plan, source
        self._builder = RowBuilder(files, exact=True)
        self._size: tuple[int, int] | None = None

    def note_of(self, data: bytes | Problem) -> Note:
        """Return what the sample says about its image."""
        sample, chosen, builder = self._sample, self._chosen, self._builder
        note = builder.note
        tags = _classes(sample.get(_TAGS)) if chosen.is_ours else []
        names = [name for tag in tags if (name := _name(tag))] if chosen.is_ours and _TAGS in sample else None
        ours = read_ours(sample.get(OURS), note, names)
        about = sample.get("metadata")
        about = about if isinstance(about, dict) else {}
        size = {"width": about.get("width"), "height": about.get("height")}
        self._size = size_px(*size.values())[0] or _size_of(data)
        if chosen.captions:
            builder.image({"of": CAPTIONS, **ours.get("captions", {})})
            add_captions(builder, {name: sample.get(name) for name in chosen.captions}, ours.get("texts", []))
        if any(name in sample for name in chosen.objects) or ours:
            builder.image({"of": OBJECTS, **size, **ours.get("objects", {})})
            for name in chosen.objects:
                for number, value in enumerate(_objects(sample.get(name))):
                    self._object(value, f"{name}[{number}]", is_stuff=chosen.is_ours and name == "stuff")
        builder.end()
        if not ours:
            self._tags(note)
            for name in ("url", "license"):
                if isinstance(sample.get(name), str):
                    setattr(note, name, tidy(sample[name]) or None)
        elif "label" in sample:
            single = _name(sample.get("label"))
            note.single = single
        self._order(note, ours)
        return note

    def _order(self, note: Note, ours: Mapping[str, Any]) -> None:
        """Put restored regions into the order of their record; things and stuff are different fields."""
        try:
            listed = list(ours["objects"][OURS]["regions"])
        except (KeyError, TypeError):
            return
        order = {name: number for number, name in enumerate(listed)}
        note.regions = (
            sorted(note.regions, key=lambda raw: order.get(raw.id, len(order))) if note.regions else note.regions
        )

    def _tags(self, note: Note) -> None:
        for field in self._chosen.classes:
            value = self._sample.get(field)
            for one in _classes(value):
                name, score = _name(one), one.get("confidence") if isinstance(one, dict) else None
                if name is not None:
                    note.tag(name, self._builder.files.speaker.others, 1.0 if score is None else score)
            if isinstance(value, dict) and value.get("_cls") == "Classification" and not self._chosen.objects:
                note.single = _name(value)

    def _object(self, value: Any, where: str, *, is_stuff: bool) -> None:  # noqa: ANN401 - what JSON held
        builder, note = self._builder, self._builder.note
        if not isinstance(value, dict):
            note.problems.append(Problem("bad_region", f"{where}: expected a document, got {brief(value)}"))
            return
        identity = value.get("region_id")
        identity = identity.removeprefix("given-") if isinstance(identity, str) else None
        crowd = value.get("iscrowd")
        annotation: dict[str, Any] = {"id": identity, "category_id": value.get("label"), "iscrowd": crowd or 0}
        if not isinstance(annotation["category_id"], str | None):
            annotation["category_id"] = str(annotation["category_id"])
        self._restore(annotation, value.get(OURS), where)
        region = builder.region(builder.listed[OBJECTS], annotation, None)
        if region is None:
            return
        region.is_stuff = is_stuff
        if value.get("confidence") is not None and region.known is None:
            region.score = value["confidence"]
        region.box, region.form, region.shares = value.get("bounding_box"), "xywh", True
        region.shape = self._shape(value, annotation.get(OURS), where)
        if isinstance(region.shape, np.ndarray):
            region.size_wh = (region.shape.shape[1], region.shape.shape[0])
        elif value.get("_cls") == "Polyline":
            region.box = None
        self._captions(region, value.get("caption"))
        builder.keep(region)

    def _restore(self, annotation: dict[str, Any], text: Any, where: str) -> None:  # noqa: ANN401 - what JSON held
        if not isinstance(text, str):
            return
        try:
            annotation[OURS] = parse(text)
        except ValueError:
            problem = Problem("bad_record", f"{where}: {OURS}: expected what an export wrote, got {brief(text)}")
            self._builder.note.problems.append(problem)

    def _captions(self, region: RawRegion, value: Any) -> None:  # noqa: ANN401 - what JSON held
        if not isinstance(value, str):
            return
        texts: list[Text] = []
        for line in value.splitlines():
            texts = append_text(texts, line, self._builder.files.speaker.others)
        put_captions(region, texts)

    def _shape(self, value: Mapping[str, Any], ours: Any, where: str) -> Any:  # noqa: ANN401 - what JSON held
        """Return polygons, or the pixels of a mask in the image; None if there is none, or it cannot be read."""
        if value.get("_cls") == "Polyline":
            points = value.get("points")
            return _outlines(points)
        if isinstance(ours, dict) and isinstance(ours.get("mask"), dict):
            return ours["mask"]
        if value.get("mask") is None and value.get("mask_path") is None:
            return None
        numbers = four_numbers(value.get("bounding_box"))
        if numbers is None or self._size is None:
            return None  # the box is refused when the region is placed
        (x, y, w, h), (width, height) = numbers, self._size
        box = (x * width, y * height, (x + w) * width, (y + h) * height)
        try:
            packed = value.get("mask")
            mask = unpacked(packed) if packed is not None else self._mask_file(value["mask_path"])
            return placed(mask, box, self._size)
        except (ValueError, DataError, OverflowError) as error:
            self._builder.note.problems.append(Problem("bad_mask", f"{where}: {error}"))
            return None

    def _mask_file(self, path: Any) -> np.ndarray:  # noqa: ANN401 - what JSON held
        if not isinstance(path, str):
            raise ValueError(expected("mask_path", "a path", path))
        file = find_image(self._plan, self._source, path, _MASK_BYTES)
        if isinstance(file.data, Problem):
            raise DataError(f"mask_path: {file.data.detail}")
        try:
            with Image.open(BytesIO(file.data), formats=("PNG", "TIFF", "BMP")) as picture:
                return np.asarray(picture.convert("L")) > 0
        except Exception as error:  # noqa: BLE001 - any error of Pillow about broken bytes
            raise ValueError(f"mask_path: not a readable picture ({cause(error)})") from error


def _outlines(points: Any) -> Any:  # noqa: ANN401 - what JSON held
    """Return the shapes of a polyline as polygons; anything else as it is, which is refused when it is drawn."""
    if not isinstance(points, list) or not all(
        isinstance(shape, list) and all(isinstance(point, list) and len(point) == 2 for point in shape)
        for shape in points
    ):
        return points
    return [[n for point in shape for n in point] for shape in points]


def _size_of(data: bytes | Problem) -> tuple[int, int] | None:
    if isinstance(data, Problem):
        return None
    try:
        turn, raw_wh = orientation_of(data)
    except DataError:
        return None
    return raw_wh if turn < SIDEWAYS else raw_wh[::-1]  # FiftyOne shows images upright


def _objects(value: Any) -> list[Any]:  # noqa: ANN401 - what JSON held
    if not isinstance(value, dict):
        return [] if value is None else [value]
    inner = next((value[name] for name in ("detections", "polylines") if name in value), None)
    return inner if isinstance(inner, list) else [value] if "bounding_box" in value or "points" in value else []


def _classes(value: Any) -> list[Any]:  # noqa: ANN401 - what JSON held
    if not isinstance(value, dict):
        return []
    inner = value.get("classifications")
    return inner if isinstance(inner, list) else [value] if "label" in value else []


def _name(value: Any) -> str | None:  # noqa: ANN401 - what JSON held
    name = value.get("label") if isinstance(value, dict) else None
    return tidy(name) or None if isinstance(name, str) else None
