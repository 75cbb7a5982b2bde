"""The schema of a sample: an image with captions, tags and regions, each with its source.

A list that is `None` was not requested; an empty list was requested and nothing was found.
"""

from __future__ import annotations

import math
import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from umgclip.errors import DataError

SCHEMA_VERSION = 1
MOST_PIXELS = 1 << 28  # of an image or a mask
# of a sample: a part of file names, so it can name no folder and command no terminal
KEY = re.compile(r"[^./\\\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,80}")
KEY_IN_WORDS = "1 to 80 characters without dot, slash, backslash and control characters"


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _absent(value: object) -> bool:
    """Return whether a value is left out of the JSON."""
    return value is None or value is False


class Text(_Closed):
    """One caption or tag: its text, the confidence of its source (0 to 1), and the source (`alt`, `human`, a model).

    A model's source names its kind, id, revision and prompt. `filter_score` is what the image-text filter gave, and
    `agreed_by` the other sources that gave the same text; both are left out of the JSON where there are none.
    """

    text: str
    score: float = Field(default=1.0, ge=0.0, le=1.0)
    source: str
    filter_score: float | None = Field(default=None, ge=0.0, le=1.0, exclude_if=_absent)
    agreed_by: list[str] | None = Field(default=None, exclude_if=_absent)


class Mask(_Closed):
    """A compressed COCO run-length encoding; `size` is (height, width) in pixels."""

    size: tuple[int, int]
    counts: str


class Region(_Closed):
    """A part of an image: box in absolute pixels, half-open `[x0, y0, x1, y1)`, with an optional mask.

    `is_stuff` marks backgrounds. `tags` and `captions` are empty if nothing was certain enough (the region
    is then a class-agnostic proposal). `negatives` are captions that look right and are wrong, where a source has
    them. `source` is the model that found the place and `mask_source` the one that drew it, where they are not the
    built-in ones. `is_crowd` marks a group of things of unknown number: its pixels are of that class, but it is not one
    of them. These four are left out of the JSON where there are none.
    """

    id: str
    box_xyxy: tuple[float, float, float, float]
    mask: Mask | None = None
    is_stuff: bool = False
    score: float = Field(default=1.0, ge=0.0, le=1.0)
    captions: list[Text] | None = None
    tags: list[Text] | None = None
    negatives: list[Text] | None = Field(default=None, exclude_if=_absent)
    source: str | None = Field(default=None, exclude_if=_absent)
    mask_source: str | None = Field(default=None, exclude_if=_absent)
    is_crowd: bool = Field(default=False, exclude_if=_absent)


class PairSide(_Closed):
    """One of the two images of a visual-pattern pair (MMVP): its statement is wrong for the other image of that id.

    `pattern` names what differs between the two, such as "Color and Appearance".
    """

    id: str
    pattern: str
    text: str


class Source(_Closed):
    """The dataset, URL and licence of an image, and what its file was called where it came from.

    `name` is the path of the file inside the imported source, as its owner knows it; it is left out of the JSON where
    there is none, as for images that this package drew.
    """

    dataset: str
    url: str | None = None
    license: str | None = None
    name: str | None = Field(default=None, exclude_if=_absent)


class ImageRecord(_Closed):
    """All that is known about one image. `sha256` is that of the encoded image file; sizes are pixels.

    `negative_tags` were verified not to be in the image; of the classes `not_exhaustive` not every instance is a
    region. `pairs` are the visual-pattern pairs that the image is in. All three are left out of the JSON where a source
    does not say so.
    """

    schema_version: int = SCHEMA_VERSION
    key: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    sha256: str
    source: Source
    captions: list[Text] | None = None
    tags: list[Text] | None = None
    regions: list[Region] | None = None
    negative_tags: list[Text] | None = Field(default=None, exclude_if=_absent)
    not_exhaustive: list[str] | None = Field(default=None, exclude_if=_absent)
    pairs: list[PairSide] | None = Field(default=None, exclude_if=_absent)

    @model_validator(mode="after")
    def _version_is_known(self) -> ImageRecord:
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version: expected {SCHEMA_VERSION}, got {self.schema_version}")
        return self

    def to_json(self) -> bytes:
        """Return the record as canonical UTF-8 JSON: the same record gives the same bytes."""
        return self.model_dump_json().encode()


def shows_one_object(record: ImageRecord) -> bool:
    """Check whether the image is one of a benchmark's single objects; every other image is a scene."""
    return record.source.dataset.endswith("/singles")


def parse_record(raw: bytes | str | dict[str, Any], *, where: str) -> ImageRecord:
    """Read and validate one image record.

    Args:
        raw: JSON text or a decoded mapping.
        where: what to call it in an error, as `shard:key`.

    Raises:
        DataError: naming `where`, the field, what was expected and what came.

    Example:
        >>> raw = {"key": "a", "width": 4, "height": 2, "sha256": "0" * 64, "source": {"dataset": "demo"}}
        >>> record = parse_record(raw, where="part-000000.tar:a")
        >>> record.width, record.captions is None
        (4, True)
        >>> parse_record(record.to_json(), where="the same") == record
        True
    """
    try:
        if isinstance(raw, dict):
            return ImageRecord.model_validate(raw)
        return ImageRecord.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "record"
        raise DataError(f"{where}: {field}: {first['msg']}, got {str(first.get('input'))[:80]!r}") from error


def stored_record(raw: bytes | str, *, key: str, where: str) -> ImageRecord:
    """Read the record of a sample in a shard, and check that it belongs to that sample.

    Args:
        raw: JSON text.
        key: the sample's, by the names of its files.
        where: what to call it in an error, as `shard:key`.

    Raises:
        DataError: see `parse_record`; or its key is another, its image too large, a mask of another size than the
            image, a box not finite.
    """
    record = parse_record(raw, where=where)
    if record.key != key:
        raise DataError(f"{where}: key: expected {key[:80]!r} as in its file names, got {record.key[:80]!r}")
    if record.width * record.height > MOST_PIXELS:
        size = f"{record.width} x {record.height}"
        raise DataError(f"{where}: width, height: expected at most {MOST_PIXELS} pixels, got {size}")
    for number, region in enumerate(record.regions or []):
        if not all(map(math.isfinite, region.box_xyxy)):
            raise DataError(f"{where}: regions.{number}.box_xyxy: expected numbers, got {list(region.box_xyxy)}")
        if region.mask is not None and region.mask.size != (record.height, record.width):
            expected = f"({record.height}, {record.width}) as the image"
            raise DataError(f"{where}: regions.{number}.mask.size: expected {expected}, got {region.mask.size}")
    return record
