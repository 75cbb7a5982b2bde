"""Detection of annotations beside the images of a folder that the importer of another format reads."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator

from umgclip.errors import DataError, InputError
from umgclip.io.json_text import parse
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.sources.formats import labelme, voc, yolo
from umgclip.sources.formats.shared.annotation_files import Form, label_file
from umgclip.sources.note import only_numbers, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Kind

_LOOKED_AT = 32  # most images checked
_HEAD = 1 << 20
_TABLES = ("csv", "tsv", "jsonl", "ndjson", "parquet")
_COCO = re.compile(r"coco|^instances_|^captions_|^panoptic_|^person_keypoints_")
_NAMED = 8  # most files that are named
_WIDTHS = (5, 6)  # numbers on a line with a YOLO box; polygons have more, an odd number


class OtherFormatError(InputError):
    """Error for a source in another format: `kind` is its importer, `found` describes what was seen."""

    def __init__(self, kind: Kind, source: str, example: str) -> None:
        names = {"yolo": "YOLO's labels", "voc": "Pascal VOC's annotations", "labelme": "labelme's annotations"}
        super().__init__(
            f"{source}: expected captions beside the images, got {names[kind]} ({example}); "
            f"`umgclip data import {kind} {shlex.quote(source)}` reads them, --ignore-labels ignores them"
        )
        self.kind = kind
        self.found = f"{source}: there are {names[kind]} beside the images ({example})"


def refuse_other_formats(plan: ImportPlan, source: Place, where: str) -> None:
    """Check the files beside the first images for annotations in another format.

    Raises:
        OtherFormatError: most of these files are in another format.
    """
    forms: tuple[tuple[Kind, Form], ...] = (("yolo", yolo.FORM), ("voc", voc.FORM), ("labelme", labelme.FORM))
    for kind, form in forms:
        if not plan.has_extension(form.extension):
            continue
        beside = list(itertools.islice(_abouts(plan, form), _LOOKED_AT))
        fitting = [name for name in beside if _fits(kind, source, name)]
        if fitting and 2 * len(fitting) > len(beside):
            raise OtherFormatError(kind, where, f"{shown(fitting[0])}, in {len(fitting)} of the first {len(beside)}")


def tell_unread_tables(plan: ImportPlan) -> None:
    """Report tables that are not read, and JSON files that look like COCO's."""
    for name in itertools.islice(plan.file_names(_TABLES), _NAMED):
        plan.tell(f"tables that are not read, --captions reads one ({shown(name)})")
    coco = (name for name in plan.file_names(["json"]) if _COCO.search(name.rpartition("/")[2].lower()))
    for name in itertools.islice(coco, _NAMED):
        plan.tell(f"JSON of COCO that is not read, `umgclip data import coco` does ({shown(name)})")


def _abouts(plan: ImportPlan, form: Form) -> Iterator[str]:
    for item in plan.items(0, 50 * _LOOKED_AT):
        name = label_file(plan, form, item.name)
        if name is not None:
            yield name


def _fits(kind: Kind, source: Place, name: str) -> bool:
    try:
        data = source.read(name, _HEAD << 6)
        if kind == "voc":
            return b"<annotation" in data[:_HEAD]
        text = decode(data)
        if kind == "labelme":
            value = parse(text)
            return isinstance(value, dict) and isinstance(value.get("shapes"), list)
    except (DataError, ValueError):
        return False
    lines = [line for line in text.splitlines() if line.strip()]
    widths = {len(line.split()) for line in lines}
    return bool(lines) and all(map(only_numbers, lines)) and all(n in _WIDTHS or (n > 6 and n % 2) for n in widths)
