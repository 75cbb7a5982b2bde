"""Labelled regions of images that were put aside: the same for all rounds, whoever annotated since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.atomic import write_bytes
from umgclip.records import ImageRecord, Mask


class SliceRegion(BaseModel):
    """A region with a mask and the name that was written for it, in an image that was put aside."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: Mask
    name: str

    def pixels(self) -> Bool[np.ndarray, "height width"]:
        """Return the pixels of the region in its image."""
        return mask_ops.decode(self.mask)


SliceRegions = Mapping[str, Sequence[SliceRegion]]
_FORM: TypeAdapter[dict[str, list[SliceRegion]]] = TypeAdapter(dict[str, list[SliceRegion]])


def labelled(record: ImageRecord, names: Sequence[str]) -> list[SliceRegion]:
    """Return the regions of things that have a mask and a name of the vocabulary.

    Args:
        record: an annotated image.
        names: the things of the vocabulary; other names are not compared.
    """
    known = set(names)
    return [
        SliceRegion(mask=region.mask, name=region.tags[0].text)
        for region in record.regions or []
        if region.mask is not None and not region.is_stuff and region.tags and region.tags[0].text in known
    ]


def read_regions(path: Path) -> SliceRegions:
    """Read the regions that an earlier round wrote, by the key of their image.

    Raises:
        DataError: the file is not one that `write_regions` wrote.
    """
    try:
        return _FORM.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: expected the regions that `umgclip probe --regions` wrote, got {error}") from error


def write_regions(path: Path, regions: SliceRegions) -> None:
    """Write the regions, so that a reader sees all of them or no file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, _FORM.dump_json({key: list(regions[key]) for key in sorted(regions)}))
