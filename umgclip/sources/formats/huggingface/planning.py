"""Planning of an import from `datasets`: which files, splits, columns and rows, and how their boxes are read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from umgclip.data.wording import name_key, tidy
from umgclip.errors import DataError, InputError
from umgclip.io.images import FORMAT_OF, SIDEWAYS, orientation_of
from umgclip.io.manifest import ClassList
from umgclip.io.places import Place
from umgclip.sources.formats.coco.umgclip_fields import with_classes
from umgclip.sources.formats.huggingface.box_form import (
    ReadAs,
    SizedBox,
    choose_form,
    four_numbers,
    stated_form,
)
from umgclip.sources.formats.huggingface.columns import OURS, ChosenColumns, choose_columns, class_name
from umgclip.sources.formats.huggingface.data_files import (
    NO_SPLIT,
    Card,
    DataFile,
    chosen_config,
    data_files,
    read_card,
    stated_beside,
)
from umgclip.sources.formats.huggingface.features import Feature, features_of
from umgclip.sources.formats.huggingface.image_folder import plan_image_folder
from umgclip.sources.formats.huggingface.images import find_image, is_address
from umgclip.sources.formats.huggingface.tables import TABLES, RowChunk, open_table
from umgclip.sources.formats.shared.annotation_files import chosen_subset
from umgclip.sources.formats.shared.labels import Label, Labels, class_list, read_class_names, synonyms
from umgclip.sources.note import BoxForm, Problem
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request
from umgclip.sources.source_files import is_hidden

CLASSES = "umgclip.json"  # beside the card: classes of an exported benchmark
_SAMPLED, _SAMPLED_FILES, _LOOK_BYTES = 256, 4, 256 << 20
_WHOLE = 20_000  # rows of a row group from which it is a part of its own: reading starts at its front
_ADVICE = (
    (("tar",), "`umgclip data import webdataset` reads tars"),
    (("jsonl", "json", "csv", "tsv"), "`umgclip data import folder --captions` reads a table beside images"),
    (("zip", "gz"), "unpack the archives first"),
    (("py",), "a script cannot be read; load the data set with datasets and save_to_disk it"),
)


def plan_huggingface(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Find the rows of a split, and choose the columns.

    Raises:
        InputError: the request does not fit the data set, columns are ambiguous, or boxes are in another order.
        DataError: there is no data set, or its lists of files are damaged.
    """
    plan.add_files(entry for entry in source.entries() if not is_hidden(entry.name))
    card = read_card(source)
    config = chosen_config(card, request)
    names = read_class_names(request.class_names, working)
    plan.seen("class_names", names)
    plan.state("class_names", names)
    files = data_files(plan, source, request, card, config)
    if not files:
        _advise(plan, source)
        columns = plan_image_folder(request, plan, source, working)
        sample = list(itertools.islice(_folder_rows(plan), _SAMPLED))
    else:
        plan.state("other_files", plan.other_files((*TABLES, "md", "json", *FORMAT_OF)))
        files = _of_split(request, plan, files, source)
        tables = list(_look(plan, source, files, card, config))
        columns = _agreed(tables, request, source)
        _plan_rows(plan, tables)
        sample = list(_sample(source, tables, columns))
    _check_addresses(sample, columns, source)
    if columns.part is not None:
        _check_categories(columns, names, sample, source)
    plan.state("boxes", vars(_boxes(plan, sample, columns, request, source)))
    plan.state("columns", columns.as_json())
    _state_classes(plan, source, columns, names)
    for name in columns.unread:
        plan.tell(f"columns that are not read ({tidy(name)[:60]})")


@dataclass(frozen=True)
class _Looked:
    """A file that can be read: its types and its chunks."""

    file: DataFile
    features: dict[str, Feature]
    chunks: list[RowChunk]


def _advise(plan: ImportPlan, source: Place) -> None:
    """Stop at a source without tables and images, with the command that reads it."""
    if any(True for _ in plan.file_names(FORMAT_OF)):
        return
    for extensions, advice in _ADVICE:
        name = next(plan.file_names(extensions), None)
        if name is not None:
            raise DataError(f"{source}: expected parquet, arrow or image files, got {name}; {advice}")


