"""FiftyOne (Apache-2.0): a data set in its own format on the disk, which it loads and writes.

Source: https://docs.voxel51.com/user_guide/import_datasets.html, FiftyOneDataset. `samples.json` holds documents in
MongoDB's extended JSON, boxes as shares of the image, and masks of boxes as compressed arrays.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool

from umgclip.data.corrections import HumanLook
from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.io.json_stream import read_elements
from umgclip.records import ImageRecord, Mask, Region
from umgclip.review.answer import AnsweredRegion, ImageAnswer, Unusable, text_or_none
from umgclip.review.shown import Item, Settings, ShownImages, alt_of, shown_captions, shown_regions, why

METADATA, SAMPLES = "metadata.json", "samples.json"
REVIEWED = "reviewed"  # tag that a person gives to a sample that is done
VERSION = "1.0.0"  # of FiftyOne, whose later versions read it
_MOST_BYTES = 1 << 28  # of a mask that is unpacked
_TIME = "2000-01-01T00:00:00Z"  # documents need times; a fixed one keeps the bytes the same
_FIELDS = "fiftyone.core.fields."
_LABELS = "fiftyone.core.labels."


def write_fiftyone(folder: Path, items: Sequence[Item], settings: Settings) -> list[str]:
    """Write `metadata.json` and `samples.json`; return what to do with them, a step a line."""
    samples = ",\n".join(json.dumps(_sample(item, settings), ensure_ascii=False) for item in items)
    write_bytes(folder / SAMPLES, f'{{"samples": [\n{samples}\n]}}\n'.encode())
    write_bytes(folder / METADATA, (json.dumps(_metadata(settings.name, settings), ensure_ascii=False) + "\n").encode())
    return [
        "In Python: import fiftyone as fo; "
        f'dataset = fo.Dataset.from_dir("{settings.name}", dataset_type=fo.types.FiftyOneDataset); '
        "fo.launch_app(dataset)",
        "Correct the fields regions (boxes, masks, the attribute caption), image_tags and captions.",
        f"Give the tag {REVIEWED} to every sample that you looked at, also to one without a fault.",
        'dataset.export("DONE", dataset_type=fo.types.FiftyOneDataset, export_media=False)',
        "Then: umgclip review import DONE --shown THIS_FOLDER --out corrections",
    ]


def _sample(item: Item, settings: Settings) -> dict[str, Any]:
    record = item.record
    sample: dict[str, Any] = {
        "_id": _object_id(record.sha256),
        "filepath": f"{settings.image_prefix or 'data/'}{item.file_name}",
        "tags": [],
        "_media_type": "image",
        "_rand": int(record.sha256[:8], 16) / 2**32,
        "metadata": {"_cls": "ImageMetadata", "width": record.width, "height": record.height},
        "created_at": {"$date": _TIME},
        "last_modified_at": {"$date": _TIME},
        "key": record.key,
        "sha256": record.sha256,
        "alt": alt_of(record),
        "why": why(item),
        "worth": item.candidate.worth.value,
        "license": record.source.license,
        "regions": {
            "_cls": "Detections",
            "detections": [_detection(region, record, settings.masks) for region in shown_regions(record)],
        },
        "captions": [text.text for text in shown_captions(record)],
    }
    if record.tags is not None:
        tags = [_classification(tag.text, tag.score, record.sha256) for tag in record.tags]
        sample["image_tags"] = {"_cls": "Classifications", "classifications": tags}
    return sample


def _classification(name: str, score: float, sha256: str) -> dict[str, Any]:
    about = {"_id": _object_id(f"{sha256} tag {name}"), "_cls": "Classification", "tags": []}
    return {**about, "label": name, "confidence": score}


def _detection(region: Region, record: ImageRecord, masks: bool) -> dict[str, Any]:
    tag = (region.tags or [])[0]
    x0, y0, x1, y1 = region.box_xyxy
    box = [x0 / record.width, y0 / record.height, (x1 - x0) / record.width, (y1 - y0) / record.height]
    detection: dict[str, Any] = {
        "_id": _object_id(f"{record.sha256} region {region.id}"),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": tag.text,
        "bounding_box": box,
        "confidence": tag.score,
        "region_id": region.id,
        "caption": "\n".join(text.text for text in region.captions or []),
    }
    if masks and region.mask is not None:
        detection["mask"] = _packed(_inside(region.mask, region.box_xyxy))
    return detection


def _inside(mask: Mask, box_xyxy: tuple[float, float, float, float]) -> Bool[np.ndarray, "h w"]:
    """Return the pixels of a mask within its box, which FiftyOne stretches over the box."""
    x0, y0 = math.floor(box_xyxy[0]), math.floor(box_xyxy[1])
    x1, y1 = math.ceil(box_xyxy[2]), math.ceil(box_xyxy[3])
    return mask_ops.decode(mask)[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]


def _packed(mask: Bool[np.ndarray, "h w"]) -> dict[str, Any]:
    buffer = io.BytesIO()
    np.save(buffer, mask, allow_pickle=False)
    return {"$binary": {"base64": base64.b64encode(zlib.compress(buffer.getvalue())).decode(), "subType": "00"}}


def _object_id(text: str) -> dict[str, str]:
    """Return an identifier that depends on the text alone."""
    return {"$oid": hashlib.sha256(text.encode()).hexdigest()[:24]}


def _metadata(name: str, settings: Settings) -> dict[str, Any]:
    names = list(dict.fromkeys([*settings.names.things, *settings.names.stuff]))
    return {
        "_id": _object_id(f"data set {name}"),
        "name": name,
        "slug": name,
        "version": VERSION,
        "created_at": {"$date": _TIME},
        "last_modified_at": {"$date": _TIME},
        "media_type": "image",
        "tags": [],
        "info": {"made_by": "umgclip review export"},
        "classes": {"regions": names, "image_tags": names},
        "default_classes": names,
        "mask_targets": {},
        "default_mask_targets": {},
        "skeletons": {},
        "app_config": {},
        "sample_fields": _sample_fields(),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }


def _sample_fields() -> list[dict[str, Any]]:
    text = "StringField"
    image = [_field(name, "IntField") for name in ("size_bytes", "width", "height", "num_channels")]
    label = [_field("label", text), _field("confidence", "FloatField"), _field("tags", "ListField", of=text)]
    box = [_field("bounding_box", "ListField", of="FloatField"), _field("mask", "ArrayField")]
    region = [*label, *box, _field("region_id", text), _field("caption", text)]
    detections = [_field("detections", "ListField", of="EmbeddedDocumentField", document=f"{_LABELS}Detection",
                         fields=region)]  # fmt: skip
    tags = [_field("classifications", "ListField", of="EmbeddedDocumentField", document=f"{_LABELS}Classification",
                   fields=label)]  # fmt: skip
    document = "EmbeddedDocumentField"
    return [
        _field("id", "ObjectIdField", stored="_id"),
        _field("filepath", text),
        _field("tags", "ListField", of=text),
        _field("metadata", document, document="fiftyone.core.metadata.ImageMetadata",
               fields=[*image, _field("mime_type", text)]),
        _field("_media_type", text),
        _field("_rand", "FloatField"),
        _field("_dataset_id", "ObjectIdField"),
        _field("created_at", "DateTimeField"),
        _field("last_modified_at", "DateTimeField"),
        *(_field(name, text) for name in ("key", "sha256", "alt", "why", "license")),
        _field("worth", "FloatField"),
        _field("regions", document, document=f"{_LABELS}Detections", fields=detections),
        _field("image_tags", document, document=f"{_LABELS}Classifications", fields=tags),
        _field("captions", "ListField", of=text),
    ]  # fmt: skip


def _field(
    name: str, kind: str, *, of: str | None = None, document: str | None = None, fields: Sequence[Any] = (),
    stored: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    return {
        "name": name,
        "ftype": f"{_FIELDS}{kind}",
        "embedded_doc_type": document,
        "subfield": None if of is None else f"{_FIELDS}{of}",
        "fields": list(fields),
        "db_field": stored or name,
        "description": None,
        "info": None,
        "read_only": False,
        "created_at": None,
    }


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
    stored = sample.get("regions")
    detections = None if stored is None and "regions" not in sample else (stored or {}).get("detections") or []
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
    """Return a time as ISO 8601; FiftyOne writes text, or milliseconds since 1970."""
    date = value.get("$date") if isinstance(value, dict) else None
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
        mask=None if packed is None else _placed(_unpacked(packed), box, record),
        captions=tuple(text for text in captions if text) if "caption" in detection else None,
        shown_id=None if identifier is None else str(identifier),
    )


def _unpacked(packed: Mapping[str, Any]) -> Bool[np.ndarray, "h w"]:
    """Unpack the mask of a box.

    Raises:
        ValueError: it is no packed array of two dimensions.
    """
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(packed["$binary"]["base64"]), _MOST_BYTES)
        mask = np.load(io.BytesIO(data), allow_pickle=False)
    except (zlib.error, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"mask: expected a packed array, got {str(packed)[:40]!r}") from error
    if mask.ndim != 2 or not mask.size:
        raise ValueError(f"mask: expected an array of height and width, got {mask.shape}")
    return mask > 0


def _placed(mask: Bool[np.ndarray, "h w"], box_xyxy: tuple[float, float, float, float], record: ImageRecord) -> Mask:
    """Return the mask of a box as one of the image, stretched over the pixels that the box touches."""
    tiny = 1e-6  # shares of the image do not come back to the last digit
    x0, y0 = max(0, math.floor(box_xyxy[0] + tiny)), max(0, math.floor(box_xyxy[1] + tiny))
    x1 = min(record.width, math.ceil(box_xyxy[2] - tiny))
    y1 = min(record.height, math.ceil(box_xyxy[3] - tiny))
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"bounding_box: expected a box inside {record.width} x {record.height} pixels")
    whole = np.zeros((record.height, record.width), bool)
    if mask.shape != (y1 - y0, x1 - x0):
        mask = cv2.resize(mask.astype(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST) > 0
    whole[y0:y1, x0:x1] = mask
    return mask_ops.encode(whole)
