"""Safety net under every importer: an image that raises an unforeseen error costs only itself.

Importers report known faults of a source themselves. Any other exception is caught here: the image goes to the
quarantine as `import_error` with the error's message, and reading continues with the next image. An image over which
the process died twice goes there as `crashed`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from umgclip.io import tables
from umgclip.io.places import place_at
from umgclip.io.survivors import ATTEMPTS, Deaths
from umgclip.params import ImportParams
from umgclip.sources.formats.catalog import KINDS
from umgclip.sources.formats.shared.reading import COMMON_TROUBLE, unforeseen
from umgclip.sources.importing.samples import LIMIT_UNIT, PreparedSample, prepare_sample, table_row
from umgclip.sources.note import Note, Problem, SourceImage, shown
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request


class TableRows(NamedTuple):
    """Table rows of one sample: one of its image, and one of each of its regions."""

    image: dict[str, Any]
    regions: list[dict[str, Any]]


def read_all(
    request: Request, params: ImportParams, plan: ImportPlan, span: tuple[int, int], deaths: Deaths
) -> Iterator[SourceImage]:
    """Read the images of a part; one that cannot be read comes with a problem instead of its bytes.

    Raises:
        StorageError, OutputError: errors that every other image would hit, too.
    """
    kind, source = KINDS[request.kind], place_at(request.source)
    limit = params.max_image_mb * LIMIT_UNIT

    def read(first: int, last: int) -> Iterator[SourceImage]:
        return kind.read(request, plan, source, (first, last), limit)

    if kind.images_a_part is None:
        return _read_listed(read, plan, span, deaths.left_out())
    return _read_tar(read(*span), _name(plan, span[0]), deaths)


def _read_listed(
    read: Callable[[int, int], Iterator[SourceImage]], plan: ImportPlan, span: tuple[int, int], left_out: dict[int, str]
) -> Iterator[SourceImage]:
    """Read one image per position; after a failure, start the reader again behind the failed image."""
    first, last = span
    while first < last:
        until = min((span[0] + number for number in left_out if span[0] + number >= first), default=last)
        if until == first:
            name = _name(plan, first)
            yield SourceImage(name, Problem("crashed", left_out[first - span[0]]), "", Note())
            first += 1
            continue
        try:
            for image in read(first, min(until, last)):
                yield image
                first += 1
        except COMMON_TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - any error that one image may cause
            yield SourceImage(_name(plan, first), unforeseen(error), "", Note())
            first += 1


def _read_tar(reader: Iterator[SourceImage], tar: str, deaths: Deaths) -> Iterator[SourceImage]:
    """Read the images of a tar and skip those that crashed; after another crash there, the tar ends before it."""
    left_out = deaths.left_out()
    for number in itertools.count():
        if deaths.times(number) > ATTEMPTS:
            yield SourceImage(f"{tar}:(from image {number} on)", Problem("crashed", left_out[number]), "", Note())
            return
        try:
            image = next(reader)
        except StopIteration:
            return
        except COMMON_TROUBLE:
            raise
        except Exception as error:  # noqa: BLE001 - any error that one image may cause
            yield SourceImage(f"{tar}:(from image {number} on)", unforeseen(error), "", Note())
            return
        yield replace(image, data=Problem("crashed", left_out[number]), note=Note()) if number in left_out else image


def prepare_safely(
    image: SourceImage, request: Request, params: ImportParams
) -> tuple[PreparedSample | None, TableRows | None, list[Problem]]:
    """Prepare a sample and its table rows; turn an unforeseen exception into a problem.

    Raises:
        StorageError, OutputError: errors that every other image would hit, too.
    """
    try:
        prepared, problems = prepare_sample(image, request, params)
        if prepared is None:
            return None, None, problems
        regions = [tables.region_row(prepared.record, region) for region in prepared.record.regions or []]
        return prepared, TableRows(table_row(prepared, ""), regions), problems
    except COMMON_TROUBLE:
        raise
    except Exception as error:  # noqa: BLE001 - any error that one image may cause
        return None, None, [unforeseen(error), *image.note.problems]


def _name(plan: ImportPlan, position: int) -> str:
    return next((shown(item.name) for item in plan.items(position, position + 1)), f"(position {position})")
