"""A folder of images as `datasets` reads it: `metadata.csv`, `.jsonl` or `.parquet`, or a folder for each class."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq

from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF
from umgclip.io.json_stream import read_elements
from umgclip.io.parquet_rows import read_parquet_rows
from umgclip.io.places import Place
from umgclip.io.texts import open_text
from umgclip.sources.formats.huggingface.columns import ChosenColumns, choose_columns, plain
from umgclip.sources.formats.huggingface.data_files import NO_SPLIT, split_of
from umgclip.sources.formats.huggingface.features import Feature, features_of, guessed
from umgclip.sources.formats.shared.annotation_files import chosen_subset
from umgclip.sources.formats.shared.reading import local_copy
from umgclip.sources.naming import plain_path
from umgclip.sources.note import Problem, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FOLDER = "(folder)"  # column of the class that an image's folder names
_FILE = "(file)"
_LOOKED = 256


def plan_image_folder(request: Request, plan: ImportPlan, source: Place, working: Path) -> ChosenColumns:
    """Plan the images of a split with their rows of metadata, else with the names of their folders.

    Raises:
        InputError: the metadata have no column of file names, or other columns are ambiguous.
        DataError: a file of metadata is damaged.
    """
    splits = list(dict.fromkeys(split_of(_parent(name)) for name in plan.file_names(FORMAT_OF)))
    holds: Callable[[str], bool] = lambda _name: True  # noqa: E731
    if len(splits) > 1 or request.subset is not None:
        if request.subset is None and request.split == "benchmark" and "validation" not in splits and "test" in splits:
            request = replace(request, subset="test")
        tests = {split: partial(_has_split, split=split) for split in splits}
        holds = chosen_subset(request, tests, source).holds
    names = (name for name in plan.file_names(FORMAT_OF) if holds(name))
    plan.add_items((number, name, {}) for number, name in enumerate(names))
    plan.db.executescript("CREATE UNIQUE INDEX names ON items (name);")
    plan.state("other_files", plan.other_files((*FORMAT_OF, "csv", "jsonl", "parquet", "md", "json")))
    metadata = [name for name in plan.file_names(("csv", "jsonl", "parquet")) if PurePosixPath(name).name in METADATA]
    if not metadata:
        return _by_folder(plan)
    columns: ChosenColumns | None = None
    for number, name in enumerate(metadata):
        inner = working / f"metadata-{number}"
        inner.mkdir(exist_ok=True)
        path = local_copy(source, name, inner)
        rows = partial(_rows, path, plan, name)
        features = _features(path, rows)
        chosen = _chosen(features, request, f"{source}/{name}")
        if columns is not None and chosen.wanted() != columns.wanted():
            raise InputError(
                f"{source}/{name}: expected the columns of {metadata[0]}, got others; import each for itself"
            )
        columns = columns or chosen
        plan.add_rows(_joined(rows(), _parent(name), chosen, holds, plan, name))
    plan.match_rows("row")
    if columns is None:
        raise DataError(f"{source}: expected rows of metadata, found none")
    return columns


def _parent(name: str) -> str:
    return name.rpartition("/")[0]


def _has_split(name: str, split: str) -> bool:
    return split_of(_parent(name)) == split


def _by_folder(plan: ImportPlan) -> ChosenColumns:
    """Take the innermost folder of an image as its class, if there are several and none is a split."""
    classes = {folder for item in plan.items(0, plan.size()) if (folder := _class_of(item.name))}
    if len(classes) < 2:
        return ChosenColumns(image=_FILE)
    plan.add_extras(
        (item.position, "row", {FOLDER: shown(folder)})
        for item in plan.items(0, plan.size())
        if (folder := _class_of(item.name))
    )
    return ChosenColumns(image=_FILE, label=FOLDER)


def _class_of(name: str) -> str:
    folder = _parent(name).rpartition("/")[2]
    return folder if folder and split_of(folder) == NO_SPLIT else ""


def _chosen(features: dict[str, Feature], request: Request, where: str) -> ChosenColumns:
    files = [name for name in features if plain(name) == "filename" or plain(name).endswith("filename")]
    if request.image_column is None and len(files) != 1:
        raise InputError(f"{where}: expected one column file_name, got {', '.join(features)}; --image-column names one")
    return choose_columns(features, replace(request, image_column=request.image_column or files[0]), where)


def _features(path: Path, rows: Callable[[], Iterator[tuple[str, dict[str, Any]]]]) -> dict[str, Feature]:
    if path.suffix == ".parquet":
        try:
            return features_of(pq.read_schema(path))
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: not a readable parquet file: {error}") from error
    return guessed(row for _, row in itertools.islice(rows(), _LOOKED))


def _rows(path: Path, plan: ImportPlan, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a file of metadata, each with its place; those that are none become problems."""
    if path.suffix == ".parquet":
        for number, row in enumerate(read_parquet_rows(path, lambda schema: schema.names)):
            yield f"{name}: row {number}", row
    elif path.suffix == ".csv":
        yield from _table(path, plan, name)
    else:
        broken = partial(_broken, plan, name)
        for number, (_, row) in enumerate(read_elements(path, broken)):
            if isinstance(row, dict):
                yield f"{name}: line {number + 1}", row
            else:
                plan.refuse_row(f"{name}: line {number + 1}", f"expected an object, got {str(row)[:80]}")


def _broken(plan: ImportPlan, name: str, where: str, detail: str) -> None:
    plan.refuse_row(f"{name}: {where}", detail)


def _table(path: Path, plan: ImportPlan, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    with open_text(path, None) as handle:
        reader = csv.reader(handle, strict=True)
        header: list[str] = []
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                plan.refuse_row(f"{name}: line {reader.line_num}", str(error))
                return
            if not header:
                header = cells
            elif len(cells) == len(header):
                yield f"{name}: line {reader.line_num}", dict(zip(header, cells, strict=True))
            elif cells:
                plan.refuse_row(f"{name}: line {reader.line_num}", f"expected {len(header)} cells, got {len(cells)}")


def _joined(
    rows: Iterator[tuple[str, dict[str, Any]]],
    folder: str,
    columns: ChosenColumns,
    holds: Callable[[str], bool],
    plan: ImportPlan,
    name: str,
) -> Iterator[tuple[str, Any]]:
    """Yield rows by the path of their image, which is relative to the folder of the metadata."""
    for where, row in rows:
        file = row.get(columns.image)
        if not isinstance(file, str) or not file.strip():
            plan.add_problem(
                where, Problem("bad_row", f"expected a file name in {columns.image!r}, got {str(file)[:80]}")
            )
            continue
        path = plain_path(f"{folder}/{file}")
        if holds(path):
            wanted = {key: row.get(key) for key in columns.wanted() if key != columns.image}
            yield path, json.loads(json.dumps(wanted, default=str))
