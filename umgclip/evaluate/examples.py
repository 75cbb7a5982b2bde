"""Reading of a benchmark dataset as examples with their truth, once from front to back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from umgclip.data.stream import decode, read_raw
from umgclip.data.wording import name_key
from umgclip.errors import DataError
from umgclip.geometry import masks as mask_ops
from umgclip.io.manifest import Manifest, read_manifest
from umgclip.records import ImageRecord, PairSide, Region, Text, shows_one_object


@dataclass(frozen=True)
class Classes:
    """Names of things and stuff; a label is an index into `names`, things first.

    Attributes:
        things: labels of things.
        stuff: labels of stuff.
        held_out: labels that training never sees on a region.
        templates: prompts that the benchmark provides.
        prompt_names: name of a label in a prompt, where it differs from the label.
        groups: named sets of labels that are measured separately, such as LVIS's `rare`.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    held_out: frozenset[str]
    templates: tuple[str, ...] = ()
    prompt_names: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @cached_property
    def _numbers(self) -> tuple[dict[str, int], dict[str, int]]:
        return _numbered(self.things, 0), _numbered(self.stuff, len(self.things))

    def label(self, name: str, *, is_stuff: bool) -> int | None:
        """Return the label of a name, exact or else up to case and whitespace; None if there is none."""
        numbers = self._numbers[is_stuff]
        return numbers[name] if name in numbers else numbers.get(name_key(name))

    def prompt_name(self, label: str) -> str:
        """Return the name of a label in a prompt."""
        return self.prompt_names.get(label, label)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all classes: things, then stuff."""
        return (*self.things, *self.stuff)

    def is_thing(self, label: int) -> bool:
        """Return True if a label is that of a thing."""
        return label < len(self.things)

    def held_out_mask(self) -> Bool[np.ndarray, " things"]:
        """Return for each thing whether training never labels it."""
        return np.array([name in self.held_out for name in self.things], dtype=np.bool_)


def _numbered(names: tuple[str, ...], first: int) -> dict[str, int]:
    """Number names and the keys that they are compared by; of two equal ones the first counts."""
    numbered = list(enumerate(names, start=first))[::-1]
    return {name_key(name): number for number, name in numbered} | {name: number for number, name in numbered}


@dataclass(frozen=True)
class TrueRegion:
    """One true region: box in pixels, mask of its visible pixels (None if only the box is known), and label.

    `is_crowd` marks a group of things of unknown number; `id` is that of the region in its record.
    """

    box_xyxy: tuple[float, float, float, float]
    mask: Bool[np.ndarray, "h w"] | None
    label: int
    is_crowd: bool = False
    id: str = ""


@dataclass(frozen=True)
class DescribedRegion:
    """A region with its true text and others that look right and are wrong; at least one. Its label means nothing."""

    region: TrueRegion
    text: str
    others: tuple[str, ...]

    @property
    def texts(self) -> list[str]:
        """The true text, then the others."""
        return [self.text, *self.others]


@dataclass(frozen=True)
class Example:
    """One image and as much truth as its benchmark has.

    `tags` are labels of things. `single` marks an image of one thing, which is then the only tag.
    `negative_tags` are labels whose absence was verified; None: every label that is not a tag is absent. `pairs` are
    the visual-pattern pairs that the image is in. `described` are the regions that have a true text and others. Of the
    labels `not_exhaustive` not every thing is a region. `regions_known` is False if nobody drew regions, so that their
    absence says nothing.
    """

    key: str
    pixels: UInt8[np.ndarray, "h w 3"]
    captions: tuple[str, ...]
    tags: tuple[int, ...]
    things: tuple[TrueRegion, ...]
    stuff: tuple[TrueRegion, ...]
    single: bool
    negative_tags: tuple[int, ...] | None = None
    pairs: tuple[PairSide, ...] = ()
    described: tuple[DescribedRegion, ...] = ()
    not_exhaustive: tuple[int, ...] = ()
    regions_known: bool = True

    @cached_property
    def crowds(self) -> frozenset[int]:
        """The ids of the segments that are crowds; see `segments`."""
        regions = (*self.stuff, *self.things)
        return frozenset(i for i in self.segments[1] if regions[i - 1].is_crowd)

    @cached_property
    def segments(self) -> tuple[Int32[np.ndarray, "h w"], dict[int, int]]:
        """The truth as disjoint segments: the segment id of each pixel (0 is void), and each segment's label.

        Where regions overlap, a thing covers stuff and a later region an earlier one. An image with a region whose
        mask is unknown has no segments, because its void pixels are unknown.
        """
        ids = np.zeros(self.pixels.shape[:2], dtype=np.int32)
        regions = (*self.stuff, *self.things)
        if any(region.mask is None for region in regions):
            return ids, {}
        for number, region in enumerate(regions, start=1):
            ids[region.mask] = number
        present = np.unique(ids)
        return ids, {int(i): regions[i - 1].label for i in present if i}


def open_benchmark(folder: Path) -> tuple[Manifest, Classes]:
    """Read the manifest and the classes of a benchmark; a benchmark of captions alone has no classes.

    Raises:
        DataError: the folder holds no dataset, or an empty one.
    """
    manifest = read_manifest(folder)
    classes = manifest.classes
    if classes is None:
        return manifest, Classes((), (), frozenset())
    names, labels = classes.names or {}, [*classes.things, *classes.stuff]
    return manifest, Classes(
        tuple(classes.things),
        tuple(classes.stuff),
        _among(labels, classes.held_out),
        tuple(classes.templates or ()),
        {label: known[0] for label, known in names.items()},
        {group: _among(labels, members) for group, members in (classes.groups or {}).items()},
    )


def _among(labels: Iterable[str], names: Iterable[str]) -> frozenset[str]:
    """Return the labels that are among some names, exactly or up to case and whitespace."""
    exact = frozenset(names)
    keys = {name_key(name) for name in exact}
    return frozenset(label for label in labels if label in exact or name_key(label) in keys)


def read_examples(folder: Path, classes: Classes) -> Iterator[Example]:
    """Read every example of a benchmark, in stored order.

    Raises:
        DataError: a shard is damaged, or a truth does not fit the image or the classes; names shard and key.
    """
    for shard, raw in read_raw(folder):
        where = f"{folder / shard}"
        sample = decode(raw, where)
        yield _example(sample.pixels, sample.record, classes, f"{where}:{raw.key}")


def batched(examples: Iterator[Example], size: int) -> Iterator[list[Example]]:
    """Group examples into lists of at most `size`, all singles or all scenes; each kind keeps its order."""
    waiting: dict[bool, list[Example]] = {False: [], True: []}
    for example in examples:
        waiting[example.single].append(example)
        if len(waiting[example.single]) == size:
            yield waiting[example.single]
            waiting[example.single] = []
    yield from (rest for rest in waiting.values() if rest)


def _example(pixels: np.ndarray, record: ImageRecord, classes: Classes, where: str) -> Example:
    regions = [_region(region, pixels.shape[:2], classes, where) for region in record.regions or [] if region.tags]
    things = tuple(region for region in regions if classes.is_thing(region.label))
    stuff = tuple(region for region in regions if not classes.is_thing(region.label))
    single = shows_one_object(record)
    tags = _labels(record.tags or [], classes)
    if single:
        tags = _only(things, tags, where)
    return Example(
        key=record.key,
        pixels=pixels,
        captions=tuple(text.text for text in record.captions or []),
        tags=tags,
        things=things,
        stuff=stuff,
        single=single,
        negative_tags=None if record.negative_tags is None else _labels(record.negative_tags, classes),
        pairs=tuple(record.pairs or ()),
        not_exhaustive=_labels([Text(text=t, source="") for t in record.not_exhaustive or []], classes),
        regions_known=record.regions is not None,
        described=tuple(
            _described(region, pixels.shape[:2], where) for region in record.regions or [] if _is_described(region)
        ),
    )


def _is_described(region: Region) -> bool:
    return bool(region.captions and region.negatives)


def _described(region: Region, size_hw: tuple[int, ...], where: str) -> DescribedRegion:
    texts, others = region.captions or [], region.negatives or []
    true = TrueRegion(region.box_xyxy, _mask(region, size_hw, where), -1, region.is_crowd)
    return DescribedRegion(true, texts[0].text, tuple(text.text for text in others))


def _labels(texts: Iterable[Text], classes: Classes) -> tuple[int, ...]:
    """Return the labels of the things among some tags."""
    labels = {classes.label(text.text, is_stuff=False) for text in texts}
    return tuple(sorted(label for label in labels if label is not None))


def _only(things: tuple[TrueRegion, ...], tags: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return the label of a single-object image: its tag if it has one, else the one that its regions share."""
    labels = tags if len(tags) == 1 else tuple(dict.fromkeys(region.label for region in things))
    if len(labels) != 1:
        raise DataError(
            f"{where}: expected one tag among the things, or regions of one thing, in a single-object image, "
            f"got {len(tags)} tags and regions of {len(labels)} things"
        )
    return labels


def _region(region: Region, size_hw: tuple[int, ...], classes: Classes, where: str) -> TrueRegion:
    name, is_crowd = (region.tags or [])[0].text, region.is_crowd
    label = classes.label(name, is_stuff=region.is_stuff)
    if label is None:
        kind = "stuff" if region.is_stuff else "things"
        raise DataError(f"{where}: region {region.id}: expected a tag among the {kind} of the manifest, got {name!r}")
    return TrueRegion(region.box_xyxy, _mask(region, size_hw, where), label, is_crowd, region.id)


def _mask(region: Region, size_hw: tuple[int, ...], where: str) -> Bool[np.ndarray, "h w"] | None:
    if region.mask is None:
        return None
    if region.mask.size != tuple(size_hw):
        raise DataError(
            f"{where}: region {region.id}: expected a mask of size {tuple(size_hw)}, got {region.mask.size}"
        )
    mask = mask_ops.decode(region.mask)
    if not mask.any():
        raise DataError(f"{where}: region {region.id}: expected a mask with pixels, got an empty one")
    return mask


def in_second_half(key: str) -> bool:
    """Return True if an image is in the second half, by its key alone and so for any order of the files."""
    return bool(hashlib.sha256(key.encode()).digest()[0] & 1)
