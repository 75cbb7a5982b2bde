"""Retrieval sets of long captions, as they are delivered: Urban-1k, DCI, DOCCI, and the first images of ShareGPT4V.

Each image has one caption of a hundred words or more. `urban1k` is Long-CLIP's (Zhang et al., ECCV 2024): a text file
beside each image. `dci` are Densely Captioned Images (Urbanek et al., CVPR 2024): a JSON file for each image of SA-1B;
FG-CLIP asks with `extra_caption` alone, DCI's own code with `short_caption` before it (`dci-full`). `docci` (Onoe et
al., ECCV 2024) are JSON lines. `sharegpt4v` (Chen et al., ECCV 2024) is one JSON of conversations, whose first 1,000
images are the benchmark.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_stream import read_elements
from umgclip.io.json_text import parse
from umgclip.io.places import Place, fetch
from umgclip.io.texts import decode
from umgclip.sources.formats.shared.origins import DCI, DOCCI, SHAREGPT4V, URBAN1K, Origin
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import HUMAN, Request
from umgclip.sources.source_files import extension_of, is_hidden
from umgclip.sources.values import expected, words

_SHAREGPT4V_IMAGES = 1000
_DOCCI_FILE = "docci_descriptions.jsonlines"
_FILE_BYTES = 64 << 20
_BY_HUMANS = ("dci", "dci-full", "docci")


class Captioned(NamedTuple):
    """An image by its path in the source, and its caption, or what is wrong with it."""

    image: str
    caption: str | Problem


class CaptionSet(NamedTuple):
    """A set of long captions: what lists its images, and where it comes from."""

    captioned: Callable[[Request, ImportPlan, Place, Path], Iterator[Captioned]]
    origin: Origin
    expected: str


def plan_long_captions(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Plan the images that a set lists, each with its caption.

    Raises:
        InputError: --task names no set.
        DataError: the set lists no images; names the page that it comes from.
    """
    if request.task not in LAYOUTS:
        raise InputError(f"long-captions: expected --task {', '.join(LAYOUTS)}, got {request.task!r}")
    layout = LAYOUTS[request.task]
    position = itertools.count()
    for image, caption in layout.captioned(request, plan, source, working):
        if isinstance(caption, Problem):
            plan.add_problem(shown(image), caption)
            continue
        plan.seen(image, caption)
        plan.add_items([(next(position), image, {"caption": caption})])
    if not next(position):
        others = ", ".join(task for task in LAYOUTS if task != request.task)
        error = layout.origin.missing(source, f"{layout.expected}, for --task {request.task}")
        raise DataError(f"{error}; for another set: --task {others}")


def _urban1k(_request: Request, plan: ImportPlan, source: Place, _working: Path) -> Iterator[Captioned]:
    """Yield the images in `image/` with the first line of the file of their name in `caption/`."""
    _list_files(plan, source)
    for name in list(plan.file_names(FORMAT_OF)):
        folder, _, base = name.rpartition("/")
        if folder.rpartition("/")[2] == "image":
            stem = base.removesuffix(f".{extension_of(base)}")
            text = "/".join(filter(None, (folder.removesuffix("image").rstrip("/"), "caption", f"{stem}.txt")))
            yield Captioned(name, _first_line(source, text))
    for name in plan.file_names(["txt"]):
        folder, _, base = name.rpartition("/")
        if folder.rpartition("/")[2] == "caption" and not plan.images_called(base.removesuffix(".txt")):
            yield Captioned(name, Problem("no_image", "a caption of an image that is not there"))


def _first_line(source: Place, name: str) -> str | Problem:
    try:
        lines = decode(source.read(name, _FILE_BYTES)).splitlines()
    except (DataError, ValueError) as error:
        return Problem("no_caption", str(error))
    return next((text for line in lines if (text := words(line))), None) or Problem("no_caption", f"{name} is empty")


def _dci(request: Request, plan: ImportPlan, source: Place, _: Path) -> Iterator[Captioned]:
    """Yield the image that each JSON file in `annotations/` names, with its captions."""
    _list_files(plan, source)
    names = [name for name in plan.file_names(["json"]) if f"/{name}".rpartition("/")[0].endswith("/annotations")]
    fields = ("short_caption", "extra_caption") if request.task == "dci-full" else ("extra_caption",)
    yield from in_order((partial(_of_dci, source, name, fields) for name in names), source)


