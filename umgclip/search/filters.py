"""Conditions by which a search narrows what it returns, as SQL of LanceDB."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from umgclip.errors import InputError
from umgclip.search.store import quoted

WHAT = ("regions", "images", "both")
_KINDS = {"regions": "kind = 'region'", "images": "kind = 'image'"}


@dataclass(frozen=True)
class SearchFilter:
    """Conditions on results; all of them have to hold.

    Attributes:
        what: `regions`, `images` or `both`.
        dataset: name of the source dataset, as in `record.source.dataset`.
        split: name of the part that was indexed, such as `train` or `benchmark`.
        label: a tag of the region or image, in any case.
        min_size_px: least length of the shorter side of the box, in pixels.
        min_score: least score of the region, 0 to 1.
        one_per_image: whether only the best result of each image is returned.
        exact: whether all vectors are compared, even where there is a vector index.
    """

    what: str = "regions"
    dataset: str | None = None
    split: str | None = None
    label: str | None = None
    min_size_px: float | int | None = None
    min_score: float | int | None = None
    one_per_image: bool = False
    exact: bool = False

    def __post_init__(self) -> None:
        if self.what not in WHAT:
            raise InputError(f"what: expected one of {', '.join(WHAT)}, got {self.what!r}")
        for name in ("min_size_px", "min_score"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name}: expected a number of at least 0, got {value}")

    def sql(self) -> str | None:
        """Return the conditions as one SQL expression; None if there is none."""
        return " AND ".join(self._parts()) or None

    def _parts(self) -> Iterator[str]:
        if self.what in _KINDS:
            yield _KINDS[self.what]
        for column, value in (("dataset", self.dataset), ("split", self.split)):
            if value is not None:
                yield f"{column} = {quoted(value)}"
        if self.label is not None:
            yield f"array_has(names, {quoted(folded(self.label))})"
        if self.min_size_px:
            yield f"short_px >= {float(self.min_size_px)!r}"
        if self.min_score:
            yield f"score >= {float(self.min_score)!r}"


def folded(text: str) -> str:
    """Return a tag as it is compared: lower case, single spaces."""
    return " ".join(text.casefold().split())
