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
from umgclip.safe_text import brief
from umgclip.sources.formats.shared.origins import KARPATHY
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import HUMAN, Request
from umgclip.sources.source_files import extension_of
from umgclip.sources.values import expected, words


def plan_karpathy(request: Request, plan: ImportPlan, _source: Place, working: Path) -> None:
    """Plan the images of one split of the JSON."""
    if len(request.annotations) != 1:
        raise InputError("karpathy: expected --annotations, dataset_flickr30k.json or dataset_coco.json, once")
    try:
        path = fetch(request.annotations[0], working)
    except DataError as error:
        raise KARPATHY.missing(request.annotations[0], "the images with their sentences and splits") from error
    plan.seen("annotations", sha256_file(path))
    wanted = request.subset or "test"
    splits: Counter[str] = Counter()
    plan.add_items(_items(path, wanted, splits, plan))
    if not splits[wanted]:
        there = ", ".join(f"{name} ({count})" for name, count in splits.items() if count)
        raise DataError(f"{path}: expected images of the split {wanted!r}, got {there or 'no images'}")


def _items(
    path: Path, wanted: str, splits: Counter[str], plan: ImportPlan
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Yield the images of a split; record a problem for an image without name and for unusable sentences."""
    for number, value in enumerate(value for kind, value in read_elements(path) if kind == "images"):
        where = f"{path.name}: images[{number}]"
        if not isinstance(value, dict):
            plan.add_problem(where, Problem("bad_record", f"expected an object, got {brief(value)}"))
            continue
        split, name = str(value.get("split")), _name(value)
        if split == wanted and name is None:
            plan.add_problem(where, Problem("no_image", expected("filename", "a text", value.get("filename"))))
        elif split == wanted and name is not None:
            yield splits[wanted], name, {"captions": list(_sentences(value, where, plan))}
            splits[wanted] += 1
        else:
            splits[split] += 1


def _name(value: dict[str, Any]) -> str | None:
    """Return the path that COCO gives an image, below `filepath`; Flickr30k has no folders."""
    name, folder = words(value.get("filename")), words(value.get("filepath"))
    return f"{folder}/{name}" if folder and name else name


def _sentences(value: dict[str, Any], where: str, plan: ImportPlan) -> Iterator[str]:
    sentences = value.get("sentences")
    for sentence in sentences if isinstance(sentences, list) else [sentences]:
        raw = words(sentence.get("raw")) if isinstance(sentence, dict) else None
        if raw is not None:
            yield raw
        else:
            plan.add_problem(where, Problem("bad_text", expected("sentences", "objects with a text raw", sentence)))


def read_karpathy(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, source, item, limit)

    yield from in_order(loads(), source)


def _load(source: Place, item: PlannedImage, limit: int) -> SourceImage:
    base = item.name.rpartition("/")[2]  # all images may be in one folder, instead of COCO's folders
    name = base if base != item.name and not source.exists(item.name) and source.exists(base) else item.name
    note = Note(captions=[])
    note.truths(item.about["captions"], HUMAN)
    return SourceImage(shown(item.name), read_image(source, name, limit), extension_of(item.name), note)
