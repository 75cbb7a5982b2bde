"""Image files in a folder, with captions in a table or in files beside them; UMG-41M is a folder with JSON files."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_stream import read_elements
from umgclip.io.places import Place, fetch
from umgclip.sources.found import Found, Note, Problem, shown
from umgclip.sources.plan import Item, Plan, extension_of
from umgclip.sources.reading import in_order, read_beside, read_image
from umgclip.sources.request import HUMAN, Request
from umgclip.wording import first_spellings, name_key, tidy

BESIDE = ("txt", "json")
IMAGE_COLUMNS = ("file_name", "filename", "filepath", "file", "image", "image_path", "path", "name", "key")
CAPTION_COLUMNS = ("caption", "captions", "text", "texts", "alt", "title", "description", "comment")
_NO_CLASS = Problem("no_class", "expected an image in the folder of its class")
_ROWS = 4096
_LONGEST_FIELD = 1 << 24


def plan_folder(request: Request, plan: Plan, place: Place, working: Path) -> None:
    """List the files; read the table of captions."""
    plan.add_files(entry for entry in place.entries() if not _is_hidden(entry.name))
    plan.plan_files(FORMAT_OF)
    plan.state("other_files", plan.other_files((*FORMAT_OF, *BESIDE)))
    if request.captions:
        table = fetch(request.captions, working)
        plan.seen("captions", sha256_file(table))
        plan.add_rows(_table(table, request))
        plan.match_rows("caption")
    if request.labels == "folders":
        names = read_class_names(request.class_names, working)
        if request.class_names:
            plan.seen("class_names", names)
        spelled = first_spellings(_class_of(folder, names) for folder in map(shown, plan.folders()))
        names |= {folder: spelled[name_key(_class_of(folder, names))] for folder in map(shown, plan.folders())}
        plan.state("class_names", names)
        plan.state("classes", {"things": sorted(spelled.values()), "stuff": []})


def read_folder(request: Request, plan: Plan, place: Place, span: tuple[int, int], limit: int) -> Iterator[Found]:
    """The images of some positions."""
    names = plan.fact("class_names") or {}

    def loads() -> Iterator[Callable[[], Found]]:
        for item in plan.items(*span):
            note = Note()
            for _, text in plan.extras(item.position):
                note.caption(text, request.speaker.captions)
            _label(note, item, request, names)
            yield partial(_load, request, place, item, plan.beside(item.name, BESIDE), note, limit)

    yield from in_order(loads(), place)


def _load(request: Request, place: Place, item: Item, beside: list[str], note: Note, limit: int) -> Found:
    note.join(read_beside(place, beside, request.speaker, request.box_format))
    data: bytes | Problem = _NO_CLASS
    if request.labels == "folders" and note.single is None and request.split == "train":
        note.problems.append(_NO_CLASS)
    if request.labels == "none" or note.single is not None or request.split == "train":
        data = read_image(place, item.name, limit)
    return Found(shown(item.name), data, extension_of(item.name), note)


def _is_hidden(name: str) -> bool:
    """Whether a file or one of its folders begins with a dot, as those that systems leave behind do."""
    return name.startswith(".") or "/." in name or "__MACOSX/" in name


def _label(note: Note, item: Item, request: Request, names: dict[str, str]) -> None:
    if request.labels != "folders":
        return
    folder, _, rest = shown(item.name).partition("/")
    if rest:
        note.single = _class_of(folder, names)
        note.tag(note.single, HUMAN)


def _class_of(folder: str, names: dict[str, str]) -> str:
    return names.get(folder) or tidy(folder.replace("_", " "))


def read_class_names(where: str | None, working: Path) -> dict[str, str]:
    """Names of classes by folder (JSON object, or lines of folder, tab, name) or by number (JSON array, or lines).

    Raises:
        InputError: the file holds something else.
        DataError: there is no such file.
    """
    if where is None:
        return {}
    path = fetch(where, working)
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        content = json.loads(text)
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        named = {str(key): value for key, value in pairs}
    else:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        named = {
            line.partition("\t")[0] if "\t" in line else str(number): line.rpartition("\t")[2]
            for number, line in enumerate(lines)
        }
    if not named or not all(isinstance(name, str) and tidy(name) for name in named.values()):
        raise InputError(f"{path}: expected a name for each class, got {str(named)[:80]}")
    return {key: tidy(name) for key, name in named.items()}


def _table(path: Path, request: Request) -> Iterator[tuple[str, str]]:
    """Image name and caption of each row."""
    kind = path.suffix.lower()
    if kind in (".parquet", ".pq"):
        yield from _parquet(path, request)
    elif kind in (".json", ".jsonl", ".ndjson"):
        for _, row in read_elements(path):
            if isinstance(row, dict):
                image, caption = _columns(list(row), path, request)
                yield from _said(row[image], row[caption])
    elif kind in (".csv", ".tsv", ".txt"):
        yield from _csv(path, request)
    else:
        raise InputError(
            f"{path}: expected a table as .csv, .tsv, .parquet, .json or .jsonl, got {kind or 'no suffix'}"
        )


def _parquet(path: Path, request: Request) -> Iterator[tuple[str, str]]:
    with pq.ParquetFile(path) as table:
        image, caption = _columns(table.schema_arrow.names, path, request)
        for batch in table.iter_batches(_ROWS, columns=[image, caption]):
            columns = batch.column(image).to_pylist(), batch.column(caption).to_pylist()
            for name, text in zip(*columns, strict=True):
                yield from _said(name, text)


def _csv(path: Path, request: Request) -> Iterator[tuple[str, str]]:
    csv.field_size_limit(min(_LONGEST_FIELD, sys.maxsize))
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as handle:
        head = handle.readline()
        handle.seek(0)
        delimiter = "\t" if path.suffix.lower() == ".tsv" or head.count("\t") > head.count(",") else ","
        try:
            rows = csv.DictReader(handle, delimiter=";" if head.count(";") > head.count(delimiter) else delimiter)
            image, caption = _columns(list(rows.fieldnames or []), path, request)
            for row in rows:
                yield from _said(row[image], row[caption])
        except csv.Error as error:
            raise DataError(f"{path}: not a readable table: {error}") from error


def _said(name: Any, texts: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - what a cell held
    for text in texts if isinstance(texts, list) else [texts]:
        if name is not None and isinstance(text, str) and text.strip():
            yield str(name), text


def _columns(names: list[str], path: Path, request: Request) -> tuple[str, str]:
    found = []
    for what, asked, usual in (
        ("image_column", request.image_column, IMAGE_COLUMNS),
        ("caption_column", request.caption_column, CAPTION_COLUMNS),
    ):
        lower = {name.strip().lower(): name for name in names}
        if asked is not None and asked not in names:
            raise InputError(f"{path}: {what}: expected one of {', '.join(names)}, got {asked!r}")
        match = asked or next((lower[name] for name in usual if name in lower), None)
        if match is None:
            raise InputError(f"{path}: expected a column such as {', '.join(usual[:3])}, or {what}, got {names}")
        found.append(match)
    return found[0], found[1]
