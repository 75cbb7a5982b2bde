"""Flickr30k, Flickr8k and COCO with Karpathy's split: one JSON of images with their sentences and their split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch
from umgclip.sources.found import Found, Note, shown
from umgclip.sources.homes import KARPATHY
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.reading import in_order, read_image
from umgclip.sources.request import HUMAN, Request


def plan_karpathy(request: Request, plan: Plan, _place: Place, working: Path) -> None:
    """Take the images of one split from the JSON."""
    if len(request.annotations) != 1:
        raise InputError("karpathy: expected --annotations, dataset_flickr30k.json or dataset_coco.json, once")
    try:
        path = fetch(request.annotations[0], working)
    except DataError as error:
        raise KARPATHY.missing(request.annotations[0], "the images with their sentences and splits") from error
    plan.seen("annotations", sha256_file(path))
    wanted = request.subset or "test"
    splits: Counter[str] = Counter()
    plan.add_items(
        (splits[wanted] - 1, _name(value, path), {"captions": _sentences(value)})
        for kind, value in read_elements(path)
        if kind == "images" and _counts(value, wanted, splits)
    )
    if not splits[wanted]:
        there = ", ".join(f"{name} ({count})" for name, count in splits.items() if count)
        raise DataError(f"{path}: expected images of the split {wanted!r}, got {there or 'no images'}")


def _counts(value: Any, wanted: str, splits: Counter[str]) -> bool:  # noqa: ANN401 - what JSON held
    split = str(value.get("split")) if isinstance(value, dict) else "(no object)"
    splits[split] += 1
    return split == wanted


def _name(value: dict[str, Any], path: Path) -> str:
    """Where COCO has its images, below `filepath`; Flickr30k has none."""
    if not isinstance(value.get("filename"), str):
        raise DataError(f"{path}: images: expected a filename, got {str(value)[:80]}")
    return f"{value['filepath']}/{value['filename']}" if value.get("filepath") else str(value["filename"])


def _sentences(value: dict[str, Any]) -> list[str]:
    return [str(sentence["raw"]) for sentence in value.get("sentences", []) if sentence.get("raw")]


def read_karpathy(_request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions."""

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            yield partial(_load, place, item, limit)

    yield from in_order(loads(), place)


def _load(place: Place, item: Item, limit: int) -> Found:
    base = item.name.rpartition("/")[2]  # all images in one folder, where they do not lie as COCO has them
    name = base if base != item.name and not place.exists(item.name) and place.exists(base) else item.name
    note = Note(captions=[])
    note.truths(item.about["captions"], HUMAN)
    return Found(shown(item.name), read_image(place, name, limit), extension_of(item.name), note)
