"""Images and semantic maps with the same names: PASCAL VOC, and data prepared for a segmentation toolbox."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch, place_at
from umgclip.sources.formats.shared.labels import class_list, read_label_table, restored
from umgclip.sources.formats.shared.paired_folders import read_pairs
from umgclip.sources.formats.shared.segments import read_ids, semantic_regions
from umgclip.sources.note import Note, SourceImage
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

MAPS = ("png", "tif", "tiff", "mat")


def plan_semantic(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List images and maps, and read the table of classes."""
    if request.masks is None or request.class_names is None:
        raise InputError("semantic: expected --masks, a folder of maps, and --class-names, numbers with names")
    table = fetch(request.class_names, working).read_bytes()
    labels = read_label_table(table, request.class_names, keys=("trainId", "id"))  # toolboxes write trainId
    plan.seen("class_names", table)
    plan.add_files(source.entries())
    plan.plan_files(FORMAT_OF)
    plan.add_files(replace(entry, name=f"masks/{entry.name}") for entry in place_at(request.masks).entries())
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))


def read_semantic(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    masks, labels = place_at(request.masks or ""), restored(plan.fact("labels"))

    def note_of(item: PlannedImage) -> Note:
        note = Note()
        stem = item.name.removesuffix(f".{extension_of(item.name)}")
        name = next((f"{stem}.{kind}" for kind in MAPS if masks.exists(f"{stem}.{kind}")), f"{stem}.png")
        semantic_regions(note, read_ids(masks, name), labels, request.void)
        return note

    yield from read_pairs(plan, source, span, limit, note_of)
