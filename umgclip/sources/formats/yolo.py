"""YOLO: one text file per image, one line of numbers per object: its class, and a box or polygon as image shares.

Source: https://docs.ultralytics.com/datasets/detect and /segment.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from umgclip.errors import InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.records import Text
from umgclip.sources.formats.shared.annotation_files import (
    LABEL_BYTES,
    Form,
    chosen_subset,
    plan_labelled,
    read_labelled,
)  # fmt: skip
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, read_class_names, restored
from umgclip.sources.formats.yolo_layout import NAME_FILES, read_layout
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden

LISTS = ("train.txt", "val.txt", "valid.txt", "test.txt", "trainval.txt", "README.roboflow.txt", "README.dataset.txt")
FORM = Form("YOLO labels", "txt", (("images", "labels"), ("JPEGImages", "labels")), (*NAME_FILES, *LISTS))
_LOOKED_AT = 64  # label files checked before anything is imported
_SLACK = 1e-3  # share of the image by which rounding may exceed it
_CORNERS = 9  # numbers on a line with a class and four corners
_FEW = 3  # most lines with four corners that may be polygons by chance
_MANY = 8  # more lines of one length than this are key points, not polygons


def plan_yolo(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Find the classes, the subset, and the label file of each image.

    Raises:
        InputError: the classes have no names, or the labels are turned boxes or key points, which are not read.
        DataError: there are no labels.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    layout = read_layout(plan, source, request.encoding)
    names = _numbered(read_class_names(request.class_names, working)) or layout.names
    if not names:
        expected = f"names in data.yaml, obj.names or classes.txt, or --class-names; looked for {', '.join(NAME_FILES)}"
        raise InputError(f"{source}: expected the names of the classes, found none: {expected}")
    subset = chosen_subset(request, layout.divisions, source)
    plan_labelled(plan, source, FORM, subset)
    if request.task is None:
        _refuse_other_tasks(plan, source)
    labels = distinct((number, [name.replace("_", " ")], True) for number, name in sorted(names.items()))
    plan.seen("classes", labels, subset.name)
    plan.state("labels", labels)
    plan.state("classes", class_list(labels))
    plan.state("other_files", plan.other_files((*FORMAT_OF, "txt", "yaml", "yml", "names", "data", "labels")))


def _numbered(names: dict[str, str]) -> dict[int, str]:
    try:
        return {int(number): name for number, name in names.items()}
    except ValueError as error:
        raise InputError(f"class_names: expected a name for each number, got {str(names)[:80]}") from error


def _refuse_other_tasks(plan: ImportPlan, source: Place) -> None:
    """Refuse turned boxes and key points, which are lines of numbers too, but all of the same length."""
    lengths: Counter[int] = Counter()
    abouts = (item.about["about"] for item in plan.items(0, plan.size()) if "about" in item.about)
    for name in itertools.islice(abouts, _LOOKED_AT):
        text = source.read(name, LABEL_BYTES).decode("ascii", "replace")
        lengths.update(len(line.split()) for line in text.splitlines() if line.strip())
    if len(lengths) != 1:
        return
    ((length, lines),) = lengths.items()
    if length == _CORNERS and lines > _FEW:
        what = "turned boxes (OBB): a class and four corners on every line"
    elif length > _CORNERS and lines > _MANY:
        what = f"key points (pose): {length} numbers on every line"
    else:
        return
    raise InputError(f"{source}: expected boxes or polygons, got what looks like {what}; --task segment reads polygons")


def read_yolo(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; one without a label file has no statement about regions."""
    labels = restored(plan.fact("labels"))
    yield from read_labelled(plan, source, span, limit, partial(_note, labels=labels, request=request))


def _note(data: bytes, _name: str, labels: Labels, request: Request) -> Note:
    note = Note(tags=[], regions=[])
    lines = decode(data, request.encoding).splitlines()
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if line in seen:
            note.told["lines of YOLO labels that stand twice in their file"] += 1
            continue
        seen.add(line)
        problem = _object(note, f"given-{number}", line, labels, request.speaker.others)
        if problem is not None:
            note.problems.append(problem)
    return note


def _object(note: Note, name: str, line: str, labels: Labels, source: str) -> Problem | None:
    """Add the object of a line to the note; return the problem if it is unusable."""
    numbers = [_number(word) for word in line.split()]
    if any(n is None for n in numbers) or not (len(numbers) in (5, 6) or (len(numbers) >= 7 and len(numbers) % 2)):
        expected = "a class and 4 numbers of a box, or 6 and more of a polygon"
        return Problem("bad_region", f"line {name[6:]}: expected {expected}, got {line.strip()[:80]!r}", name)
    category, *values = (n for n in numbers if n is not None)
    label = labels.get(str(int(category))) if category == int(category) else None
    if label is None:
        return Problem("no_class", f"line {name[6:]}: expected one of {len(labels)} classes, got {category:g}", name)
    region = RawRegion(name, tags=[Text(text=label.label, source=source)], shares=True)
    if len(values) == 5:
        region.score = values.pop()
    if any(not -_SLACK <= n <= 1 + _SLACK for n in values):
        got = " ".join(f"{n:g}" for n in values)[:80]
        return Problem("bad_box", f"line {name[6:]}: expected shares of the image from 0 to 1, got {got}", name)
    if len(values) == 4:
        x, y, width, height = values
        region.box = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
    else:
        region.shape = [values]
    note.region(region)
    return None


def _number(word: str) -> float | None:
    try:
        number = float(word)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
