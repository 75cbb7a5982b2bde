"""`umgclip predict --out FOLDER`: things found by name in many images, as pictures, COCO json and a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from umgclip import __version__
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.inference.detecting.candidates import Candidates, Pixels, given_boxes
from umgclip.inference.detecting.detector import Detector
from umgclip.inference.detecting.regions import DetectedRegions
from umgclip.io.atomic import atomic_file, sha256_json, write_bytes
from umgclip.io.pictures import read_picture
from umgclip.predictions import drawing
from umgclip.predictions.coco_file import COCO, write_coco
from umgclip.predictions.inputs import UNNAMEABLE, Boxes, InputImage, listed
from umgclip.predictions.journal import LINES, Line, PredictionJournal
from umgclip.predictions.page import PAGE, write_page
from umgclip.stage import Summary

THUMBNAILS, QUARANTINE = "thumbnails", "quarantine.jsonl"
_BATCH, _BATCH_PIXELS = 16, 48_000_000  # of images that are in memory at once
_SAMPLED = 1024  # numbers of each weight that go into the digest of a model


@dataclass(frozen=True)
class FolderRequest:
    """The images and the folder of a prediction.

    Attributes:
        images: the images.
        boxes: boxes by name of an image, instead of proposals.
        out: the folder.
        model: what the model was called, for the page.
        pictures: whether annotated pictures are written.
        others: number of files in the folders that are no images by their suffix, by suffix; for the summary.
    """

    images: Sequence[InputImage]
    boxes: Mapping[str, Boxes]
    out: Path
    model: str
    pictures: bool = True
    others: Mapping[str, int] = field(default_factory=dict)


class FolderResult(NamedTuple):
    """The summary of a prediction, and how many images failed.

    Attributes:
        summary: for the command line.
        failed: images that could not be read.
    """

    summary: Summary
    failed: int


def predict_folder(
    request: FolderRequest, detector: Detector, tower: nn.Module, advance: Callable[[int], None]
) -> FolderResult:
    """Detect in all images and write the folder; what an earlier run of the same has done is not done again.

    Each image is on the disk before the next batch begins, with its picture first and its line in the journal last, so
    a killed run loses a batch at most. Images that failed before are tried again.

    Args:
        request: images and folder.
        detector: the model with its labels.
        tower: its network, to recognise the model again.
        advance: called with the number of images done.

    Raises:
        InputError: the folder holds something else.
        OutputError: the folder cannot be written.
    """
    names = [image.name for image in request.images]
    with PredictionJournal(request.out, _made_by(request, detector, tower)) as journal:
        open_images = []
        for image in request.images:
            done = journal.is_done(image.name, image.stamp) and _is_there(image, request)
            advance(1) if done else open_images.append(image)
        for batch in _batches(open_images, request, journal, advance):
            _detect(batch, request, detector, journal)
            advance(len(batch))
        journal.drop_earlier_tries()
        detections = write_coco(request.out / COCO, journal.lines(names), journal.lines(names), detector.labels)
        failures = [line for line in journal.lines(names) if "error" in line]
        _write_quarantine(request.out / QUARANTINE, failures)
        write_page(request.out / PAGE, journal.lines(names), detector, request.model)
    return FolderResult(_summary(request, detections, failures, len(open_images)), len(failures))


class _Opened(NamedTuple):
    image: InputImage
    stamp: list[int]
    pixels: Pixels
    given: Candidates | None


def _batches(
    images: Sequence[InputImage], request: FolderRequest, journal: PredictionJournal, advance: Callable[[int], None]
) -> Iterator[list[_Opened]]:
    """Yield images in batches that fit into memory; one that cannot be read gets its line in the journal."""
    batch: list[_Opened] = []
    pixels = 0
    for image in images:
        stamp = image.stamp
        try:
            opened = _open(image, stamp, request.boxes.get(image.name))
        except (DataError, InputError) as error:
            journal.add({"image": image.name, "stamp": stamp, "error": str(error)})
            advance(1)
            continue
        batch.append(opened)
        pixels += opened.pixels.shape[0] * opened.pixels.shape[1]
        if len(batch) == _BATCH or pixels >= _BATCH_PIXELS:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _open(image: InputImage, stamp: list[int], boxes: Boxes | None) -> _Opened:
    pixels = read_picture(image.path, image.name)
    size_wh = pixels.shape[1], pixels.shape[0]
    return _Opened(image, stamp, pixels, None if boxes is None else given_boxes(boxes, size_wh, "boxes"))


def _detect(batch: Sequence[_Opened], request: FolderRequest, detector: Detector, journal: PredictionJournal) -> None:
    regions = detector.find([one.pixels for one in batch], [one.given for one in batch])
    for one, each in zip(batch, regions, strict=True):
        if request.pictures:
            drawing.save(drawing.annotated(one.pixels, each), request.out / one.image.picture)
        write_bytes(request.out / _thumbnail(one.image), drawing.thumbnail(one.pixels))
        journal.add(_line(one, each, request.pictures))


def _line(one: _Opened, regions: DetectedRegions, has_picture: bool) -> Line:
    files = {"picture": one.image.picture} if has_picture else {}
    return {
        "image": one.image.name,
        "size_wh": list(regions.size_wh),
        "detections": [_detection(regions, row) for row in range(len(regions))],
        **files,
        "thumbnail": _thumbnail(one.image),
        "stamp": one.stamp,
    }


def _detection(regions: DetectedRegions, row: int) -> Line:
    detection: Line = {
        "label": regions.names[row],
        "label_id": int(regions.label_ids[row]),
        "score": round(float(regions.scores[row]), 4),
        "box_xyxy": [round(float(edge), 2) for edge in regions.boxes_xyxy[row]],
        "mask": None,
    }
    if regions.masks is not None:
        mask = mask_ops.encode(regions.masks[row])
        detection |= {"mask": {"size": list(mask.size), "counts": mask.counts}, "area": mask_ops.area(mask)}
    return detection


def _thumbnail(image: InputImage) -> str:
    return f"{THUMBNAILS}/{image.picture.partition('/')[2]}.jpg"


def _is_there(image: InputImage, request: FolderRequest) -> bool:
    files = [image.picture, _thumbnail(image)] if request.pictures else [_thumbnail(image)]
    return all((request.out / file).is_file() for file in files)


def _made_by(request: FolderRequest, detector: Detector, tower: nn.Module) -> dict[str, Any]:
    """Return all that decides the predictions of an image."""
    settings = {name: value for name, value in asdict(detector.settings).items() if name != "background"}
    return {
        "version": __version__,
        "labels": list(detector.labels),
        "model": _digest(tower),
        "boxes": sha256_json(dict(request.boxes)) if request.boxes else None,
        "pictures": request.pictures,
        "background": list(detector.settings.background),
        **settings,
    }


def _digest(tower: nn.Module) -> str:
    """Return a digest of a network's weights: of up to a thousand numbers of each of them."""
    digest = hashlib.sha256()
    for name, value in sorted(tower.state_dict().items()):
        flat = value.detach().flatten()
        step = max(1, len(flat) // _SAMPLED)
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(flat[::step].to(torch.float32).cpu().numpy().astype(np.float32).tobytes())
    return digest.hexdigest()


def _write_quarantine(path: Path, failures: Sequence[Line]) -> None:
    """Write the images that failed, each with its reason; without any the file is removed."""
    if not failures:
        path.unlink(missing_ok=True)
        return
    with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8", errors=UNNAMEABLE) as handle:
        for line in failures:
            handle.write(json.dumps({"image": line["image"], "reason": line["error"]}, ensure_ascii=False) + "\n")


def _summary(request: FolderRequest, detections: int, failures: Sequence[Line], new: int) -> Summary:
    images, out = len(request.images), request.out
    rows = [
        ("page", str(out / PAGE)),
        ("images", f"{images}, {new} of them now" if new < images else str(images)),
        ("detections", str(detections)),
        ("COCO", str(out / COCO)),
        ("JSON lines", str(out / LINES)),
    ]
    if request.others:
        rows.append(("not read: no images by their suffix", listed(request.others)))
    if failures:
        rows.append(("could not be read", f"{len(failures)}, listed in {out / QUARANTINE}"))
        rows += [("", line["error"]) for line in failures[:5]]
    facts = {
        "images": images, "new": new, "detections": detections, "failed": [line["image"] for line in failures],
        "other_files": dict(request.others), "page": str(out / PAGE), "coco": str(out / COCO),
    }  # fmt: skip
    return Summary(f"predict: {out}", tuple(rows), facts)
