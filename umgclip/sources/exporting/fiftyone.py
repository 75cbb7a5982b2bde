"""Export for FiftyOne: a data set in its own format, with regions, classes, maps, and what models predict."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import replaced_folder, write_bytes
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, Region, shows_one_object
from umgclip.sources.exporting.labels import label_names
from umgclip.sources.exporting.samples import Advance, checked_samples
from umgclip.sources.formats.coco import umgclip_fields as fields
from umgclip.sources.formats.fiftyone import documents as fo
from umgclip.sources.formats.fiftyone.masks import inside
from umgclip.sources.request import HUMAN
from umgclip.stage import Summary

REGIONS, STUFF, MAP, TAGS, LABEL = "regions", "stuff", "segmentation", "image_tags", "label"
_ATTRIBUTES = ("region_id", "caption", "source", "iscrowd", fields.OURS)
_MOST_CLASSES = 65_535  # numbers that a map can hold
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TAKEN = frozenset(
    (REGIONS, STUFF, MAP, TAGS, LABEL, "captions", "id", "tags", "key", "filepath", "metadata", "license", "url")
)
Boxes = Sequence[tuple[float, float, float, float]]
# scores, shape (boxes, labels), of an image's boxes, or of the whole image where these are None
Predict = Callable[[bytes, Sequence[str], Boxes | None], Float[np.ndarray, "rows labels"]]


def to_fiftyone(
    dataset: Place, manifest: Manifest, out: Path, advance: Advance, models: Mapping[str, Predict] | None = None
) -> Summary:
    """Write `metadata.json`, `samples.json`, `data/` with the images and `fields/segmentation/` with maps.

    `regions` are things and `stuff` backgrounds, with masks; `segmentation` is one map of both where some stuff has a
    mask. A model adds a field with its name: the labelled things, each with the model's label and probability; of an
    image that shows one object, its class. What FiftyOne has no field for stands as JSON in `umgclip`, which `data
    import fiftyone` reads.

    Args:
        dataset: a folder or S3 prefix.
        manifest: of the dataset.
        out: the folder to make.
        advance: called with the number of samples written.
        models: functions that classify, by the names of their fields.

    Raises:
        InputError: a name of a model cannot be a field.
        DataError: a shard is damaged.
        OutputError: `out` cannot be written.
    """
    models = dict(models or {})
    for name in models:
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise InputError(f"--model: expected a new name of small letters, digits and _, got {name!r}")
    names = label_names(dataset, manifest)
    with replaced_folder(out, "fiftyone export") as folder:
        (folder / fo.DATA).mkdir()
        written = _Samples(folder, manifest, names.names, models)
        with (folder / fo.SAMPLES).open("w", encoding="utf-8") as target:
            target.write('{"samples": [')
            for info in manifest.shards:
                for raw, record in checked_samples(dataset, info):
                    target.write(",\n" if written.counts["images"] else "\n")
                    target.write(json.dumps(written.add(raw, record), ensure_ascii=False))
                    advance(1)  # an image at a time: models may take seconds for each
            target.write("\n]}\n")
        about = _metadata(out.resolve().name, names.names, models, has_singles=names.has_singles)
        about["info"][fields.OURS] = json.dumps({"classes": manifest.classes and manifest.classes.model_dump()})
        write_bytes(folder / fo.METADATA, (json.dumps(about, ensure_ascii=False) + "\n").encode())
    counts = ((name, str(number)) for name, number in written.counts.items())
    return Summary(f"data export: {out}", tuple(counts))


def _metadata(name: str, names: Sequence[str], models: Mapping[str, Predict], *, has_singles: bool) -> dict[str, Any]:
    single = [fo.classification_field(LABEL)] if has_singles else []
    own_fields = [
        *(fo.field(each, "StringField") for each in ("key", "sha256", "url", "license", fields.OURS)),
        fo.field("captions", "ListField", of="StringField"),
        fo.detections_field(REGIONS, _ATTRIBUTES),
        fo.detections_field(STUFF, _ATTRIBUTES),
        fo.segmentation_field(MAP),
        fo.classifications_field(TAGS),
        *single,
        *(fo.detections_field(model, ("region_id",)) for model in models),
        *(fo.classification_field(f"{model}_{LABEL}") for model in models if has_singles),
    ]
    classes = dict.fromkeys((REGIONS, STUFF, TAGS, *models), names)
    targets = {str(number): each for number, each in enumerate(names, start=1)} if len(names) <= _MOST_CLASSES else {}
    return fo.metadata(name, fo.sample_fields(own_fields), classes, "umgclip data export", {MAP: targets})


class _Samples:
    """The samples of an export: their images and maps as files, and their documents."""

    def __init__(self, folder: Path, manifest: Manifest, names: Sequence[str], models: Mapping[str, Predict]) -> None:
        self._folder, self._models = folder, models
        self._numbers = {name: number for number, name in enumerate(names, start=1)}
        classes = manifest.classes
        self._choices = list(names) if classes is None else [*classes.things, *classes.stuff]
        self._things = list(names) if classes is None else list(classes.things)
        self._split = "train" if classes is None else "test"
        self.counts = dict.fromkeys(("images", REGIONS, STUFF, "maps", "predictions"), 0)

    def add(self, raw: RawSample, record: ImageRecord) -> dict[str, Any]:
        """Write an image and its map; return the document of its sample."""
        self.counts["images"] += 1
        file = f"{fo.DATA}/{raw.key}.{raw.extension}"
        write_bytes(self._folder / file, raw.image)
        sample = {
            **fo.sample(record.sha256, file, (record.width, record.height)),
            "tags": [self._split],
            "key": record.key,
            "sha256": record.sha256,
            "url": record.source.url,
            "license": record.source.license,
            fields.OURS: json.dumps(_about(record), ensure_ascii=False),
            "captions": None if record.captions is None else [text.text for text in record.captions],
        }
        if record.regions is not None:
            for name, is_stuff in ((REGIONS, False), (STUFF, True)):
                chosen = [region for region in record.regions if region.is_stuff == is_stuff]
                self.counts[name] += len(chosen)
                listed = [_detection(region, record) for region in chosen]
                sample[name] = {"_cls": "Detections", "detections": listed}
        if record.tags is not None:
            tags = [
                fo.classification(f"{record.sha256} tag {n}", tag.text, _confidence(tag.source, tag.score))
                for n, tag in enumerate(record.tags)
            ]
            sample[TAGS] = {"_cls": "Classifications", "classifications": tags}
            if shows_one_object(record) and record.tags:
                sample[LABEL] = fo.classification(f"{record.sha256} label", record.tags[0].text, None)
        if any(region.is_stuff and region.mask and region.tags for region in record.regions or []):
            sample[MAP] = self._map(record)
        for name, predict in self._models.items():
            sample.update(self._predictions(name, predict, raw, record))
        return sample

    def _map(self, record: ImageRecord) -> dict[str, Any]:
        """Write the map of an image: things over stuff, later regions over earlier ones, 0 for none."""
        self.counts["maps"] += 1
        numbers = np.zeros((record.height, record.width), np.uint16)
        for region in sorted(record.regions or [], key=lambda region: not region.is_stuff):
            number = self._numbers.get(fields.label(region), 0)
            if region.mask is not None and 0 < number <= _MOST_CLASSES:
                numbers[mask_ops.decode(region.mask)] = number
        path = f"{fo.FIELDS}/{MAP}/{record.key}.png"
        (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self._folder / path, _png(numbers))
        about = {"_id": fo.object_id(f"{record.sha256} map"), "_cls": "Segmentation", "tags": []}
        return {**about, "mask_path": path}

    def _predictions(self, name: str, predict: Predict, raw: RawSample, record: ImageRecord) -> dict[str, Any]:
        if shows_one_object(record):
            (scores,) = predict(raw.image, self._things, None)
            best = int(scores.argmax())
            self.counts["predictions"] += 1
            one = fo.classification(f"{record.sha256} {name}", self._things[best], float(scores[best]))
            return {f"{name}_{LABEL}": one}
        regions = [region for region in record.regions or [] if region.tags and not region.is_stuff]
        if not regions or not self._choices:
            return {}
        rows = predict(raw.image, self._choices, [region.box_xyxy for region in regions])
        self.counts["predictions"] += len(regions)
        listed = []
        for region, scores in zip(regions, rows, strict=True):
            best = int(scores.argmax())
            identity, size = f"{record.sha256} {name} {region.id}", (record.width, record.height)
            more = {
                "region_id": region.id,
                **fo.with_mask(inside(region.mask, region.box_xyxy) if region.mask else None),
            }
            label, score = self._choices[best], float(scores[best])
            listed.append(fo.detection(identity, label, score, region.box_xyxy, size, more))
        return {name: {"_cls": "Detections", "detections": listed}}


def _png(numbers: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(numbers.astype(np.uint8) if numbers.max(initial=0) < 256 else numbers).save(buffer, "PNG")
    return buffer.getvalue()


def _confidence(source: str, score: float) -> float | None:
    """Return a label's confidence; of the truth, which people wrote, FiftyOne has none."""
    return None if source == HUMAN and score == 1.0 else score


