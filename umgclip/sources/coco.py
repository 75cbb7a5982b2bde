"""COCO: images with captions, instances or panoptic segments, and data sets written like it (LVIS, ADE20K panoptic)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch, place_at
from umgclip.sources.found import Found, Note, Problem, shown
from umgclip.sources.homes import COCO
from umgclip.sources.labels import Label, Labels, class_list, restored, synonyms
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.reading import in_order, read_image
from umgclip.sources.request import HUMAN, Request
from umgclip.sources.segments import coco_ids, labelled, panoptic_regions, read_colours
from umgclip.sources.values import size_px
from umgclip.wording import first_spellings, tidy

FREQUENCIES = {"r": "rare", "c": "common", "f": "frequent"}  # of LVIS's classes, in images of its training set


def plan_coco(request: Request, plan: Plan, _place: Place, working: Path) -> None:
    """Read the JSON files, one after the other, without holding any of them in memory."""
    files = [("caption", request.captions), *(("instance", path) for path in request.annotations)]
    files.append(("segments", request.panoptic))
    given = [(kind, path) for kind, path in files if path]
    if not given:
        raise InputError("coco: expected --captions, --instances or --panoptic, got none of them")
    position = itertools.count()
    categories: dict[str, tuple[Label, str | None]] = {}
    licenses: dict[str, str] = {}
    for kind, where in given:
        path = _fetched(where, working)
        plan.seen(kind, sha256_file(path))
        plan.add_rows(_elements(path, kind, plan, position, (categories, licenses)))
        plan.match_ids(kind)
    _check_masks(request)
    labels = {number: label for number, (label, _) in categories.items()}
    plan.state("labels", labels)
    plan.state("licenses", licenses)
    if labels:
        groups: dict[str, list[str]] = {}
        for label, frequency in categories.values():
            if frequency in FREQUENCIES:
                groups.setdefault(FREQUENCIES[frequency], []).append(label.label)
        plan.state("classes", class_list(labels, groups=groups))


def _fetched(where: str, working: Path) -> Path:
    try:
        return fetch(where, working)
    except DataError as error:
        raise COCO.missing(where, "a file") from error


def _check_masks(request: Request) -> None:
    """That there is any PNG file of segments: one that is missing costs its image's regions, all of them the import."""
    masks = _masks_place(request)
    try:
        there = masks is None or any(True for _ in masks.entries())
    except DataError:
        there = False
    if not there:
        raise COCO.missing(masks, "the PNG files of the segments, or --panoptic-masks")


