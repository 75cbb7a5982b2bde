"""Label Studio (Apache-2.0): a labelling configuration, tasks with predictions, and the JSON export that comes back.

Source: the task format and the tags of https://labelstud.io/guide/task_format and https://labelstud.io/tags.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import cv2
import numpy as np

from umgclip.data.corrections import HumanLook
from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.io.json_stream import read_elements
from umgclip.records import ImageRecord, Region
from umgclip.review.answer import AnsweredRegion, ImageAnswer, Unusable, text_or_none
from umgclip.review.labels import LabelNames
from umgclip.review.shown import Item, Settings, ShownImages, alt_of, shown_captions, shown_regions, why
from umgclip.review.tools.brush import decode_brush, encode_brush

CONFIG, TASKS = "label_config.xml", "tasks.json"
LOCAL = "/data/local-files/?d="  # how Label Studio serves files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT
_BOX, _MASK, _REGION_CAPTION, _TAGS, _CAPTIONS = "box", "mask", "region_caption", "tags", "captions"
_FEW = 50  # names that fit beside an image as check boxes; more become a tree that can be searched
_ENOUGH = 5  # images in which nobody leaves a single tag by chance: then the tool did not ask for tags


def write_label_studio(folder: Path, items: Sequence[Item], settings: Settings) -> list[str]:
    """Write `label_config.xml` and `tasks.json`; return what to do with them, a step a line."""
    write_bytes(folder / CONFIG, _config(settings.names).encode())
    prefix = settings.image_prefix if settings.image_prefix is not None else f"{LOCAL}{settings.name}/images/"
    tasks = ",\n".join(json.dumps(_task(item, settings, prefix), ensure_ascii=False) for item in items)
    write_bytes(folder / TASKS, f"[\n{tasks}\n]\n".encode())
    return [
        f"Make a project in Label Studio and paste {CONFIG} into Settings, Labeling Interface, Code.",
        f"Images are looked for at {prefix}KEY; `--image-prefix` names another place (https://..., s3://...).",
        "For local files: LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true, "
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT the folder that contains this one, and a local storage in the project.",
        f"Import {TASKS}. Each task starts with the annotations of the models as a prediction.",
        "Correct, and submit every image that you looked at, also one without a fault.",
        "Export as JSON (not JSON-MIN), then: umgclip review import EXPORT.json --shown THIS_FOLDER --out corrections",
    ]


def _config(names: LabelNames) -> str:
    every = list(dict.fromkeys([*names.things, *names.stuff]))
    labels = "\n".join(f"    <Label value={quoteattr(name)}/>" for name in every)
    if len(every) <= _FEW:
        tags = f'  <Choices name="{_TAGS}" toName="image" choice="multiple" showInline="true">\n'
        tags += "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in every) + "\n  </Choices>"
    else:
        tags = f'  <Taxonomy name="{_TAGS}" toName="image" leafsOnly="true" placeholder="Things in the image">\n'
        tags += "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in every) + "\n  </Taxonomy>"
    return f"""<View>
  <Header value="$alt" size="5"/>
  <Header value="$why" size="6"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <Filter name="filter" toName="{_BOX}" minlength="0"/>
  <RectangleLabels name="{_BOX}" toName="image">
{labels}
  </RectangleLabels>
  <BrushLabels name="{_MASK}" toName="image">
{labels}
  </BrushLabels>
  <TextArea name="{_REGION_CAPTION}" toName="image" perRegion="true" editable="true" placeholder="This region is"/>
{tags}
  <TextArea name="{_CAPTIONS}" toName="image" editable="true" placeholder="A caption of the image"/>
