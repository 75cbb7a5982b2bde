"""Apply what people corrected: before the roles to the record, and after them to what models added.

The person's regions, tags and captions come to an image like those of its source, which no model changes. What models
then add is refused where the person removed it, where a region of the person is already, and, in an image that is
closed, wherever it would carry a label.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from umgclip.annotate.draft import Annotated
from umgclip.annotate.rejected import Rejected
from umgclip.annotate.rules.overlap import best_overlap
from umgclip.data.corrections import Correction, Corrections, open_corrections
from umgclip.data.wording import name_key
from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.records import ImageRecord, Region, Text

_SAME_LABEL = 0.5  # IoU above which a region of the same label is the person's own again
_SAME_PLACE = 0.7  # the same for any label
_REMOVED = 0.5  # IoU with a removed region above which a region is that one again
UNMATCHED = "corrections.json"
_FATES = {
    "applied": "applied",
    "unusable": "of images of another size",
    "failed": "of images that could not be annotated",
    "replaced": "of images that were replaced by others of their key",
    "gone": "of images that are gone",
}


def correction_of(corrections: Corrections | None, sha256: str, record: ImageRecord) -> Correction | None:
    """Return the correction of an image, if there is one and it is of the image's size."""
    correction = None if corrections is None else corrections.find(sha256)
    size = record.width, record.height
    return correction if correction is not None and (correction.width, correction.height) == size else None


def corrected(record: ImageRecord, correction: Correction) -> ImageRecord:
    """Return the record of an image with the person's annotations in place of those that the person saw.

    Alt texts stay, and so do given regions that were not shown.
    """
    update: dict[str, object] = {}
    if correction.regions is not None:
        shown = set(correction.shown)
        untouched = [region for region in record.regions or [] if region.id not in shown]
        update["regions"] = [*untouched, *correction.regions]
    if correction.tags is not None:
        update["tags"] = correction.tags
    if correction.captions is not None:
        alts = [text for text in record.captions or [] if text.source == "alt"]
        update["captions"] = [*alts, *correction.captions]
    if correction.negative_tags:
        right = {name_key(tag.text) for tag in (*(correction.tags or []), *correction.negative_tags)}
        others = [tag for tag in record.negative_tags or [] if name_key(tag.text) not in right]
        update["negative_tags"] = [*others, *correction.negative_tags]
    return record.model_copy(update=update)


def restrained(annotated: Annotated, given: ImageRecord, correction: Correction) -> Annotated:
    """Return a finished sample without what models added against the person's word; each refusal is recorded.

    Args:
        annotated: the sample as the annotator finished it.
        given: its record before any role, corrected.
        correction: of the image.
    """
    record = annotated.record
    refused: list[Rejected] = []
    update: dict[str, object] = {}
    rows = [0]
    if record.regions is not None:
        count = len(given.regions or [])
        regions = list(record.regions[:count])
        rows += range(1, 1 + count)
        for row, region in enumerate(record.regions[count:], start=1 + count):
            reason = _region_fault(region, correction)
            if reason is None:
                regions.append(region)
                rows.append(row)
            else:
                refused.append(_refusal(region, reason))
        update["regions"] = regions
    update["tags"] = _texts(record.tags, given.tags, "tagger", refused, _tag_faults(correction))
    update["captions"] = _texts(record.captions, given.captions, "captioner", refused, _caption_faults(correction))
    embeddings = annotated.embeddings[rows] if len(annotated.embeddings) else annotated.embeddings
    return replace(
        annotated,
        record=record.model_copy(update=update),
        embeddings=embeddings,
        rejected=(*annotated.rejected, *refused),
    )


def _region_fault(region: Region, correction: Correction) -> str | None:
    """Return the reason to refuse a region that a model added, or None; one without texts claims nothing."""
    if correction.regions is None or not (region.tags or region.captions):
        return None
    label = _label(region)
    removed = [one for one in correction.removed if one.is_stuff == region.is_stuff]
    if region.is_stuff:  # grounds fill the whole image, so their boxes tell nothing
        removed = [one for one in removed if _label(one) == label]
    if _overlap(region, removed) > _REMOVED:
        return "human_removed"
    human = [one for one in correction.regions if one.is_stuff == region.is_stuff]
    same = [one for one in human if _label(one) == label]
    places = same if region.is_stuff else human
    if _overlap(region, same) > _SAME_LABEL or _overlap(region, places) > _SAME_PLACE:
        return "human_region"
    return "human_closed" if correction.closed else None


