"""`umgclip predict`: which labels fit photographs, or boxes in them, as JSON lines or a table."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from umgclip.api import Model
from umgclip.cli import terminal
from umgclip.cli.terminal import Sheet
from umgclip.data.wording import first_spellings
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import atomic_file

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
Answer = dict[str, Any]
Boxes = list[Any]


@dataclass(frozen=True)
class LabelQuery:
    """What is asked of every image.

    Attributes:
        labels: to choose from.
        boxes: by the path or the name of an image; images that are not named are classified as a whole.
        top: labels told of each image or box, the best first.
    """

    labels: list[str]
    boxes: Mapping[str, Boxes]
    top: int

    def boxes_of(self, path: Path) -> Boxes | None:
        """The boxes of an image; None: it is asked for as a whole."""
        return next((self.boxes[name] for name in _names_of(path) if name in self.boxes), None)

    def check(self, images: Sequence[Path]) -> None:
        """See that boxes belong to one image each.

        Raises:
            InputError: a name is of no image, or of several.
        """
        paths: dict[str, list[Path]] = {}
        for path in images:
            for name in _names_of(path):
                paths.setdefault(name, []).append(path)
        unknown = [name for name in self.boxes if name not in paths]
        if unknown:
            listed = ", ".join(path.name for path in images[:3])
            raise InputError(
                f"--boxes: expected names of the images ({listed}, ...), got {unknown[0]!r} "
                f"({len(unknown)} of {len(self.boxes)} names)"
            )
        for name, owners in paths.items():
            if name in self.boxes and len(owners) > 1:
                raise InputError(
                    f"--boxes: expected the name of one image, got {name!r}, which is {owners[0]} and {owners[1]}; "
                    "write their paths"
                )


def _names_of(path: Path) -> tuple[str, ...]:
    """What an image may be called by in the file of boxes, the surest first."""
    return tuple(dict.fromkeys((str(path), path.as_posix(), path.name)))


def read_labels(words: Iterable[str]) -> list[str]:
    """Labels as given: names, names parted by commas, or @FILE with one a line.

    Raises:
        InputError: there is no such file, or no label.
    """
    names: list[str] = []
    for word in words:
        if word.startswith("@"):
            path = Path(word[1:])
            if not path.is_file():
                raise InputError(f"--labels: expected a file with a label a line, found none at {path}")
            try:
                names += path.read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError as error:
                raise InputError(f"--labels: {path}: expected UTF-8, got {error.reason}") from error
        else:
            names += word.split(",")
    labels = list(first_spellings(names).values())
    if not labels:
        raise InputError("--labels: expected names parted by commas, or @FILE with one a line, got none")
    return labels


def read_boxes(path: Path | None) -> dict[str, Boxes]:
    """Boxes as JSON: `{"photo.jpg": [[x0, y0, x1, y1], ...]}`, in pixels of the upright image.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise InputError(f"--boxes: expected a JSON file, found none at {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"--boxes: {path}: expected JSON, got {error}") from error
    if not isinstance(content, dict) or not all(isinstance(boxes, list) for boxes in content.values()):
        raise InputError(f'--boxes: {path}: expected {{"IMAGE": [[x0, y0, x1, y1], ...]}}, got {str(content)[:80]}')
    return content


def find_images(places: Iterable[Path]) -> list[Path]:
    """Image files, and those in folders, in the order of their names.

    Raises:
        InputError: a place is neither, or there is no image at all; names it.
    """
    found: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
            if not inside:
                raise InputError(f"{place}: expected images ({', '.join(sorted(SUFFIXES))}), found none")
            found += inside
        elif place.is_file():
            found.append(place)
        else:
            raise InputError(f"{place}: expected an image or a folder, found nothing")
    return list(dict.fromkeys(found))


def require_no_image(out: Path | None, images: Iterable[Path]) -> None:
    """Refuse an output that is an image: one of those that are read, or another photograph.

    Raises:
        InputError: names it.
    """
    if out is not None and out.exists() and (out.suffix.lower() in SUFFIXES or any(map(out.samefile, images))):
        raise InputError(f"--out: expected a file for JSON lines, which is replaced; {out} is an image")


def answers(
    model: Model, images: Iterable[Path], query: LabelQuery, advance: Callable[[int], None]
) -> Iterator[Answer]:
    """One answer an image; of an image that cannot be read, why."""
    for path in images:
        answer: Answer = {"image": str(path)}
        try:
            boxes = query.boxes_of(path)
            if boxes is None:
                answer["labels"] = _best(model.classify(path, query.labels)[0], query)
            else:
                answer["boxes"] = _boxes(model, path, boxes, query)
        except (DataError, InputError) as error:
            answer["error"] = str(error)
        advance(1)
        yield answer


def _boxes(model: Model, path: Path, boxes: Boxes, query: LabelQuery) -> list[Answer]:
    """One answer a box; a box that cannot be one costs itself."""
    try:
        rows: Any = model.classify(path, query.labels, boxes_xyxy=boxes) if boxes else []
        return [{"box_xyxy": box, "labels": _best(row, query)} for box, row in zip(boxes, rows, strict=True)]
    except InputError:
        model.classify(path, query.labels)  # where the image itself is at fault, that is the error
        return [_box(model, path, box, query) for box in boxes]


def _box(model: Model, path: Path, box: Any, query: LabelQuery) -> Answer:  # noqa: ANN401 - any JSON value
    try:
        row: Any = model.classify(path, query.labels, boxes_xyxy=[box])[0]
    except InputError as error:
        return {"box_xyxy": box, "error": str(error)}
    return {"box_xyxy": box, "labels": _best(row, query)}


def _failed(answer: Answer) -> bool:
    """Whether the image, or one of its boxes, could not be answered."""
    return "error" in answer or any("error" in part for part in answer.get("boxes", []))


def _best(scores: Any, query: LabelQuery) -> list[dict[str, Any]]:  # noqa: ANN401 - a row of numpy
    order = sorted(range(len(query.labels)), key=lambda index: -float(scores[index]))[: query.top]
    return [{"label": query.labels[index], "score": round(float(scores[index]), 6)} for index in order]


def write(found: Iterable[Answer], out: Path | None, *, as_table: bool) -> int:
    """JSON lines to a file, or to stdout, or a table there; gives how many images could not be read."""
    if out is not None:
        with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8") as handle:
            return _lines(found, handle)
    if not as_table:
        return _lines(found, sys.stdout)
    sheet, failed = Sheet("image", "box", "labels"), 0
    for answer in found:
        failed += _failed(answer)
        for box, said in _cells(answer):
            sheet.add_row(answer["image"], box, said)
    terminal.show(sheet)
    return failed


def _lines(found: Iterable[Answer], handle: TextIO) -> int:
    failed = 0
    for answer in found:
        failed += _failed(answer)
        handle.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return failed


def _cells(answer: Answer) -> Iterator[tuple[str, str]]:
    if "error" in answer:
        yield "", answer["error"]
    elif "labels" in answer:
        yield "", _said(answer["labels"])
    else:
        for part in answer["boxes"]:
            said = part["error"] if "error" in part else _said(part["labels"])
            yield json.dumps(part["box_xyxy"]).strip("[]"), said


def _said(labels: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['label']} {one['score']:.3f}" for one in labels)
