"""Corrections by comparison: the difference between what was shown of an image and what came back."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import numpy as np

from umgclip.data.corrections import HUMAN, Correction
from umgclip.data.wording import name_key
from umgclip.errors import InputError
from umgclip.geometry import boxes as box_ops
from umgclip.geometry import masks as mask_ops
from umgclip.records import ImageRecord, Mask, Region, Text
from umgclip.review.answer import AnsweredRegion, Box, ImageAnswer
from umgclip.review.labels import LabelNames
from umgclip.review.shown import ShownImages, shown_captions, shown_regions

_SAME_PX = 0.51  # a tool that rounds to whole pixels has moved no side
_SAME_REGION = 0.3  # IoU from which an answered region may be a shown one that was moved
_ELSEWHERE = 0.7  # IoU below which the place where a region was shown counts as removed


class Comparison:
    """Compares the answer about one image with what was shown of it.

    Args:
        shown: the export to the tool.
        closed: whether models may add nothing to what the person left.
    """

    def __init__(self, shown: ShownImages, closed: bool = True) -> None:
        self._shown, self._closed = shown, closed

    def correction(self, answer: ImageAnswer) -> Correction:
        """Return what the person corrected, removed and confirmed.

        Raises:
            InputError: a region lies outside the image, or the image is not the one that was shown.
            KeyError: the image was not shown.
        """
        record = self._shown.records[answer.key]
        if answer.sha256 not in (None, record.sha256):
            raise InputError(f"sha256: expected {record.sha256} as it was shown, got {answer.sha256}")
        regions, removed = self._regions(record, answer.regions)
        tags, captions = _texts(record.tags or [], answer.tags), _texts(shown_captions(record), answer.captions)
        left = [*(regions or []), *([] if answer.regions is not None else shown_regions(record))]
        removed_tags = [] if tags is None else [tag for tag in record.tags or [] if not _among(tag, tags)]
        negative_tags = list(_absent(record, removed_tags, removed, left, tags))
        captions = _without(captions, shown_captions(record), negative_tags)
        return Correction(
            key=record.key,
            sha256=record.sha256,
            width=record.width,
            height=record.height,
            closed=self._closed,
            shown=[] if answer.regions is None else [region.id for region in shown_regions(record)],
            regions=regions,
            removed=removed,
            tags=tags,
            negative_tags=negative_tags,
            captions=captions,
            removed_captions=[]
            if captions is None
            else [text for text in shown_captions(record) if not _among(text, captions)],
            looks=[answer.look],
        )

    def _regions(
        self, record: ImageRecord, answered: Sequence[AnsweredRegion] | None
    ) -> tuple[list[Region] | None, list[Region]]:
        """Return the person's regions, and those that are no longer where or what they were."""
        if answered is None:
            return None, []
        before = shown_regions(record)
        clipped = [_clipped(region, record) for region in answered]
        match = _matched(before, clipped)
        free = _free_ids(record)
        regions = []
        for row, region in enumerate(clipped):
            earlier = before[match[row]] if row in match else None
            regions.append(self._new(region, next(free)) if earlier is None else self._again(earlier, region))
        after = {match[row]: region for row, region in enumerate(regions) if row in match}
        removed = [region for row, region in enumerate(before) if _is_gone(region, after.get(row))]
        return regions, removed

    def _new(self, region: AnsweredRegion, name: str) -> Region:
        label = region.label
        return Region(
            id=name,
            box_xyxy=region.box_xyxy,
            mask=region.mask,
            is_stuff=label is not None and self._shown.names.is_stuff(label),
            tags=[] if label is None else [_human(self._shown.names, label)],
            captions=[Text(text=text, source=HUMAN) for text in region.captions or ()],
            source=HUMAN,
            mask_source=HUMAN if region.mask is not None else None,
        )

    def _again(self, earlier: Region, region: AnsweredRegion) -> Region:
        """Return a region that was shown, with what the person changed; what was left as it was is confirmed."""
        names, tag = self._shown.names, (earlier.tags or [])[0]
        stays = region.label is not None and name_key(region.label) == name_key(tag.text)
        box, mask = _place(earlier, region, self._shown.masks)
        negatives = list(earlier.negatives or [])
        if stays:
            tags = [_confirmed(tag), *(earlier.tags or [])[1:]]
            is_stuff = earlier.is_stuff
        else:
            tags = [] if region.label is None else [_human(names, region.label)]
            known = region.label is not None and names.written(region.label) is not None
            is_stuff = names.is_stuff(region.label or "") if known else earlier.is_stuff
            negatives = [*negatives, Text(text=tag.text, source=HUMAN)] if tags else negatives
        captions = _captions(earlier, region, stays)
        right = {name_key(text.text) for text in (*tags, *(captions or []))}
        negatives = [text for text in negatives if name_key(text.text) not in right]
        return earlier.model_copy(
            update={
                "box_xyxy": box,
                "mask": mask,
                "is_stuff": is_stuff,
                "score": 1.0,
                "tags": tags,
                "captions": captions,
                "negatives": negatives or None,
                "source": HUMAN,
                "mask_source": (HUMAN if self._shown.masks else earlier.mask_source) if mask is not None else None,
            }
        )


