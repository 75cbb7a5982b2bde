"""CVAT (MIT): annotations as "COCO 1.0", which it uploads to a task and exports from one.

Source: https://docs.cvat.ai/docs/dataset_management/formats/format-coco. It has boxes and masks with labels, and
neither captions nor tags of images. It does not tell which images a person looked at.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from umgclip.data.corrections import HumanLook
from umgclip.data.wording import tidy
from umgclip.errors import DataError, InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.io.json_stream import read_elements
from umgclip.records import ImageRecord, Mask, Region
from umgclip.review.answer import AnsweredRegion, ImageAnswer, Unusable
from umgclip.review.shown import Item, Settings, ShownImages, shown_regions

INSTANCES = "annotations/instances_default.json"
ARCHIVE, LABELS = "annotations.zip", "labels.json"
_DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError, ValueError)
_MOST_BYTES = 1 << 31  # of an unpacked file of annotations
_ID = {"images": "id", "annotations": "image_id", "categories": "id"}
_TIME = (1980, 1, 1, 0, 0, 0)  # time of the files in the archive, so that its bytes stay the same


def write_cvat(folder: Path, items: Sequence[Item], settings: Settings) -> list[str]:
    """Write `annotations.zip` with COCO instances, and `labels.json`; return what to do with them, a step a line."""
    names = list(dict.fromkeys([*settings.names.things, *settings.names.stuff]))
    write_bytes(folder / INSTANCES, _instances(items, names, settings))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(INSTANCES, _TIME), (folder / INSTANCES).read_bytes(), zipfile.ZIP_DEFLATED)
    write_bytes(folder / ARCHIVE, buffer.getvalue())
    labels = [{"name": name, "type": "any", "attributes": []} for name in names]
    write_bytes(folder / LABELS, (json.dumps(labels, ensure_ascii=False, indent=1) + "\n").encode())
    return [
        f"Make a task in CVAT: paste {LABELS} into the labels' Raw tab, and upload the folder images.",
        f"Upload {ARCHIVE} by Actions, Upload annotations, COCO 1.0.",
        "Correct, and finish the jobs. Export the task, or one job that is done, as COCO 1.0.",
        "Then: umgclip review import EXPORT.zip --shown THIS_FOLDER --out corrections",
        "CVAT does not tell which images were looked at: those that differ count. If somebody looked at every image of "
        "the export, say so with `--looked-at all`, and unchanged ones count as confirmed.",
    ]


def _instances(items: Sequence[Item], names: Sequence[str], settings: Settings) -> bytes:
    """Return the annotations as a COCO file; masks are uncompressed run lengths, which CVAT reads as masks."""
    category = {name: number for number, name in enumerate(names, 1)}
    numbers = count(1)
    images, annotations = [], []
    for image, item in enumerate(items, 1):
        record = item.record
        about = {"id": image, "file_name": item.file_name, "width": record.width, "height": record.height}
        images.append({**about, "license": 0, "date_captured": 0})
        for region in shown_regions(record):
            number = category[(region.tags or [])[0].text]
            annotations.append(_annotation(region, (next(numbers), image, number), settings.masks))
    value = {
        "licenses": [{"id": 0, "name": "", "url": ""}],
        "info": {"description": "umgclip review export"},
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in category.items()],
        "images": images,
        "annotations": annotations,
    }
    return (json.dumps(value, ensure_ascii=False) + "\n").encode()


def _annotation(region: Region, ids: tuple[int, int, int], masks: bool) -> dict[str, Any]:
    number, image, category = ids
    x0, y0, x1, y1 = region.box_xyxy
    about = {"id": number, "image_id": image, "category_id": category, "bbox": [x0, y0, x1 - x0, y1 - y0]}
    if not masks or region.mask is None:
        return {**about, "area": (x1 - x0) * (y1 - y0), "segmentation": [], "iscrowd": 0, "attributes": {}}
    rle = {"size": list(region.mask.size), "counts": _counts(region.mask)}
    return {**about, "area": mask_ops.area(region.mask), "segmentation": rle, "iscrowd": 1, "attributes": {}}


def _counts(mask: Mask) -> list[int]:
    """Return the lengths of runs outside and inside in turns, column by column."""
    flat = mask_ops.decode(mask).ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *runs] if flat[0] else runs


def read_cvat(path: Path, shown: ShownImages, unusable: list[Unusable]) -> Iterator[ImageAnswer]:
    """Yield an answer for each image of an export; none of them is sure to have been looked at.

    Args:
        path: the exported archive, its folder, or the JSON file itself.
        shown: what the export to the tool showed.
        unusable: gets what could not be used, with the reason.

    Raises:
        InputError: there is no file of COCO instances, or no annotation of any image although some were shown.
        DataError: it is no JSON, or is cut off.
    """
    with TemporaryDirectory(prefix="umgclip-cvat-") as scratch:
        files = _files(path, Path(scratch))
        twice = _check(path, files, shown, unusable)
        for number, file in enumerate(files):
            yield from _read(file, f"{path.name}, file {number + 1}", shown, unusable, twice)


def _check(path: Path, files: Sequence[Path], shown: ShownImages, unusable: list[Unusable]) -> set[str]:
    """Return the keys of images that stand several times in an export, which go to the quarantine.

    CVAT does not tell which of two entries a person looked at, so that neither can be used.

    Raises:
        InputError: nobody annotated anything.
        DataError: a file is no JSON, or is cut off.
    """
    keys: Counter[str] = Counter()
    annotations = 0
    for file in files:
        for name, value in read_elements(file):
            annotations += name == "annotations"
            if name == "images" and isinstance(value, dict):
                keys[_key(value)] += 1
    twice = {key for key, times in keys.items() if times > 1 and key in shown.records}
    for key in sorted(twice):
        detail = f"{path.name}: expected the image once, got {keys[key]} entries of it"
        unusable.append(Unusable(key, "image_twice", detail))
    seen = any(shown_regions(shown.records[key]) for key in keys if key in shown.records)
    if seen and not annotations and "regions" not in shown.asked:
        raise InputError(
            f"{path}: expected annotations, got none of {len(keys)} images: were those of {ARCHIVE} ever uploaded? If "
            "people removed all of them, say `--asked-for regions`"
        )
    return twice


def _key(image: Mapping[str, Any]) -> str:
    return PurePosixPath(str(image.get("file_name")).replace("\\", "/")).name.partition(".")[0]


def _files(path: Path, scratch: Path) -> list[Path]:
    """Return the files of instances, unpacked if they are in an archive."""
    if path.is_dir():
        files = sorted(path.glob("annotations/instances_*.json"))
    elif zipfile.is_zipfile(path):
        files = _unpacked(path, scratch)
    elif path.suffix == ".zip":
        raise DataError(f"{path}: expected an archive that CVAT exported, it is damaged or cut off")
    else:
        files = [path]
    if not files:
        raise InputError(f"{path}: expected {INSTANCES} as in CVAT's export COCO 1.0, found none")
    return files


def _is_instances(member: zipfile.ZipInfo) -> bool:
    name = PurePosixPath(member.filename).name
    return name.startswith("instances_") and name.endswith(".json")


def _unpacked(path: Path, scratch: Path) -> list[Path]:
    """Unpack the files of instances.

    Raises:
        DataError: the archive is damaged.
        InputError: a file is too large.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return [_unpack(archive, member, scratch) for member in archive.infolist() if _is_instances(member)]
    except _DAMAGED as error:
        raise DataError(f"{path}: expected an archive that CVAT exported, it is damaged: {error}") from error


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, scratch: Path) -> Path:
    if member.file_size > _MOST_BYTES:
        raise InputError(f"{member.filename}: expected at most {_MOST_BYTES} bytes, got {member.file_size}")
    target = scratch / f"{len(list(scratch.iterdir()))}.json"  # files of two folders may have one name
    target.write_bytes(archive.read(member))
    return target


