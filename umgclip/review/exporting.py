"""Export the images that a look is worth most for to a labelling tool, with the reasons for each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from umgclip.data.corrections import Corrections
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError, InputError
from umgclip.io.atomic import REVIEW, replaced_folder, write_bytes, write_json
from umgclip.io.images import decode_image
from umgclip.io.manifest import Manifest
from umgclip.io.places import Place
from umgclip.io.shard_source import ShardAt
from umgclip.io.shards import RawSample
from umgclip.records import ImageRecord, stored_record
from umgclip.review.labels import LabelCounts, LabelNames, count_labels, vocabulary_for
from umgclip.review.selection import BestImages, WorthyImage, draw_of
from umgclip.review.shown import (
    ABOUT,
    CHOICE,
    SHOWN,
    Item,
    Settings,
    Tool,
    about,
    choice_row,
    license_counts,
)
from umgclip.review.tools.cvat import write_cvat
from umgclip.review.tools.fiftyone import write_fiftyone
from umgclip.review.tools.label_studio import write_label_studio
from umgclip.review.worth import Judge, Reason, Worth
from umgclip.sources.near_duplicates.perceptual_hash import SIDE_PX, perceptual_hash
from umgclip.sources.near_duplicates.search import DISTANCE_MAX
from umgclip.stage import Summary

STEPS = "STEPS.txt"
_MOST_NAMES = 1000  # that a tool lists; of more, those that regions carry most often
_WRITERS: dict[Tool, Callable[[Path, Sequence[Item], Settings], list[str]]] = {
    "label-studio": write_label_studio,
    "fiftyone": write_fiftyone,
    "cvat": write_cvat,
}
_IMAGES: dict[Tool, str] = {"label-studio": "images", "fiftyone": "data", "cvat": "images"}

Advance = Callable[[int], None]


@dataclass(frozen=True)
class Wish:
    """The wishes of a user for an export.

    Attributes:
        tool: the labelling tool.
        budget: most images.
        by: `worth`: those that a look is worth most for; `random`: any, to compare with.
        seed: of the random choice, and of the order of images that are worth the same.
        distance: bits of 64 within which perceptual hashes belong to images that look the same.
        vocabulary: file with the names that a person may choose from; None: that of the stage annotate.
        image_prefix: what stands before the name of an image in the tool; None: the tool's usual one.
        masks: whether masks are shown, or boxes alone.
    """

    tool: Tool
    budget: int
    by: Literal["worth", "random"] = "worth"
    seed: int = 0
    distance: int = DISTANCE_MAX
    vocabulary: Path | None = None
    image_prefix: str | None = None
    masks: bool = True


def run_export(
    place: Place, manifest: Manifest, wish: Wish, out: Path, corrections: Corrections | None = None,
    advance: Advance = lambda _: None,
) -> Summary:  # fmt: skip
    """Choose images of a data set and write them for a tool.

    The shards are read one after the other, once to choose and once more for the images that were chosen. Memory
    depends on the budget and the number of names alone. The same data set, wish and seed give the same bytes.

    Args:
        place: the data set, local or in S3.
        manifest: of the data set.
        wish: what is asked for.
        out: the folder to make, with `choice.jsonl` (each image with its worth and the reasons), `shown.jsonl`,
            `review.json`, `STEPS.txt`, the images, and the files of the tool.
        corrections: images in them are left out, because somebody looked at them.
        advance: called with the number of images read while choosing.

    Raises:
        InputError: there is nothing to look at.
        DataError: a shard is damaged.
        OutputError: `out` cannot be written.
    """
    counts = count_labels(place, manifest)
    vocabulary = vocabulary_for(place, counts, wish.vocabulary)
    chooser = _Chooser(wish, Judge(vocabulary, counts), corrections)
    for info in manifest.shards:
        for raw in ShardAt(place, info).samples():
            chooser.look_at(raw, info.path)
        advance(info.samples)
    chosen = chooser.selection.chosen()
    if not chosen:
        by_chance = "no image has a doubtful annotation; --by random chooses by chance"
        reason = "people looked at all of them" if chooser.done else by_chance
        raise InputError(f"expected images that are worth a look, found none: {reason}")
    with replaced_folder(out, REVIEW) as folder:
        items = _fetch(place, manifest, chosen, folder / _IMAGES[wish.tool])
        settings = Settings(out.name, _names(items, vocabulary, counts), wish.image_prefix, wish.masks)
        write_bytes(folder / SHOWN, b"".join(item.record.to_json() + b"\n" for item in items))
        rows = (choice_row(rank, item) for rank, item in enumerate(items, 1))
        write_bytes(folder / CHOICE, "".join(rows).encode())
        licenses = license_counts(items)
        write_json(folder / ABOUT, {**about(wish.tool, settings), **_described(wish, manifest), "licenses": licenses})
        steps = _WRITERS[wish.tool](folder, items, settings)
        write_bytes(folder / STEPS, _steps(steps, licenses).encode())
    return _summary(out, wish, items, chooser, licenses)


class _Chooser:
    """Looks at one sample after the other and holds the best."""

    def __init__(self, wish: Wish, judge: Judge, corrections: Corrections | None) -> None:
        self._wish, self._judge, self._corrections = wish, judge, corrections
        self.selection = BestImages(wish.budget, None if wish.by == "random" else wish.distance, wish.seed)
        self.done = self.unreadable = self.doubtful = 0

    def look_at(self, raw: RawSample, shard: str) -> None:
        """Judge a sample; one whose record or image cannot be read is counted and never chosen."""
        try:
            record = stored_record(raw.json, key=raw.key, where=f"{shard}:{raw.key}")
        except DataError:
            self.unreadable += 1
            return
        if self._corrections is not None and record.sha256 in self._corrections.starts:
            self.done += 1
            if self._wish.by == "worth" and (code := self._hash(raw, shard)) is not None:
                self.selection.block(code)
            return
        worth = self._worth(record)
        if worth.value <= 0:
            return
        self.doubtful += 1
        self.selection.offer(WorthyImage(raw.key, record.sha256, shard, worth), lambda: self._hash(raw, shard))

    def _worth(self, record: ImageRecord) -> Worth:
        if self._wish.by == "random":
            value = draw_of(self._wish.seed, record.sha256)
            return Worth(value, (Reason("random", round(value, 4), ()),))
        return self._judge.worth(record)

    def _hash(self, raw: RawSample, shard: str) -> int | None:
        try:
            return perceptual_hash(decode_image(raw.image, where=f"{shard}:{raw.key}", at_least_px=2 * SIDE_PX))
        except DataError:
            self.unreadable += 1
            return None


def _fetch(place: Place, manifest: Manifest, chosen: Sequence[WorthyImage], images: Path) -> list[Item]:
    """Write the image files of the chosen, and return them with their records, best first."""
    wanted: dict[str, dict[str, WorthyImage]] = {}
    for candidate in chosen:
        wanted.setdefault(candidate.shard, {})[candidate.key] = candidate
    items: dict[str, Item] = {}
    for info in manifest.shards:
        if info.path not in wanted:
            continue
        left = dict(wanted[info.path])
        for raw in ShardAt(place, info).samples():
            if raw.key in left:
                candidate = left.pop(raw.key)
                name = f"{raw.key}.{raw.extension}"
                write_bytes(images / name, raw.image)
                record = stored_record(raw.json, key=raw.key, where=f"{info.path}:{raw.key}")
                items[candidate.sha256] = Item(candidate, record, name)
            if not left:
                break
    return [items[candidate.sha256] for candidate in chosen]


def _names(items: Sequence[Item], vocabulary: Vocabulary, counts: LabelCounts) -> LabelNames:
    """Return the names to choose from: all that are shown, then those of the vocabulary that regions carry most."""
    stuff, shown = set(vocabulary.stuff), dict[str, None]()
    for item in items:
        shown |= dict.fromkeys(tag.text for tag in item.record.tags or [])
        for region in item.record.regions or []:
            labels = [tag.text for tag in (region.tags or [])[:1]]
            shown |= dict.fromkeys(labels)
            stuff |= set(labels) if region.is_stuff else set()
    others = sorted(vocabulary.concepts, key=lambda name: (-counts.of(name), name))
    names = set(list(dict.fromkeys([*shown, *others]))[: max(_MOST_NAMES, len(shown))])
    things = names - stuff | names & set(vocabulary.things)
    return LabelNames(tuple(sorted(things)), tuple(sorted(names & stuff)))


def _described(wish: Wish, manifest: Manifest) -> dict[str, Any]:
    choice = {"budget": wish.budget, "by": wish.by, "seed": wish.seed, "distance": wish.distance}
    return {**choice, "dataset_sha256": manifest.digest()}


def _steps(steps: Sequence[str], licenses: dict[str, int]) -> str:
    numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1))
    counted = "\n".join(f"{number} images: {name}" for name, number in licenses.items())
    return f"{numbered}\n\nLicences of the images:\n{counted}\n"


def _summary(out: Path, wish: Wish, items: Sequence[Item], chooser: _Chooser, licenses: dict[str, int]) -> Summary:
    reasons: Counter[str] = Counter()
    values = [item.candidate.worth.value for item in items]
    for item in items:
        reasons.update(reason.reason for reason in item.candidate.worth.reasons)
    rows = [
        ("images", f"{len(items)} of {chooser.doubtful} that are worth a look"),
        ("chosen by", f"{wish.by}, {values[0]:.2f} to {values[-1]:.2f}"),
        ("reasons", ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in reasons.most_common())),
        ("passed over because they look like others", f"{chooser.selection.alike}"),
        ("licences", ", ".join(f"{name} {count}" for name, count in licenses.items())),
        ("choice and next steps", f"{out / CHOICE}, {out / STEPS}"),
    ]
    if chooser.done:
        rows.insert(1, ("passed over because people looked at them", f"{chooser.done}"))
    if chooser.unreadable:
        rows.insert(1, ("unreadable", f"{chooser.unreadable}"))
    if len(items) < wish.budget:
        rows.insert(1, ("fewer than the budget", f"{wish.budget} were asked for"))
    return Summary(f"review export --to {wish.tool}", tuple(rows))