def is_unchanged(correction: Correction, record: ImageRecord) -> bool:
    """Check whether a person left everything as it was shown."""
    before = shown_regions(record)
    if correction.removed or correction.negative_tags or correction.removed_captions:
        return False
    if correction.tags is not None and len(correction.tags) != len(record.tags or []):
        return False
    if correction.captions is not None and len(correction.captions) != len(shown_captions(record)):
        return False
    if correction.regions is None:
        return True
    after = {region.id: region for region in correction.regions}
    return len(after) == len(before) and all(
        region.id in after and _is_same(region, after[region.id]) for region in before
    )


def _is_same(old: Region, new: Region) -> bool:
    texts = [[text.text for text in region.captions or []] for region in (old, new)]
    return old.box_xyxy == new.box_xyxy and old.mask == new.mask and texts[0] == texts[1] and _label(old) == _label(new)


def _clipped(region: AnsweredRegion, record: ImageRecord) -> AnsweredRegion:
    """Return a region within the image.

    Raises:
        InputError: nothing of it lies in the image.
    """
    x0, y0, x1, y1 = box_ops.clip(np.array([region.box_xyxy], np.float64), record.width, record.height)[0].tolist()
    if not (x1 - x0 > 0 and y1 - y0 > 0):
        size = f"{record.width} x {record.height}"
        raise InputError(f"region {region.label!r}: expected a box inside {size} pixels, got {region.box_xyxy}")
    return AnsweredRegion((x0, y0, x1, y1), region.label, region.mask, region.captions, region.shown_id)


def _matched(before: Sequence[Region], answered: Sequence[AnsweredRegion]) -> dict[int, int]:
    """Return, for rows of answered regions, the row of the shown region that each was.

    First come regions that still carry their id, then those that overlap most, of the same label before others.
    """
    rows = {region.id: row for row, region in enumerate(before)}
    overlaps = box_ops.iou(
        np.array([region.box_xyxy for region in answered], np.float64).reshape(-1, 4),
        np.array([region.box_xyxy for region in before], np.float64).reshape(-1, 4),
    )
    pairs: list[tuple[tuple[float, ...], int, int]] = []
    for row, region in enumerate(answered):
        for other, earlier in enumerate(before):
            has_id = region.shown_id is not None and rows.get(region.shown_id) == other
            overlap = _mask_iou(earlier.mask, region.mask, float(overlaps[row, other]))
            if has_id or overlap >= _SAME_REGION:
                is_named = region.label is not None and name_key(region.label) == _label(earlier)
                pairs.append(((-float(has_id), -float(is_named), -overlap), row, other))
    match: dict[int, int] = {}
    for _, row, other in sorted(pairs):
        if row not in match and other not in match.values():
            match[row] = other
    return match


def _mask_iou(earlier: Mask | None, later: Mask | None, otherwise: float) -> float:
    if earlier is None or later is None or otherwise == 0:
        return otherwise
    if earlier == later:
        return 1.0
    return float(mask_ops.iou(mask_ops.decode(earlier)[None], mask_ops.decode(later)[None])[0, 0])


def _place(earlier: Region, region: AnsweredRegion, masks: bool) -> tuple[Box, Mask | None]:
    """Return box and mask: as they were if the person did not move them, else the person's."""
    if region.mask is not None:
        if region.mask == earlier.mask:
            return earlier.box_xyxy, earlier.mask
        return region.box_xyxy, region.mask
    moved = max(abs(a - b) for a, b in zip(earlier.box_xyxy, region.box_xyxy, strict=True))
    if moved > _SAME_PX:
        return region.box_xyxy, None  # the old mask is not that of the new box
    was_shown = masks and earlier.mask is not None
    return earlier.box_xyxy, None if was_shown else earlier.mask


