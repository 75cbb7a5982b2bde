"""Export as COCO: JSON files beside image files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from umgclip import __version__
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import replaced_folder, write_bytes
from umgclip.io.images import encode_png
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, Region
from umgclip.sources.exporting.samples import Advance, checked_samples
from umgclip.sources.formats.coco import umgclip_fields as fields
from umgclip.stage import Summary

_KINDS = ("captions", "instances", "panoptic")


def to_coco(dataset: Place, manifest: Manifest, out: Path, advance: Advance) -> Summary:
    """Write `images/` and `annotations/`: `captions.json`, `instances.json`, and `panoptic.json` with its PNG files.

    The category of a region is its label; a region without label gets `(unlabelled)`. What COCO has no field for is
    stored under the key `umgclip`, which `data import coco` reads: captions and instances together restore the dataset.
    Panoptic segments are written for images in which some stuff has a mask; things are drawn over stuff, and later
    regions over earlier ones.

    Raises:
        DataError: a shard is damaged.
        OutputError: `out` cannot be written.
    """
    with replaced_folder(out, "coco export") as folder, ExitStack() as opened:
        written = _Coco(folder, manifest, opened)
        for info in manifest.shards:
            for raw, record in checked_samples(dataset, info):
                written.add(raw, record)
            advance(info.samples)
        written.close()
    counts = ((name.replace("_", " "), str(number)) for name, number in written.counts.items())
    return Summary(f"data export: {out}", tuple(counts))


class _File:
    """A COCO file whose long lists are written as they come; sections known only at the end come last."""

    def __init__(self, path: Path, opened: ExitStack) -> None:
        self._path = path
        self.sections = {name: path.with_suffix(f".{name}.tmp") for name in ("images", "annotations")}
        self._open = {
            name: opened.enter_context(part.open("w", encoding="utf-8")) for name, part in self.sections.items()
        }
        self.counts = dict.fromkeys(self.sections, 0)

    def add(self, section: str, value: Mapping[str, Any]) -> None:
        self._open[section].write((",\n" if self.counts[section] else "") + json.dumps(value, ensure_ascii=False))
        self.counts[section] += 1

    def close(self, last: Mapping[str, Any]) -> None:
        for handle in self._open.values():
            handle.close()
        with self._path.open("w", encoding="utf-8") as target:
            target.write("{")
            for number, (name, part) in enumerate(self.sections.items()):
                target.write(f'{", " if number else ""}"{name}": [\n')
                with part.open(encoding="utf-8") as source:
                    shutil.copyfileobj(source, target)
                target.write("]")
                part.unlink()
            target.writelines(f', "{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in last.items())
            target.write("}\n")


class _Coco:
    """The image files and JSON files of one export."""

    def __init__(self, folder: Path, manifest: Manifest, opened: ExitStack) -> None:
        self._folder, self._classes = folder, manifest.classes
        for name in ("images", "annotations"):
            (folder / name).mkdir()
        self._files = {name: _File(folder / "annotations" / f"{name}.json", opened) for name in _KINDS}
        self._categories: dict[tuple[str, bool], int] = {}
        self._licenses: dict[str, int] = {}
        classes = manifest.classes
        for name in classes.things if classes else []:
            self._category(name, is_stuff=False)
        for name in classes.stuff if classes else []:
            self._category(name, is_stuff=True)
        self.counts = dict.fromkeys(("images", "captions", "regions", "panoptic_images"), 0)

    def add(self, raw: RawSample, record: ImageRecord) -> None:
        self.counts["images"] += 1
        number, name = self.counts["images"], f"{raw.key}.{raw.extension}"
        write_bytes(self._folder / "images" / name, raw.image)
        image = self._image(record, number, name)
        about_regions = image | {fields.OURS: fields.region_image(record)}
        self._files["captions"].add("images", image | {fields.OURS: fields.caption_image(record)})
        self._files["instances"].add("images", about_regions)
        for caption in record.captions or []:
            self.counts["captions"] += 1
            about = {"id": self.counts["captions"], "image_id": number, "caption": caption.text}
            self._files["captions"].add("annotations", about | {fields.OURS: caption.model_dump(mode="json")})
        for region in record.regions or []:
            self._files["instances"].add("annotations", self._instance(region, number))
        masked = [region for region in record.regions or [] if region.mask and region.tags]
        if any(region.is_stuff for region in masked):
            self._files["panoptic"].add("images", about_regions)
            self._files["panoptic"].add("annotations", self._panoptic(raw.key, record, masked, number))

    def _image(self, record: ImageRecord, number: int, name: str) -> dict[str, Any]:
        image = {"id": number, "file_name": name, "width": record.width, "height": record.height}
        if record.source.license is not None:
            image["license"] = self._licenses.setdefault(record.source.license, len(self._licenses) + 1)
        return image | ({"coco_url": record.source.url} if record.source.url else {})

    def close(self) -> None:
        about: dict[str, Any] = {"description": f"umgclip {__version__}"}
        if self._classes is not None:
            about[fields.OURS] = {"classes": self._classes.model_dump(mode="json")}
        licenses = [{"id": number, "name": text, "url": ""} for text, number in self._licenses.items()]
        categories = [self._as_category(*key, number) for key, number in self._categories.items()]
        for kind, file in self._files.items():
            file.close(
                {"info": about, "licenses": licenses} | ({} if kind == "captions" else {"categories": categories})
            )
        if not self.counts["panoptic_images"]:
            (self._folder / "annotations" / "panoptic.json").unlink()

    @staticmethod
    def _as_category(name: str, is_stuff: bool, number: int) -> dict[str, Any]:
        supercategory = "stuff" if is_stuff else "thing"
        about = {"id": number, "name": name, "isthing": int(not is_stuff), "supercategory": supercategory}
        return about if name == fields.UNLABELLED else about | {fields.OURS: {"name": name, "label": name}}

    def _category(self, name: str, *, is_stuff: bool) -> int:
        return self._categories.setdefault((name, is_stuff), len(self._categories) + 1)

    def _instance(self, region: Region, image: int) -> dict[str, Any]:
        self.counts["regions"] += 1
        x0, y0, x1, y1 = region.box_xyxy
        return {
            "id": self.counts["regions"],
            "image_id": image,
            "category_id": self._category(fields.label(region) or fields.UNLABELLED, is_stuff=region.is_stuff),
            "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
            "area": mask_ops.area(region.mask) if region.mask else round((x1 - x0) * (y1 - y0), 3),
            "iscrowd": int(region.is_crowd),
            "segmentation": region.mask.model_dump() if region.mask else [],
            "score": region.score,
            fields.OURS: region.model_dump(mode="json", exclude={"mask"}),
        }

    def _panoptic(self, key: str, record: ImageRecord, regions: list[Region], image: int) -> dict[str, Any]:
        folder = self._folder / "annotations" / "panoptic"
        folder.mkdir(exist_ok=True)
        self.counts["panoptic_images"] += 1
        ids = np.zeros((record.height, record.width), np.int32)
        ordered = sorted(regions, key=lambda region: not region.is_stuff)
        for number, region in enumerate(ordered, start=1):
            ids[mask_ops.decode(region.mask)] = number  # type: ignore[arg-type]  # those with a mask were chosen
        png = np.stack([ids % 256, ids // 256 % 256, ids // 65536], axis=-1).astype(np.uint8)
        write_bytes(folder / f"{key}.png", encode_png(png))
        segments = list(self._segments(ids, ordered))
        return {"image_id": image, "file_name": f"{key}.png", "segments_info": segments}

    def _segments(self, ids: np.ndarray, regions: list[Region]) -> Iterator[dict[str, Any]]:
        for number, region in enumerate(regions, start=1):
            visible = ids == number
            if not visible.any():
                continue
            x0, y0, x1, y1 = mask_ops.box_of(visible)
            yield {
                "id": number,
                "category_id": self._category(fields.label(region), is_stuff=region.is_stuff),
                "area": int(visible.sum()),
                "bbox": [int(x0), int(y0), int(x1 - x0), int(y1 - y0)],
                "iscrowd": int(region.is_crowd),
                fields.OURS: region.model_dump(mode="json", exclude={"mask"}),
            }
