"""Answers of people in Label Studio: the JSON export of a project.

Source: https://labelstud.io/guide/export, the raw JSON format of completed tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from umgclip.data.corrections import HumanLook
from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.io.json_stream import read_elements
from umgclip.records import ImageRecord
from umgclip.review.answer import AnsweredRegion, ImageAnswer, Unusable, text_or_none
from umgclip.review.shown import Asked, ShownImages
from umgclip.review.tools.label_studio import BOX, CAPTIONS, MASK, REGION_CAPTION, TAGS
from umgclip.review.tools.label_studio_shapes import SHAPES, ErasedError, OtherImageError, check_size

_OURS = {BOX, MASK, REGION_CAPTION, TAGS, CAPTIONS}


def read_label_studio(path: Path, shown: ShownImages, unusable: list[Unusable]) -> Iterator[ImageAnswer]:
    """Yield what people submitted, an answer for each annotation of each task.

    Tasks that nobody submitted, or that were skipped, have no answer. A list of which no answer has anything, such as
    the tags, is taken as not asked for: most likely its control was taken out of the labelling configuration, which
    the export does not contain. `shown.asked` says otherwise.

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


def _asked(path: Path, shown: ShownImages) -> frozenset[Asked]:
    """Read the file once to tell which lists people were asked for: those of which any answer has something.

    Raises:
        InputError: it is another export, or nobody submitted anything.
    """
    asked: set[Asked] = set(shown.asked)
    tasks = submitted = predicted = 0
    for _, task in read_elements(path):
        tasks += 1
        if isinstance(task, dict) and "annotation_id" in task and "data" not in task:
            raise InputError(f"{path}: expected Label Studio's export as JSON, got JSON-MIN, which lacks places")
        try:
            _, annotations = _submitted(task)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue
        predicted += bool(task.get("predictions"))
        submitted += len(annotations)
        for one in annotations:
            asked.update(_list_of(part) for part in one["result"] if isinstance(part, dict) and _is_ours(part))
    if not submitted:
        got = "predictions of models alone" if predicted else f"{tasks} tasks that nobody submitted"
        raise InputError(f"{path}: expected annotations that people submitted, got {got}; export the project as JSON")
    return frozenset(asked)


def _is_ours(part: dict[str, Any]) -> bool:
    """Check whether a result is a region or of a control of the export; relations and other controls are not."""
    return part.get("from_name") in _OURS or part.get("type") in SHAPES


def _list_of(part: dict[str, Any]) -> Asked:
    lists: dict[str, Asked] = {TAGS: "tags", CAPTIONS: "captions", REGION_CAPTION: "region-captions"}
    return lists.get(str(part.get("from_name")), "regions")


def _answer(
    annotation: dict[str, Any], task: dict[str, Any], about: tuple[ImageRecord, str], asked: frozenset[Asked],
    unusable: list[Unusable],
) -> Iterator[ImageAnswer]:  # fmt: skip
    record, where = about
    places: dict[str, AnsweredRegion] = {}
    region_captions: dict[str, list[str]] = {}
    tags: list[str] = []
    captions: list[str] = []
    for number, part in enumerate(annotation["result"]):
        try:
            kind, name = part["type"], str(part.get("from_name"))
            if isinstance(kind, str) and not _is_ours(part):
                detail = f"{where}, result {number}: {name} of type {kind}"
                unusable.append(Unusable(record.key, "unknown_control", detail))
                continue
            value = part["value"]
            if kind == "textarea" and name == CAPTIONS:
                captions += _texts(value)
            elif kind == "textarea" and name == REGION_CAPTION:
                region_captions.setdefault(str(part.get("id")), []).extend(_texts(value))
            elif kind in ("choices", "taxonomy") and name == TAGS:
                tags += _names(kind, value)
            elif kind in SHAPES:
                check_size(part, record)
                places[f"{part.get('id')}"] = SHAPES[kind](kind, value, record)
            else:
                raise ValueError(f"type: expected one that the control {name} has, got {str(kind)[:40]!r}")
        except ErasedError:
            continue  # the person wiped all of it away, so it is removed
        except OtherImageError as error:
            unusable.append(Unusable(record.key, "wrong_size", f"{where}, result {number}: {error}"))
            return  # of another image, so nothing of it can be trusted
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, InputError) as error:
            unusable.append(Unusable(record.key, "bad_region", f"{where}, result {number}: {error}"))
            return  # without this region the answer would say that the person removed it
    regions = tuple(_with_captions(places, region_captions, "region-captions" in asked))
    yield ImageAnswer(
        key=record.key,
        sha256=text_or_none(task["data"].get("sha256")),
        look=_look(annotation, task),
        regions=regions if "regions" in asked else None,
        tags=tuple(dict.fromkeys(tags)) if "tags" in asked else None,
        captions=tuple(dict.fromkeys(captions)) if "captions" in asked else None,
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