def _of_split(request: Request, plan: ImportPlan, files: list[DataFile], source: Place) -> list[DataFile]:
    """Return the files of the requested split: by default train, for a benchmark validation or else test."""
    splits = list(dict.fromkeys(file.split for file in files))
    if request.subset is None and (len(splits) == 1 or request.files):
        plan.tell(
            f"splits that were read ({', '.join(splits)})" if splits != [NO_SPLIT] else "", int(splits != [NO_SPLIT])
        )
        return files
    if request.subset is None and request.split == "benchmark" and "validation" not in splits and "test" in splits:
        request = replace(request, subset="test")
    held = {split: partial(_is_split, split=split) for split in splits}
    subset = chosen_subset(request, held, source)
    chosen = [file for file in files if subset.holds(file.split)]
    rest = sorted({file.split for file in files} - {file.split for file in chosen})
    if rest:
        plan.tell(f"files of other splits, which are not read ({', '.join(rest)})", len(files) - len(chosen))
    return chosen


def _is_split(name: str, split: str) -> bool:
    return name == split


def _look(plan: ImportPlan, source: Place, files: list[DataFile], card: Card, config: str) -> Iterator[_Looked]:
    for file in files:
        try:
            with open_table(source, file.name) as table:
                stated = stated_beside(source, file.name) or card.features.get(config)
                if table.fault is not None:
                    plan.add_problem(file.name, Problem("truncated", table.fault))
                yield _Looked(file, features_of(table.schema, stated), list(table.chunks))
        except DataError as error:
            plan.add_problem(file.name, Problem("unreadable", str(error)))


def _agreed(tables: list[_Looked], request: Request, source: Place) -> ChosenColumns:
    """Choose columns by the first file; the others must have them, with the same types."""
    if not tables:
        raise DataError(
            f"{source}: expected files of rows, none of them can be read; see the quarantine's reasons: unreadable"
        )
    columns = choose_columns(tables[0].features, request, f"{source}/{tables[0].file.name}")
    for table in tables[1:]:
        for name in columns.wanted():
            if table.features.get(name) != tables[0].features[name]:
                there = table.features.get(name)
                raise InputError(
                    f"{source}/{table.file.name}: expected {name!r} as in {tables[0].file.name}, got "
                    f"{'another type or other class names' if there else 'no such column'}; give one of the data sets: "
                    "--config, or the files by name"
                )
    return columns


def _plan_rows(plan: ImportPlan, tables: list[_Looked]) -> None:
    position, spans = itertools.count(), []

    def items() -> Iterator[tuple[int, str, dict[str, Any]]]:
        for number, table in enumerate(tables):
            row = 0
            for at, chunk in enumerate(table.chunks):
                first = None
                for inside in range(chunk.rows):
                    place = next(position)
                    first = place if first is None else first
                    yield place, f"{table.file.name}:{row}", {"f": number, "c": at, "r": inside}
                    row += 1
                if chunk.rows > _WHOLE and first is not None and table.file.name.endswith(".parquet"):
                    spans.append([first, first + chunk.rows])

    plan.add_items(items())
    plan.state("spans", spans)
    plan.state(
        "tables", [[table.file.name, [list(chunk) for chunk in table.chunks if chunk.offset]] for table in tables]
    )


def _folder_rows(plan: ImportPlan) -> Iterator[Mapping[str, Any]]:
    for item in plan.items(0, _SAMPLED):
        for kind, row in plan.extras(item.position):
            if kind == "row":
                yield row


def _sample(source: Place, tables: list[_Looked], columns: ChosenColumns) -> Iterator[Mapping[str, Any]]:
    """Yield the first rows of the first files, with the image's size in place of its bytes."""
    most = _SAMPLED if columns.part is not None and columns.part.box is not None else 8
    for looked in tables[:_SAMPLED_FILES]:
        left = most
        with open_table(source, looked.file.name) as table:
            for at, chunk in enumerate(looked.chunks):
                try:
                    yield from table.rows(at, 0, min(left, chunk.rows), columns.wanted())
                except DataError:
                    break  # its rows go to the quarantine when they are read
                left -= min(left, chunk.rows)
                if not left:
                    break


def _check_addresses(sample: list[Mapping[str, Any]], columns: ChosenColumns, source: Place) -> None:
    if sample and all(is_address(row.get(columns.image)) for row in sample):
        raise InputError(
            f"{source}: expected images or paths in {columns.image!r}, got addresses; download them with img2dataset "
            "(--input_format parquet), then `umgclip data import webdataset` reads its tars"
        )