def _overlap(region: Region, others: Sequence[Region]) -> float:
    boxes = np.array([one.box_xyxy for one in others], np.float64).reshape(-1, 4)
    return float(best_overlap(np.array([region.box_xyxy], np.float64), boxes)[0])


def _label(region: Region) -> str | None:
    return name_key(region.tags[0].text) if region.tags else None


def _refusal(region: Region, reason: str) -> Rejected:
    tag = region.tags[0] if region.tags else None
    return Rejected("proposer", reason, tag, region.box_xyxy, score=region.score, source=region.source)


class _Faults:
    """The reasons to refuse texts of models: those that a person removed, and all others of a closed list."""

    def __init__(self, removed: Sequence[str], names: Sequence[str], closed: bool) -> None:
        self._removed = {name_key(text) for text in removed}
        words = "|".join(re.escape(name_key(name)) for name in names)
        self._names = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
        self._closed = closed

    def of(self, text: Text) -> str | None:
        plain = name_key(text.text)
        if plain in self._removed or (self._names is not None and self._names.search(plain)):
            return "human_removed"
        return "human_closed" if self._closed else None


def _tag_faults(correction: Correction) -> _Faults:
    removed = [tag.text for tag in correction.negative_tags]
    return _Faults(removed, [], correction.closed and correction.tags is not None)


def _caption_faults(correction: Correction) -> _Faults:
    removed = [text.text for text in correction.removed_captions]
    names = [tag.text for tag in correction.negative_tags]
    return _Faults(removed, names, correction.closed and correction.captions is not None)


def _texts(
    texts: list[Text] | None, given: list[Text] | None, role: str, refused: list[Rejected], faults: _Faults
) -> list[Text] | None:
    """Return the given texts, which come first, and the others that nothing speaks against."""
    if texts is None:
        return None
    count = len(given or [])
    accepted = list(texts[:count])
    for text in texts[count:]:
        reason = faults.of(text)
        if reason is None:
            accepted.append(text)
        else:
            refused.append(Rejected(role, reason, text))
    return accepted


def match_corrections(where: str | None, out: Path) -> dict[str, int] | None:
    """Count what became of the corrections, and write `corrections.json` with all that were not applied.

    Args:
        where: `annotate.corrections`; None: there are none.
        out: the folder with the annotated datasets; the tables of `train` tell which images there are.

    Returns:
        The number of images by fate: applied, unusable (the correction names another size), failed, replaced (the
        key has another image), gone. None without corrections.
    """
    corrections = open_corrections(where)
    if corrections is None:
        return None
    wanted = {one.key for one in corrections.each()}, {one.sha256 for one in corrections.each()}
    sizes, keys = _images_of(out / "train" / "images.parquet", *wanted)
    failed = set(tables.read_columns(out / "train" / "quarantine.parquet", ["key"])["key"].to_pylist())
    fates = Counter(dict.fromkeys(_FATES, 0))
    unmatched: list[dict[str, str]] = []
    for correction in corrections.each():
        key = correction.key
        fate = "failed" if key in failed else "replaced" if key in keys else "gone"
        row = {"key": key, "sha256": correction.sha256}
        if (size := sizes.get(correction.sha256)) is not None:
            claimed = correction.width, correction.height
            fate = "applied" if size == claimed else "unusable"
            row["detail"] = f"width, height: expected {size[0]} x {size[1]}, got {claimed[0]} x {claimed[1]}"
        fates[fate] += 1
        if fate != "applied":
            unmatched.append({**row, "fate": fate})
    write_json(out / UNMATCHED, {**fates, "not_applied": unmatched})
    return dict(fates)


def _images_of(
    table: Path, keys: Collection[str], hashes: Collection[str]
) -> tuple[dict[str, tuple[int, int]], set[str]]:
    """Return the sizes of the images with one of these SHA-256, and which of the keys there are."""
    sizes: dict[str, tuple[int, int]] = {}
    there: set[str] = set()
    for batch in tables.batches(table, ["key", "sha256", "width", "height"]):
        there |= set(keys).intersection(batch["key"].to_pylist())
        rows = zip(*(batch[name].to_pylist() for name in ("sha256", "width", "height")), strict=True)
        sizes |= {sha256: (width, height) for sha256, width, height in rows if sha256 in hashes}
    return sizes, there


def in_words(fates: Mapping[str, int]) -> str:
    """Return counts of `match_corrections` in words; fates of no image are left out."""
    return ", ".join(_worded(fates))


def _worded(fates: Mapping[str, int]) -> Iterator[str]:
    for fate, words in _FATES.items():
        if fates[fate] or fate == "applied":
            yield f"{fates[fate]} {words}"