def _read(
    path: Path, where: str, shown: ShownImages, unusable: list[Unusable], twice: Collection[str]
) -> Iterator[ImageAnswer]:
    sections: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    for name, value in read_elements(path):
        if name in sections:
            sections[name].append(value)
    if not sections["images"]:
        raise InputError(f"{where}: expected COCO instances with images, got none; export the task as COCO 1.0")
    names = {str(one["id"]): tidy(str(one.get("name") or "")) for one in _having(sections["categories"], "id")}
    parts: dict[str, list[Mapping[str, Any]]] = {}
    for one in _having(sections["annotations"], "image_id"):
        parts.setdefault(str(one["image_id"]), []).append(one)
    lost = sum(map(len, sections.values())) - sum(len(_having(v, _ID[k])) for k, v in sections.items())
    if lost:
        raise DataError(f"{where}: expected an id in each image, category and annotation, {lost} have none")
    for image in (one for one in sections["images"] if _key(one) not in twice):
        key = _key(image)
        record = shown.records.get(key)
        if record is None:
            unusable.append(Unusable(key, "not_shown", f"{where}: the export to the tool has no image {key!r}"))
            continue
        size = image.get("width"), image.get("height")
        if None not in size and size != (record.width, record.height):
            detail = f"expected an image of {record.width} x {record.height} pixels, got {size[0]} x {size[1]}"
            unusable.append(Unusable(key, "wrong_size", f"{where}: {detail}"))
            continue
        try:
            regions = tuple(_region(one, names, record) for one in parts.get(str(image["id"]), []))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            unusable.append(Unusable(key, "bad_region", f"{where}, image {key}: {error}"))
            continue
        yield ImageAnswer(key=key, look=HumanLook(tool="cvat", task=str(image["id"])), regions=regions, sure=False)


