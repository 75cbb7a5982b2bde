"""The images of COCO's files, each with all that the files say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.coco.maps import read_map
from umgclip.sources.formats.coco.note_builder import FileFacts, ListedImage, NoteBuilder
from umgclip.sources.formats.coco.planning import masks_place
from umgclip.sources.formats.shared.labels import restored
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.formats.shared.segments import panoptic_segments
from umgclip.sources.note import Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage, extension_of
from umgclip.sources.request import Request

Extras = list[tuple[str, Any]]


def read_coco(
    request: Request, plan: ImportPlan, place: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """The images of some positions. One whose truth nobody knows is not taken in."""
    files = FileFacts(
        restored(plan.fact("labels")),
        plan.fact("licenses") or {},
        plan.fact("kinds") or {},
        frozenset(plan.fact("exchanged") or []),
        request.split == "benchmark",
    )
    masks = masks_place(request)

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, (place, masks), item, plan.extras(item.position), files, limit)

    yield from in_order(loads(), place)


def _load(
    places: tuple[Place, Place | None], item: PlannedImage, extras: Extras, files: FileFacts, limit: int
) -> SourceImage:
    place, masks = places
    builder = NoteBuilder(files)
    for kind, content in extras:
        if kind == "image":
            builder.image(content)
    data: bytes | Problem | None = next(
        (Problem(content["reason"], content["detail"]) for kind, content in extras if kind == "fault"), None
    )
    if data is None:
        try:
            _say(builder, extras, masks)
        except DataError as error:
            data = Problem("no_masks", str(error))
    if data is None:
        data = read_image(place, item.name, limit)
    return SourceImage(shown(item.name), data, extension_of(item.name), builder.note)


def _say(builder: NoteBuilder, extras: Extras, masks: Place | None) -> None:
    """All that the files say of an image.

    Raises:
        DataError: there is no map of it where there should be one, or it cannot be read.
    """
    mapped = set()
    for kind, content in extras:
        one = builder.listed.get(content.get("of", ""))
        if one is None or kind == "image":
            continue
        if kind == "caption":
            builder.caption(content["said"])
        elif kind == "instance":
            builder.instance(one, content["said"])
        elif masks is not None:
            mapped.add(content["of"])
            _segments(builder, one, content["said"], masks)
    if any(one.kind == "segments" and key not in mapped for key, one in builder.listed.items()):
        raise DataError("annotations: expected a map of the image, got none")
    builder.end()


def _segments(builder: NoteBuilder, one: ListedImage, said: dict[str, Any], masks: Place) -> None:
    segments = said.get("segments_info")
    ids = read_map(masks, said.get("file_name"), segments if isinstance(segments, list) else [])
    for number, segment in panoptic_segments(builder.note, ids, segments):
        region = builder.region(one, {**segment, "id": number}, ids == number)
        if region is not None:
            region.size_wh = (ids.shape[1], ids.shape[0])
            region.is_crowd = region.is_crowd and not region.is_stuff
            builder.keep(region)
