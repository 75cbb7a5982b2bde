"""Streaming reader of one COCO JSON file: images are listed, and annotations wait as rows for their image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from umgclip.data.wording import tidy
from umgclip.errors import DataError
from umgclip.io.json_stream import read_elements
from umgclip.safe_text import brief
from umgclip.sources.formats.coco.categories import Categories
from umgclip.sources.formats.coco.listing import Listing
from umgclip.sources.formats.coco.umgclip_fields import OURS
from umgclip.sources.note import Problem
from umgclip.sources.plan import ImportPlan
from umgclip.sources.values import ident, number

_SECTIONS = ("images", "annotations", "categories", "licenses")
_NAMES = ("file_name", "filename", "path", "coco_url", "flickr_url")  # LVIS has no file names
_KEPT = (
    "width", "height", "license", "flickr_url", "coco_url", "neg_category_ids", "not_exhaustive_category_ids", OURS
)  # fmt: skip


@dataclass
class CocoFile:
    """One JSON file of an import: its number, its kind, its categories and its licenses."""

    number: int
    kind: str
    path: Path
    categories: Categories
    licenses: dict[str, str] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)

    def read(self, plan: ImportPlan, listing: Listing) -> Iterator[tuple[str, Any]]:
        """Yield the annotations as rows of their images; store everything else on the way.

        Raises:
            DataError: the file is not JSON, or lists no images; the message names the file.
            InputError: two categories have the same id.
        """
        images = annotations = 0
        for section, element in self._elements(plan):
            if section == "images":
                images += self._image(element, plan, listing)
            elif section == "annotations":
                annotations += 1
                row = self._annotation(element, annotations, plan, listing)
                if row is not None:
                    yield row
            elif section == "categories":
                self._category(element, plan)
            else:
                self.licenses[str(ident(element.get("id")))] = _license(element)
        if not images:
            raise DataError(f"{self.path}: images: expected a list of images as COCO has it, got none ({self.kind})")

    def _elements(self, plan: ImportPlan) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield section and object for images, annotations, categories and licenses.

        Objects of objects and nested lists are read as if they were one list.
        """
        for section, value in read_elements(self.path):
            if section == "info" and isinstance(value, dict) and isinstance(value.get(OURS), dict):
                self.ours = value[OURS]
            elif section == "" and not isinstance(value, dict | list):
                raise DataError(f"{self.path}: expected a JSON object with images, got {brief(value)}")
            if section not in _SECTIONS or value is None:
                continue
            plain = _plain_elements(value)
            if plain != [value]:
                plan.tell(f"parts of {section} that are no list of objects, read as one")
            for element in plain:
                if isinstance(element, dict):
                    yield section, element
                else:
                    detail = f"{section}: expected an object, got {brief(element)}"
                    plan.add_problem(self.path.name, Problem("bad_element", detail))

    def _image(self, value: dict[str, Any], plan: ImportPlan, listing: Listing) -> bool:
        image = ident(value.get("id"))
        name = next((path for key in _NAMES if (path := _file_name(key, value.get(key)))), None)
        if name is None or image is None:
            what = "a file_name" if name is None else "an id"
            shown = name or str(image)
            detail = f"{self.path.name}: images: expected {what}, got {brief(value)}"
            plan.add_problem(shown, Problem("no_image" if name is None else "no_id", detail))
            return True
        about = {key: value[key] for key in _KEPT if value.get(key) is not None}
        listing.add(self.number, image, name, about)
        return True

    def _annotation(
        self, value: dict[str, Any], count: int, plan: ImportPlan, listing: Listing
    ) -> tuple[str, dict[str, Any]] | None:
        image = ident(value.get("image_id"))
        if image is None:
            detail = f"annotations: expected image_id, got {brief(value.get('image_id'))}: {brief(value, 120)}"
            called = f"{self.path.name}: annotation {ident(value.get('id')) or f'number {count}'}"
            plan.add_problem(called, Problem("no_image_id", detail))
            return None
        key = f"{self.number}:{image}"
        if self.kind == "segments" and isinstance(value.get("segments_info"), list):
            used = [segment.get("category_id") for segment in value["segments_info"] if isinstance(segment, dict)]
        else:
            used = [value.get("category_id")]
        self.categories.used.update(str(ident(category)) for category in used)
        box = value.get("bbox")
        if isinstance(box, list) and len(box) == 4:
            x, y, width, height = (number(n) or 0.0 for n in box)
            listing.reach(key, x + width, y + height)
        return key, {"of": key, "said": value}

    def _category(self, value: dict[str, Any], plan: ImportPlan) -> None:
        key = ident(value.get("id"))
        if key is None:
            detail = f"categories: expected an id, got {brief(value)}"
            plan.add_problem(self.path.name, Problem("bad_element", detail))
            return
        self.categories.add(key, value)


def _plain_elements(value: Any) -> list[Any]:  # noqa: ANN401 - what JSON held
    """Return the elements inside an element: itself, those of a list, or those of an object of objects with ids."""
    if isinstance(value, list):
        return [inner for part in value for inner in _plain_elements(part)]
    if isinstance(value, dict) and value:
        if all(isinstance(inner, dict) for inner in value.values()):
            return [{"id": key, **inner} for key, inner in value.items()]
        if all(key.isdigit() and isinstance(inner, str) for key, inner in value.items()):
            return [{"id": key, "name": inner} for key, inner in value.items()]
    return [value]


def _file_name(key: str, value: Any) -> str | None:  # noqa: ANN401 - what JSON held
    if isinstance(value, int | float) and key == "file_name":
        return ident(value)
    if not isinstance(value, str) or not value.strip():
        return None
    return value if not key.endswith("_url") else _of_url(value)


def _of_url(url: str) -> str:
    """Return folder and file of a COCO URL, as in `val2017/000000000139.jpg`: LVIS's images are in two folders."""
    return "/".join(PurePosixPath(url.partition("?")[0]).parts[-2:])


def _license(value: dict[str, Any]) -> str:
    texts = [value[key] for key in ("name", "url") if isinstance(value.get(key), str)]
    return next((clean for text in texts if (clean := tidy(text))), "")