def _check_categories(
    columns: ChosenColumns, names: Mapping[str, str], sample: list[Mapping[str, Any]], source: Place
) -> None:
    part = columns.part
    if part is None or part.category is None or part.names or names:
        return
    from umgclip.sources.formats.huggingface.rows import objects_of

    numbers = [one.get(part.category) for row in sample for one in objects_of(row, columns)]
    number = next((value for value in numbers if isinstance(value, int)), None)
    if number is not None:
        where = f"{columns.objects}.{part.category}" if columns.objects else part.category
        raise InputError(f"{source}: {where} holds numbers without names, such as {number}; --class-names names them")


def _boxes(
    plan: ImportPlan, sample: list[Mapping[str, Any]], columns: ChosenColumns, request: Request, source: Place
) -> ReadAs:
    part = columns.part
    declared: BoxForm | None = request.declared_boxes
    if part is None or part.box is None:
        return ReadAs(declared or "xywh", shares=False)
    where = f"{source}: {f'{columns.objects}.' if columns.objects else ''}{part.box}"
    declared = declared or stated_form(part.box)
    return choose_form(_sized(plan, sample, columns, source), declared, where)


def _sized(
    plan: ImportPlan, sample: list[Mapping[str, Any]], columns: ChosenColumns, source: Place
) -> Iterator[SizedBox]:
    from umgclip.sources.formats.huggingface.rows import objects_of

    for row in sample:
        size = _size(plan, row, columns, source)
        if size is None or columns.part is None:
            continue
        for one in objects_of(row, columns):
            numbers = four_numbers(one.get(columns.part.box or ""))
            if numbers is not None:
                yield SizedBox(numbers, size)


def _size(plan: ImportPlan, row: Mapping[str, Any], columns: ChosenColumns, source: Place) -> tuple[int, int] | None:
    """Return the size in px that the coordinates of a row belong to; None if nobody can say."""
    width, height = row.get(columns.width or ""), row.get(columns.height or "")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    image = find_image(plan, source, row.get(columns.image), _LOOK_BYTES)
    if isinstance(image.data, Problem):
        return None
    try:
        turn, raw_wh = orientation_of(image.data)
    except DataError:
        return None
    return raw_wh if turn < SIDEWAYS else None  # nobody knows which of its two sizes counts


def _state_classes(plan: ImportPlan, source: Place, columns: ChosenColumns, names: Mapping[str, str]) -> None:
    """State the labels of the objects, and the classes of a benchmark where all of them are known."""
    ours = _our_classes(source) if columns.ours is not None else None
    part = columns.part
    listed = list(enumerate(part.names)) if part is not None and part.names else list(names.items())
    labels = _labels(listed, exact=columns.is_ours)
    plan.state("labels", {f"1:{number}": label for number, label in labels.items()})
    single = _labels(list(enumerate(columns.label_names)) or list(names.items()), exact=columns.is_ours)
    every: Labels = {}
    for label in (*(labels if part is not None else {}).values(), *(single if columns.label else {}).values()):
        every.setdefault(name_key(label.label), label)
    if ours is not None:
        plan.state("classes", with_classes(class_list(ours[0]), {"classes": ours[1]}, f"{source}/{CLASSES}"))
    elif every and (part is None or part.stuff is None):  # else the regions say which of them are stuff
        plan.state("classes", class_list(every))


def _labels(listed: list[tuple[Any, str]], *, exact: bool) -> Labels:
    """Return labels by number; names are as people say them, unless this package wrote them."""
    named = [(str(number), class_name(name, exact=exact)) for number, name in listed]
    uses: dict[str, int] = {}
    for _, name in named:
        uses[name_key(name)] = uses.get(name_key(name), 0) + 1
    return {
        number: Label(name if uses[name_key(name)] == 1 else f"{name} ({number})", [name] if exact else synonyms(name))
        for number, name in named
        if name
    }


def _our_classes(source: Place) -> tuple[Labels, dict[str, Any]] | None:
    if not source.exists(CLASSES):
        return None
    try:
        content = json.loads(source.read(CLASSES, _LOOK_BYTES))["classes"]
        if content is None:
            return None
        classes = ClassList.model_validate(content)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise DataError(f"{source}/{CLASSES}: expected classes as {OURS} writes them: {error}") from error
    kinds = ((classes.things, True), (classes.stuff, False))
    labels = {name: Label(name, [name], is_thing) for names, is_thing in kinds for name in names}
    return labels, content
