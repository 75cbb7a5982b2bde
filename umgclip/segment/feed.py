"""Batches for the segmenter in a seeded order: batch n does not depend on earlier requests."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from umgclip.data.loader import ordered_map
from umgclip.data.order import SampleOrder, StoredSample
from umgclip.data.stream import decode
from umgclip.errors import UmgclipError
from umgclip.io.manifest import read_manifest
from umgclip.learning.counts import IMAGES, UNMIRRORED
from umgclip.learning.quarantine import BAD_RECORD, Dropped, Failed
from umgclip.params.segment import SegmentParams
from umgclip.segment.targets import Canvas, Label, PlacedSample, Targets, collate, place


@dataclass(frozen=True)
class LoadedTargets:
    """A step's batch, None where nothing in it can be learnt from.

    Attributes:
        targets: with labels as places in `rows`.
        rows: which labels of the data set this step's classifier has, ascending.
        failed: samples that could not be read.
        unnamed: samples without a named mask in the part that was looked at; passed over.
        seen: counts, with the names of `umgclip.learning.counts`.
    """

    targets: Targets | None
    rows: Int[Tensor, " t"]
    failed: tuple[Failed, ...]
    unnamed: int
    seen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Collator:
    params: SegmentParams
    canvas: Canvas
    labels: tuple[Label, ...]
    aliases: Mapping[Label, Label]
    dropped: dict[str, frozenset[str]]
    where: str

    def __call__(self, numbered: tuple[int, Sequence[StoredSample]]) -> LoadedTargets:
        step, samples = numbered
        rng = np.random.default_rng([self.params.seed, step])
        placed, failed = [], []
        for stored in samples:
            where = f"{self.where}/{stored.shard}"
            seed = int(rng.integers(1 << 62))
            try:
                placed.append(self._placed(stored, where, np.random.default_rng(seed)))
            except BAD_RECORD as error:
                message = str(error) if isinstance(error, UmgclipError) else f"{type(error).__name__}: {error}"
                detail = message if message.startswith(where) else f"{where}:{stored.raw.key}: {message}"
                failed.append(Failed(stored.raw.key, stored.shard, detail))
        named = [one for one in placed if any(one.labels)]
        rows = self._rows(named, rng)
        row_of_label = {self.labels[row]: position for position, row in enumerate(rows)}
        targets = collate(named, self.canvas, row_of_label) if named else None
        seen = {IMAGES: len(placed), UNMIRRORED: sum(one.unmirrored for one in placed)}
        return LoadedTargets(targets, torch.tensor(rows), tuple(failed), len(placed) - len(named), seen)

    def _placed(self, stored: StoredSample, where: str, rng: np.random.Generator) -> PlacedSample:
        dropped = self.dropped.get(stored.raw.key, frozenset())
        one = place(decode(stored.raw, where), dropped, self.canvas, rng)
        return replace(one, labels=[None if label is None else self.aliases.get(label, label) for label in one.labels])

    def _rows(self, samples: Sequence[PlacedSample], rng: np.random.Generator) -> list[int]:
        """Return the rows of the batch's own labels, and of others drawn at random up to the limit."""
        most = self.params.labels_per_step
        if len(self.labels) <= most:
            return list(range(len(self.labels)))
        present = {label for one in samples for label in one.labels if label is not None}
        needed = [row for row, label in enumerate(self.labels) if label in present]
        others = [row for row, label in enumerate(self.labels) if label not in present]
        drawn = rng.permutation(len(others))[: max(0, most - len(needed))]
        return sorted([*needed, *(others[i] for i in drawn.tolist())])


class SegmentFeed:
    """The seeded, endless batches of annotated samples.

    Args:
        params: the section `segment`.
        dataset: annotated shards.
        dropped: the quarantine of `validate`.
        canvas: how samples are placed.
        labels: the dataset's names, in the classifier's order, each with the label that represents it.
    """

    def __init__(
        self, params: SegmentParams, dataset: Path, dropped: Dropped, canvas: Canvas, labels: Mapping[Label, Label]
    ) -> None:
        self._params, self._dataset, self._dropped = params, dataset, dropped
        self._manifest = read_manifest(dataset)
        self._collator = _Collator(
            params, canvas, tuple(dict.fromkeys(labels.values())), labels, dropped.regions, str(dataset)
        )

    @property
    def samples(self) -> int:
        """The number of stored samples, including quarantined ones."""
        return self._manifest.samples

    def load(self, start: int) -> Generator[LoadedTargets]:
        """Yield batches without end from batch `start` on, made ahead by a thread; closing the generator ends it.

        Raises:
            DataError: a damaged shard, or every sample is left out.
        """
        yield from ordered_map(self._collator, self._steps(start), 1, "threads")

    def _steps(self, start: int) -> Iterator[tuple[int, tuple[StoredSample, ...]]]:
        order = SampleOrder(self._dataset, self._manifest, self._params.seed, 1, self._dropped.images)
        stream = order.stream(0, start * self._params.batch)
        for number in itertools.count(start):
            yield number, tuple(itertools.islice(stream, self._params.batch))
