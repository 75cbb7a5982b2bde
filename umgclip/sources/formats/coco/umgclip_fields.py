"""Fields that `data export` adds to COCO's own under the key `umgclip`, so that an import restores everything.

COCO's own fields count where they differ, since somebody may have changed them. Programs that rewrite COCO files drop
ours; what they keep is read as from any other file.

=============  =========================================================================================
where          what stands under `umgclip`
=============  =========================================================================================
`info`         `classes`: the manifest's
a category     `name`, as beside it, and `label`, as the dataset has it
an image       of captions: `source`, `captions`: null where nobody asked for any; of instances and panoptic
               segments: `source`, `tags`, `negative_tags`, `not_exhaustive`, `pairs`, `regions`: id and label of
               each, or null
a caption      the text's `text`, `source`, `score` and so on
a region       the region's record without its mask
=============  =========================================================================================
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from umgclip.data.wording import first_spellings, name_key
from umgclip.errors import InputError
from umgclip.io.manifest import ClassList
from umgclip.records import ImageRecord, PairSide, Region, Source, Text

OURS = "umgclip"
UNLABELLED = "(unlabelled)"  # category of regions without label: COCO readers require one


class ImageAbout(BaseModel):
    """Fields of an image; those that a file does not cover are absent from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Source
    captions: list[Text] | None = []
    tags: list[Text] | None = None
    negative_tags: list[Text] | None = None
    not_exhaustive: list[str] | None = None
    pairs: list[PairSide] | None = Field(default=None, exclude_if=lambda value: value is None)
    regions: dict[str, str] | None = None


def caption_image(record: ImageRecord) -> dict[str, Any]:
    """Return our fields of an image for the captions file."""
    about = {"source": record.source.model_dump(mode="json")}
    return about if record.captions is not None else {**about, "captions": None}


def region_image(record: ImageRecord) -> dict[str, Any]:
    """Return our fields of an image for the instances and panoptic files."""
    regions = None if record.regions is None else {region.id: label(region) for region in record.regions}
    about = ImageAbout(
        source=record.source,
        tags=record.tags,
        negative_tags=record.negative_tags,
        not_exhaustive=record.not_exhaustive,
        pairs=record.pairs,
        regions=regions,
    )
    return about.model_dump(mode="json", exclude={"captions"})


def label(region: Region) -> str:
    """Return a region's label; empty if it has none."""
    return region.tags[0].text if region.tags else ""


def is_unlabelled(category: dict[str, Any]) -> bool:
    """Return whether a category stands for regions without label; it is recognised by its name alone."""
    name = category.get("name")
    return isinstance(name, str) and name_key(name) == UNLABELLED


def label_of(category: dict[str, Any]) -> str | None:
    """Return a category's label as in the dataset; None if somebody renamed the category since."""
    about = category.get(OURS)
    if not isinstance(about, dict) or about.get("name") != category.get("name"):
        return None
    text = about.get("label")
    return text if isinstance(text, str) and text else None


def read_image(about: Any) -> ImageAbout | None:  # noqa: ANN401 - what JSON held
    """Parse our fields of an image; None if there are none.

    Raises:
        InputError: it is something else.
    """
    return None if about is None else _read(ImageAbout, about)


def read_text(about: Any, caption: str) -> Text | None:  # noqa: ANN401 - what JSON held
    """Parse our fields of a caption; None if there are none, or if somebody changed the caption since.

    Raises:
        InputError: it is something else.
    """
    text = None if about is None else _read(Text, about)
    return text if text is not None and text.text == caption else None


def read_region(about: Any) -> Region | None:  # noqa: ANN401 - what JSON held
    """Parse our fields of a region, without its mask; None if there are none.

    Raises:
        InputError: it is something else.
    """
    return None if about is None else _read(Region, about)


def _read(kind: type[Any], about: Any) -> Any:  # noqa: ANN401 - an instance of `kind`
    try:
        return kind.model_validate(about)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in (OURS, *first["loc"]))
        raise InputError(f"{field}: {first['msg']}, got {str(first.get('input'))[:80]!r}") from error


def with_classes(listed: dict[str, Any], about: dict[str, Any], where: str) -> dict[str, Any]:
    """Order the classes of an import as in the exported dataset, and restore all other facts about them.

    Raises:
        InputError: what stands under our key is no list of classes.
    """
    if about.get("classes") is None:
        return listed
    try:
        classes = ClassList.model_validate(about["classes"]).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{where}: info.{OURS}.classes.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    for kind in ("things", "stuff"):
        there = first_spellings(listed[kind])
        known = set(map(name_key, classes[kind]))
        ordered = [name for name in classes[kind] if name_key(name) in there]
        classes[kind] = ordered + [name for key, name in there.items() if key not in known]
    labels = {*classes["things"], *classes["stuff"]}
    classes["held_out"] = [name for name in classes["held_out"] if name in labels]
    return {**listed, **{name: value for name, value in classes.items() if value is not None}}
