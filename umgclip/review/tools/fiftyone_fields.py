"""Fields of a FiftyOne data set: the documents of `metadata.json`, without which FiftyOne reads no sample."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from umgclip.review.shown import Settings

VERSION = "1.0.0"  # of FiftyOne, whose later versions read it
TIME = "2000-01-01T00:00:00Z"  # documents need times; a fixed one keeps the bytes the same
_FIELDS = "fiftyone.core.fields."
_LABELS = "fiftyone.core.labels."


def metadata(name: str, settings: Settings) -> dict[str, Any]:
    """Return the document that describes a data set of this name and its fields."""
    names = list(dict.fromkeys([*settings.names.things, *settings.names.stuff]))
    return {
        "_id": object_id(f"data set {name}"),
        "name": name,
        "slug": name,
        "version": VERSION,
        "created_at": {"$date": TIME},
        "last_modified_at": {"$date": TIME},
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


def object_id(text: str) -> dict[str, str]:
    """Return an identifier of a document that depends on the text alone."""
    return {"$oid": hashlib.sha256(text.encode()).hexdigest()[:24]}