</View>
"""


def _task(item: Item, settings: Settings, prefix: str) -> dict[str, Any]:
    record = item.record
    result = [part for region in shown_regions(record) for part in _region(region, record, settings.masks)]
    if record.tags is not None:
        result += _tags([tag.text for tag in record.tags], settings.names)
    captions = [text.text for text in shown_captions(record)]
    if captions:
        result.append(_whole(_CAPTIONS, "textarea", {"text": captions}))
    scores = [(region.tags or [])[0].score for region in shown_regions(record)]
    prediction: dict[str, Any] = {"model_version": "umgclip annotate", "result": result}
    if scores:
        prediction["score"] = round(sum(scores) / len(scores), 4)
    data = {
        "image": f"{prefix}{item.file_name}",
        "key": record.key,
        "sha256": record.sha256,
        "alt": alt_of(record),
        "why": why(item),
        "worth": item.candidate.worth.value,
        "license": record.source.license,
    }
    return {"data": data, "predictions": [prediction]}


def _tags(tags: Sequence[str], names: LabelNames) -> list[dict[str, Any]]:
    if not tags:
        return []
    few = len(dict.fromkeys([*names.things, *names.stuff])) <= _FEW
    value = {"choices": list(tags)} if few else {"taxonomy": [[tag] for tag in tags]}
    return [_whole(_TAGS, "choices" if few else "taxonomy", value)]


def _whole(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "image", "type": kind, "value": value}


def _region(region: Region, record: ImageRecord, masks: bool) -> Iterator[dict[str, Any]]:
    """Yield a region as a brush stroke if it has a mask, else as a rectangle; and its captions under the same id."""
    tag = (region.tags or [])[0]
    size = {"original_width": record.width, "original_height": record.height, "image_rotation": 0}
    about = {"id": f"region-{region.id}", "to_name": "image", **size}
    if masks and region.mask is not None:
        value: dict[str, Any] = {"format": "rle", "rle": encode_brush(mask_ops.decode(region.mask))}
        name, kind, key = _MASK, "brushlabels", "brushlabels"
    else:
        x0, y0, x1, y1 = region.box_xyxy
        left, top = 100 * x0 / record.width, 100 * y0 / record.height
        right, bottom = min(100.0, 100 * x1 / record.width), min(100.0, 100 * y1 / record.height)
        value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        name, kind, key = _BOX, "rectanglelabels", "rectanglelabels"
    yield {**about, "from_name": name, "type": kind, "value": {**value, key: [tag.text]}, "score": tag.score}
    if region.captions:
        text = {"text": [caption.text for caption in region.captions]}
        yield {**about, "from_name": _REGION_CAPTION, "type": "textarea", "value": text}


def read_label_studio(path: Path, shown: ShownImages, unusable: list[Unusable]) -> Iterator[ImageAnswer]:
    """Yield what people submitted, an answer for each annotation of each task.

    Tasks that nobody submitted, or that were skipped, have no answer. If a control such as the tags occurs in no
    answer at all, it is taken as not asked for: the labelling configuration was changed.

    Args:
        path: the JSON export.
        shown: what the export to the tool showed.
        unusable: gets what could not be used, with the reason.

    Raises:
        InputError: it is another export than JSON, or nobody submitted anything.
        DataError: it is no JSON, or is cut off.
    """
    asked = _asked(path, shown)
    for number, (_, task) in zip(count(1), read_elements(path), strict=False):
        where = f"task {task.get('id', number)}" if isinstance(task, dict) else f"task {number}"
        try:
            key, annotations = _submitted(task)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            unusable.append(Unusable(None, "no_task", f"{where}: {error}"))
            continue
        record = shown.records.get(key)
        if record is None:
            if annotations:
                unusable.append(Unusable(key, "not_shown", f"{where}: the export to the tool has no image {key!r}"))
            continue
        for annotation in annotations:
            yield from _answer(annotation, task, (record, where), asked, unusable)


def _submitted(task: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """Return a task's key and the annotations that people submitted."""
    data = task["data"]
    key = data.get("key")
    if not isinstance(key, str):
        raise ValueError(f"data.key: expected the key of an image, got {str(key)[:80]!r}")
    annotations = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
    if not all(isinstance(one.get("result"), list) for one in annotations):
        raise ValueError("annotations: expected a list of results in each")
    return key, annotations