def _of_dci(source: Place, name: str, fields: tuple[str, ...]) -> Captioned:
    try:
        value = parse(decode(source.read(name, _FILE_BYTES)))
        if not isinstance(value, dict):
            raise ValueError(expected("file", "an object", value))
    except (DataError, ValueError) as error:
        return Captioned(name, Problem("bad_record", str(error)))
    image = words(value.get("image"))
    if image is None:
        return Captioned(name, Problem("no_image", expected("image", "a name", value.get("image"))))
    texts = [text for field in fields if (text := words(value.get(field)))]
    missing = Problem("no_caption", expected(fields[-1], "a text", value.get(fields[-1])))
    above = name.rpartition("/")[0].removesuffix("annotations")
    return Captioned(f"{above}photos/{image}", " ".join(texts) if texts else missing)


def _docci(request: Request, plan: ImportPlan, source: Place, working: Path) -> Iterator[Captioned]:
    """Yield the images of one split of the JSON lines, from `images/`."""
    where = request.annotations[0] if request.annotations else f"{source}/{_DOCCI_FILE}"
    wanted, splits = request.subset or "test", set()
    for value in _elements(where, DOCCI, plan, working):
        splits.add(str(value.get("split")))
        if value.get("split") == wanted:
            image, text = words(value.get("image_file")), words(value.get("description"))
            yield _captioned(image and f"images/{image}", text, "image_file and description", value)
    if wanted not in splits:
        raise DataError(f"{where}: expected images of the split {wanted!r}, got {', '.join(sorted(splits)) or 'none'}")


def _sharegpt4v(request: Request, plan: ImportPlan, _: Place, working: Path) -> Iterator[Captioned]:
    """Yield the first 1,000 images of the JSON, each with the answer of its conversation."""
    if len(request.annotations) != 1:
        raise InputError("long-captions: sharegpt4v: expected --annotations, share-captioner_*.json, once")
    elements = _elements(request.annotations[0], SHAREGPT4V, plan, working)
    for value in itertools.islice(elements, _SHAREGPT4V_IMAGES):
        turns = value.get("conversations")
        answer = turns[1] if isinstance(turns, list) and len(turns) > 1 else None
        text = words(answer.get("value")) if isinstance(answer, dict) else None
        yield _captioned(words(value.get("image")), text, "image and conversations[1].value", value)


def _captioned(image: str | None, text: str | None, fields: str, value: dict[str, Any]) -> Captioned:
    if image is None or text is None:
        reason = "no_image" if image is None else "no_caption"
        return Captioned(image or "(no path)", Problem(reason, expected(fields, "texts", value)))
    return Captioned(image, text)


def _elements(where: str, origin: Origin, plan: ImportPlan, working: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON file or of JSON lines.

    Raises:
        DataError: the file is missing; the message names the data set's page.
    """
    try:
        path = fetch(where, working)
    except DataError as error:
        raise origin.missing(where, "the captions") from error
    for number, (_, value) in enumerate(read_elements(path)):
        if isinstance(value, dict):
            yield value
        else:
            plan.add_problem(f"{path.name}: {number}", Problem("bad_record", expected("element", "an object", value)))


def _list_files(plan: ImportPlan, source: Place) -> None:
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))


LAYOUTS = {
    "urban1k": CaptionSet(_urban1k, URBAN1K, "image/*.jpg, and caption/*.txt with the same names"),
    "dci": CaptionSet(_dci, DCI, "annotations/*.json, and the images of sa_000138.tar in photos/"),
    "dci-full": CaptionSet(_dci, DCI, "annotations/*.json, and the images of sa_000138.tar in photos/"),
    "docci": CaptionSet(_docci, DOCCI, f"{_DOCCI_FILE} and images/"),
    "sharegpt4v": CaptionSet(_sharegpt4v, SHAREGPT4V, "a JSON of images with conversations"),
}


def read_long_captions(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan, each with its caption."""
    human = request.split == "benchmark" or request.task in _BY_HUMANS
    author = HUMAN if human else str(request.task)

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, source, item, author, limit)

    yield from in_order(loads(), source)


def _load(source: Place, item: PlannedImage, author: str, limit: int) -> SourceImage:
    base = item.name.rpartition("/")[2]  # images may lie in the source itself, as SA-1B's do
    name = base if base != item.name and not source.exists(item.name) and source.exists(base) else item.name
    note = Note(captions=[])
    note.truths([item.about["caption"]], author)
    return SourceImage(shown(item.name), read_image(source, name, limit), extension_of(item.name), note)
