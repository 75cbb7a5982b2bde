"""Reader of the images of rows, each with what its row says."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.sources.formats.coco.note_builder import FileFacts
from umgclip.sources.formats.huggingface.box_form import ReadAs
from umgclip.sources.formats.huggingface.columns import ChosenColumns
from umgclip.sources.formats.huggingface.images import find_image
from umgclip.sources.formats.huggingface.rows import KINDS, RowFacts, note_of
from umgclip.sources.formats.huggingface.tables import RowChunk, open_table
from umgclip.sources.formats.shared.labels import restored
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

Row = Mapping[str, Any]


def read_huggingface(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""
    columns = ChosenColumns.restored(plan.fact("columns"))
    files = FileFacts(
        restored(plan.fact("labels")), {}, KINDS, frozenset(), request.split == "benchmark", request.speaker
    )
    facts = RowFacts(columns, ReadAs(**plan.fact("boxes")), files, plan.fact("class_names") or {})
    tables = plan.fact("tables")
    if tables is None:
        yield from in_order(_files(plan, source, span, facts, limit), source)
        return

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item, row in _rows(plan, source, span, tables, columns):
            yield partial(_load, plan, source, item, row, facts, limit)

    # rows with their images inside need no requests ahead; a plan is read by one thread
    yield from (load() for load in loads())


def _rows(
    plan: ImportPlan, source: Place, span: tuple[int, int], tables: list[Any], columns: ChosenColumns
) -> Iterator[tuple[PlannedImage, Row | Problem]]:
    """Yield the planned rows, file by file and chunk by chunk; where a chunk breaks, its other rows are problems."""
    for file, items in itertools.groupby(plan.items(*span), key=lambda item: item.about["f"]):
        name, chunks = tables[file]
        with open_table(source, name, [RowChunk(*chunk) for chunk in chunks] if chunks else None) as table:
            for chunk, group in itertools.groupby(items, key=lambda item: item.about["c"]):
                members = list(group)
                rows = iter(table.rows(chunk, members[0].about["r"], len(members), columns.wanted()))
                broken: Problem | None = None
                for item in members:
                    row: Row | Problem | None = broken
                    if broken is None:
                        try:
                            row = next(rows, None)
                        except DataError as error:
                            row = broken = Problem("unreadable", str(error))
                    yield item, row if row is not None else Problem("unreadable", "expected a row, the file has fewer")


def _load(
    plan: ImportPlan, source: Place, item: PlannedImage, row: Row | Problem, facts: RowFacts, limit: int
) -> SourceImage:
    if isinstance(row, Problem):
        return SourceImage(shown(item.name), row, "", Note())
    image = find_image(plan, source, row.get(facts.columns.image), limit)
    base = (image.path or "").replace("\\", "/").rpartition("/")[2]
    name = f"{item.name}:{base}" if base else item.name
    return SourceImage(shown(name), image.data, image.extension, note_of(row, facts))


def _files(
    plan: ImportPlan, source: Place, span: tuple[int, int], facts: RowFacts, limit: int
) -> Iterator[Callable[[], SourceImage]]:
    """Yield loaders of image files, each with the rows of metadata about it."""
    for item in plan.items(*span):
        row: dict[str, Any] = {}
        repeated = 0
        for _, content in plan.extras(item.position):
            repeated += bool(row)
            row = row or content
        note = note_of(row, facts)
        if repeated:
            note.told["rows of metadata about an image that has one"] += repeated
        yield partial(_file, source, item.name, note, limit)


def _file(source: Place, name: str, note: Note, limit: int) -> SourceImage:
    return SourceImage(shown(name), read_image(source, name, limit), extension_of(name), note)
