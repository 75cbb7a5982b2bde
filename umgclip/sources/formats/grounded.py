"""JSON files of many images with their regions, and the images elsewhere: FineHARD, GRIT and similar data sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from umgclip.errors import InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.json_stream import read_elements
from umgclip.io.parquet_rows import read_parquet_rows
from umgclip.io.places import Folder, Place, fetch
from umgclip.sources.formats.shared.loose_json import read_note
from umgclip.sources.formats.shared.reading import in_order, read_image
from umgclip.sources.note import Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request
from umgclip.sources.source_files import extension_of

PATHS = ("f_path", "image", "image_path", "img_path", "file_name", "filename", "path", "file")
_KEYS = ("key", "id", "uid")
_GUESSED = ("jpg", "png", "webp", "jpeg")
_KEY_FOLDER = 5  # characters of a key that name its folder: img2dataset writes 00012/000120003.jpg


def plan_grounded(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Read the JSON or parquet files in the order of their names, one element at a time."""
    if not request.annotations:
        raise InputError("finehard: expected --annotations, a JSON file or a folder of them, got none")
    position = itertools.count()
    for where in request.annotations:
        for path in _files(where, working):
            plan.seen("annotations", sha256_file(path))
            plan.add_items(
                (next(position), _name(value), {"value": value} | ({} if _path(value) else {"guess": True}))
                for value in _values(path, plan)
                if isinstance(value, dict) or _refuse(plan, path, value)
            )
    plan.state("other_files", {})


def _files(where: str, working: Path) -> list[Path]:
    """List the files that an argument names: one file, or all files of a local folder."""
    if "://" not in where and Path(where).is_dir():
        folder = Folder(Path(where))
        names = sorted(
            entry.name for entry in folder.entries() if extension_of(entry.name) in ("json", "jsonl", "parquet")
        )
        return [Path(where) / name for name in names]
    return [fetch(where, working)]


def _values(path: Path, plan: ImportPlan) -> Iterator[Any]:
    if path.suffix.lower() == ".parquet":

        def choose(schema: pa.Schema) -> list[str]:
            names = [field.name for field in schema if not _holds_bytes(field.type)]
            plan.tell("columns of bytes, which are not read", len(schema) - len(names))
            return names

        yield from read_parquet_rows(path, choose)
    else:
        broken = partial(_broken_line, plan, path)
        yield from (value for _, value in read_elements(path, broken))


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return whether values of a type are bytes or contain bytes, such as the images themselves."""
    if pa.types.is_struct(kind):
        return any(_holds_bytes(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_bytes(kind.value_type)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def _broken_line(plan: ImportPlan, path: Path, where: str, detail: str) -> None:
    plan.refuse_row(f"{path.name}: {where}", detail)


def _refuse(plan: ImportPlan, path: Path, value: Any) -> bool:  # noqa: ANN401 - what JSON held
    plan.add_problem(str(path.name), Problem("bad_record", f"expected an object, got {str(value)[:80]}"))
    return False


def _path(value: dict[str, Any]) -> str | None:
    return next((value[name] for name in PATHS if isinstance(value.get(name), str) and value[name]), None)


def _name(value: dict[str, Any]) -> str:
    """Return the image's path as given, else the key after which its file is named."""
    key = next((str(value[name]) for name in _KEYS if value.get(name) is not None), "(no path)")
    return _path(value) or key


def read_grounded(
    request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan."""

    def loads() -> Iterator[Callable[[], SourceImage]]:
        for item in plan.items(*span):
            yield partial(_load, request, source, item, limit)

    yield from in_order(loads(), source)


def _load(request: Request, source: Place, item: PlannedImage, limit: int) -> SourceImage:
    value = item.about["value"]
    note = read_note(value, request.speaker, request.box_format)
    name = item.name
    if item.about.get("guess"):
        stems = (name, f"{name[:_KEY_FOLDER]}/{name}")
        guesses = [f"{stem}.{extension}" for stem in stems for extension in _GUESSED]
        name = next((guess for guess in guesses if source.exists(guess)), name)
    return SourceImage(shown(name), read_image(source, name, limit), extension_of(name), note)
