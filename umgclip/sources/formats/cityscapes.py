"""Cityscapes: `labelIds` maps as semantic truth, or the panoptic JSON of cityscapesScripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, restored
from umgclip.sources.formats.shared.origins import CITYSCAPES
from umgclip.sources.formats.shared.paired_folders import list_folder, plan_pairs, read_pairs
from umgclip.sources.formats.shared.segments import coco_ids, panoptic_regions, read_colours, read_ids, semantic_regions
from umgclip.sources.note import Note, SourceImage
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request

IMAGES, MAPS = "leftImg8bit", "gtFine"
# numbers that are evaluated; all others are void
STUFF = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
}  # fmt: skip
THINGS = {
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_VOID = frozenset(range(256)) - STUFF.keys() - THINGS.keys()


def plan_cityscapes(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List images and maps of one subset."""
    subset = request.subset or "val"
    if request.task in (None, "semantic"):
        plan_pairs(plan, source, (f"{IMAGES}/{subset}", f"{MAPS}/{subset}"), ("png",), CITYSCAPES)
        labels = distinct((n, [name], n in THINGS) for n, name in (THINGS | STUFF).items())
    elif request.task == "panoptic":
        labels = _plan_panoptic(request, plan, source, working)
    else:
        raise InputError(f"task: expected semantic or panoptic for cityscapes, got {request.task!r}")
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))


def _plan_panoptic(request: Request, plan: ImportPlan, source: Place, working: Path) -> Labels:
    """Plan the images of the panoptic JSON, which names them by id and leaves the city out of their paths."""
    subset = request.subset or "val"
    name = f"{MAPS}/cityscapes_panoptic_{subset}"
    if not source.exists(f"{name}.json"):
        raise CITYSCAPES.missing(f"{source}/{name}.json", "the panoptic JSON (cityscapesScripts' csCreatePanopticImgs)")
    list_folder(plan, source, name, CITYSCAPES)
    list_folder(plan, source, f"{IMAGES}/{subset}", CITYSCAPES)
    path = fetch(f"{request.source.rstrip('/')}/{name}.json", working)
    plan.seen("panoptic", sha256_file(path))
    plan.add_items(
        (number, _image(str(value["image_id"]), subset), {"folder": name, **value})
        for number, value in enumerate(value for kind, value in read_elements(path) if kind == "annotations")
    )
    categories = [value for kind, value in read_elements(path) if kind == "categories"]
    if not categories:
        raise DataError(f"{path}: categories: expected the classes of the panoptic JSON, got none")
    return distinct((value["id"], [str(value["name"])], bool(value.get("isthing"))) for value in categories)


def _image(name: str, subset: str) -> str:
    return f"{IMAGES}/{subset}/{name.partition('_')[0]}/{name}_{IMAGES}.png"


def read_cityscapes(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    labels = restored(plan.fact("labels"))

    def note_of(item: PlannedImage) -> Note:
        note = Note()
        if request.task == "panoptic":
            ids = coco_ids(read_colours(source, f"{item.about['folder']}/{item.about['file_name']}"))
            panoptic_regions(note, ids, item.about["segments_info"], labels)
        else:
            stem = item.name.removeprefix(f"{IMAGES}/").removesuffix(f"_{IMAGES}.png")
            semantic_regions(note, read_ids(source, f"{MAPS}/{stem}_gtFine_labelIds.png"), labels, _VOID)
        return note

    yield from read_pairs(plan, source, span, limit, note_of)
