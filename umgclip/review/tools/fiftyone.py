"""FiftyOne (Apache-2.0): a data set in its own format on the disk, which it loads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from umgclip.io.atomic import write_bytes
from umgclip.records import ImageRecord, Region
from umgclip.review.shown import Item, Settings, alt_of, shown_captions, shown_regions, why
from umgclip.sources.formats.fiftyone import documents as fo
from umgclip.sources.formats.fiftyone.masks import inside

REVIEWED = "reviewed"  # tag that a person gives to a sample that is done
SAMPLES = fo.SAMPLES


def write_fiftyone(folder: Path, items: Sequence[Item], settings: Settings) -> list[str]:
    """Write `metadata.json` and `samples.json`; return what to do with them, a step a line."""
    samples = ",\n".join(json.dumps(_sample(item, settings), ensure_ascii=False) for item in items)
    write_bytes(folder / SAMPLES, f'{{"samples": [\n{samples}\n]}}\n'.encode())
    names = list(dict.fromkeys([*settings.names.things, *settings.names.stuff]))
    classes = {"regions": names, "image_tags": names}
    about = fo.metadata(settings.name, _fields(), classes, "umgclip review export")
    write_bytes(folder / fo.METADATA, (json.dumps(about, ensure_ascii=False) + "\n").encode())
    return [
        "In Python: import fiftyone as fo; "
        f'dataset = fo.Dataset.from_dir("{settings.name}", dataset_type=fo.types.FiftyOneDataset); '
        "fo.launch_app(dataset)",
        "Correct the fields regions (boxes, masks, the attribute caption), image_tags and captions.",
        f"Give the tag {REVIEWED} to every sample that you looked at, also to one without a fault.",
        'dataset.export("DONE", dataset_type=fo.types.FiftyOneDataset, export_media=False)',
        "Then: umgclip review import DONE --shown THIS_FOLDER --out corrections",
    ]


def _fields() -> list[dict[str, Any]]:
    return fo.sample_fields(
        [
            *(fo.field(name, "StringField") for name in ("key", "sha256", "alt", "why", "license")),
            fo.field("worth", "FloatField"),
            fo.detections_field("regions", ("region_id", "caption")),
            fo.classifications_field("image_tags"),
            fo.field("captions", "ListField", of="StringField"),
        ]
    )


def _sample(item: Item, settings: Settings) -> dict[str, Any]:
    record = item.record
    regions = [_detection(region, record, settings.masks) for region in shown_regions(record)]
    sample: dict[str, Any] = {
        **fo.sample(
            record.sha256, f"{settings.image_prefix or 'data/'}{item.file_name}", (record.width, record.height)
        ),
        "key": record.key,
        "sha256": record.sha256,
        "alt": alt_of(record),
        "why": why(item),
        "worth": item.candidate.worth.value,
        "license": record.source.license,
        "regions": {"_cls": "Detections", "detections": regions},
        "captions": [text.text for text in shown_captions(record)],
    }
    if record.tags is not None:
        tags = [fo.classification(f"{record.sha256} tag {tag.text}", tag.text, tag.score) for tag in record.tags]
        sample["image_tags"] = {"_cls": "Classifications", "classifications": tags}
    return sample


def _detection(region: Region, record: ImageRecord, masks: bool) -> dict[str, Any]:
    tag = (region.tags or [])[0]
    caption = "\n".join(text.text for text in region.captions or [])
    mask = inside(region.mask, region.box_xyxy) if masks and region.mask is not None else None
    more = {"region_id": region.id, "caption": caption, **fo.with_mask(mask)}
    identity, size = f"{record.sha256} region {region.id}", (record.width, record.height)
    return fo.detection(identity, tag.text, tag.score, region.box_xyxy, size, more)
