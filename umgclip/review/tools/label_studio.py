"""Label Studio (Apache-2.0): a labelling configuration, and tasks with the annotations of models as predictions.

Source: the task format and the tags of https://labelstud.io/guide/task_format and https://labelstud.io/tags.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.records import ImageRecord, Region
from umgclip.review.labels import LabelNames
from umgclip.review.shown import Item, Settings, alt_of, shown_captions, shown_regions, why
from umgclip.review.tools.brush import encode_brush

CONFIG, TASKS = "label_config.xml", "tasks.json"
LOCAL = "/data/local-files/?d="  # how Label Studio serves files below LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT
BOX, MASK, REGION_CAPTION, TAGS, CAPTIONS = "box", "mask", "region_caption", "tags", "captions"
_FEW = 50  # names that fit beside an image as check boxes; more become a tree that can be searched


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
        tags = f'  <Choices name="{TAGS}" toName="image" choice="multiple" showInline="true">\n'
        tags += "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in every) + "\n  </Choices>"
    else:
        tags = f'  <Taxonomy name="{TAGS}" toName="image" leafsOnly="true" placeholder="Things in the image">\n'
        tags += "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in every) + "\n  </Taxonomy>"
    return f"""<View>
  <Header value="$alt" size="5"/>
  <Header value="$why" size="6"/>
  <Image name="image" value="$image" zoom="true" zoomControl="true"/>
  <Filter name="filter" toName="{BOX}" minlength="0"/>
  <RectangleLabels name="{BOX}" toName="image">
{labels}
  </RectangleLabels>
  <BrushLabels name="{MASK}" toName="image">
{labels}
  </BrushLabels>
  <TextArea name="{REGION_CAPTION}" toName="image" perRegion="true" editable="true" placeholder="This region is"/>
{tags}
  <TextArea name="{CAPTIONS}" toName="image" editable="true" placeholder="A caption of the image"/>
</View>
"""


def _task(item: Item, settings: Settings, prefix: str) -> dict[str, Any]:
    record = item.record
    result = [part for region in shown_regions(record) for part in _region(region, record, settings.masks)]
    if record.tags is not None:
        result += _tags([tag.text for tag in record.tags], settings.names)
    captions = [text.text for text in shown_captions(record)]
    if captions:
        result.append(_whole(CAPTIONS, "textarea", {"text": captions}))
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
    return [_whole(TAGS, "choices" if few else "taxonomy", value)]


def _whole(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "from_name": name, "to_name": "image", "type": kind, "value": value}


def _region(region: Region, record: ImageRecord, masks: bool) -> Iterator[dict[str, Any]]:
    """Yield a region as a brush stroke if it has a mask, else as a rectangle; and its captions under the same id."""
    tag = (region.tags or [])[0]
    size = {"original_width": record.width, "original_height": record.height, "image_rotation": 0}
    about = {"id": f"region-{region.id}", "to_name": "image", **size}
    if masks and region.mask is not None:
        value: dict[str, Any] = {"format": "rle", "rle": encode_brush(mask_ops.decode(region.mask))}
        name, kind, key = MASK, "brushlabels", "brushlabels"
    else:
        x0, y0, x1, y1 = region.box_xyxy
        left, top = 100 * x0 / record.width, 100 * y0 / record.height
        right, bottom = min(100.0, 100 * x1 / record.width), min(100.0, 100 * y1 / record.height)
        value = {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0}
        name, kind, key = BOX, "rectanglelabels", "rectanglelabels"
    yield {**about, "from_name": name, "type": kind, "value": {**value, key: [tag.text]}, "score": tag.score}
    if region.captions:
        text = {"text": [caption.text for caption in region.captions]}
        yield {**about, "from_name": REGION_CAPTION, "type": "textarea", "value": text}
