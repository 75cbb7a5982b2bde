"""Answers of people in FiftyOne: a data set that it wrote in its own format, FiftyOneDataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from umgclip.data.corrections import HumanLook
from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.json_stream import read_elements
from umgclip.records import ImageRecord
from umgclip.review.answer import AnsweredRegion, ImageAnswer, Unusable, text_or_none
from umgclip.review.shown import ShownImages
from umgclip.review.tools.fiftyone import REVIEWED, SAMPLES
from umgclip.sources.formats.fiftyone.masks import placed, unpacked


def read_fiftyone(path: Path, _shown: ShownImages, unusable: list[Unusable]) -> Iterator[ImageAnswer]:
    """Yield an answer for each sample with the tag `reviewed`.

    Args:
        path: a folder that FiftyOne wrote as FiftyOneDataset, or its `samples.json`.
        _shown: what the export to the tool showed.
        unusable: gets what could not be used, with the reason.

    Raises:
        InputError: there is no such file, or no sample has the tag.
        DataError: it is no JSON, or is cut off.
    """
    path = path / SAMPLES if path.is_dir() else path
    if not path.is_file():
        raise InputError(f"{path}: expected {SAMPLES} of a FiftyOneDataset, found none")
    samples = reviewed = 0
    for name, sample in read_elements(path):
        if name != "samples":
            continue
        samples += 1
        where = f"sample {samples}"
        if not isinstance(sample, dict) or not isinstance(sample.get("key"), str):
            unusable.append(Unusable(None, "no_sample", f"{where}: expected the field key, which the export wrote"))
            continue
        tags = sample.get("tags")
        if not isinstance(tags, list) or REVIEWED not in tags:
            continue
        reviewed += 1
        record = _shown.records.get(sample["key"])
        if record is None:
            detail = f"{where}: the export to the tool has no image {sample['key']!r}"
            unusable.append(Unusable(sample["key"], "not_shown", detail))
            continue
        try:
            yield _answer(sample, record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            unusable.append(Unusable(record.key, "bad_region", f"{where}: {error}"))
    if not reviewed:
        raise InputError(
            f"{path}: expected samples with the tag {REVIEWED!r}, which says that a person looked at them, found none "
            f"among {samples}"
        )


def _answer(sample: Mapping[str, Any], record: ImageRecord) -> ImageAnswer:
    size = (sample.get("metadata") or {}).get("width"), (sample.get("metadata") or {}).get("height")
    if None not in size and size != (record.width, record.height):
        raise ValueError(f"expected an image of {record.width} x {record.height} pixels, got {size[0]} x {size[1]}")
    stored = sample.get("regions")  # None, as for tags and captions: the field was emptied or never there
    detections = None if stored is None else stored["detections"]
    tags = sample.get("image_tags")
    captions = sample.get("captions")
    return ImageAnswer(
        key=record.key,
        sha256=text_or_none(sample.get("sha256")),
        look=HumanLook(tool="fiftyone", at=_time(sample.get("last_modified_at")), task=_oid(sample.get("_id"))),
        regions=None if detections is None else tuple(_region(one, record) for one in detections),
        tags=None if tags is None else tuple(_names(tags["classifications"])),
        captions=None if captions is None else tuple(clean for text in captions if (clean := tidy(str(text)))),
    )


def _time(value: object) -> str | None:
    """Return a time as ISO 8601, which FiftyOne writes as such or in milliseconds since 1970."""
    date = value.get("$date") if isinstance(value, dict) else None
    if isinstance(date, dict):
        date = int(date["$numberLong"])
    if isinstance(date, int) and not isinstance(date, bool):
        return datetime.fromtimestamp(date / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return date if isinstance(date, str) else None


def _oid(value: object) -> str | None:
    identifier = value.get("$oid") if isinstance(value, dict) else None
    return identifier if isinstance(identifier, str) else None


def _names(classifications: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    seen: set[str] = set()
    for one in classifications:
        name = tidy(str(one.get("label") or ""))
        if name and name not in seen:
            seen.add(name)
            yield name


def _region(detection: Mapping[str, Any], record: ImageRecord) -> AnsweredRegion:
    x, y, width, height = (float(side) for side in detection["bounding_box"])
    if not all(math.isfinite(side) for side in (x, y, width, height)):
        raise ValueError(f"bounding_box: expected numbers, got {detection['bounding_box']}")
    box = (x * record.width, y * record.height, (x + width) * record.width, (y + height) * record.height)
    caption = detection.get("caption")
    captions = [] if caption is None else [tidy(part) for part in str(caption).splitlines()]
    if detection.get("mask_path"):
        raise ValueError("mask_path: expected masks in the samples, got files; export them with the data set")
    packed = detection.get("mask")
    identifier = detection.get("region_id")
    return AnsweredRegion(
        box_xyxy=box,
        label=tidy(str(detection.get("label") or "")) or None,
        mask=None if packed is None else mask_ops.encode(placed(unpacked(packed), box, (record.width, record.height))),
        captions=tuple(text for text in captions if text) if "caption" in detection else None,
        shown_id=None if identifier is None else str(identifier),
    )
