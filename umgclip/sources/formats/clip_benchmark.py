"""CLIP_benchmark's WebDatasets: tars of a split, with class names, templates and the task beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np

from umgclip.errors import DataError
from umgclip.io.places import Place
from umgclip.io.texts import decode
from umgclip.literals import read_npy
from umgclip.sources.formats.shared.labels import Labels, class_list, distinct, restored
from umgclip.sources.formats.shared.origins import CLIP_BENCHMARK
from umgclip.sources.formats.shared.paired_folders import list_folder
from umgclip.sources.formats.shared.tar_samples import END, TarSample, read_samples
from umgclip.sources.formats.tars import TARS, count_hidden
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import HUMAN, Request

CLASSES, TEMPLATES, KIND = "classnames.txt", "zeroshot_classification_templates.txt", "dataset_type.txt"
KINDS = ("classification", "multilabel", "retrieval")


def plan_clip_benchmark(request: Request, plan: ImportPlan, source: Place, _working: Path) -> None:
    """List the tars of a split; read class names and templates."""
    subset = request.subset or "test"
    list_folder(plan, source, subset, CLIP_BENCHMARK)
    plan.plan_files(TARS, subset)
    _check_tars(plan, source, subset)
    kind = (
        source.read(KIND, 1 << 20).decode("utf-8", "replace").strip().lower()
        if source.exists(KIND)
        else "classification"
    )
    if kind not in KINDS:
        raise DataError(f"{source}/{KIND}: expected {', '.join(KINDS)}, got {kind!r}")
    plan.seen(KIND, kind)
    plan.state("kind", kind)
    if kind != "retrieval":
        names = _lines(CLIP_BENCHMARK.read(source, CLASSES, "the names of the classes, a line each"), CLASSES)
        templates = _lines(source.read(TEMPLATES, 1 << 24), TEMPLATES) if source.exists(TEMPLATES) else []
        plan.seen("classes", names, templates)
        labels = distinct((number, [name], True) for number, name in enumerate(names))
        plan.state("labels", labels)
        plan.state("classes", class_list(labels, [template.replace("{c}", "{}") for template in templates]))


def _check_tars(plan: ImportPlan, source: Place, subset: str) -> None:
    """Check that the split has as many tars as `nshards.txt` states."""
    name = f"{subset}/nshards.txt"
    text = CLIP_BENCHMARK.read(source, name, "the number of tars").decode("ascii", "replace").strip()
    if not text.isdigit():
        raise DataError(f"{source}/{name}: expected the number of tars, got {text[:40]!r}")
    listed = {item.name for item in plan.items(0, plan.size())}
    for number in range(int(text)):
        if f"{subset}/{number}.tar" not in listed:
            raise CLIP_BENCHMARK.missing(f"{source}/{subset}/{number}.tar", f"one of {text} tars")


def _lines(data: bytes, name: str) -> list[str]:
    try:
        return [line.strip() for line in decode(data).splitlines() if line.strip()]
    except UnicodeError as error:
        raise DataError(f"{name}: expected lines in UTF-8, got other bytes: {error}") from error


def read_clip_benchmark(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images of the tars at some positions of the plan."""
    kind, labels = plan.fact("kind"), restored(plan.fact("labels"))
    for item in plan.items(*span):
        samples = read_samples(source, item.name, limit)
        yield from count_hidden(shown(item.name), samples, partial(_image, kind=kind, labels=labels))


def _image(name: str, sample: TarSample, kind: str, labels: Labels) -> SourceImage:
    parts = sample.parts
    if isinstance(ended := parts.get(END), Problem):  # the tar is truncated
        return SourceImage(name, ended, "", Note())
    extension = sample.image or ""
    data = parts.get(extension, Problem("no_image", f"expected an image among {sorted(parts)}"))
    wanted, read = {
        "classification": ("cls", _class),
        "multilabel": ("npy", _classes),
        "retrieval": ("txt", _captions),
    }[kind]
    note = Note(problems=list(sample.problems))
    content = parts.get(wanted, Problem("no_class", f"expected .{wanted} beside the image, got {sorted(parts)}"))
    problem = content if isinstance(content, Problem) else read(note, content, labels)
    note.unknown.update(f".{part}" for part in parts if part not in (extension, wanted))
    return SourceImage(
        name, problem if problem is not None and not isinstance(data, Problem) else data, extension, note
    )


def _class(note: Note, content: bytes, labels: Labels) -> Problem | None:
    label = labels.get(content.decode("ascii", "replace").strip())
    if label is None:
        return Problem("no_class", f"expected a number below {len(labels)}, got {content[:20]!r}")
    note.single = label.label
    note.tag(label.label, HUMAN)
    return None


def _classes(note: Note, content: bytes, labels: Labels) -> Problem | None:
    """Read a vector over the classes: 1 is present, 0 is absent, and below 0 is unknown."""
    try:
        _check_size(content)
        truth = read_npy(content).reshape(-1)
    except ValueError as error:
        return Problem("bad_text", f"npy: {type(error).__name__}: {error}")
    if len(truth) != len(labels):
        return Problem("no_class", f"expected {len(labels)} numbers, got {len(truth)}")
    note.tags, note.negative_tags = [], []
    for value, label in zip(truth.tolist(), labels.values(), strict=True):
        if value > 0:
            note.tag(label.label, HUMAN)
        elif value == 0:
            note.negative_tag(label.label, HUMAN)
    return None


def _check_size(content: bytes) -> None:
    """Refuse an array whose header states more data than the file has: NumPy would allocate that much.

    Raises:
        ValueError: the sizes differ, or it is not an array.
    """
    file = BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(file)
    if math.prod(shape) * kind.itemsize > len(content):
        raise ValueError(f"expected {math.prod(shape)} values of {kind}, got {len(content)} bytes")


def _captions(note: Note, content: bytes, _labels: Labels) -> Problem | None:
    try:
        note.truths(decode(content).splitlines(), HUMAN)
    except UnicodeError as error:
        return Problem("bad_text", f"txt: {error}")
    return None if note.captions else Problem("bad_text", "expected captions, a line each, got none")
