"""PASCAL Context: MATLAB maps of 459 classes over PASCAL VOC 2010, or the 59 classes that most papers use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.places import Place, fetch
from umgclip.sources.formats.shared.labels import Labels, class_list, read_label_table, restored
from umgclip.sources.formats.shared.origins import PASCAL_CONTEXT
from umgclip.sources.formats.shared.paired_folders import list_folder, read_pairs
from umgclip.sources.formats.shared.segments import read_ids, semantic_regions
from umgclip.sources.note import Note, SourceImage
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request

IMAGES, MAPS = "JPEGImages", "trainval"
NAMES, NAMES_59 = "labels.txt", "59_labels.txt"
_LISTS = ("{}.txt", "ImageSets/SegmentationContext/{}.txt")
# the data set's two tables spell three classes differently
_ALSO = {"diningtable": "table", "bedcloth": "bedclothes", "clothes": "cloth"}


def plan_pascal_context(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Plan the images of a list and read the classes."""
    if request.task not in (None, "59", "459"):
        raise InputError(f"task: expected 59 or 459 for pascal_context, got {request.task!r}")
    data = PASCAL_CONTEXT.read(source, NAMES, "the names of the 459 classes")
    plan.seen(NAMES, data)
    labels = read_label_table(data, NAMES)
    if request.task != "459":
        data = PASCAL_CONTEXT.read(source, NAMES_59, "the names of the 59 classes")
        plan.seen(NAMES_59, data)
        labels = _chosen(labels, read_label_table(data, NAMES_59))
    for folder in (IMAGES, MAPS):
        list_folder(plan, source, folder, PASCAL_CONTEXT)
    names = _listed(request, source, working)
    plan.seen("list", names)
    plan.add_items((number, f"{IMAGES}/{name}.jpg", {}) for number, name in enumerate(names))
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))


def _chosen(labels: Labels, wanted: Labels) -> Labels:
    """Select the wanted labels, by their numbers among all 459."""
    number_of = {label.names[0].replace(" ", ""): number for number, label in labels.items()}
    chosen = {}
    for label in wanted.values():
        name = label.names[0].replace(" ", "")
        number = number_of.get(name) or number_of.get(_ALSO.get(name, ""))
        if number is None:
            raise DataError(f"{NAMES_59}: expected names of {NAMES}, got {label.label!r}")
        chosen[number] = label
    return chosen


def _listed(request: Request, source: Place, working: Path) -> list[str]:
    """Read names of images without folder and extension from a list of lines such as `2008_000002`."""
    subset = request.subset or "val"
    if request.listed:
        data = fetch(request.listed, working).read_bytes()
    else:
        lists = [name.format(subset) for name in _LISTS if source.exists(name.format(subset))]
        if not lists:
            raise PASCAL_CONTEXT.missing(f"{source}/{subset}.txt", f"the names of the {subset} images, or --list FILE")
        data = source.read(lists[0], 1 << 24)
    words = [line.split()[0] for line in data.decode("utf-8-sig").splitlines() if line.strip()]
    return list(dict.fromkeys(word.rpartition("/")[2].partition(".")[0] for word in words))


def read_pascal_context(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    labels = restored(plan.fact("labels"))

    def note_of(item: PlannedImage) -> Note:
        note = Note()
        stem = item.name.rpartition("/")[2].removesuffix(".jpg")
        ids = read_ids(source, f"{MAPS}/{stem}.mat")
        semantic_regions(note, ids, labels, range(ids.max() + 1))  # classes that were not chosen are void
        return note

    yield from read_pairs(plan, source, span, limit, note_of)
