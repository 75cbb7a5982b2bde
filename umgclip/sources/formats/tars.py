"""WebDataset tars, written by img2dataset, this package or others, with texts and JSON beside the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from umgclip.io.json_text import parse
from umgclip.io.manifest import MANIFEST, Manifest
from umgclip.io.places import Place
from umgclip.io.shards import EMBEDDINGS
from umgclip.io.texts import decode
from umgclip.sources.formats.shared.labels import read_class_names
from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.formats.shared.reading import why
from umgclip.sources.formats.shared.tar_samples import END, HIDDEN, TarSample, read_samples
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import HUMAN, Request

TARS = ("tar", "tgz", "gz", "tbz2", "bz2", "txz", "xz")
_TEXTS = ("txt", "caption", "text", "alt")
_LABELS = ("cls", "class")
_APART = "samples of which a part stands apart from its image, so that it is not joined to it"
_MANIFEST_BYTES = 256 << 20


def plan_tars(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """List the tars; read classes from a manifest of this package beside them, or from a file of names."""
    plan.add_files(entry for entry in source.entries() if not entry.name.rpartition("/")[2].startswith("."))
    plan.plan_files(TARS)
    plan.state("other_files", plan.other_files(TARS))
    names = read_class_names(request.class_names, working)
    if names:
        plan.seen("class_names", names)
        plan.state("class_names", names)
        plan.state("classes", {"things": list(dict.fromkeys(names.values())), "stuff": []})
    elif source.exists(MANIFEST):
        try:
            classes = Manifest.model_validate_json(source.read(MANIFEST, _MANIFEST_BYTES)).classes
        except ValidationError:
            return  # a manifest of another program
        if classes is not None:
            plan.state("classes", classes.model_dump())


def read_tars(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images of some tars; a truncated tar gives what is before the break, and a problem."""
    for item in plan.items(*span):
        samples = read_samples(source, item.name, limit)
        yield from count_hidden(shown(item.name), samples, partial(tar_image, request=request, plan=plan))


def count_hidden(
    tar: str, samples: Iterable[TarSample], image_of: Callable[[str, TarSample], SourceImage]
) -> Iterator[SourceImage]:
    """Yield the images of a tar; count its hidden files in the note of the image before them, or of the first."""
    waiting: SourceImage | None = None
    hidden: Counter[str] = Counter()
    try:
        for sample in samples:
            if HIDDEN in sample.parts:
                base = sample.key.rpartition("/")[2]
                kind = "._*" if base.startswith("._") else base if base == ".DS_Store" else ".*"
                hidden[f"hidden files in tars, left out: {kind}"] += 1
                continue
            if waiting is not None:
                yield waiting
            waiting = image_of(f"{tar}:{sample.key}", sample)
            waiting.note.told.update(hidden)
            hidden.clear()
    except Exception:
        if waiting is not None:  # the image before the error is complete
            yield waiting
        raise
    if waiting is not None:
        waiting.note.told.update(hidden)
        yield waiting


def tar_image(name: str, sample: TarSample, request: Request, plan: ImportPlan) -> SourceImage:
    """Return the image of a sample with what its other members say."""
    note = Note(problems=list(sample.problems))
    ended, image = sample.parts.get(END), sample.image
    if isinstance(ended, Problem):
        return SourceImage(name, ended, "", note)
    if sample.is_apart:
        note.told[_APART] += 1
    if sample.is_again:
        note.told["samples of a name that another sample of their tar has"] += 1
    if sample.is_dotted and image is not None:
        note.told["images whose names hold dots, each a sample of its own"] += 1
    for part, content in sample.parts.items():
        if isinstance(content, bytes) and part != image:
            _read_part(note, part, content, request, plan)
        elif isinstance(content, Problem) and part != image:
            note.problems.append(content)
    if image is None:
        expected = "an image such as jpg, png or webp directly behind the key"
        got = ", ".join(part or "(no extension)" for part in sorted(sample.parts))
        return SourceImage(name, Problem("no_image", f"expected {expected}, got {got}"), "", note)
    return SourceImage(name, sample.parts[image], image, note)


def _read_part(note: Note, part: str, content: bytes, request: Request, plan: ImportPlan) -> None:
    if part == "json":
        _read_json(note, content, request)
    elif part in _TEXTS:
        _read_text(note, content, request)
    elif part in _LABELS:
        _read_label(note, content, plan)
    elif part != EMBEDDINGS:
        note.unknown[f".{part}"] += 1


def _read_json(note: Note, content: bytes, request: Request) -> None:
    try:
        note.merge(read_note(parse(decode(content, request.encoding)), request.speaker, request.box_format))
    except ValueError as error:
        note.problems.append(Problem("bad_text", f"json: {why(error)}"))


def _read_text(note: Note, content: bytes, request: Request) -> None:
    try:
        note.caption(decode(content, request.encoding), request.speaker.captions)
    except UnicodeError as error:
        note.problems.append(Problem("bad_text", f"txt: {why(error)}"))
    note.captions = note.captions or []


def _read_label(note: Note, content: bytes, plan: ImportPlan) -> None:
    number = content.decode("ascii", "replace").strip()
    name = (plan.fact("class_names") or {}).get(number)
    if name is None:
        note.problems.append(Problem("no_class", f"class {number!r}: expected its name in --class-names"))
        return
    note.single = name
    note.tag(name, HUMAN)
