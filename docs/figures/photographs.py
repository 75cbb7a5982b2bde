"""Make the folder of photographs, and the pictures, of docs/photographs.md.

    python docs/figures/photographs.py photos FOLDER     # FOLDER/photos, FOLDER/test and FOLDER/new
    python docs/figures/photographs.py answer FOLDER     # what a person answers to FOLDER/mine/review
    python docs/figures/photographs.py draw FOLDER       # the pictures, from FOLDER/mine after the steps of the page

Photographs of objects are composed on photographed grounds, as `benchmarks/photographs.py` does, so that the truth is
known. They are those of Debian's packages tuxpaint-stamps-default and tuxpaint-data (GPL, version 2 or later):
`apt-get install tuxpaint`, or unpack the packages and name the folder with `--share`. Nothing else is downloaded.
The person of `answer` is the truth: every object of a chosen photograph gets its box and its name.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import umgclip  # noqa: E402 - the repository may not be installed
from benchmarks import photographs  # noqa: E402
from umgclip.data.stream import decode, read_raw  # noqa: E402
from umgclip.geometry import masks as mask_ops  # noqa: E402
from umgclip.io.atomic import sha256_file  # noqa: E402
from umgclip.params import DataParams  # noqa: E402
from umgclip.records import ImageRecord, Region  # noqa: E402
from umgclip.sources.demo.scenes import Scene, compose  # noqa: E402

PAGE = ROOT / "docs" / "photographs"
NAMES = (
    "apple", "balloon", "bear", "car", "cow", "daffodil", "donkey", "duck", "frog", "guitar", "heron", "lettuce",
    "lion", "orange", "penguin", "pepper", "pig", "rabbit", "sheep", "strawberry", "tiger", "truck", "wheel", "wrench",
)  # fmt: skip
SIDE_PX, MATCH, SINGLES = 192, 0.3, 0.4
SHOWN_PX, GAP = 250, 6
COLOURS = ("#ffd60a", "#64d2ff", "#ff6482", "#30d158", "#ff9f0a", "#bf5af2")
COUNTS = {"photos": 1500, "test": 120, "new": 8}


def compose_photographs(folder: Path, share: Path, counts: Mapping[str, int] = COUNTS) -> None:
    """Write the folders of photographs with their captions; `test` has boxes and masks, and the truth is put aside."""
    listed = [one for one in photographs.cut_outs(share) if one.name in NAMES]
    train, test = photographs.split(photographs.choose(listed, len(NAMES)))
    arts = {name: photographs.photograph_art(photos, share, MATCH) for name, photos in (("t", train), ("b", test))}
    params = DataParams(image_px=SIDE_PX, max_things=4)
    for number, (split, count) in enumerate(counts.items()):
        art = arts["t" if split == "photos" else "b"]
        scenes = []
        for index in range(count):
            rng = np.random.default_rng([number, index])
            things = 1 if rng.random() < SINGLES and split == "photos" else int(rng.integers(2, params.max_things + 1))
            chosen = [art.kinds[i] for i in rng.choice(len(art.kinds), size=min(things, len(art.kinds)), replace=False)]
            scenes.append(compose(chosen, params, rng, art))
        _write(folder, split, scenes)


def _write(folder: Path, split: str, scenes: Sequence[Scene]) -> None:
    out = folder / split
    out.mkdir(parents=True, exist_ok=True)
    for number, scene in enumerate(scenes):
        Image.fromarray(scene.pixels).save(out / _name(number), quality=92)
    truth = _coco(scenes)
    if split == "photos":
        with (out / "captions.csv").open("w", newline="", encoding="utf-8") as file:
            rows = [(_name(number), scene.caption) for number, scene in enumerate(scenes)]
            csv.writer(file).writerows([("file_name", "caption"), *rows])
        (folder / "truth.json").write_text(json.dumps(truth), encoding="utf-8")
    elif split == "test":
        (out / "instances.json").write_text(json.dumps(truth), encoding="utf-8")
        captions = [{"id": i, "image_id": i, "caption": scene.caption} for i, scene in enumerate(scenes)]
        texts = {"images": truth["images"], "annotations": captions}
        (out / "captions.json").write_text(json.dumps(texts), encoding="utf-8")


def _name(number: int) -> str:
    return f"IMG_{number:04d}.jpg"


def _coco(scenes: Sequence[Scene]) -> dict[str, Any]:
    """Return the objects of scenes in COCO's format, with masks."""
    objects = [(n, kind.name, mask) for n, scene in enumerate(scenes) for kind, mask in _objects(scene)]
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": NAMES.index(name) + 1,
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "segmentation": mask_ops.encode(mask).model_dump(),
            "area": int(mask.sum()),
            "iscrowd": 0,
        }
        for number, (image, name, mask) in enumerate(objects, 1)
        for x0, y0, x1, y1 in [mask_ops.box_of(mask)]
    ]
    return {
        "images": [{"id": n, "file_name": _name(n), "width": SIDE_PX, "height": SIDE_PX} for n in range(len(scenes))],
        "categories": [{"id": number, "name": name} for number, name in enumerate(NAMES, 1)],
        "annotations": annotations,
    }


