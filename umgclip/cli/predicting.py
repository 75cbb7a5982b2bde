"""`umgclip predict`: rank labels for photographs, or for boxes in them, as JSON lines or a table."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from umgclip.cli import terminal
from umgclip.cli.habits import output
from umgclip.cli.lines import notice
from umgclip.cli.terminal import Sheet
from umgclip.data.wording import first_spellings, name_key, tidy
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import atomic_file
from umgclip.io.json_text import parse
from umgclip.io.places import Folder
from umgclip.predictions.inputs import SUFFIXES, UNNAMEABLE, boxes_by_name, listed, require_sizes, stated_sizes
from umgclip.sources.source_files import extension_of, is_hidden

if TYPE_CHECKING:  # it loads torch, and what was typed is checked before that
    from umgclip.api import Model

_FILES = {".jsonl", ".json", ".ndjson", ".txt"}  # of JSON lines
Answer = dict[str, Any]
Boxes = list[Any]


@dataclass(frozen=True)
class LabelQuery:
    """The question that is put to every image.

    Attributes:
        labels: labels to choose from.
        boxes: boxes by the path or the name of an image; images that are not named are classified as a whole.
        top: number of labels per image or box, best first.
    """

    labels: list[str]
    boxes: Mapping[str, Boxes]
    top: int

    def boxes_of(self, path: Path) -> Boxes | None:
        """Return the boxes of an image; None if it is classified as a whole."""
        return next((self.boxes[name] for name in _names_of(path) if name in self.boxes), None)

    def check(self, images: Sequence[Path]) -> None:
        """Check that each name in the file of boxes belongs to exactly one image.

        Raises:
            InputError: a name belongs to no image, or to several.
        """
        paths: dict[str, list[Path]] = {}
        for path in images:
            for name in _names_of(path):
                paths.setdefault(name, []).append(path)
        unknown = [name for name in self.boxes if name not in paths]
        if unknown:
            listed = ", ".join(path.name for path in images[:3])
            raise InputError(
                f"--boxes: expected names of the images ({listed}, ...), got {unknown[0]!r} "
                f"({len(unknown)} of {len(self.boxes)} names)"
            )
        for name, owners in paths.items():
            if name in self.boxes and len(owners) > 1:
                raise InputError(
                    f"--boxes: expected the name of one image, got {name!r}, the name of {owners[0]} and of "
                    f"{owners[1]}; use their paths instead"
                )


def _names_of(path: Path) -> tuple[str, ...]:
    """Return the names that the file of boxes may use for an image, the most specific first."""
    return tuple(dict.fromkeys((str(path), path.as_posix(), path.name)))


def read_labels(words: Iterable[str], file: Path | None = None) -> list[str]:
    """Read the labels of `--labels`: names separated by commas, or @FILE; and those of `--labels-file`.

    Empty names, as after a last comma, are left out.

    Raises:
        InputError: there is no such file, no label, or two that differ at most in case and white space.
    """
    names = _names(words, "--labels")
    if file is not None:
        names += _lines_of(file, "--labels-file")
    labels: dict[str, str] = {}
    for label in filter(None, map(tidy, names)):
        key = name_key(label)
        if key in labels:
            raise InputError(
                f"--labels: expected labels that differ by more than case and white space, got {labels[key]!r} and "
                f"{label!r}; leave one out"
            )
        labels[key] = label
    if not labels:
        raise InputError("--labels: expected names separated by commas, or @FILE with one name per line, got none")
    return list(labels.values())


def read_background(words: Iterable[str]) -> list[str]:
    """Read the words of `--background`, each of them once.

    Raises:
        InputError: there is no such file.
    """
    return list(first_spellings(_names(words, "--background")).values())


def _names(words: Iterable[str], option: str) -> list[str]:
    names: list[str] = []
    for word in words:
        names += _lines_of(Path(word[1:]), option) if word.startswith("@") else word.split(",")
    return names


def _lines_of(path: Path, option: str) -> list[str]:
    if not path.is_file():
        raise InputError(f"{option}: expected a file with one label per line, found none at {path}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{option}: {path}: expected UTF-8, got {error.reason}") from error
    if _is_json(text):
        raise InputError(f"{option}: {path}: expected one label per line, got JSON: {text.strip()[:40]!r}")
    return text.splitlines()


def _is_json(text: str) -> bool:
    """Check whether a text is a list or an object of JSON."""
    if not text.lstrip().startswith(("[", "{")):
        return False
    try:
        parse(text)
    except ValueError:
        return False
    return True


def is_folder(out: Path | None) -> bool:
    """Return whether `--out` names a folder for detections; else it is a file of JSON lines, or stdout."""
    return out is not None and not out.is_file() and out.suffix.lower() not in _FILES


def read_boxes(path: Path | None, images: Sequence[Path]) -> dict[str, Boxes]:
    """Read boxes from JSON: `{"photo.jpg": [[x0, y0, x1, y1], ...]}` in pixels of the upright image, or a COCO file.

    Raises:
        InputError: there is no such file, it holds something else, or boxes measured on another size of an image.
    """
    if path is None:
        return {}
    if not path.is_file():
        raise InputError(f"--boxes: expected a JSON file, found none at {path}")
    try:
        content = parse(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise InputError(f"--boxes: {path}: expected JSON, got {error}") from error
    boxes = boxes_by_name(content, str(path))
    if sizes := stated_sizes(content, boxes):
        require_sizes(sizes, find_images(images).paths, str(path))
    return boxes


class FoundImages(NamedTuple):
    """The images of a command, and what lay beside them in their folders.

    Attributes:
        paths: the images, each of them once.
        others: number of files without the suffix of an image, by suffix.
    """

    paths: list[Path]
    others: dict[str, int]


def find_images(given: Iterable[Path], out: Path | None = None) -> FoundImages:
    """List image files, and those in folders sorted by name; hidden files and folders in them are left out.

    Args:
        given: image files and folders.
        out: the output, which is not counted among the other files.

    Raises:
        InputError: a path is neither a file nor a folder, or a folder holds no image.
    """
    images: dict[Path, None] = {}
    others: dict[Path, str] = {}
    for path in given:
        if path.is_dir():
            files = sorted(path / entry.name for entry in Folder(path).entries() if not is_hidden(entry.name))
            inside = [file for file in files if file.suffix.lower() in SUFFIXES and _may_be_read(file)]
            beside = {file: _suffix(file) for file in files if file.suffix.lower() not in SUFFIXES and file.is_file()}
            if not inside:
                seen = listed(_counted(beside, None)) or "none"
                raise InputError(f"{path}: expected images ({', '.join(sorted(SUFFIXES))}), found {seen}")
            images |= dict.fromkeys(inside)
            others |= beside
        elif path.is_file():
            images[path] = None
        else:
            raise InputError(f"{path}: expected an image or a folder, found nothing")
    return FoundImages(list(images), _counted({file: others[file] for file in others if file not in images}, out))


def _suffix(path: Path) -> str:
    extension = extension_of(path.name)
    return f".{extension}" if extension else "no suffix"


def _counted(others: Mapping[Path, str], out: Path | None) -> dict[str, int]:
    leave_out = None if out is None else out.resolve()
    each = (name for file, name in others.items() if leave_out is None or not file.resolve().is_relative_to(leave_out))
    return dict(sorted(Counter(each).items()))


def tell_others(others: Mapping[str, int]) -> None:
    """Say on stderr which files in the folders were not read, because their suffix is none of an image."""
    if others:
        notice(f"predict: left out, because their suffix is none of an image: {listed(others)}")


def _may_be_read(path: Path) -> bool:
    """Return whether a path is a file, or a link to nothing, which is then an image that cannot be read."""
    return path.is_file() or (path.is_symlink() and not path.exists())


def require_no_image(out: Path | None, images: Iterable[Path]) -> None:
    """Refuse an output file that is an image: one of the inputs, or another photograph.

    Raises:
        InputError: the output is an image.
    """
    if out is not None and out.exists() and (out.suffix.lower() in SUFFIXES or any(map(out.samefile, images))):
        raise InputError(
            f"--out: expected a file for JSON lines, which is replaced; {out} is an image; use another path"
        )


def warn_of_drawings(model: Model) -> None:
    """Say on stderr that a model knows drawn images alone, if its own files say so."""
    if model.origin.knows_drawings_alone:
        notice(
            f"predict: this model was trained on drawn images alone ({', '.join(model.origin.trained_on)}); it is of "
            "little use on photographs"
        )


def answers(
    model: Model, images: Iterable[Path], query: LabelQuery, advance: Callable[[int], None]
) -> Iterator[Answer]:
    """Yield one answer per image; an image that cannot be read gets the reason in `error`."""
    for path in images:
        answer: Answer = {"image": str(path)}
        try:
            boxes = query.boxes_of(path)
            if boxes is None:
                answer["labels"] = _best(model.classify(path, query.labels)[0], query)
            else:
                answer["boxes"] = _boxes(model, path, boxes, query)
        except (DataError, InputError) as error:
            answer["error"] = str(error)
        advance(1)
        yield answer


def _boxes(model: Model, path: Path, boxes: Boxes, query: LabelQuery) -> list[Answer]:
    """Return one answer per box; an invalid box gets an error and does not affect the others."""
    try:
        rows: Any = model.classify(path, query.labels, boxes_xyxy=boxes) if boxes else []
        return [{"box_xyxy": box, "labels": _best(row, query)} for box, row in zip(boxes, rows, strict=True)]
    except InputError:
        model.classify(path, query.labels)  # where the image itself is at fault, that is the error
        return [_box(model, path, box, query) for box in boxes]


def _box(model: Model, path: Path, box: Any, query: LabelQuery) -> Answer:  # noqa: ANN401 - any JSON value
    try:
        row: Any = model.classify(path, query.labels, boxes_xyxy=[box])[0]
    except InputError as error:
        return {"box_xyxy": box, "error": str(error)}
    return {"box_xyxy": box, "labels": _best(row, query)}


def _failed(answer: Answer) -> bool:
    """Return whether the image, or one of its boxes, could not be classified."""
    return "error" in answer or any("error" in part for part in answer.get("boxes", []))


def _best(scores: Any, query: LabelQuery) -> list[dict[str, Any]]:  # noqa: ANN401 - a row of numpy
    order = sorted(range(len(query.labels)), key=lambda index: -float(scores[index]))[: query.top]
    return [{"label": query.labels[index], "score": round(float(scores[index]), 6)} for index in order]


def write(results: Iterable[Answer], out: Path | None, *, as_table: bool) -> int:
    """Write JSON lines to a file or to stdout, or print a table; return how many images failed."""
    if output.current().as_json and out is None:
        answers = list(results)
        failed = sum(map(_failed, answers))
        output.add({"images": answers, "failed": failed})
        return failed
    if out is not None:
        with atomic_file(out) as temporary, temporary.open("w", encoding="utf-8", errors=UNNAMEABLE) as handle:
            failed = _lines(results, handle)
        output.add({"out": str(out), "failed": failed})
        return failed
    if not as_table:
        return _lines(results, sys.stdout)
    sheet, failed = Sheet("image", "box", "labels"), 0
    for answer in results:
        failed += _failed(answer)
        for box, text in _cells(answer):
            sheet.add_row(answer["image"], box, text)
    terminal.show(sheet)
    return failed


def _lines(results: Iterable[Answer], handle: TextIO) -> int:
    failed = 0
    for answer in results:
        failed += _failed(answer)
        handle.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return failed


def _cells(answer: Answer) -> Iterator[tuple[str, str]]:
    if "error" in answer:
        yield "", answer["error"]
    elif "labels" in answer:
        yield "", _format_labels(answer["labels"])
    else:
        for part in answer["boxes"]:
            text = part["error"] if "error" in part else _format_labels(part["labels"])
            yield json.dumps(part["box_xyxy"]).strip("[]"), text


def _format_labels(labels: list[dict[str, Any]]) -> str:
    return ", ".join(f"{one['label']} {one['score']:.3f}" for one in labels)
