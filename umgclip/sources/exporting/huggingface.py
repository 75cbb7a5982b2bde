"""Export for Hugging Face's `datasets`: parquet files with typed columns, and the card that describes them.

Source: https://huggingface.co/docs/datasets, "Load", "Object detection", and the cards' `dataset_info`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import replaced_folder, write_json
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, Region, shows_one_object
from umgclip.sources.exporting.dataset_card import Exported, write_card
from umgclip.sources.exporting.labels import ExportedLabels, label_names
from umgclip.sources.exporting.samples import Advance, checked_samples
from umgclip.sources.formats.coco import umgclip_fields as fields
from umgclip.sources.formats.huggingface.features import metadata_of
from umgclip.sources.formats.huggingface.planning import CLASSES
from umgclip.sources.formats.huggingface.rows import MISSING
from umgclip.stage import Summary

FILE_BYTES = 500_000_000  # of a parquet file, from which another one begins
_GROUP_ROWS, _GROUP_BYTES = 100, 64_000_000
MOST_NAMES = 10_000  # of a ClassLabel; names of more labels are texts
_TEXT, _FLOAT, _FLAG, _WHOLE = ({"_type": "Value", "dtype": dtype} for dtype in ("string", "float64", "bool", "int32"))
_ARROW = {"string": pa.string(), "float64": pa.float64(), "bool": pa.bool_(), "int32": pa.int32()}


def to_huggingface(dataset: Place, manifest: Manifest, out: Path, advance: Advance) -> Summary:
    """Write `data/SPLIT-00000-of-00001.parquet` and so on, and a card, `README.md`.

    `load_dataset("OUT")` gives typed columns: `image`, `captions`, `tags`, `objects` with boxes as in COCO, classes and
    run lengths of masks. What these have no place for stands as JSON in the columns `umgclip`, which `data import
    huggingface` reads: it restores every record. A benchmark is the split `test`, every other dataset `train`.

    Raises:
        DataError: a shard is damaged.
        OutputError: `out` cannot be written.
    """
    split = "train" if manifest.classes is None else "test"
    with replaced_folder(out, "huggingface export") as folder:
        files = _Files(folder / "data", split, label_names(dataset, manifest))
        for info in manifest.shards:
            for raw, record in checked_samples(dataset, info):
                files.add(raw, record, f"{info.path}:{raw.key}")
            advance(info.samples)
        files.close()
        classes = manifest.classes.model_dump() if manifest.classes is not None else None
        write_json(folder / CLASSES, {"classes": classes})
        write_card(
            folder, out.resolve().name, Exported(split, files.features, files.sizes, files.counts, files.licenses)
        )
    counts = ((name, str(number)) for name, number in files.counts.items())
    return Summary(f"data export: {out}", (("parquet files", str(len(files.sizes))), *counts))


def _list(feature: Mapping[str, Any], length: int = -1) -> dict[str, Any]:
    return {"_type": "List", "feature": feature, **({"length": length} if length > 0 else {})}


def features_of_export(names: ExportedLabels) -> dict[str, Any]:
    """Return the features of an export's columns, in the form that `datasets` writes into a schema."""
    listed = list(names.names)
    classes = {"_type": "ClassLabel", "names": listed} if 0 < len(listed) <= MOST_NAMES else _TEXT
    objects: dict[str, Any] = {
        "id": _TEXT,
        "bbox": _list(_FLOAT, 4),
        "category": classes,
        "area": _FLOAT,
        "iscrowd": _FLAG,
        "is_stuff": _FLAG,
        "segmentation": {"size": _list(_WHOLE), "counts": _TEXT},  # of no length: parquet has no null among those
        "captions": _list(_TEXT),
        "score": _FLOAT,
        "source": _TEXT,
        fields.OURS: _TEXT,
    }
    return {
        "image": {"_type": "Image"},
        "image_id": _TEXT,
        "width": _WHOLE,
        "height": _WHOLE,
        "captions": _list(_TEXT),
        "tags": _list(_TEXT),
        **({"label": classes} if names.has_singles else {}),
        "objects": {name: _list(feature) for name, feature in objects.items()},
        "license": _TEXT,
        "url": _TEXT,
        fields.OURS: _TEXT,
    }


def _type(feature: Mapping[str, Any]) -> pa.DataType:
    kind = feature.get("_type")
    if kind == "Image":
        return pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    if kind == "ClassLabel":
        return pa.int64()
    if kind == "List":
        return pa.list_(_type(feature["feature"]), feature.get("length", -1))
    if kind == "Value":
        return _ARROW[feature["dtype"]]
    return pa.struct([(name, _type(inner)) for name, inner in feature.items()])