def _asked(path: Path, shown: ShownImages) -> dict[str, bool]:
    """Read the file once to tell which of tags and captions people were asked for.

    Raises:
        InputError: it is another export, or nobody submitted anything.
    """
    controls: set[str] = set()
    tasks = submitted = predicted = 0
    with_tags = with_captions = 0
    for _, task in read_elements(path):
        tasks += 1
        if isinstance(task, dict) and "annotation_id" in task and "data" not in task:
            raise InputError(f"{path}: expected Label Studio's export as JSON, got JSON-MIN, which lacks places")
        try:
            key, annotations = _submitted(task)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        predicted += bool(task.get("predictions"))
        submitted += len(annotations)
        for one in annotations:
            controls.update(str(part.get("from_name")) for part in one["result"] if isinstance(part, dict))
        record = shown.records.get(key)
        if annotations and record is not None:
            with_tags += bool(record.tags)
            with_captions += bool(shown_captions(record))
    if not submitted:
        got = "predictions of models alone" if predicted else f"{tasks} tasks that nobody submitted"
        raise InputError(f"{path}: expected annotations that people submitted, got {got}; export the project as JSON")
    return {
        _TAGS: _TAGS in controls or with_tags < _ENOUGH,
        _CAPTIONS: _CAPTIONS in controls or with_captions < _ENOUGH,
        _REGION_CAPTION: _REGION_CAPTION in controls,
    }


def _answer(
    annotation: dict[str, Any], task: dict[str, Any], about: tuple[ImageRecord, str], asked: dict[str, bool],
    unusable: list[Unusable],
) -> Iterator[ImageAnswer]:  # fmt: skip
    record, where = about
    places: dict[str, AnsweredRegion] = {}
    region_captions: dict[str, list[str]] = {}
    tags: list[str] = []
    captions: list[str] = []
    for number, part in enumerate(annotation["result"]):
        try:
            kind, value = part["type"], part["value"]
            name = str(part.get("from_name"))
            if kind == "textarea" and name == _CAPTIONS:
                captions += _texts(value)
            elif kind == "textarea" and name == _REGION_CAPTION:
                region_captions.setdefault(str(part.get("id")), []).extend(_texts(value))
            elif kind in ("choices", "taxonomy") and name == _TAGS:
                tags += _names(kind, value)
            elif kind in _SHAPES:
                _check_size(part, record)
                places[f"{part.get('id')}"] = _SHAPES[kind](kind, value, record)
            else:
                reason = "unknown_control"
                unusable.append(Unusable(record.key, reason, f"{where}, result {number}: {name} of type {kind}"))
        except _ErasedError:
            continue  # the person wiped all of it away, so it is removed
        except _OtherImageError as error:
            unusable.append(Unusable(record.key, "wrong_size", f"{where}, result {number}: {error}"))
            return  # of another image, so nothing of it can be trusted
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            unusable.append(Unusable(record.key, "bad_region", f"{where}, result {number}: {error}"))
            return  # without this region the answer would say that the person removed it
    regions = tuple(_with_captions(places, region_captions, asked[_REGION_CAPTION]))
    yield ImageAnswer(
        key=record.key,
        sha256=text_or_none(task["data"].get("sha256")),
        look=_look(annotation, task),
        regions=regions,
        tags=tuple(dict.fromkeys(tags)) if asked[_TAGS] else None,
        captions=tuple(dict.fromkeys(captions)) if asked[_CAPTIONS] else None,
    )


def _with_captions(
    places: dict[str, AnsweredRegion], captions: dict[str, list[str]], asked: bool
) -> Iterator[AnsweredRegion]:
    for name, place in places.items():
        texts = tuple(dict.fromkeys(captions.get(name, []))) if asked else None
        shown_id = name.removeprefix("region-") if name.startswith("region-") else None
        yield AnsweredRegion(place.box_xyxy, place.label, place.mask, texts, shown_id)


def _look(annotation: dict[str, Any], task: dict[str, Any]) -> HumanLook:
    by = annotation.get("completed_by")
    by = by.get("email") or by.get("id") if isinstance(by, dict) else by
    at = annotation.get("updated_at") or annotation.get("created_at")
    task_id = task.get("id")
    return HumanLook(
        tool="label-studio",
        by=None if by is None else str(by),
        at=None if at is None else str(at),
        task=None if task_id is None else f"{task_id}/{annotation.get('id')}",
    )


