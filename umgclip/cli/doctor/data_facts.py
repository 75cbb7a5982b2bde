"""Facts of a dataset for `umgclip doctor --data`, from its records, without decoding an image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from umgclip.annotate.vocabulary import GivenNames
from umgclip.data.stream import read_raw
from umgclip.data.vocabulary import ChunkCounts, Vocabulary, looks_english
from umgclip.io.manifest import read_manifest
from umgclip.records import ImageRecord, shows_one_object, stored_record


@dataclass
class Facts:
    """Counts over the records of a dataset.

    Attributes:
        shards: tars.
        captions: the first caption of each image, empty where it has none.
        chunks: noun chunks of these captions.
        sides: shorter and longer side of each image, px.
        with_grain: images with captions, tags, regions that are labelled, masks, stuff; and single objects.
        given: names of tags and regions that came with the images.
        hashes: of the images' content.
    """

    shards: int
    captions: list[str] = field(default_factory=list)
    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    sides: list[tuple[int, int]] = field(default_factory=list)
    with_grain: Counter[str] = field(default_factory=Counter)
    given: GivenNames = field(default_factory=GivenNames)
    hashes: set[str] = field(default_factory=set)

    def add(self, record: ImageRecord) -> None:
        """Count the record of one image."""
        caption = record.captions[0].text if record.captions else ""
        self.captions.append(caption)
        self.chunks.add([caption])
        self.sides.append((min(record.width, record.height), max(record.width, record.height)))
        self.hashes.add(record.sha256)
        regions = record.regions or []
        single = shows_one_object(record)
        has = {
            "singles": single,
            "captions": bool(caption) and not single,
            "tags": bool(record.tags or regions) and not single,
            "regions": any(region.tags and not region.is_stuff for region in regions) and not single,
            "masks": any(region.mask is not None for region in regions) and not single,
            "pairs": bool(record.pairs),
        }
        self.with_grain.update(name for name, is_so in has.items() if is_so)
        self.given.add(record)

    @property
    def names(self) -> set[str]:
        """Names in tags and regions that came with the images."""
        return self.given.things | self.given.stuff

    @property
    def images(self) -> int:
        """Number of images in the dataset."""
        return len(self.captions)

    @property
    def captioned(self) -> list[str]:
        """First captions of the images that have one."""
        return [caption for caption in self.captions if caption]

    @property
    def words(self) -> float:
        """Median number of words of the captions; 0 without captions."""
        return median(map(_words, self.captioned)) if self.captioned else 0

    def share_with_words(self, least: int, most: int) -> float:
        """Return the share of the captions whose number of words is in this range."""
        counts = list(map(_words, self.captioned))
        return sum(least <= count <= most for count in counts) / max(len(counts), 1)

    @property
    def english_share(self) -> float:
        """Share of the captions that have an English function word."""
        return sum(map(looks_english, self.captioned)) / max(len(self.captioned), 1)

    def share_named(self, vocabulary: Vocabulary) -> float:
        """Return the share of all images whose caption names a concept."""
        return sum(bool(vocabulary.find(caption)) for caption in self.captions) / max(self.images, 1)


def read_facts(folder: Path) -> Facts:
    """Read every record of a dataset.

    Raises:
        DataError: there is none, or it is damaged.
    """
    facts = Facts(len(read_manifest(folder).shards))
    for shard, raw in read_raw(folder):
        facts.add(stored_record(raw.json, key=raw.key, where=f"{shard}:{raw.key}"))
    return facts


def _words(caption: str) -> int:
    return len(caption.split())