class _Files:
    """The parquet files of a split; rows wait for a row group, and files for the number of all of them."""

    def __init__(self, folder: Path, split: str, names: ExportedLabels) -> None:
        folder.mkdir()
        self._folder, self._split = folder, split
        self.features = features_of_export(names)
        columns = pa.schema([(name, _type(feature)) for name, feature in self.features.items()])
        self._schema = columns.with_metadata(metadata_of(self.features))
        is_numbered = self.features["objects"]["category"]["feature"] != _TEXT
        self._numbers = {name: number for number, name in enumerate(names.names)} if is_numbered else None
        self._rows: list[dict[str, Any]] = []
        self._waiting = 0
        self._writer: pq.ParquetWriter | None = None
        self.sizes: list[int] = []
        self.licenses: dict[str, int] = {}
        self.counts = dict.fromkeys(("images", "captions", "regions", "masks"), 0)

    def add(self, raw: RawSample, record: ImageRecord, where: str) -> None:
        self.counts["images"] += 1
        self.counts["captions"] += len(record.captions or [])
        self.counts["regions"] += len(record.regions or [])
        self.counts["masks"] += sum(region.mask is not None for region in record.regions or [])
        stated = record.source.license or "not stated"
        self.licenses[stated] = self.licenses.get(stated, 0) + 1
        self._rows.append(self._row(raw, record, where))
        self._waiting += len(raw.image) + len(raw.json)
        if len(self._rows) >= _GROUP_ROWS or self._waiting >= _GROUP_BYTES:
            self._write()

    def close(self) -> None:
        """Write the rows that wait, and name the files after their number."""
        self._write(last=True)
        for number in range(len(self.sizes)):
            name = f"{self._split}-{number:05d}-of-{len(self.sizes):05d}.parquet"
            self._path(number).rename(self._folder / name)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:05d}.tmp"

    def _write(self, *, last: bool = False) -> None:
        path = self._path(len(self.sizes))
        if self._rows:
            if self._writer is None:
                # the smallest and the largest picture say nothing, nor does any occur twice
                plain = [name for name in self._schema.names if name != "image"]
                self._writer = pq.ParquetWriter(
                    path, self._schema, compression="snappy", use_dictionary=plain, write_statistics=plain
                )
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows, self._waiting = [], 0
        if self._writer is not None and (last or path.stat().st_size >= FILE_BYTES):
            self._writer.close()
            self._writer = None
            self.sizes.append(path.stat().st_size)

    def _row(self, raw: RawSample, record: ImageRecord, where: str) -> dict[str, Any]:
        source, captions, tags = record.source, record.captions, record.tags
        row = {
            "image": {"bytes": raw.image, "path": f"{raw.key}.{raw.extension}"},
            "image_id": record.key,
            "width": record.width,
            "height": record.height,
            "captions": None if captions is None else [text.text for text in captions],
            "tags": None if tags is None else [tag.text for tag in tags],
            "objects": self._objects(record, where),
            "license": source.license,
            "url": source.url,
            fields.OURS: json.dumps(_about(record), ensure_ascii=False),
        }
        if "label" in self.features:
            single = tags[0].text if tags and shows_one_object(record) else None
            row["label"] = self._number(single, where) if single is not None else self._none()
        return row

    def _objects(self, record: ImageRecord, where: str) -> dict[str, list[Any]]:
        rows = [self._object(region, where) for region in record.regions or []]
        return {name: [row[name] for row in rows] for name in self.features["objects"]}

    def _object(self, region: Region, where: str) -> dict[str, Any]:
        x0, y0, x1, y1 = region.box_xyxy
        name = fields.label(region)
        return {
            "id": region.id,
            "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
            "category": self._number(name, where) if name else self._none(),
            "area": float(mask_ops.area(region.mask)) if region.mask else round((x1 - x0) * (y1 - y0), 3),
            "iscrowd": region.is_crowd,
            "is_stuff": region.is_stuff,
            "segmentation": region.mask.model_dump() if region.mask else None,
            "captions": [text.text for text in region.captions or []],
            "score": region.score,
            "source": region.source or (region.tags[0].source if region.tags else None),
            fields.OURS: json.dumps(region.model_dump(mode="json", exclude={"mask"}), ensure_ascii=False),
        }

    def _none(self) -> int | None:
        """Return what stands where there is no label: -1 as in `datasets`, or null among texts."""
        return None if self._numbers is None else MISSING

    def _number(self, name: str, where: str) -> int | str:
        if self._numbers is None:
            return name
        if name not in self._numbers:
            raise DataError(f"{where}: the label {name!r} is not in regions.parquet; `umgclip data verify` says more")
        return self._numbers[name]


def _about(record: ImageRecord) -> dict[str, Any]:
    """Return what an import needs to restore a record, besides the columns."""
    return {
        "image": fields.region_image(record),
        "captions": {
            "image": fields.caption_image(record),
            "texts": [text.model_dump(mode="json") for text in record.captions or []],
        },
    }