def _objects(scene: Scene) -> list[tuple[Any, np.ndarray]]:
    return list(zip(scene.things, scene.masks, strict=True))


def answer(folder: Path) -> None:
    """Write `project-1.json` as Label Studio exports it; the boxes and names are those of the truth."""
    project = folder / "mine"
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    objects = defaultdict(list)
    for one in truth["annotations"]:
        objects[_name(one["image_id"])].append((one["bbox"], names[one["category_id"]]))
    file_of = {sha256_file(path): path.name for path in (folder / "photos").glob("*.jpg")}
    tasks = json.loads((project / "review" / "tasks.json").read_text(encoding="utf-8"))
    for number, task in enumerate(tasks, 1):
        drawn = objects[file_of[task["data"]["sha256"]]]
        results = [_rectangle(f"{number}-{place}", *one) for place, one in enumerate(drawn)]
        others = [one for one in task["predictions"][0]["result"] if one["type"] in ("choices", "textarea")]
        whole = [one for one in others if "original_width" not in one]
        task["annotations"] = [{"id": number, "was_cancelled": False, "result": [*results, *whole]}]
    (project / "project-1.json").write_text(json.dumps(tasks), encoding="utf-8")


def _rectangle(number: str, box_xywh: Sequence[float], name: str) -> dict[str, Any]:
    x, y, width, height = (100 * side / SIDE_PX for side in box_xywh)
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [name]}
    size = {"original_width": SIDE_PX, "original_height": SIDE_PX, "image_rotation": 0}
    return {"id": number, "from_name": "box", "to_name": "image", "type": "rectanglelabels", "value": place, **size}


def draw(folder: Path, out: Path) -> None:
    """Draw the pictures of the page from the first photographs that show what a picture is about."""
    project = folder / "mine"
    out.mkdir(exist_ok=True)
    annotated = [decode(raw, shard) for shard, raw in read_raw(project / "artifacts" / "annotate" / "train")]
    photos = [Image.open(folder / "photos" / _name(number)) for number in range(8)]
    _save([photos[:4], photos[4:]], out / "photos.webp")
    several = [one for one in annotated if sum(bool(region.tags) for region in _things(one.record)) >= 2]
    labelled = [_regions(one.pixels, _things(one.record)) for one in several[:8]]
    _save([labelled[:4], labelled[4:8]], out / "regions.webp")
    _save(_corrected(project, {one.record.sha256: one for one in annotated}), out / "correction.webp")
    rows = _models(folder, 4)
    _save(rows[:3], out / "model.webp")
    _save([labelled[:4], [row[-1] for row in rows]], out / "overview.webp")


def _things(record: ImageRecord) -> list[Region]:
    return [region for region in record.regions or [] if not region.is_stuff]


def _corrected(project: Path, annotated: Mapping[str, Any]) -> list[list[Image.Image]]:
    """Return the photographs that were chosen first: above as annotated, below as corrected."""
    tasks = json.loads((project / "project-1.json").read_text(encoding="utf-8"))[:4]
    samples = [annotated[task["data"]["sha256"]] for task in tasks]
    before = [_regions(one.pixels, _things(one.record)) for one in samples]
    after = []
    for one, task in zip(samples, tasks, strict=True):
        picture = _shown(one.pixels)
        for number, result in enumerate(task["annotations"][0]["result"]):
            if result["type"] == "rectanglelabels":
                value = result["value"]
                left, top = value["x"] / 100, value["y"] / 100
                box = (left, top, left + value["width"] / 100, top + value["height"] / 100)
                _label(picture, [side * SHOWN_PX for side in box], value["rectanglelabels"][0], number)
        after.append(picture)
    return [before, after]


