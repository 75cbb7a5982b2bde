"""MMVP-VLM: pairs of images that differ in one visual pattern, with a statement about each (Tong et al., CVPR 2024).

`Questions.csv` has a row for each image: its number, its pattern, a statement. The images are in a folder for each
pattern. Images 1 and 2 are a pair, 3 and 4 are one, and so on. This is how the authors' `scripts/evaluate_vlm.py` reads
them, by position; the header line is skipped there as here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from umgclip.data.wording import name_key, tidy
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import sha256_file
from umgclip.io.delimited import read_rows
from umgclip.io.images import FORMAT_OF
from umgclip.io.places import Place, fetch
from umgclip.io.texts import open_text
from umgclip.records import PairSide
from umgclip.safe_text import brief
from umgclip.sources.formats.shared.origins import MMVP
from umgclip.sources.formats.shared.paired_folders import read_noted
from umgclip.sources.naming import several
from umgclip.sources.note import Note, Problem, SourceImage
from umgclip.sources.plan import ImportPlan, PlannedImage
from umgclip.sources.request import Request

TABLE = "Questions.csv"
PROMPT = "a photo of {}"  # around every statement, as in the authors' script
_COLUMNS = 3  # Question ID, Type, Statement


@dataclass(frozen=True)
class _Row:
    """A row of the table: the number of its image, its pattern, and what it states about the image."""

    number: int
    pattern: str
    statement: str

    @property
    def pair(self) -> int:
        return (self.number + 1) // 2


def plan_mmvp(request: Request, plan: ImportPlan, source: Place, working: Path) -> None:
    """Plan the images of all complete pairs.

    Raises:
        InputError: the split is not `benchmark`.
        DataError: the table is missing, or no pair of it is complete.
    """
    if request.split != "benchmark":
        raise InputError(f"mmvp: expected --split benchmark, got {request.split}; its pairs are for evaluation only")
    plan.add_files(source.entries())
    path = _table(request, plan, source, working)
    plan.seen("table", sha256_file(path))
    plan.add_items(_items(plan, _rows(path, plan)))
    if not plan.size():
        raise DataError(
            f"{source}: expected images such as 'MLLM_VLM Images/<Type>/1.jpg' of the rows of {TABLE}, "
            f"got no complete pair; {MMVP.name} is at {MMVP.page}"
        )


def _table(request: Request, plan: ImportPlan, source: Place, working: Path) -> Path:
    """Return the table as a local file: the one of `--annotations`, else `Questions.csv` in any folder."""
    if len(request.annotations) > 1:
        raise InputError(f"mmvp: expected --annotations once, got {len(request.annotations)} times")
    called = plan.files_called(TABLE)
    if not request.annotations and len(called) != 1:
        expected = f"one table {TABLE} (Question ID,Type,Statement)"
        raise MMVP.missing(source, expected) if not called else DataError(f"{source}: expected {expected}, got several")
    return fetch(request.annotations[0] if request.annotations else f"{source}/{called[0]}", working)


def _rows(path: Path, plan: ImportPlan) -> Iterator[_Row]:
    """Yield the rows that make sense, in order; the others become problems."""
    with open_text(path) as handle:
        for row in read_rows(handle, ",", lambda cells: len(cells) == _COLUMNS):
            cells, where = list(map(tidy, row.cells)), f"{path.name}: line {row.line}"
            if row.broken is not None:
                plan.refuse_row(where, row.broken)
            elif len(cells) != _COLUMNS or not all(cells):
                plan.refuse_row(where, f"expected Question ID, Type and Statement, got {brief(cells)}")
            elif cells[0].isdecimal() and int(cells[0]) > 0:
                yield _Row(int(cells[0]), *cells[1:])
            elif row.line > 1:  # the first line names the columns
                plan.refuse_row(where, f"Question ID: expected a number from 1, got {brief(cells[0])}")


def _items(plan: ImportPlan, rows: Iterator[_Row]) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield the images of complete pairs; a pair that lacks a row or an image becomes a problem."""
    position = 0
    for pair, group in groupby(sorted(rows, key=lambda row: row.number), key=lambda row: row.pair):
        sides = list(group)
        images = [_image(plan, row) for row in sides]
        problem = _problem(sides, images)
        if problem is not None:
            plan.add_problem(f"pair {pair}", problem)
            continue
        for row, (name,) in zip(sides, images, strict=True):
            yield position, name, {"pair": f"{pair}", "pattern": sides[0].pattern, "statement": row.statement}
            position += 1


def _image(plan: ImportPlan, row: _Row) -> list[str]:
    """List the image files of a row: `<Type>/<Question ID>` below any folder, in any format."""
    match = plan.find(f"{row.pattern}/{row.number}.jpg")
    names = [name.decode("utf-8", "surrogateescape") for name in match.names]
    return [name for name in names if _is_of(name, row)]


def _is_of(name: str, row: _Row) -> bool:
    """Return whether a file is in the folder of the row's pattern: a search by name alone finds other patterns' too."""
    parts = name.split("/")
    in_folder = len(parts) > 1 and name_key(parts[-2]) == name_key(row.pattern)
    stem, _, extension = parts[-1].rpartition(".")
    return in_folder and stem == f"{row.number}" and extension.lower() in FORMAT_OF


def _problem(sides: list[_Row], images: list[list[str]]) -> Problem | None:
    numbers = [row.number for row in sides]
    if len(set(numbers)) != 2 or len(numbers) != 2:
        return Problem("bad_row", f"expected two rows with numbers of their own, got {numbers}")
    if name_key(sides[0].pattern) != name_key(sides[1].pattern):
        return Problem("bad_row", f"expected one Type, got {sides[0].pattern!r} and {sides[1].pattern!r}")
    if name_key(sides[0].statement) == name_key(sides[1].statement):
        return Problem("bad_row", f"expected two statements, got {brief(sides[0].statement)} twice")
    for row, names in zip(sides, images, strict=True):
        if not names:
            return Problem("no_image", f"expected {row.pattern}/{row.number}.jpg, found none")
        if len(names) > 1:
            return Problem("ambiguous_name", f"several images fit: {several([name.encode() for name in names])}")
    return None


def read_mmvp(
    _request: Request, plan: ImportPlan, source: Place, span: tuple[int, int], limit: int
) -> Iterator[SourceImage]:
    """Read the images at some positions of the plan, each with its side of its pair."""
    yield from read_noted(((item, _note(item)) for item in plan.items(*span)), source, limit)


def _note(item: PlannedImage) -> Note:
    about = item.about
    side = PairSide(id=about["pair"], pattern=about["pattern"], text=PROMPT.replace("{}", about["statement"]))
    return Note(pairs=[side])
