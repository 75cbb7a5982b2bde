"""The images that people are shown, and the files of an export that say so."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from umgclip.errors import DataError, InputError
from umgclip.io.json_file import read_object
from umgclip.records import ImageRecord, Region, Text, parse_record
from umgclip.review.labels import LabelNames
from umgclip.review.selection import WorthyImage

Tool = Literal["label-studio", "fiftyone", "cvat"]
TOOLS: tuple[Tool, ...] = ("label-studio", "fiftyone", "cvat")
Asked = Literal["regions", "tags", "captions", "region-captions"]
ASKED: tuple[Asked, ...] = ("regions", "tags", "captions", "region-captions")
SHOWN, CHOICE, ABOUT = "shown.jsonl", "choice.jsonl", "review.json"


@dataclass(frozen=True)
class Item:
    """An image that people look at: why it was chosen, its record, and the name of its image file."""

    candidate: WorthyImage
    record: ImageRecord
    file_name: str


@dataclass(frozen=True)
class Settings:
    """Settings of the files that are written for a tool.

    Attributes:
        name: of the folder of the export, by which the tool knows it.
        names: that a person may choose from.
        image_prefix: what stands before the name of an image file in the tool; None: the tool's usual one.
        masks: whether masks are shown; if not, boxes alone.
    """

    name: str
    names: LabelNames
    image_prefix: str | None = None
    masks: bool = True


@dataclass(frozen=True)
class ShownImages:
    """The images of an export, by key, and what the tool asked about them.

    Attributes:
        tool: that the export was written for.
        records: as they were shown.
        names: that a person could choose from.
        masks: whether masks were shown.
        asked: lists that people were asked for even if no answer has anything in them.
    """

    tool: Tool
    records: Mapping[str, ImageRecord]
    names: LabelNames
    masks: bool = True
    asked: frozenset[Asked] = frozenset()


def shown_regions(record: ImageRecord) -> list[Region]:
    """Return the regions that a person sees: those with a label. Others claim nothing that could be wrong."""
    return [region for region in record.regions or [] if region.tags]


def shown_captions(record: ImageRecord) -> list[Text]:
    """Return the captions that a person may change: all but the alt texts, which came with the image."""
    return [text for text in record.captions or [] if text.source != "alt"]


def alt_of(record: ImageRecord) -> str:
    """Return the first alt text, which a person reads and cannot change."""
    return next((text.text for text in record.captions or [] if text.source == "alt"), "")


def about(tool: Tool, settings: Settings) -> dict[str, Any]:
    """Return what `review.json` has to tell an import."""
    return {
        "tool": tool,
        "masks": settings.masks,
        "things": list(settings.names.things),
        "stuff": list(settings.names.stuff),
    }


def read_shown(folder: Path) -> ShownImages:
    """Read the images that an export showed.

    Raises:
        InputError: the folder is none that `umgclip review export` wrote.
        DataError: a file in it is damaged.
    """
    if not (folder / ABOUT).is_file() or not (folder / SHOWN).is_file():
        raise InputError(
            f"--shown: expected a folder that `umgclip review export` wrote, with {ABOUT} and {SHOWN}, got {folder}"
        )
    value = read_object(folder / ABOUT)
    try:
        names = LabelNames(tuple(value["things"]), tuple(value["stuff"]))
        tool, masks = value["tool"], bool(value["masks"])
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / ABOUT}: expected tool, masks, things and stuff, lacks {error}") from error
    if tool not in TOOLS:
        raise DataError(f"{folder / ABOUT}: tool: expected one of {', '.join(TOOLS)}, got {tool!r}")
    records = {record.key: record for record in _records(folder / SHOWN)}
    return ShownImages(tool, records, names, masks)


def _records(path: Path) -> Iterator[ImageRecord]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            yield parse_record(line, where=f"{path}:{number}")


def choice_row(rank: int, item: Item) -> str:
    """Return the line of `choice.jsonl` about one image: its rank, its worth and the reasons."""
    candidate = item.candidate
    reasons = [
        {"reason": reason.reason, "value": reason.value, "about": list(reason.about)}
        for reason in candidate.worth.reasons
    ]
    row = {
        "rank": rank,
        "key": candidate.key,
        "value": candidate.worth.value,
        "reasons": reasons,
        "image": item.file_name,
        "sha256": candidate.sha256,
        "shard": candidate.shard,
    }
    return json.dumps(row, ensure_ascii=False) + "\n"


def why(item: Item) -> str:
    """Return the reasons for an image in one line, for the person who looks at it."""
    parts = [
        f"{reason.reason.replace('_', ' ')} {reason.value:.2f}"
        + (f" ({', '.join(each for each in reason.about if each)})" if any(reason.about) else "")
        for reason in item.candidate.worth.reasons
    ]
    return "; ".join(parts)


def license_counts(items: Sequence[Item]) -> dict[str, int]:
    """Count the images by their licence, which goes with them to the tool."""
    counts: dict[str, int] = {}
    for item in items:
        name = item.record.source.license or "not stated"
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))
