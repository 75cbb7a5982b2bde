"""FG-OVD (Bianchi et al., CVPR 2024): boxes of COCO images, each with one true text and up to ten perturbed ones.

Two grammars are read. The benchmark's own JSON (`1_attributes.json`, ...) is LVIS's, with texts as categories and
`neg_category_ids` in each annotation. FG-CLIP evaluates JSON lines (`h_attributes_llava.jsonl`, ...) with `img_path`,
`bbox`, `pos_expression` and `neg_expression`. Boxes are left, top, width, height in pixels in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch
from umgclip.records import Text
from umgclip.safe_text import brief
from umgclip.sources.formats.shared.origins import FG_OVD
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of
from umgclip.sources.values import expected, ident, size_px, words

_BOX = "box"
_EXPRESSIONS = ("pos_expression", "neg_expression")


def plan_fg_ovd(request: Request, plan: ImportPlan, _source: Place, working: Path) -> None:
    """Plan the images of the JSON, each with its boxes and their texts."""
    if len(request.annotations) != 1:
        raise InputError("fg-ovd: expected --annotations, such as 1_attributes.json (hard), once")
    try:
        path = fetch(request.annotations[0], working)
    except DataError as error:
        raise FG_OVD.missing(request.annotations[0], "boxes with a true text and perturbed ones") from error
    plan.seen("annotations", sha256_file(path))
    images = _Images(plan, path.name)
    plan.add_rows(_rows(path, images, plan))
    if not images.count:
        raise DataError(f"{path}: expected images with boxes and texts, as FG-OVD or FG-CLIP write them, got none")
    plan.state("texts", images.texts)
    plan.match_ids(_BOX)
    plan.index()


class _Images:
    """The images of a file, planned as they come, and the texts that its numbers stand for."""

    def __init__(self, plan: ImportPlan, file: str) -> None:
        self._plan, self._file = plan, file
        self.count = 0
        self.texts: dict[str, str] = {}

    def add(self, number: str, name: str, about: dict[str, Any]) -> None:
        """Plan an image unless its number is known."""
        if not self._plan.has_id(number):
            self._plan.add_ids([(number, self.count)])
            self._plan.add_items([(self.count, name, about)])
            self.count += 1

    def listed(self, value: dict[str, Any]) -> None:
        """Plan an image of the list `images`."""
        number, name = ident(value.get("id")), words(value.get("file_name"))
        if number is None or name is None:
            self._plan.add_problem(f"{self._file}: images", Problem("no_image", expected("file_name", "a text", value)))
            return
        if self._plan.has_id(number):
            detail = f"expected one image with the id {number}, got another, {shown(name)}; boxes go to the first"
            self._plan.add_problem(f"{self._file}: images", Problem("duplicate_id", detail))
            return
        self.add(number, name, {key: value[key] for key in ("width", "height", "coco_url") if key in value})

    def named(self, value: dict[str, Any]) -> None:
        """Store the text of a category."""
        number, text = ident(value.get("id")), words(value.get("name"))
        if number is None or text is None:
            detail = expected("name", "a text", value.get("name"))
            self._plan.add_problem(f"{self._file}: categories", Problem("bad_text", detail))
            return
        self.texts[number] = text


def _rows(path: Path, images: _Images, plan: ImportPlan) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each box as a row of its image; plan the images on the way."""
    for count, (section, value) in enumerate(read_elements(path, partial(_refuse_line, plan, path))):
        if section not in ("", "images", "annotations", "categories"):
            continue
        if not isinstance(value, dict):
            plan.add_problem(path.name, Problem("bad_record", f"{section}: expected an object, got {brief(value)}"))
        elif section == "images":
            images.listed(value)
        elif section == "categories":
            images.named(value)
        elif section == "annotations":
            yield str(ident(value.get("image_id"))), {"id": ident(value.get("id")) or str(count), "annotation": value}
        elif (name := words(value.get("img_path"))) is not None:
            images.add(name, name, {key: value[key] for key in ("width", "height") if key in value})
            yield name, {"id": ident(value.get("sent_id")) or str(count), "annotation": value}
        else:
            detail = expected("img_path", "a text", value.get("img_path"))
            plan.add_problem(f"{path.name}: line {count + 1}", Problem("no_image", detail))


def _refuse_line(plan: ImportPlan, path: Path, where: str, detail: str) -> None:
    plan.refuse_row(f"{path.name}: {where}", detail)


def read_fg_ovd(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan; a box without its texts costs only itself."""
    texts = plan.fact("texts") or {}

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            boxes = [content for _, content in plan.extras(item.position)]
            yield partial(_load, source, item, _note(item, boxes, texts, request.speaker.others), limit)

    yield from in_order(loads(), source)


def _note(item: PlannedImage, boxes: list[dict[str, Any]], texts: dict[str, str], speaker: str) -> Note:
    size, wrong = size_px(item.about.get("width"), item.about.get("height"))
    note = Note(regions=[], url=words(item.about.get("coco_url")), size_wh=size)
    if wrong is not None:
        note.problems.append(Problem("bad_size", wrong))
    for box in boxes:
        try:
            true, others = _texts(box["annotation"], texts)
        except ValueError as error:
            note.problems.append(Problem("bad_text", str(error), box["id"]))
            continue
        region = RawRegion(box["id"], box["annotation"].get("bbox"), "xywh", box["annotation"].get("segmentation"))
        region.captions = [Text(text=true, source=speaker)]
        region.negatives = [Text(text=other, source=speaker) for other in others]
        note.region(region)
    return note


def _texts(annotation: dict[str, Any], texts: dict[str, str]) -> tuple[str, list[str]]:
    """Return the true text of a box and the others, repeats included.

    Raises:
        ValueError: a text is missing.
    """
    if "pos_expression" in annotation:
        true, others = annotation.get("pos_expression"), annotation.get("neg_expression")
        true = true if isinstance(true, list) else [true]
    else:
        numbers = annotation.get("neg_category_ids")
        true = [texts.get(str(ident(annotation.get("category_id"))))]
        others = [texts.get(str(ident(number))) for number in numbers] if isinstance(numbers, list) else None
    every = [words(text) for text in (*true, *(others if isinstance(others, list) else [None]))]
    clean = [text for text in every if text is not None]
    if len(true) != 1 or len(clean) != len(every) or len(clean) < 2:
        fields = ("category_id", "neg_category_ids") if "category_id" in annotation else _EXPRESSIONS
        raise ValueError(
            f"{' and '.join(fields)}: expected one true text and at least one other, got {brief(annotation, 120)}"
        )
    return clean[0], clean[1:]


def _load(source: Place, item: PlannedImage, note: Note, limit: int) -> SourceImage:
    base = item.name.rpartition("/")[2]  # all images may be in one folder, instead of COCO's folders
    name = base if base != item.name and not source.exists(item.name) and source.exists(base) else item.name
    return SourceImage(shown(item.name), read_image(source, name, limit), extension_of(item.name), note)