def _is_gone(earlier: Region, later: Region | None) -> bool:
    """Check whether a region as it was shown is no longer true: removed, of another name, or elsewhere."""
    if later is None or _label(later) != _label(earlier):
        return True
    overlap = box_ops.iou(np.array([earlier.box_xyxy]), np.array([later.box_xyxy]))[0, 0]
    return bool(overlap < _ELSEWHERE)


def _texts(before: Sequence[Text], answered: Sequence[str] | None) -> list[Text] | None:
    """Return the person's texts; those that were shown are confirmed. None: nobody was asked."""
    if answered is None:
        return None
    earlier = {name_key(text.text): text for text in reversed(before)}
    texts: dict[str, Text] = {}
    for text in answered:
        key = name_key(text)
        texts.setdefault(key, _confirmed(earlier[key]) if key in earlier else Text(text=text, source=HUMAN))
    return list(texts.values())


def _captions(earlier: Region, region: AnsweredRegion, stays: bool) -> list[Text] | None:
    """Return a region's captions; of one with another label, what the person did not change is not confirmed.

    A caption that was shown and names the old label was made from it, and goes with it; others come after the person's.
    Where captions were not asked for, all of them go.
    """
    if region.captions is None:
        return earlier.captions if stays else []
    texts = _texts(earlier.captions or [], region.captions) or []
    if stays:
        return texts
    before = {name_key(text.text): text for text in reversed(earlier.captions or [])}
    new, old = name_key(region.label or ""), (earlier.tags or [])[0].text
    left = [before[name_key(text.text)] for text in texts if name_key(text.text) in before]
    changed = [text for text in texts if name_key(text.text) not in before]
    # the old label may be a part of the new one, as in "apple" and "green apple"
    rest = [text for text in left if not _names(name_key(text.text).replace(new, " ") if new else text.text, old)]
    return [*changed, *rest]


def _without(captions: list[Text] | None, before: Sequence[Text], absent: Sequence[Text]) -> list[Text] | None:
    """Return captions without those that the person left as they were and that name what the person removed."""
    shown = {name_key(text.text) for text in before if text.source != HUMAN}
    return None if captions is None else [
        text for text in captions
        if name_key(text.text) not in shown or not any(_names(text.text, name.text) for name in absent)
    ]  # fmt: skip


def _names(caption: str, name: str) -> bool:
    """Check whether a caption has a name as words of its own, or its plain plural."""
    return re.search(rf"(?<!\w){re.escape(name_key(name))}(?:s|es)?(?!\w)", name_key(caption)) is not None


def _confirmed(text: Text) -> Text:
    """Return a text that a person confirmed; its source agrees with it."""
    if text.source == HUMAN:
        return text
    agreed = sorted({*(text.agreed_by or []), text.source} - {HUMAN})
    return Text(text=text.text, source=HUMAN, agreed_by=agreed or None, filter_score=text.filter_score)


def _human(names: LabelNames, label: str) -> Text:
    return Text(text=names.written(label) or label, source=HUMAN)


def _among(text: Text, others: Sequence[Text]) -> bool:
    return name_key(text.text) in {name_key(other.text) for other in others}


def _label(region: Region) -> str | None:
    return name_key(region.tags[0].text) if region.tags else None


def _absent(
    record: ImageRecord, removed_tags: Sequence[Text], removed: Sequence[Region], left: Sequence[Region],
    tags: Sequence[Text] | None,
) -> Iterator[Text]:  # fmt: skip
    """Yield the names that the person removed and that nothing else says are in the image."""
    stated = {name_key(tag.text) for tag in tags or []} | {_label(region) for region in left}
    alts = " ".join(name_key(text.text) for text in record.captions or [] if text.source == "alt")
    by_region = [(region.tags or [])[0] for region in removed]
    seen: set[str] = set()
    for tag, sure in [*((tag, True) for tag in removed_tags), *((tag, tags is not None) for tag in by_region)]:
        key = name_key(tag.text)
        # where nobody was asked for tags, an alt text that names it may still be right
        if key in stated | seen or not (sure or re.search(rf"(?<!\w){re.escape(key)}(?!\w)", alts) is None):
            continue
        seen.add(key)
        yield Text(text=tag.text, source=HUMAN)


def _free_ids(record: ImageRecord) -> Iterator[str]:
    taken = {region.id for region in record.regions or []}
    return (name for name in (f"human-{number}" for number in itertools.count()) if name not in taken)
