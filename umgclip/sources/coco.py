"""COCO: images with captions, instances or panoptic segments, and data sets written like it (LVIS, ADE20K panoptic)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch, place_at
from umgclip.records import Text
from umgclip.sources.found import Found, Note, Problem, RawRegion, shown
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.reading import in_order, read_image
from umgclip.sources.request import HUMAN, Request

_ROWS = 4096
_PNG_BYTES = 256 << 20


def plan_coco(request: Request, plan: Plan, _place: Place, working: Path) -> None:
    """Read the JSON files, one after the other, without holding any of them in memory."""
    files = [("caption", request.captions), *(("instance", path) for path in request.annotations)]
    files.append(("segments", request.panoptic))
    given = [(kind, path) for kind, path in files if path]
    if not given:
        raise InputError("coco: expected --captions, --instances or --panoptic, got none of them")
    position = itertools.count()
    categories: dict[str, dict[str, Any]] = {}
    licenses: dict[str, str] = {}
    for kind, where in given:
        path = fetch(where, working)
        plan.seen(kind, sha256_file(path))
        plan.add_rows(_elements(path, kind, plan, position, (categories, licenses)))
        plan.match_ids(kind)
    plan.state("categories", categories)
    plan.state("licenses", licenses)
    if categories:
        things = [c["name"] for c in categories.values() if c["is_thing"]]
        stuff = [c["name"] for c in categories.values() if not c["is_thing"]]
        plan.state("classes", {"things": list(dict.fromkeys(things)), "stuff": list(dict.fromkeys(stuff))})


def _elements(
    path: Path, kind: str, plan: Plan, position: Iterator[int], tables: tuple[dict[str, Any], dict[str, str]]
) -> Iterator[tuple[str, Any]]:
    """Annotations by image id; images, categories and licenses are kept on the way."""
    categories, licenses = tables
    images = 0
    for name, value in read_elements(path):
        if name == "images" and isinstance(value, dict):
            images += 1
            _add_image(value, plan, position)
        elif name == "annotations" and isinstance(value, dict) and "image_id" in value:
            yield str(value["image_id"]), value
        elif name == "categories" and isinstance(value, dict):
            thing = value.get("isthing") != 0 and value.get("supercategory") != "stuff"
            named = _plain(str(value.get("name", "")), is_thing=thing)
            categories[str(value.get("id"))] = {"name": named, "is_thing": thing}
        elif name == "licenses" and isinstance(value, dict):
            licenses[str(value.get("id"))] = str(value.get("name") or value.get("url") or "")
    if not images:
        raise DataError(f"{path}: images: expected a list of images as COCO has it, got none ({kind})")


def _plain(name: str, *, is_thing: bool) -> str:
    """Categories as people say them: `cell_phone` is a cell phone, the stuff `wall-other-merged` a wall."""
    if not is_thing:
        for suffix in ("-merged", "-other", "-stuff"):
            name = name.removesuffix(suffix)
        name = name.replace("-", " ")
    return name.replace("_", " ")


def _add_image(value: dict[str, Any], plan: Plan, position: Iterator[int]) -> None:
    name, key = _file_name(value), str(value.get("id"))
    if name is None:
        plan.add_problem(key, Problem("no_image", "an image without file_name and coco_url"))
        return
    if plan.has_id(key):
        return
    kept = ("width", "height", "license", "flickr_url", "coco_url")
    number = next(position)
    plan.add_items([(number, name, {field: value[field] for field in kept if value.get(field) is not None})])
    plan.add_ids([(key, number)])


def _file_name(value: dict[str, Any]) -> str | None:
    if isinstance(value.get("file_name"), str):
        return str(value["file_name"])
    url = value.get("coco_url")  # LVIS has no file names
    return PurePosixPath(url).name if isinstance(url, str) else None


def read_coco(request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions."""
    categories, licenses = plan.fact("categories") or {}, plan.fact("licenses") or {}
    masks = _masks_place(request)

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            note = _note(item, plan.extras(item.position), categories, licenses, request)
            segments = [content for kind, content in plan.extras(item.position) if kind == "segments"]
            yield partial(_load, place, masks, (item, note, segments), categories, limit)

    yield from in_order(loads(), place)