def _having(values: Sequence[Any], name: str) -> list[Mapping[str, Any]]:
    """Return the objects that have a number or a text under a name."""
    return [one for one in values if isinstance(one, dict) and isinstance(one.get(name), int | str)]


def _region(one: Mapping[str, Any], names: Mapping[str, str], record: ImageRecord) -> AnsweredRegion:
    label = names.get(str(one.get("category_id")))
    if label is None:
        raise ValueError(f"category_id: expected a category of the file, got {one.get('category_id')!r}")
    x, y, width, height = (float(side) for side in one["bbox"])
    if not all(math.isfinite(side) for side in (x, y, width, height)):
        raise ValueError(f"bbox: expected numbers, got {one['bbox']}")
    box = (x, y, x + width, y + height)
    mask = _mask(one.get("segmentation"), box, (record.height, record.width))
    if mask is not None:
        box = mask_ops.tight_box(mask) or box
    return AnsweredRegion(box, label or None, mask)


def _mask(segmentation: object, box: tuple[float, float, float, float], size_hw: tuple[int, int]) -> Mask | None:
    """Return the mask of a segmentation; None where it is no more than the box."""
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        size = tuple(segmentation.get("size") or size_hw)
        if size != size_hw:
            raise ValueError(f"segmentation.size: expected {size_hw}, got {size}")
        mask = Mask(size=size_hw, counts=counts) if isinstance(counts, str) else mask_ops.from_counts(counts, size_hw)
        return mask if mask_ops.area(mask) else None
    polygons = [list(map(float, polygon)) for polygon in segmentation or []]  # type: ignore[attr-defined]
    if not polygons or (len(polygons) == 1 and _is_box(polygons[0], box)):
        return None
    mask = mask_ops.from_polygons(polygons, size_hw)
    return mask if mask_ops.area(mask) else None


def _is_box(polygon: Sequence[float], box: tuple[float, float, float, float]) -> bool:
    corners = set(zip(polygon[::2], polygon[1::2], strict=True))
    x0, y0, x1, y1 = box
    if len(polygon) != 8 or len(corners) != 4:
        return False
    return all(min(abs(x - x0), abs(x - x1)) < 0.5 and min(abs(y - y0), abs(y - y1)) < 0.5 for x, y in corners)