def _models(folder: Path, count: int) -> list[list[Image.Image]]:
    """Return rows of a test photograph, and where base and tuned model see the name of its largest thing."""
    truth = json.loads((folder / "test" / "instances.json").read_text(encoding="utf-8"))
    names = {category["id"]: category["name"] for category in truth["categories"]}
    artifacts = folder / "mine" / "artifacts"
    models = [umgclip.load(artifacts / "base"), umgclip.load(artifacts)]
    rows = []
    for image in truth["images"][:count]:
        path = folder / "test" / image["file_name"]
        largest = max((a for a in truth["annotations"] if a["image_id"] == image["id"]), key=lambda a: a["area"])
        name = names[largest["category_id"]]
        pixels = np.asarray(Image.open(path).convert("RGB"))
        row = [_shown(pixels)]
        for model in models:
            heat = model.similarity_map(path, [name])[0]
            low, high = np.percentile(heat, [10, 99])
            light = np.clip((heat - low) / max(float(high - low), 1e-6), 0.12, 1.0)
            row.append(_shown((pixels * light[..., None]).astype(np.uint8)))
        for picture, title in zip(row, ("", f"{name}: base", f"{name}: tuned"), strict=True):
            _title(picture, title)
        rows.append(row)
    return rows


def _shown(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels).resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC)


def _regions(pixels: np.ndarray, regions: Sequence[Region]) -> Image.Image:
    """Draw labelled regions in colours and the others in grey."""
    tinted = pixels.astype(np.float32)
    labelled = [region for region in regions if region.tags]
    for number, region in enumerate(labelled):
        if region.mask is not None:
            mask = mask_ops.decode(region.mask).astype(bool)
            tinted[mask] = 0.6 * tinted[mask] + 0.4 * np.array(ImageColor.getrgb(COLOURS[number % len(COLOURS)]))
    picture = _shown(tinted.astype(np.uint8))
    scale = SHOWN_PX / pixels.shape[1]
    for region in regions:
        if not region.tags:
            ImageDraw.Draw(picture).rectangle([side * scale for side in region.box_xyxy], outline="#c0c0c0")
    for number, region in enumerate(labelled):
        _label(picture, [side * scale for side in region.box_xyxy], region.tags[0].text, number)
    return picture


def _label(picture: Image.Image, box: Sequence[float], name: str, number: int) -> None:
    pen, font, colour = ImageDraw.Draw(picture), ImageFont.load_default(15), COLOURS[number % len(COLOURS)]
    pen.rectangle(list(box), outline=colour, width=3)
    place = (max(0.0, box[0]), max(0.0, box[1] - 19))
    pen.rectangle(pen.textbbox((place[0] + 3, place[1]), name, font=font), fill=colour, outline=colour, width=4)
    pen.text((place[0] + 3, place[1]), name, fill="black", font=font)


def _title(picture: Image.Image, text: str) -> None:
    if text:
        pen, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
        pen.rectangle(pen.textbbox((8, 6), text, font=font), fill="black", outline="black", width=4)
        pen.text((8, 6), text, fill="white", font=font)


def _save(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    """Save rows of square pictures as one."""
    wide, tall = max(map(len, rows)), len(rows)
    sheet = Image.new("RGB", (wide * (SHOWN_PX + GAP) - GAP, tall * (SHOWN_PX + GAP) - GAP), "white")
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            place = left * (SHOWN_PX + GAP), top * (SHOWN_PX + GAP)
            sheet.paste(picture.resize((SHOWN_PX, SHOWN_PX), Image.Resampling.BICUBIC), place)
    sheet.save(path, quality=82, method=6)


def main() -> None:
    """Make the photographs, the answer or the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["photos", "answer", "draw"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--share", type=Path, default=photographs.SHARE, help="Tux Paint's stamps and templates")
    parser.add_argument("--out", type=Path, default=PAGE, help="folder of the pictures")
    arguments = parser.parse_args()
    if arguments.step == "photos":
        compose_photographs(arguments.folder, arguments.share)
    elif arguments.step == "answer":
        answer(arguments.folder)
    else:
        draw(arguments.folder, arguments.out)


if __name__ == "__main__":
    main()
