"""Planning of an import from FiftyOne: its samples, and which of their fields are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from umgclip.errors import DataError, InputError
from umgclip.io.json_stream import read_elements
from umgclip.io.json_text import parse
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.safe_text import brief
from umgclip.sources.formats.coco.umgclip_fields import OURS, with_classes
from umgclip.sources.formats.fiftyone.documents import METADATA, SAMPLES
from umgclip.sources.formats.huggingface.columns import CAPTION_NAME, plain
from umgclip.sources.formats.shared.labels import Label, class_list
from umgclip.sources.formats.shared.reading import local_copy
from umgclip.sources.note import Problem
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden

_METADATA_BYTES, _LOOKED = 256 << 20, 256
_OBJECTS = ("Detections", "Detection", "Polylines", "Polyline")
_CLASSES = ("Classification", "Classifications")
_OWN = ("regions", "stuff")  # the fields of objects that `data export --to fiftyone` writes
_USUAL = ("ground_truth", "regions", "detections", "objects")
_SILENT = ("segmentation",)  # a map of what regions and stuff hold
_NONE = "none"


@dataclass(frozen=True)
class ChosenFields:
    """The fields of samples that are read: of objects, of classes, of captions; and whether this package wrote them."""

    objects: tuple[str, ...]
    classes: tuple[str, ...]
    captions: tuple[str, ...]
    is_ours: bool

    @classmethod
    def restored(cls, fact: Mapping[str, Any]) -> ChosenFields:
        """Rebuild a choice from a fact of a plan."""
        lists = {name: tuple(fact[name]) for name in ("objects", "classes", "captions")}
        return cls(**lists, is_ours=fact["is_ours"])


def plan_fiftyone(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the samples with the tag of a subset, and choose their fields.

    Raises:
        InputError: several fields could be meant, or a requested one does not exist.
        DataError: it is no FiftyOneDataset, or a file is damaged.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    plan.state("other_files", {})
    if not source.exists(METADATA):
        raise DataError(
            f"{source}: expected {METADATA} and {SAMPLES} of a FiftyOneDataset, found none; write them with "
            "dataset.export(FOLDER, dataset_type=fo.types.FiftyOneDataset)"
        )
    about = _metadata(source)
    names = [SAMPLES] if source.exists(SAMPLES) else [n for n in plan.file_names(["json"]) if n.startswith("samples/")]
    paths = []
    for number, name in enumerate(names):
        inner = working / f"samples-{number}"
        inner.mkdir(exist_ok=True)
        paths.append(local_copy(source, name, inner))
    if not paths:
        raise DataError(f"{source}: expected {SAMPLES} of a FiftyOneDataset, found none")
    first = [sample for _, sample in itertools.islice(_samples(paths), _LOOKED) if isinstance(sample, dict)]
    chosen = _choose(first, request, f"{source}/{names[0]}", plan)
    plan.state("fields", asdict(chosen))
    _plan_samples(request, plan, paths)
    if chosen.is_ours:
        _state_classes(plan, about, source)


def _metadata(source: Place) -> dict[str, Any]:
    try:
        about = parse(decode(source.read(METADATA, _METADATA_BYTES)))
    except ValueError as error:
        raise DataError(f"{source}/{METADATA}: expected JSON, got other text: {error}") from error
    if not isinstance(about, dict):
        raise DataError(f"{source}/{METADATA}: expected an object, got {brief(about)}")
    if about.get("media_type") not in (None, "image"):
        raise InputError(f"{source}/{METADATA}: media_type: expected image, got {brief(about['media_type'])}")
    return about


def _samples(paths: list[Path]) -> Iterator[tuple[str, Any]]:
    for path in paths:
        for number, (name, sample) in enumerate(read_elements(path)):
            if name in ("samples", ""):
                yield f"{path.name}: sample {number}", sample


def _plan_samples(request: Request, plan: ImportPlan, paths: list[Path]) -> None:
    """Plan each sample; with --subset those that have the tag."""
    position, left = itertools.count(), 0
    for where, sample in _samples(paths):
        if not isinstance(sample, dict) or not isinstance(sample.get("filepath"), str):
            plan.add_problem(where, Problem("bad_record", f"expected a sample with a filepath, got {brief(sample)}"))
            continue
        tags = sample.get("tags")
        if request.subset not in (None, "all") and request.subset not in (tags if isinstance(tags, list) else []):
            left += 1
            continue
        number = next(position)
        plan.add_items([(number, sample["filepath"], {})])
        plan.add_extras([(number, "sample", sample)])
    plan.tell(f"samples without the tag {request.subset}", left)
    if not plan.size() and left:
        raise InputError(f"--subset: expected a tag of samples, none of {left} has {request.subset!r}")


def _choose(samples: list[dict[str, Any]], request: Request, where: str, plan: ImportPlan) -> ChosenFields:
    kinds: dict[str, str] = {}
    for sample in samples:
        for name, value in sample.items():
            kind = value.get("_cls") if isinstance(value, dict) else None
            if isinstance(kind, str) and kind != "ImageMetadata":
                kinds[name] = kind
    is_ours = any(isinstance(sample.get(OURS), str) for sample in samples)
    objects = _one("objects-field", request.objects_column, [n for n, k in kinds.items() if k in _OBJECTS], where)
    if is_ours and request.objects_column is None:
        objects = tuple(name for name in _OWN if name in kinds)
    listed = [name for name, kind in kinds.items() if kind in _CLASSES]
    ours = tuple(name for name in ("label", "image_tags") if name in listed)
    classes = (
        ours if is_ours and request.label_column is None else _one("label-field", request.label_column, listed, where)
    )
    captions = _captions(samples, request, where)
    for name in kinds:
        if name not in (*objects, *classes) and not (is_ours and name in _SILENT):
            plan.tell(f"fields that are not read ({name[:60]})")
    return ChosenFields(objects, classes, captions, is_ours)


def _one(option: str, asked: str | None, names: list[str], where: str) -> tuple[str, ...]:
    if asked == _NONE and _NONE not in names:
        return ()
    if asked is not None:
        if asked not in names:
            raise InputError(f"{where}: --{option}: expected one of {', '.join(names) or 'none'}, got {asked!r}")
        return (asked,)
    usual = [name for name in _USUAL if name in names]
    if len(names) > 1 and not usual:
        raise InputError(f"{where}: expected one such field, got {', '.join(names)}; --{option} names one, or none")
    return tuple((usual or names)[:1])


def _captions(samples: list[dict[str, Any]], request: Request, where: str) -> tuple[str, ...]:
    texts = {
        n
        for s in samples
        for n, v in s.items()
        if isinstance(v, str) or (isinstance(v, list) and v and isinstance(v[0], str))
    }
    if request.caption_column == _NONE:
        return ()
    if request.caption_column is not None:
        if request.caption_column not in texts:
            raise InputError(
                f"{where}: --caption-field: expected one of {', '.join(sorted(texts))}, got {request.caption_column!r}"
            )
        return (request.caption_column,)
    names = dict.fromkeys(name for sample in samples for name in sample)
    return tuple(name for name in names if CAPTION_NAME.search(plain(name)) and (name in texts or name == "captions"))


def _state_classes(plan: ImportPlan, about: dict[str, Any], source: Place) -> None:
    text = (about.get("info") or {}).get(OURS) if isinstance(about.get("info"), dict) else None
    try:
        classes = parse(text)["classes"] if isinstance(text, str) else None
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{source}/{METADATA}: info.{OURS}: expected what an export wrote: {error}") from error
    if classes is None:
        return
    kinds = (("things", True), ("stuff", False))
    listed = {
        n: Label(n, [n], is_thing) for kind, is_thing in kinds for n in classes.get(kind, []) if isinstance(n, str)
    }
    plan.state("classes", with_classes(class_list(listed), {"classes": classes}, f"{source}/{METADATA}"))
