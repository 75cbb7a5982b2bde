"""Open Images: tables of labels that humans verified to be present in an image, or absent from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.delimited import read_rows, read_table
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch
from umgclip.io.texts import open_text
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, restored
from umgclip.sources.formats.shared.origins import OPEN_IMAGES
from umgclip.sources.formats.shared.paired_folders import read_noted
from umgclip.sources.note import Note, Problem, SourceImage
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import HUMAN, Request

_COLUMNS = ("ImageID", "LabelName", "Confidence")


def plan_open_images(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the images and assign to each the rows of the tables about it."""
    if not request.annotations or request.class_names is None:
        raise InputError(
            "open_images: expected --annotations, a table of verified image labels, and --class-names, its descriptions"
        )
    plan.add_files(source.entries())
    plan.plan_files(FORMAT_OF)
    plan.add_ids((_id(item.name), item.position) for item in plan.items(0, plan.size()))
    used: Counter[str] = Counter()
    for where in request.annotations:
        path = _fetched(where, working, "verified labels (ImageID,Source,LabelName,Confidence)")
        plan.seen("annotations", sha256_file(path))
        plan.add_rows(_rows(path, used, plan))
    plan.match_ids("label", each=False)
    path = _fetched(request.class_names, working, "descriptions of the labels (LabelName,DisplayName)")
    plan.seen("class_names", sha256_file(path))
    labels = _descriptions(path, used, plan)
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))
    plan.state("other_files", plan.other_files(FORMAT_OF))


def _id(name: str) -> str:
    return name.rpartition("/")[2].partition(".")[0]


def _fetched(where: str, working: Path, expected: str) -> Path:
    try:
        return fetch(where, working)
    except DataError as error:
        raise OPEN_IMAGES.missing(where, expected) from error


def _rows(path: Path, used: Counter[str], plan: ImportPlan) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield image, label and confidence of each row."""
    for image, label, confidence in read_table(path, _COLUMNS, plan.refuse_row):
        used[label] += 1
        yield image, (label, confidence)


def _descriptions(path: Path, used: Counter[str], plan: ImportPlan) -> Labels:
    """Read the names of the labels that occur; older files have no header line."""
    with open_text(path) as handle:
        rows = []
        for row in read_rows(handle, ",", lambda cells: len(cells) == 2):
            if row.broken is not None:
                plan.refuse_row(f"{path.name}: line {row.line}", row.broken)
            elif len(row.cells) == 2 and row.cells[0].lstrip("\ufeff") in used:
                rows.append(row.cells)
    if not rows:
        raise InputError(f"{path}: expected rows of LabelName and DisplayName of the labels that are used, got none")
    return distinct((label.lstrip("\ufeff"), [name], True) for label, name in rows)


def read_open_images(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; an image without a verified label is refused."""
    labels = restored(plan.fact("labels"))
    noted = ((item, _note([row for _, row in plan.extras(item.position)], labels)) for item in plan.items(*span))
    for image in read_noted(noted, source, limit):
        if not image.note.tags and not image.note.negative_tags:
            image.data = Problem("no_class", "expected a verified label, got none")
        yield image


def _note(rows: list[list[str]], labels: Labels) -> Note:
    note = Note(tags=[], negative_tags=[])
    values_of: dict[str, set[float]] = {}
    for name, confidence in rows:
        label = labels.get(name)
        value = _number(confidence)
        if label is None:
            note.problems.append(Problem("no_class", f"{name}: expected a description of the label, got none"))
        elif value not in (0.0, 1.0):
            note.problems.append(Problem("no_class", f"{label.label}: expected confidence 0 or 1, got {confidence!r}"))
        else:
            values_of.setdefault(label.label, set()).add(value)
    for label_name, values in values_of.items():
        if len(values) > 1:
            note.problems.append(Problem("no_class", f"{label_name}: verified to be there and not to be there"))
        elif 1.0 in values:
            note.tag(label_name, HUMAN)
        else:
            note.negative_tag(label_name, HUMAN)
    return note


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
