"""FiftyOne (Apache-2.0): a data set in its own format on the disk, which it loads.

Source: https://docs.voxel51.com/user_guide/import_datasets.html, FiftyOneDataset. `samples.json` holds documents in
MongoDB's extended JSON, boxes as shares of the image, and masks of boxes as compressed arrays.
"""

from __future__ import annotations

import base64
import io
import json
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.records import ImageRecord, Mask, Region
from umgclip.review.shown import Item, Settings, alt_of, shown_captions, shown_regions, why
from umgclip.review.tools.fiftyone_fields import TIME, metadata, object_id

METADATA, SAMPLES = "metadata.json", "samples.json"
REVIEWED = "reviewed"  # tag that a person gives to a sample that is done


def write_fiftyone(folder: Path, items: Sequence[Item], settings: Settings) -> list[str]:
    """Write `metadata.json` and `samples.json`; return what to do with them, a step a line."""
    samples = ",\n".join(json.dumps(_sample(item, settings), ensure_ascii=False) for item in items)
    write_bytes(folder / SAMPLES, f'{{"samples": [\n{samples}\n]}}\n'.encode())
    write_bytes(folder / METADATA, (json.dumps(metadata(settings.name, settings), ensure_ascii=False) + "\n").encode())
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
        "_id": object_id(record.sha256),
        "filepath": f"{settings.image_prefix or 'data/'}{item.file_name}",
        "tags": [],
        "_media_type": "image",
        "_rand": int(record.sha256[:8], 16) / 2**32,
        "metadata": {"_cls": "ImageMetadata", "width": record.width, "height": record.height},
        "created_at": {"$date": TIME},
        "last_modified_at": {"$date": TIME},
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
    about = {"_id": object_id(f"{sha256} tag {name}"), "_cls": "Classification", "tags": []}
    return {**about, "label": name, "confidence": score}


def _detection(region: Region, record: ImageRecord, masks: bool) -> dict[str, Any]:
    tag = (region.tags or [])[0]
    x0, y0, x1, y1 = region.box_xyxy
    box = [x0 / record.width, y0 / record.height, (x1 - x0) / record.width, (y1 - y0) / record.height]
    detection: dict[str, Any] = {
        "_id": object_id(f"{record.sha256} region {region.id}"),
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