def _masks_place(request: Request) -> Place | None:
    """Where the PNG files are: where it is said, or beside the JSON in a folder of its name, as COCO has it."""
    if not request.panoptic:
        return None
    return place_at(request.panoptic_masks or request.panoptic.removesuffix(".json"))


def _note(
    item: Item,
    extras: list[tuple[str, Any]],
    categories: dict[str, Any],
    licenses: dict[str, str],
    request: Request,
) -> Note:
    about = item.about
    note = Note(url=about.get("flickr_url") or about.get("coco_url"))
    note.license = licenses.get(str(about.get("license"))) or None
    if about.get("width") and about.get("height"):
        note.size_wh = (int(about["width"]), int(about["height"]))
    if request.captions:
        note.captions = []
    if request.annotations or request.panoptic:
        note.tags, note.regions = [], []
    for kind, content in extras:
        if kind == "caption" and isinstance(content.get("caption"), str):
            note.caption(content["caption"], HUMAN)
        elif kind == "instance":
            _instance(note, content, categories, request)
    return note


def _instance(note: Note, content: dict[str, Any], categories: dict[str, Any], request: Request) -> None:
    region = _region(f"given-{content.get('id')}", content.get("category_id"), categories, note)
    if region is None:
        return
    if content.get("iscrowd") and request.split == "benchmark":
        note.problems.append(Problem("crowd", "a crowd is no single object: left out of the truth", region.id))
        return
    region.box, region.form, region.shape = content.get("bbox"), "xywh", content.get("segmentation")
    _add(note, region)


def _region(name: str, category_id: Any, categories: dict[str, Any], note: Note) -> RawRegion | None:  # noqa: ANN401
    category = categories.get(str(category_id))
    if category is None or not category["name"]:
        note.problems.append(Problem("no_class", f"expected a known category, got {category_id!r}", name))
        return None
    tag = Text(text=category["name"], source=HUMAN)
    return RawRegion(id=name, tags=[tag], captions=[], is_stuff=not category["is_thing"])


def _add(note: Note, region: RawRegion) -> None:
    note.regions = [*(note.regions or []), region]
    note.tag(region.tags[0].text, HUMAN)


def _load(
    place: Place,
    masks: Place | None,
    planned: tuple[Item, Note, list[dict[str, Any]]],
    categories: dict[str, Any],
    limit: int,
) -> Found:
    item, note, segments = planned
    for content in segments:
        if masks is not None:
            _segments(note, content, categories, masks)
    return Found(shown(item.name), read_image(place, item.name, limit), extension_of(item.name), note)


def _segments(note: Note, content: dict[str, Any], categories: dict[str, Any], masks: Place) -> None:
    name = str(content.get("file_name"))
    try:
        ids = _segment_ids(masks.read(name, _PNG_BYTES))
    except (DataError, OSError, ValueError, SyntaxError) as error:
        note.problems.append(Problem("no_masks", f"{name}: {error}"))
        return
    for segment in content.get("segments_info", []):
        region = _region(f"given-{segment.get('id')}", segment.get("category_id"), categories, note)
        if region is None:
            continue
        region.shape = ids == int(segment["id"])
        if note.size_wh is None:
            note.size_wh = (ids.shape[1], ids.shape[0])
        if segment.get("iscrowd"):
            note.problems.append(Problem("crowd", "a crowd is no single object: left out", region.id))
            continue
        _add(note, region)


def _segment_ids(data: bytes) -> Int32[np.ndarray, "h w"]:
    """The ids that COCO writes as colours: R + 256 G + 65536 B."""
    with Image.open(BytesIO(data), formats=("PNG",)) as image:
        colours = np.asarray(image.convert("RGB")).astype(np.int32)
    return colours[..., 0] + 256 * colours[..., 1] + 65536 * colours[..., 2]