def _detection(region: Region, record: ImageRecord) -> dict[str, Any]:
    tag = region.tags[0] if region.tags else None
    about = region.model_dump(mode="json", exclude={"mask"})
    if region.mask is not None and not _is_within(region):
        about["mask"] = region.mask.model_dump(mode="json")  # its pixels outside the box would be lost
    more = {
        "region_id": region.id,
        "caption": "\n".join(text.text for text in region.captions or []),
        "source": region.source or (tag.source if tag else None),
        "iscrowd": "1" if region.is_crowd else None,
        fields.OURS: json.dumps(about, ensure_ascii=False),
        **fo.with_mask(inside(region.mask, region.box_xyxy) if region.mask is not None else None),
    }
    confidence = region.score if tag is None else _confidence(tag.source, tag.score)
    identity, size = f"{record.sha256} region {region.id}", (record.width, record.height)
    return fo.detection(identity, None if tag is None else tag.text, confidence, region.box_xyxy, size, more)


def _is_within(region: Region) -> bool:
    if region.mask is None:
        return True
    return int(inside(region.mask, region.box_xyxy).sum()) == mask_ops.area(region.mask)


def _about(record: ImageRecord) -> dict[str, Any]:
    """Return what an import needs to restore a record, besides the fields; its regions are in their order."""
    captions = {
        "image": fields.caption_image(record),
        "texts": [t.model_dump(mode="json") for t in record.captions or []],
    }
    return {"image": fields.region_image(record), "captions": captions}