def _texts(value: dict[str, Any]) -> list[str]:
    texts = value["text"]
    texts = [texts] if isinstance(texts, str) else texts
    return [clean for text in texts if (clean := tidy(str(text)))]


def _names(kind: str, value: dict[str, Any]) -> list[str]:
    if kind == "choices":
        return [clean for name in value["choices"] if (clean := tidy(str(name)))]
    return [clean for path in value["taxonomy"] if (clean := tidy(str(path[-1])))]


class _OtherImageError(ValueError):
    """The result belongs to an image of another size."""


class _ErasedError(ValueError):
    """A brush stroke without a pixel is left of a region."""


def _check_size(part: dict[str, Any], record: ImageRecord) -> None:
    size = part.get("original_width"), part.get("original_height")
    if None not in size and size != (record.width, record.height):
        expected = f"{record.width} x {record.height}"
        raise _OtherImageError(f"expected an image of {expected} pixels, got {size[0]} x {size[1]}")
    if part.get("image_rotation"):
        raise ValueError(f"image_rotation: expected 0, got {part['image_rotation']}; turned images are not read")


def _label(kind: str, value: dict[str, Any]) -> str | None:
    names = value.get(kind) or value.get("labels") or []
    clean = [tidy(str(name)) for name in names]
    return next((name for name in clean if name), None)


def _rectangle(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    x, y, width, height = (_finite(value[name]) for name in ("x", "y", "width", "height"))
    x, width = x * record.width / 100, width * record.width / 100
    y, height = y * record.height / 100, height * record.height / 100
    angle = math.radians(_finite(value.get("rotation") or 0))
    if not angle:
        return AnsweredRegion((x, y, x + width, y + height), _label(kind, value))
    cos, sin = math.cos(angle), math.sin(angle)  # about the upper left corner, clockwise
    corners = [(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)]
    outline = [side for dx, dy in corners for side in (x + dx * cos - dy * sin, y + dx * sin + dy * cos)]
    return _outlined(outline, kind, value, record)


def _polygon(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    outline = []
    for x, y in value["points"]:
        outline += [_finite(x) * record.width / 100, _finite(y) * record.height / 100]
    return _outlined(outline, kind, value, record)


def _outlined(outline: list[float], kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    mask = mask_ops.from_polygons([outline], (record.height, record.width))
    box = mask_ops.tight_box(mask)
    if box is None:
        raise ValueError("expected an outline inside the image, got one without a pixel there")
    return AnsweredRegion(box, _label(kind, value), mask)


def _ellipse(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    x, y = _finite(value["x"]) * record.width / 100, _finite(value["y"]) * record.height / 100
    radii = _finite(value["radiusX"]) * record.width / 100, _finite(value["radiusY"]) * record.height / 100
    canvas = np.zeros((record.height, record.width), np.uint8)
    angle = _finite(value.get("rotation") or 0)
    cv2.ellipse(canvas, ((x - 0.5, y - 0.5), (2 * radii[0], 2 * radii[1]), angle), 1, thickness=-1)
    mask = mask_ops.encode(canvas > 0)
    box = mask_ops.tight_box(mask)
    if box is None:
        raise ValueError("expected an ellipse inside the image, got one without a pixel there")
    return AnsweredRegion(box, _label(kind, value), mask)


def _brush(kind: str, value: dict[str, Any], record: ImageRecord) -> AnsweredRegion:
    if value.get("format") != "rle":
        raise ValueError(f"format: expected rle, got {value.get('format')!r}")
    mask = mask_ops.encode(decode_brush(value["rle"], (record.height, record.width)))
    box = mask_ops.tight_box(mask)
    if box is None:
        raise _ErasedError
    return AnsweredRegion(box, _label(kind, value), mask)


def _finite(number: object) -> float:
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"expected a number, got {str(number)[:40]!r}")
    return float(number)


_SHAPES = {
    "rectanglelabels": _rectangle, "rectangle": _rectangle,
    "polygonlabels": _polygon, "polygon": _polygon,
    "ellipselabels": _ellipse, "ellipse": _ellipse,
    "brushlabels": _brush, "brush": _brush,
}  # fmt: skip
