"""Batches for the base: images with their alt texts, of the kinds that the schedule asks for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from umgclip.base.views import Subject, cut_out, subject, whole
from umgclip.data.order import BUFFER, SampleOrder, StoredSample
from umgclip.data.sides import may_be_mirrored
from umgclip.data.stream import Sample, decode, read_raw
from umgclip.data.vocabulary import ChunkCounts, Vocabulary
from umgclip.data.vocabulary_file import ConceptParams
from umgclip.errors import DataError
from umgclip.io.manifest import read_manifest
from umgclip.model.clip.files import to_input
from umgclip.params import BaseParams
from umgclip.records import ImageRecord, stored_record

_SUBJECTS_KEPT = 10_000


@dataclass(frozen=True)
class Kind:
    """The kind of batch of one step: images whose alt text names one concept (`CaptionFeed.short`), or all."""

    single: bool
    batch: int
    image_px: int
    tag_weight: float
    cut_out_share: float


@dataclass(frozen=True)
class CaptionBatch:
    """Normalised images (b, 3, px, px) and one alt text each."""

    kind: Kind
    images: Tensor
    texts: list[str]


class CaptionFeed:
    """Raw shards as batches; the vocabulary is mined from their alt texts.

    Attributes:
        vocabulary: the concepts.
        short: most concepts that the alt texts of the kind `single` name: 1, or more where those would not fill a
            batch.
        singles: how many images these are.
    """

    def __init__(self, dataset: Path, params: BaseParams) -> None:
        """Read all alt texts once.

        Raises:
            DataError: no image has an alt text, or none names a concept; says why and which keys help.
            InputError: there is no vocabulary file where `base.vocabulary` says.
        """
        self._dataset, self._seed = dataset, params.seed
        self._captions = {
            raw.key: _alt(stored_record(raw.json, key=raw.key, where=raw.key)) for _, raw in read_raw(dataset)
        }
        counts = ChunkCounts()
        counts.add(self._captions.values())
        if not counts.captions:
            raise DataError(
                f"{dataset}: base.pretrained: scratch learns from captions, and none of {len(self._captions)} images "
                "has one; import them with their captions, or set base.pretrained to a checkpoint or a tag of open_clip"
            )
        wish = ConceptParams("base", params.min_concept_count, params.language, params.vocabulary, "base.vocabulary")
        self.vocabulary: Vocabulary = wish.vocabulary(counts)
        named = {key: len(self.vocabulary.find(text)) for key, text in self._captions.items()}
        if not any(named.values()):
            raise DataError(
                f"{dataset}: none of the {counts.captions} captions names one of the {len(self.vocabulary.concepts)} "
                f"concepts of base.vocabulary ({params.vocabulary}), such as {self.vocabulary.concepts[0]!r}"
            )
        self.short = _fewest(list(named.values()), params.short_batch)
        self._singles = {key for key, count in named.items() if 0 < count <= self.short}
        self.singles = len(self._singles)
        self._subjects: dict[str, Subject | None] = {}

    @property
    def texts(self) -> set[str]:
        """The distinct alt texts of all images."""
        return set(self._captions.values())

    def batches(self, kinds: Sequence[Kind]) -> Iterator[CaptionBatch]:
        """Yield one batch per entry of `kinds`; the same seed gives the same pixels.

        Raises:
            DataError: no sample fits one of the kinds.
        """
        rng = np.random.default_rng([self._seed, 7])
        streams = {kind: self._stream(kind) for kind in kinds}
        for kind in kinds:
            samples = [decode(stored.raw, "train") for stored in itertools.islice(streams[kind], kind.batch)]
            pixels = np.stack([self._view(sample, kind, rng) for sample in samples])
            yield CaptionBatch(kind, to_input(pixels), [_alt(sample.record) for sample in samples])

    def _stream(self, kind: Kind) -> Iterator[StoredSample]:
        wanted = self._singles if kind.single else {key for key, text in self._captions.items() if text}
        seed = self._seed if kind.single else self._seed + 1
        others = frozenset(self._captions.keys() - wanted)
        return SampleOrder(self._dataset, read_manifest(self._dataset), seed, 1, others, BUFFER).stream(0)

    def _view(self, sample: Sample, kind: Kind, rng: np.random.Generator) -> np.ndarray:
        foreground = self._subject(sample) if rng.random() < kind.cut_out_share else None
        mirror = may_be_mirrored(sample.record)
        if foreground is None:
            return whole(sample.pixels, kind.image_px, rng, mirror=mirror)
        return cut_out(sample.pixels, foreground, kind.image_px, rng, mirror=mirror)

    def _subject(self, sample: Sample) -> Subject | None:
        """Return an image's subject, cached for the first images."""
        key = sample.record.key
        if key in self._subjects:
            return self._subjects[key]
        foreground = subject(sample.pixels)
        if len(self._subjects) < _SUBJECTS_KEPT:
            self._subjects[key] = foreground
        return foreground


def _alt(record: ImageRecord) -> str:
    return record.captions[0].text if record.captions else ""


def _fewest(named: list[int], batch: int) -> int:
    """Return the least number n of concepts such that a batch can be filled with alt texts that name at most n."""
    sizes = sorted(count for count in named if count)
    return sizes[min(batch, len(sizes)) - 1]
