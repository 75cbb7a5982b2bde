"""COCO's JSON of predictions, written image by image: pycocotools reads it, and so does `data import coco`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TextIO

from umgclip import __version__
from umgclip.io.atomic import atomic_file
from umgclip.predictions.journal import Line

COCO = "predictions.json"


def write_coco(path: Path, lines: Iterable[Line], again: Iterable[Line], labels: Sequence[str]) -> int:
    """Write a file of detections with scores; return their number.

    Each detection has a box, an area, its score and, where it has a mask, the mask as compressed run lengths. Images
    that could not be read are left out; an image without detections is listed.

    Args:
        path: of the file.
        lines: of the journal, one per image.
        again: the same lines once more, so that none has to be held in memory.
        labels: what was looked for; the first has the category 1.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        handle.write(f'{{"info": {json.dumps({"description": "umgclip predict", "version": __version__})},\n')
        categories = [{"id": number, "name": label} for number, label in enumerate(labels, 1)]
        handle.write(f'"categories": {json.dumps(categories)},\n"images": [')
        _write(handle, map(_image, *_numbered(lines)))
        handle.write('],\n"annotations": [')
        written = _write(handle, _annotations(again))
        handle.write("]}\n")
    return written


def _numbered(lines: Iterable[Line]) -> tuple[Iterator[int], Iterator[Line]]:
    return count(1), (line for line in lines if "error" not in line)


def _image(number: int, line: Line) -> dict[str, Any]:
    width, height = line["size_wh"]
    return {"id": number, "file_name": line["image"], "width": width, "height": height}


def _annotations(lines: Iterable[Line]) -> Iterator[dict[str, Any]]:
    number = 0
    for image, line in zip(*_numbered(lines), strict=False):
        for one in line["detections"]:
            number += 1
            x0, y0, x1, y1 = one["box_xyxy"]
            width, height = round(x1 - x0, 2), round(y1 - y0, 2)
            mask = {} if one["mask"] is None else {"segmentation": one["mask"]}
            yield {
                "id": number, "image_id": image, "category_id": one["label_id"] + 1, "score": one["score"],
                "bbox": [x0, y0, width, height], "area": one.get("area", width * height), "iscrowd": 0, **mask,
            }  # fmt: skip


def _write(handle: TextIO, entries: Iterable[dict[str, Any]]) -> int:
    written = 0
    for entry in entries:
        handle.write(f"{',' if written else ''}\n{json.dumps(entry)}")
        written += 1
    return written
