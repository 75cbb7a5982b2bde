"""Corrections by people: one line of JSON for each image, found by the SHA-256 of its file.

`umgclip review import` writes such a file, and `annotate.corrections` names it. A list that is `None` was not asked
for; an empty list was, and the person left nothing in it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from umgclip.errors import InputError
from umgclip.geometry import masks as mask_ops
from umgclip.records import Region, Text

CORRECTIONS = "corrections.jsonl"
CORRECTION_VERSION = 1
HUMAN = "human"  # source of a text, a place or a mask that a person drew or confirmed
_LONGEST_LINE = 1 << 28


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HumanLook(_Closed):
    """One look of a person at an image: the tool, who it was, when (ISO 8601, UTC) and the tool's own number of it.

    `lists` are those that the person was asked for: `regions`, `tags`, `captions`. None: all that the correction has.
    """

    tool: str
    by: str | None = None
    at: str | None = None
    task: str | None = None
    lists: tuple[Literal["regions", "tags", "captions"], ...] | None = Field(
        default=None, exclude_if=lambda value: value is None
    )


class Overruled(_Closed):
    """Overruled removals: one look at an image removed them, and the look that counts has them.

    They matter to a later join alone.
    """

    removed: list[Region] = []
    negative_tags: list[Text] = []
    removed_captions: list[Text] = []


class Correction(_Closed):
    """All that people say of one image: what it shows, and what they removed.

    Attributes:
        version: of this schema.
        key: of the sample.
        sha256: of the image file; it decides which image is meant.
        width: of the image in pixels.
        height: of the image in pixels.
        closed: whether models may add no labelled region, and nothing to a list that was asked for.
        shown: ids of the regions that the person saw; given regions with other ids stay as they are.
        regions: what the person drew, changed or confirmed.
        removed: regions as the person saw them, whose place or label is no longer there.
        tags: of the image, by the word of the person.
        negative_tags: names of nothing in the image.
        captions: of the image, beside alt texts, which stay as they are.
        removed_captions: captions that the person saw and removed or rewrote.
        looks: who looked at the image, the latest last.
        overruled: what one look removed and the look that counts has, so that it does not count as removed.
    """

    version: int = CORRECTION_VERSION
    key: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    closed: bool = True
    shown: list[str] = []
    regions: list[Region] | None = None
    removed: list[Region] = []
    tags: list[Text] | None = None
    negative_tags: list[Text] = []
    captions: list[Text] | None = None
    removed_captions: list[Text] = []
    looks: list[HumanLook] = []
    overruled: Overruled | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _fits_the_image(self) -> Correction:
        if self.version != CORRECTION_VERSION:
            raise ValueError(f"version: expected {CORRECTION_VERSION}, got {self.version}")
        for name, times in Counter(region.id for region in self.regions or []).items():
            if times > 1:
                raise ValueError(f"regions.id: expected each id once, got {name!r} {times} times")
        for region in [*(self.regions or []), *self.removed]:
            x0, y0, x1, y1 = region.box_xyxy
            if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
                size = f"{self.width} x {self.height}"
                raise ValueError(f"region {region.id}: expected a box inside {size} pixels, got {region.box_xyxy}")
            if region.mask is not None and region.mask.size != (self.height, self.width):
                expected = (self.height, self.width)
                raise ValueError(f"region {region.id}: expected a mask of size {expected}, got {region.mask.size}")
        return self

    def to_json(self) -> bytes:
        """Return the correction as one line of canonical UTF-8 JSON: the same correction gives the same bytes."""
        return self.model_dump_json().encode() + b"\n"


def parse_correction(raw: bytes | str, *, where: str) -> Correction:
    """Read one line of the file, and check it.

    Args:
        raw: JSON text.
        where: what to call it in an error, such as `corrections.jsonl:3`.

    Raises:
        InputError: naming `where`, the field, what was expected and what came.
    """
    try:
        correction = Correction.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "line"
        got = "" if first["type"] == "value_error" else f", got {str(first.get('input'))[:80]!r}"
        raise InputError(f"{where}: {field}: {first['msg']}{got}") from error
    for region in [*(correction.regions or []), *correction.removed]:
        try:
            if region.mask is not None:
                mask_ops.area(region.mask)
        except InputError as error:
            raise InputError(f"{where}: region {region.id}: {error}") from error
    return correction


@dataclass(frozen=True)
class Corrections:
    """A file of corrections and where each image's line starts, so that the lines themselves stay on the disk."""

    path: Path
    starts: dict[str, int]

    def __len__(self) -> int:
        return len(self.starts)

    def find(self, sha256: str) -> Correction | None:
        """Return the correction of the image with this SHA-256; None: nobody looked at it."""
        start = self.starts.get(sha256)
        if start is None:
            return None
        with self.path.open("rb") as handle:
            handle.seek(start)
            return parse_correction(handle.readline(), where=f"{self.path}, byte {start}")

    def each(self) -> Iterator[Correction]:
        """Yield all corrections in the order of the file.

        Raises:
            InputError: a line is none; names the file and the line.
        """
        for number, _, line in _lines(self.path):
            yield parse_correction(line, where=f"{self.path}:{number}")


def file_of(where: str | Path) -> Path:
    """Return the file of corrections that a path names: itself, or `corrections.jsonl` in a folder."""
    path = Path(where)
    return path / CORRECTIONS if path.is_dir() else path


def open_corrections(where: str | Path | None, key: str = "annotate.corrections") -> Corrections | None:
    """Open a file of corrections, or the one in a folder; None: there is none.

    Args:
        where: the file or folder.
        key: what named it, for messages.

    Raises:
        InputError: there is no such file, a line is no JSON, or an image has two of them.
    """
    if where is None:
        return None
    path = file_of(where)
    if not path.is_file():
        raise InputError(f"{key}: expected a file that `umgclip review import` wrote, found none at {path}")
    starts: dict[str, int] = {}
    for number, start, line in _lines(path):
        try:
            sha256 = json.loads(line)["sha256"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}:{number}: expected a correction as JSON, got {line[:40]!r}") from error
        if starts.setdefault(sha256, start) != start:
            raise InputError(
                f"{path}:{number}: expected each image once, got {sha256!r} twice; "
                "`umgclip review import FILE --out FOLDER` joins two files"
            )
    return Corrections(path, starts)


def _lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, position and content of each line that is not blank."""
    start = 0
    with path.open("rb") as handle:
        for number, line in enumerate(iter(lambda: handle.readline(_LONGEST_LINE), b""), 1):
            if line.strip():
                yield number, start, line
            start += len(line)
