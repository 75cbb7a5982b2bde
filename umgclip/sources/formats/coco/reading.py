"""The images of COCO's files, each with all that the files say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.coco.maps import read_map
from umgclip.sources.formats.coco.note_builder import Files, Listed, Telling
from umgclip.sources.formats.coco.planning import masks_place
from umgclip.sources.formats.shared.labels import restored
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.formats.shared.segments import panoptic_segments
from umgclip.sources.note import Found, Problem, shown
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.request import Request

Extras = list[tuple[str, Any]]


def read_coco(request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions. One whose truth nobody knows is not taken in."""
    files = Files(
        restored(plan.fact("labels")),
        plan.fact("licenses") or {},
        plan.fact("kinds") or {},
        frozenset(plan.fact("exchanged") or []),
        request.split == "benchmark",
    )
    masks = masks_place(request)

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            yield partial(_load, (place, masks), item, plan.extras(item.position), files, limit)

    yield from in_order(loads(), place)


def _load(places: tuple[Place, Place | None], item: Item, extras: Extras, files: Files, limit: int) -> Found:
    place, masks = places
    telling = Telling(files)
    for kind, content in extras:
        if kind == "image":
            telling.image(content)
    data: bytes | Problem | None = next(
        (Problem(content["reason"], content["detail"]) for kind, content in extras if kind == "fault"), None
    )
    if data is None:
        try:
            _say(telling, extras, masks)
        except DataError as error:
            data = Problem("no_masks", str(error))
    if data is None:
        data = read_image(place, item.name, limit)
    return Found(shown(item.name), data, extension_of(item.name), telling.note)


def _say(telling: Telling, extras: Extras, masks: Place | None) -> None:
    """All that the files say of an image.

    Raises:
        DataError: there is no map of it where there should be one, or it cannot be read.
    """
    mapped = set()
    for kind, content in extras:
        one = telling.listed.get(content.get("of", ""))
        if one is None or kind == "image":
            continue
        if kind == "caption":
            telling.caption(content["said"])
        elif kind == "instance":
            telling.instance(one, content["said"])
        elif masks is not None:
            mapped.add(content["of"])
            _segments(telling, one, content["said"], masks)
    if any(one.kind == "segments" and key not in mapped for key, one in telling.listed.items()):
        raise DataError("annotations: expected a map of the image, got none")
    telling.end()


def _segments(telling: Telling, one: Listed, said: dict[str, Any], masks: Place) -> None:
    segments = said.get("segments_info")
    ids = read_map(masks, said.get("file_name"), segments if isinstance(segments, list) else [])
    for number, segment in panoptic_segments(telling.note, ids, segments):
        region = telling.region(one, {**segment, "id": number}, ids == number)
        if region is not None:
            region.size_wh = (ids.shape[1], ids.shape[0])
            region.is_crowd = region.is_crowd and not region.is_stuff
            telling.keep(region)