def _elements(
    path: Path,
    kind: str,
    plan: Plan,
    position: Iterator[int],
    tables: tuple[dict[str, tuple[Label, str | None]], dict[str, str]],
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
            categories[str(value.get("id"))] = _label(value), value.get("frequency")
        elif name == "licenses" and isinstance(value, dict):
            licenses[str(value.get("id"))] = str(value.get("name") or value.get("url") or "")
    if not images:
        raise DataError(f"{path}: images: expected a list of images as COCO has it, got none ({kind})")


def _label(value: dict[str, Any]) -> Label:
    is_thing = value.get("isthing") != 0 and value.get("supercategory") != "stuff"
    name = _plain(str(value.get("name", "")), is_thing=is_thing)
    # ADE20K's JSON has its synonyms in the name, LVIS's apart
    names = [*synonyms(name), *(_plain(str(other), is_thing=is_thing) for other in value.get("synonyms") or [])]
    return Label(name, list(first_spellings(names).values()), is_thing)


def _plain(name: str, *, is_thing: bool) -> str:
    """Categories as people say them: `cell_phone` is a cell phone, the stuff `wall-other-merged` a wall."""
    name = tidy(name)
    if not is_thing:
        for suffix in ("-merged", "-other", "-stuff"):
            name = name.removesuffix(suffix)
        name = name.replace("-", " ")
    return tidy(name.replace("_", " "))


def _add_image(value: dict[str, Any], plan: Plan, position: Iterator[int]) -> None:
    name, key = _file_name(value), str(value.get("id"))
    if name is None:
        plan.add_problem(key, Problem("no_image", "an image without file_name and coco_url"))
        return
    if plan.has_id(key):
        return
    kept = (
        "width", "height", "license", "flickr_url", "coco_url", "neg_category_ids", "not_exhaustive_category_ids"
    )  # fmt: skip
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
    labels, licenses = restored(plan.fact("labels")), plan.fact("licenses") or {}
    masks = _masks_place(request)

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            note = _note(item, plan.extras(item.position), labels, licenses, request)
            segments = [content for kind, content in plan.extras(item.position) if kind == "segments"]
            yield partial(_load, place, masks, (item, note, segments), labels, limit)

    yield from in_order(loads(), place)


def _masks_place(request: Request) -> Place | None:
    """Where the PNG files are: where it is said, or beside the JSON in a folder of its name, as COCO has it."""
    if not request.panoptic:
        return None
    return place_at(request.panoptic_masks or request.panoptic.removesuffix(".json"))


def _note(
    item: Item,
    extras: list[tuple[str, Any]],
    labels: Labels,
    licenses: dict[str, str],
    request: Request,
) -> Note:
    about = item.about
    note = Note(url=about.get("flickr_url") or about.get("coco_url"))
    note.license = licenses.get(str(about.get("license"))) or None
    note.size_wh, wrong = size_px(about.get("width"), about.get("height"))
    if wrong is not None:
        note.problems.append(Problem("bad_size", wrong))
    if request.captions:
        note.captions = []
    if request.annotations or request.panoptic:
        note.tags, note.regions = [], []
    _federated(note, about, labels)
    for kind, content in extras:
        if kind == "caption" and isinstance(content.get("caption"), str):
            if request.split == "benchmark":
                note.truths([content["caption"]], HUMAN)
            else:
                note.caption(content["caption"], HUMAN)
        elif kind == "instance":
            _instance(note, content, labels)
    return note


def _federated(note: Note, about: dict[str, Any], labels: Labels) -> None:
    """LVIS checks some classes of an image only: those that are not there, and those that are not annotated in full."""
    negative, incomplete = about.get("neg_category_ids"), about.get("not_exhaustive_category_ids")
    if negative is not None:
        note.negative_tags = []
        for label in _known(negative, labels, note):
            note.negative_tag(label, HUMAN)
    if incomplete is not None:
        note.not_exhaustive = _known(incomplete, labels, note)


def _known(numbers: list[Any], labels: Labels, note: Note) -> list[str]:
    unknown = [number for number in numbers if str(number) not in labels]
    if unknown:
        note.problems.append(Problem("no_class", f"expected known categories, got {unknown}"))
    return [labels[str(number)].label for number in numbers if str(number) in labels]


def _instance(note: Note, content: dict[str, Any], labels: Labels) -> None:
    name, category = f"given-{content.get('id')}", content.get("category_id")
    label = labels.get(str(category))
    if label is None or not label.label:
        note.problems.append(Problem("no_class", f"expected a known category, got {category!r}", name))
        return
    region = labelled(name, label, content.get("segmentation"))
    region.box, region.form, region.is_crowd = content.get("bbox"), "xywh", bool(content.get("iscrowd"))
    note.region(region)


def _load(
    place: Place,
    masks: Place | None,
    planned: tuple[Item, Note, list[dict[str, Any]]],
    labels: Labels,
    limit: int,
) -> Found:
    item, note, segments = planned
    for content in segments:
        if masks is not None:
            _segments(note, content, labels, masks)
    data, inside = read_image(place, item.name, limit), _inside(item)
    if isinstance(data, Problem) and data.reason == "no_image" and inside is not None and place.exists(inside):
        data = read_image(place, inside, limit)
    return Found(shown(item.name), data, extension_of(item.name), note)


def _inside(item: Item) -> str | None:
    """The file in its folder of COCO, as in `val2017/000000000139.jpg`: LVIS's images lie in two of them."""
    url = item.about.get("coco_url")
    return "/".join(url.split("/")[-2:]) if isinstance(url, str) else None


def _segments(note: Note, content: dict[str, Any], labels: Labels, masks: Place) -> None:
    name = str(content.get("file_name"))
    try:
        ids = coco_ids(read_colours(masks, name))
    except DataError as error:
        note.problems.append(Problem("no_masks", f"{name}: {error}"))
        note.tags = note.regions = None  # nobody knows
        return
    panoptic_regions(note, ids, content.get("segments_info", []), labels)
