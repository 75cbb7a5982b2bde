"""Conversion of one source image and its note into a stored sample: image checked, regions placed, key from content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from umgclip.errors import InputError
from umgclip.geometry.masks import decode
from umgclip.io import tables
from umgclip.io.images import PreparedImage, RejectedImageError, prepare_image
from umgclip.io.shards import RawSample
from umgclip.params import ImportParams
from umgclip.records import ImageRecord, Region, Source
from umgclip.safe_text import well_formed
from umgclip.sources.importing.regions import PlacedRegions, number_regions, place_regions
from umgclip.sources.note import Note, Problem, RawRegion, SourceImage
from umgclip.sources.request import Request

KEY_LENGTH = 16
_MISMATCH = "size_mismatch"
_NUMBERED = "regions with new ids, theirs were missing or equal"
OTHER_PART = {"train": "images that belong to benchmark", "benchmark": "images that belong to train"}
LIMIT_UNIT = 1_000_000  # bytes in an MB


@dataclass(frozen=True)
class PreparedSample:
    """A sample ready to be stored, its record, its name in the source, and whether its bytes were re-encoded."""

    sample: RawSample
    record: ImageRecord
    name: str
    changed: bool


def prepare_sample(
    source_image: SourceImage, request: Request, params: ImportParams
) -> tuple[PreparedSample | None, list[Problem]]:
    """Convert a source image into a sample; return it with everything about it that had to be left out.

    Args:
        source_image: an image and its source's statements about it.
        request: the import.
        params: size limits and JPEG quality.
    """
    if isinstance(source_image.data, Problem):
        return None, [source_image.data, *source_image.note.problems]
    try:
        image = prepare_image(
            source_image.data,
            extension=source_image.extension,
            max_pixels=params.max_pixels,
            quality=params.jpeg_quality,
            strict=params.mislabelled == "quarantine",
        )
    except RejectedImageError as error:
        return None, [Problem(error.reason, str(error)), *source_image.note.problems]
    digest = hashlib.sha256(image.data).hexdigest()
    if not request.takes(digest):
        source_image.note.told[OTHER_PART[request.split]] += 1
        return None, []
    record, problems = _record(image, digest, source_image, request)
    if record is None:
        return None, [*problems, *source_image.note.problems]
    sample = RawSample(record.key, image.data, image.extension, record.to_json())
    return PreparedSample(sample, record, source_image.name, image.changed), [*source_image.note.problems, *problems]


def quarantine_rows(name: str, key: str | None, problems: list[Problem]) -> Iterator[dict[str, Any]]:
    """Yield rows of `quarantine.parquet`; the column `shard` holds the name in the source."""
    for problem in problems:
        yield {
            "key": key,
            "shard": well_formed(name),
            "region_id": well_formed(problem.region_id) if problem.region_id is not None else None,
            "stage": "import",
            "reason": problem.reason,
            "detail": well_formed(problem.detail[:2000]),
        }


def table_row(prepared: PreparedSample, shard: str) -> dict[str, Any]:
    """Build the row of a sample in an import's `images.parquet`."""
    about = {"name": prepared.name, "format": prepared.sample.extension, "bytes": len(prepared.sample.image)}
    return {**tables.image_row(prepared.record, shard), **about}


def _record(
    image: PreparedImage, digest: str, source_image: SourceImage, request: Request
) -> tuple[ImageRecord | None, list[Problem]]:
    """Build the record of an image; return None if its truth belongs to an image of another size."""
    note = source_image.note
    identity = {"key": digest[:KEY_LENGTH], "sha256": digest, "width": image.width, "height": image.height}
    if note.record is not None:
        return _reused_record(note.record, identity)
    if numbered := number_regions(note.regions or []):
        note.told[_NUMBERED] += numbered
    placed = place_regions(note.regions or [], image, note.size_wh)
    note.told.update(placed.told)
    if placed.mismatched:
        if request.split == "benchmark":
            lost = (problem for problem in placed.problems if problem.reason == _MISMATCH)
            return None, [replace(problem, region_id=None) for problem in lost][:1]
        _forget_mismatched(note, placed)
    single = request.split == "benchmark" and note.single is not None
    source = Source(
        dataset=note.dataset or f"{request.name}/{'singles' if single else request.split}",
        url=note.url,
        license=note.license or request.license,
        name=well_formed(source_image.name) if note.dataset is None else note.name,
    )
    asked = note.regions is not None
    record = ImageRecord(
        **identity,
        source=source,
        captions=note.captions,
        tags=note.tags,
        regions=placed.regions if asked else None,
        negative_tags=note.negative_tags,
        not_exhaustive=note.not_exhaustive,
        pairs=note.pairs,
    )
    return record, placed.problems


def _forget_mismatched(note: Note, placed: PlacedRegions) -> None:
    """Remove the labels of regions measured on an image of another size: they may be wrong for this one."""
    lost = {problem.region_id for problem in placed.problems if problem.reason == _MISMATCH}
    named = [{tag.text for tag in raw.tags or []} for raw in note.regions or [] if raw.id in lost]
    remaining = {tag.text for region in placed.regions for tag in region.tags or []}
    gone = set().union(*named) - remaining
    note.tags = [tag for tag in note.tags or [] if tag.text not in gone] or None
    note.regions = note.regions if placed.regions else None


def _reused_record(record: ImageRecord, identity: dict[str, Any]) -> tuple[ImageRecord, list[Problem]]:
    """Reuse a record of this package with the image's own key and size."""
    if (record.width, record.height) == (identity["width"], identity["height"]):
        checked = [(region, _unusable(region, record)) for region in record.regions or []]
        usable = None if record.regions is None else [region for region, problem in checked if problem is None]
        problems = [problem for _, problem in checked if problem is not None]
        return record.model_copy(update={**identity, "regions": _numbered(usable)}), problems
    detail = f"expected {record.width} x {record.height} as recorded, got {identity['width']} x {identity['height']}"
    lost = [Problem("size_mismatch", detail, region.id) for region in record.regions or []]
    return record.model_copy(update={**identity, "regions": None}), lost or [Problem("size_mismatch", detail)]


def _numbered(regions: list[Region] | None) -> list[Region] | None:
    """Return the regions, each with a unique id."""
    raws = [RawRegion(region.id) for region in regions or []]
    if not number_regions(raws):
        return regions
    return [region.model_copy(update={"id": raw.id}) for region, raw in zip(regions or [], raws, strict=True)]


def _unusable(region: Region, record: ImageRecord) -> Problem | None:
    """Return the problem of a region in an existing record, which another program may have written."""
    x0, y0, x1, y1 = region.box_xyxy
    if not (0 <= x0 < x1 <= record.width and 0 <= y0 < y1 <= record.height):
        size = f"{record.width} x {record.height}"
        return Problem("bad_box", f"expected a box inside {size}, got {list(region.box_xyxy)}", region.id)
    if region.mask is None:
        return None
    if region.mask.size != (record.height, record.width):
        detail = f"expected a mask of size {[record.height, record.width]}, got {list(region.mask.size)}"
        return Problem("bad_mask", detail, region.id)
    try:
        decode(region.mask)
    except InputError as error:
        return Problem("bad_mask", str(error), region.id)
    return None
