"""Documents of a FiftyOne data set: of labels, and of `metadata.json`, without which FiftyOne reads no sample.

Source: https://docs.voxel51.com/user_guide/import_datasets.html, FiftyOneDataset. `samples.json` holds documents in
MongoDB's extended JSON, boxes as shares of the image, and masks of boxes as compressed arrays.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Bool
from numpy import ndarray

from umgclip.sources.formats.fiftyone.masks import packed

METADATA, SAMPLES, DATA, FIELDS = "metadata.json", "samples.json", "data", "fields"
VERSION = "1.0.0"  # of FiftyOne, whose later versions read it
TIME = "2000-01-01T00:00:00Z"  # documents need times; a fixed one keeps the bytes the same
_FIELDS = "fiftyone.core.fields."
_LABELS = "fiftyone.core.labels."
_EMBEDDED = "EmbeddedDocumentField"
Box = tuple[float, float, float, float]


def object_id(text: str) -> dict[str, str]:
    """Return an identifier of a document that depends on the text alone."""
    return {"$oid": hashlib.sha256(text.encode()).hexdigest()[:24]}


def classification(identity: str, label: str, confidence: float | None) -> dict[str, Any]:
    """Return the document of a class of a whole image."""
    about = {"_id": object_id(identity), "_cls": "Classification", "tags": []}
    return {**about, "label": label, "confidence": confidence}


def detection(
    identity: str,
    label: str | None,
    confidence: float | None,
    box_xyxy: Box,
    size_wh: tuple[int, int],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the document of a region.

    Args:
        identity: a text that no other document has.
        label: its class; None: it has none.
        confidence: 0 to 1; None: nobody says.
        box_xyxy: in pixels of the image.
        size_wh: of the image.
        more: fields of its own, such as those of `with_mask`.
    """
    x0, y0, x1, y1 = box_xyxy
    width, height = size_wh
    return {
        "_id": object_id(identity),
        "_cls": "Detection",
        "attributes": {},
        "tags": [],
        "label": label,
        "bounding_box": [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
        "confidence": confidence,
        **more,
    }


def with_mask(mask: Bool[ndarray, "h w"] | None) -> dict[str, Any]:
    """Return the field of a region's mask, of the pixels that its box touches; nothing without a mask."""
    return {} if mask is None else {"mask": packed(mask)}


def field(
    name: str,
    kind: str,
    *,
    of: str | None = None,
    document: str | None = None,
    fields: Sequence[Any] = (),
    stored: str | None = None,
) -> dict[str, Any]:
    """Return the document that describes a field.

    Args:
        name: of the field.
        kind: class of FiftyOne's fields.
        of: class of the elements of a list.
        document: class of an embedded document.
        fields: of an embedded document.
        stored: name in the database, if it is another.
    """
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


def label_fields() -> list[dict[str, Any]]:
    """Return the fields that all labels have."""
    text = "StringField"
    return [field("label", text), field("confidence", "FloatField"), field("tags", "ListField", of=text)]


def detections_field(name: str, more: Sequence[str]) -> dict[str, Any]:
    """Return the field of regions; `more` are names of texts that each region has besides."""
    box = [field("bounding_box", "ListField", of="FloatField"), field("mask", "ArrayField")]
    inner = [*label_fields(), *box, *(field(each, "StringField") for each in more)]
    listed = field("detections", "ListField", of=_EMBEDDED, document=f"{_LABELS}Detection", fields=inner)
    return field(name, _EMBEDDED, document=f"{_LABELS}Detections", fields=[listed])


def classifications_field(name: str) -> dict[str, Any]:
    """Return the field of several classes of an image."""
    kind = f"{_LABELS}Classification"
    listed = field("classifications", "ListField", of=_EMBEDDED, document=kind, fields=label_fields())
    return field(name, _EMBEDDED, document=f"{_LABELS}Classifications", fields=[listed])


def classification_field(name: str) -> dict[str, Any]:
    """Return the field of the one class of an image."""
    return field(name, _EMBEDDED, document=f"{_LABELS}Classification", fields=label_fields())


def segmentation_field(name: str) -> dict[str, Any]:
    """Return the field of a map of classes, which lies in a file."""
    inner = [
        field("tags", "ListField", of="StringField"),
        field("mask", "ArrayField"),
        field("mask_path", "StringField"),
    ]
    return field(name, _EMBEDDED, document=f"{_LABELS}Segmentation", fields=inner)


def sample_fields(more: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the fields that every sample has, followed by those of a data set's own."""
    image = [field(name, "IntField") for name in ("size_bytes", "width", "height", "num_channels")]
    kind = "fiftyone.core.metadata.ImageMetadata"
    return [
        field("id", "ObjectIdField", stored="_id"),
        field("filepath", "StringField"),
        field("tags", "ListField", of="StringField"),
        field("metadata", _EMBEDDED, document=kind, fields=[*image, field("mime_type", "StringField")]),
        field("_media_type", "StringField"),
        field("_rand", "FloatField"),
        field("_dataset_id", "ObjectIdField"),
        field("created_at", "DateTimeField"),
        field("last_modified_at", "DateTimeField"),
        *more,
    ]


def sample(sha256: str, filepath: str, size_wh: tuple[int, int]) -> dict[str, Any]:
    """Return what the document of every sample begins with; the hash of its image identifies it."""
    return {
        "_id": object_id(sha256),
        "filepath": filepath,
        "tags": [],
        "_media_type": "image",
        "_rand": int(sha256[:8], 16) / 2**32,
        "metadata": {"_cls": "ImageMetadata", "width": size_wh[0], "height": size_wh[1]},
        "created_at": {"$date": TIME},
        "last_modified_at": {"$date": TIME},
    }


def metadata(
    name: str,
    fields: Sequence[Any],
    classes: Mapping[str, Sequence[str]],
    made_by: str,
    targets: Mapping[str, Mapping[str, str]] | None = None,
) -> dict[str, Any]:
    """Return the document that describes a data set.

    Args:
        name: of the data set.
        fields: of its samples.
        classes: names of classes by field; those of the first one are the default.
        made_by: the command that wrote it.
        targets: names of the numbers in maps, by field.
    """
    return {
        "_id": object_id(f"data set {name}"),
        "name": name,
        "slug": name,
        "version": VERSION,
        "created_at": {"$date": TIME},
        "last_modified_at": {"$date": TIME},
        "media_type": "image",
        "tags": [],
        "info": {"made_by": made_by},
        "classes": {key: list(names) for key, names in classes.items()},
        "default_classes": list(next(iter(classes.values()), [])),
        "mask_targets": {key: dict(named) for key, named in (targets or {}).items()},
        "default_mask_targets": {},
        "skeletons": {},
        "app_config": {},
        "sample_fields": list(fields),
        "frame_fields": [],
        "saved_views": [],
        "workspaces": [],
        "annotation_runs": {},
        "brain_methods": {},
        "evaluations": {},
        "runs": {},
    }
