"""ADE20K: the 150 classes of scene parsing, semantic or panoptic, and the classes of the full data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from umgclip.errors import InputError
from umgclip.io.places import Place, fetch
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, read_label_table, restored, synonyms
from umgclip.sources.formats.shared.origins import ADE20K, ADE20K_FULL
from umgclip.sources.formats.shared.paired_folders import list_folder, plan_pairs, read_pairs
from umgclip.sources.formats.shared.segments import labelled, read_colours, read_ids, semantic_regions
from umgclip.sources.note import Note, Problem, SourceImage
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request

NAMES = "objectInfo150.txt"
INSTANCE_CLASSES = "categoryMapping.txt"  # columns: number in the instance task, number in scene parsing, name
# numbers in scene parsing that have no class in the instance task
STUFF = frozenset(
    (1, 2, 3, 4, 5, 6, 7, 10, 12, 14, 17, 18, 22, 26, 27, 29, 30, 35, 41, 47, 49, 52, 53, 55, 60, 61, 62, 64, 69, 78,
     80, 85, 92, 95, 97, 100, 101, 102, 106, 107, 110, 114, 115, 118, 123, 129, 132, 141, 142, 146)
)  # fmt: skip
_VOID = (0,)


def plan_ade20k(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List images and maps of one subset; read the classes."""
    subset = request.subset or "validation"
    if request.task == "full":
        labels = _full_classes(request, plan, working)
        folder = f"images/ADE/{subset}"
        plan_pairs(plan, source, (folder, folder), ("jpg",), ADE20K_FULL)
    elif request.task in (None, "semantic", "panoptic"):
        labels = _parsing_classes(ADE20K.read(source, NAMES, "the names of the 150 classes"), plan)
        plan_pairs(plan, source, (f"images/{subset}", f"annotations/{subset}"), ("jpg",), ADE20K)
        if request.task == "panoptic":
            list_folder(plan, source, f"annotations_instance/{subset}", ADE20K)
            plan.state("instances", _instance_classes(source, plan))
    else:
        raise InputError(f"task: expected semantic, panoptic or full for ade20k, got {request.task!r}")
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))


def _parsing_classes(data: bytes, plan: ImportPlan) -> Labels:
    """Read number and names from the first and the last column of `objectInfo150.txt`."""
    plan.seen(NAMES, data)
    rows = [line.split("\t") for line in data.decode("utf-8-sig").splitlines()[1:] if line.strip()]
    if not all(len(row) > 1 and row[0].strip().isdigit() and synonyms(row[-1]) for row in rows):
        raise InputError(f"{NAMES}: expected columns from Idx to Name, separated by tabs")
    return distinct((int(row[0]), synonyms(row[-1]), int(row[0]) not in STUFF) for row in rows)


def _instance_classes(source: Place, plan: ImportPlan) -> dict[str, str]:
    """Return the scene parsing number of each class of the instance task."""
    data = ADE20K.read(source, INSTANCE_CLASSES, "the classes of the instance task")
    plan.seen(INSTANCE_CLASSES, data)
    rows = [line.split()[:2] for line in data.decode("utf-8-sig").splitlines()[1:] if line.strip()]
    if not rows or not all(number.isdigit() for row in rows for number in row):
        raise InputError(f"{INSTANCE_CLASSES}: expected a line of titles, then two numbers and a name a line")
    return {str(int(instance)): str(int(parsing)) for instance, parsing in rows}


def _full_classes(request: Request, plan: ImportPlan, working: Path) -> Labels:
    """Read the requested classes by their number in the full data set."""
    if request.class_names is None:
        raise InputError(
            "ade20k: expected --class-names for the task full, a table of the numbers and names that count, such as "
            "the 847 of A-847; see docs/benchmarks.md"
        )
    data = fetch(request.class_names, working).read_bytes()
    plan.seen("class_names", data)
    return read_label_table(data, request.class_names)


def read_ade20k(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    labels, instances = restored(plan.fact("labels")), plan.fact("instances") or {}

    def note_of(item: PlannedImage) -> Note:
        if request.task == "full":
            return _full(source, item.name, labels)
        if request.task == "panoptic":
            return _panoptic(source, item.name, labels, instances)
        note = Note()
        semantic_regions(note, read_ids(source, _beside(item.name, "annotations")), labels, _VOID)
        return note

    yield from read_pairs(plan, source, span, limit, note_of)


def _beside(image: str, folder: str) -> str:
    return f"{folder}/{image.removeprefix('images/').removesuffix('.jpg')}.png"


def _full(source: Place, image: str, labels: Labels) -> Note:
    """Read a `_seg.png`, whose R and G hold the class; classes that were not requested are void."""
    colours = read_colours(source, f"{image.removesuffix('.jpg')}_seg.png")
    ids = colours[..., 0] // 10 * 256 + colours[..., 1]
    note = Note()
    semantic_regions(note, ids, labels, np.unique(ids).tolist())
    return note


def _panoptic(source: Place, image: str, labels: Labels, instances: dict[str, str]) -> Note:
    """Combine stuff of the semantic map with the things of the instance map (R: class, G: instance).

    Pixels of a thing's class that belong to no instance are void.
    """
    ids = read_ids(source, _beside(image, "annotations"))
    colours = read_colours(source, _beside(image, "annotations_instance"))
    is_thing = colours[..., 1] > 0
    stuff = {number: label for number, label in labels.items() if not label.is_thing}
    note = Note()
    semantic_regions(note, np.where(is_thing, 0, ids), stuff, [*_VOID, *(int(n) for n in labels.keys() - stuff.keys())])
    pairs = colours[..., 0] * 256 + colours[..., 1]
    for pair in np.unique(pairs[is_thing]).tolist():
        kind, number = divmod(pair, 256)
        label = labels.get(instances.get(str(kind), ""))
        if label is None:
            note.problems.append(Problem("no_class", f"expected a known class, got {kind}", f"given-thing-{number}"))
        else:
            note.region(labelled(f"given-thing-{kind}-{number}", label, pairs == pair))
    return note
