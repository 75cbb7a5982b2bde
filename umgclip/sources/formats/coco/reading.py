"""Reader of the images of COCO files, each with everything that the files state about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.coco.maps import read_map
from umgclip.sources.formats.coco.note_builder import FileFacts, ListedImage, NoteBuilder
from umgclip.sources.formats.coco.planning import open_masks
from umgclip.sources.formats.shared.labels import restored
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.formats.shared.segments import panoptic_segments
from umgclip.sources.note import Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

Extras = list[tuple[str, Any]]


def read_coco(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; an image without its truth is refused."""
    files = FileFacts(
        restored(plan.fact("labels")),
        plan.fact("licenses") or {},
        plan.fact("kinds") or {},
        frozenset(plan.fact("exchanged") or []),
        request.split == "benchmark",
    )
    masks = open_masks(request)

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, (source, masks), item, plan.extras(item.position), files, limit)

    yield from in_order(loads(), source)


def _load(
    sources: tuple[Place, Place | None], item: PlannedImage, extras: Extras, files: FileFacts, limit: int
) -> SourceImage:
    source, masks = sources
    builder = NoteBuilder(files)
    for kind, content in extras:
        if kind == "image":
            builder.image(content)
    data: bytes | Problem | None = next(
        (Problem(content["reason"], content["detail"]) for kind, content in extras if kind == "fault"), None
    )
    if data is None:
        try:
            _add_statements(builder, extras, masks)
        except DataError as error:
            data = Problem("no_masks", str(error))
    if data is None:
        data = read_image(source, item.name, limit)
    return SourceImage(shown(item.name), data, extension_of(item.name), builder.note)


def _add_statements(builder: NoteBuilder, extras: Extras, masks: Place | None) -> None:
    """Add everything that the files state about an image to its note.

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


def _segments(builder: NoteBuilder, one: ListedImage, annotation: dict[str, Any], masks: Place) -> None:
    segments = annotation.get("segments_info")
    ids = read_map(masks, annotation.get("file_name"), segments if isinstance(segments, list) else [])
    for number, segment in panoptic_segments(builder.note, ids, segments):
        region = builder.region(one, {**segment, "id": number}, ids == number)
        if region is not None:
            region.size_wh = (ids.shape[1], ids.shape[0])
            region.is_crowd = region.is_crowd and not region.is_stuff
            builder.keep(region)
