"""Batches of annotated samples for one process: its part of each global batch, decoded by several workers.

The samples of step n and every random choice about them follow from seed, step and stream alone, so neither the number
of processes or workers nor the step that a run began with changes what is trained on.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from umgclip.data.loader import Backend, ordered_map
from umgclip.data.mixture import UNNAMED, MixedOrder, datasets_of, require_names
from umgclip.data.order import SampleOrder, StoredSample
from umgclip.data.sides import may_be_mirrored
from umgclip.data.stream import Sample, decode
from umgclip.errors import DataError, InputError
from umgclip.io.manifest import read_manifest
from umgclip.learning.counts import IMAGES, REGIONS, SHOWN_OF, SLIVERS, UNMIRRORED, WITH_LONG, WITH_NEGATIVES
from umgclip.learning.quarantine import BAD_RECORD, Dropped, Failed
from umgclip.learning.world import BatchShare
from umgclip.model.clip.tower import DenseClip
from umgclip.params import TrainParams, threads
from umgclip.records import ImageRecord, Source
from umgclip.train.batch import Batch, TaughtSample, View, collate, read_teacher, view_of
from umgclip.train.objective.labels import bounds, cut, merge
from umgclip.train.resolutions import index_at, resolutions, steps_before
from umgclip.train.views import SquareCrops, views_of

_MOST_WORKERS = 8
_LEAST_PX = 0.5  # least side of a box that a dense map can still resolve
_Read = tuple[StoredSample, TaughtSample]


@dataclass(frozen=True)
class LoadedBatch:
    """A process's part of a global batch.

    `failed` are the samples of it that could not be read, and are left out; `seen` are the counts of `of_samples`.
    """

    step: int
    batch: Batch
    keys: tuple[str, ...]
    failed: tuple[Failed, ...] = ()
    seen: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _Step:
    """The stored samples of one step, stream by stream, and the index of its resolution."""

    number: int
    resolution: int
    streams: tuple[tuple[int, tuple[StoredSample, ...]], ...]


@dataclass(frozen=True)
class _Collator:
    """Decodes a step's samples; sent to worker processes, so it holds values only."""

    views: tuple[View, ...]  # of each resolution
    embed_dim: int
    seed: int
    streams: int
    where: str
    dropped: dict[str, frozenset[str]]
    # processes that divide one stream among them: each decodes all of it and uses this share
    share: BatchShare = field(default_factory=BatchShare)
    extra: tuple[SquareCrops, ...] = ()

    def __call__(self, step: _Step) -> LoadedBatch:
        batches, keys, failed, seen = [], [], [], Counter[str]()
        view = self.views[step.resolution]
        for stream, samples in step.streams:
            read, lost = self._decoded(samples)
            failed += lost
            # a stream alone has the random numbers that it had before there were several
            seed = [self.seed, step.number] if self.streams == 1 else [self.seed, step.number, stream]
            try:
                batch = self._collated(read, seed, view)
            except BAD_RECORD:
                read, lost = self._sorted_out(read, seed, view)
                failed += lost
                batch = self._collated(read, seed, view)
            if batch is not None:
                start, stop = bounds(len(read), self.share.parts, self.share.index)
                batches.append(cut(batch, start, stop))
                seen += of_samples((item.sample.record for _, item in read[start:stop]), batches[-1])
                shown = [stored for stored, _ in read[start:stop]]
                seen += Counter(f"{SHOWN_OF}{stored.dataset or UNNAMED}" for stored in shown)
                keys += [stored.raw.key for stored in shown]
        if not keys:
            batches = [self._nothing([self.seed, step.number], view)]
        return LoadedBatch(step.number, merge(batches), tuple(keys), tuple(failed), dict(seen))

    def _nothing(self, seed: list[int], view: View) -> Batch:
        """Return a batch without images."""
        side = view.image_px
        record = ImageRecord(key="-", width=side, height=side, sha256="0" * 64, source=Source(dataset="-"))
        item = TaughtSample(Sample(np.zeros((side, side, 3), np.uint8), record), None)
        one = self._with_extra(collate([item], view, self.embed_dim, np.random.default_rng(0)), [item], seed)
        empty = torch.zeros(0, dtype=torch.long)
        return dataclasses.replace(
            cut(one, 0, 0), texts=[], tag_texts=empty, tag_targets=torch.zeros((0, 0), dtype=torch.bool)
        )

    def _collated(self, read: list[_Read], seed: list[int], view: View) -> Batch | None:
        if not read:
            return None
        items = [item for _, item in read]
        return self._with_extra(collate(items, view, self.embed_dim, np.random.default_rng(seed)), items, seed)

    def _with_extra(self, batch: Batch, items: Sequence[TaughtSample], seed: list[int]) -> Batch:
        """Add the views that objectives on images ask for."""
        if not self.extra:
            return batch
        samples = [item.sample for item in items]
        return dataclasses.replace(batch, views={view.name: view(samples, seed) for view in self.extra})

    def _sorted_out(self, read: list[_Read], seed: list[int], view: View) -> tuple[list[_Read], list[Failed]]:
        """Separate samples that fit into a batch from those whose masks or boxes do not match their image."""
        good, lost = [], []
        for stored, item in read:
            try:
                self._collated([(stored, item)], seed, view)
            except BAD_RECORD as error:
                where = f"{self.where}/{stored.shard}:{stored.raw.key}"
                lost.append(Failed(stored.raw.key, stored.shard, f"{where}: {type(error).__name__}: {error}"))
            else:
                good.append((stored, item))
        return good, lost

    def _decoded(self, samples: tuple[StoredSample, ...]) -> tuple[list[_Read], list[Failed]]:
        read, lost = [], []
        for stored in samples:
            raw = stored.raw
            try:
                sample = decode(raw, f"{self.where}/{stored.shard}")
                item = TaughtSample(sample, self._teacher(raw.embeddings), self.dropped.get(raw.key, frozenset()))
            except (DataError, ValueError) as error:
                lost.append(Failed(raw.key, stored.shard, str(error)))
            else:
                read.append((stored, item))
        return read, lost

    def _teacher(self, data: bytes | None) -> Float[np.ndarray, "rows d"] | None:
        try:
            return read_teacher(data)
        except ValueError as error:
            raise DataError(f"teacher embeddings: {error}") from error


class TrainFeed:
    """Batches of annotated samples; batch n does not depend on earlier requests.

    Raises:
        DataError: no dataset.
        InputError: `train.loader.streams` does not go with the number of processes, or `train.mixture` with the
            datasets.
    """

    def __init__(
        self, params: TrainParams, dataset: Path, dropped: Dropped, tower: DenseClip, share: BatchShare | None = None
    ) -> None:
        self._params, self._dataset, self._dropped = params, dataset, dropped
        self._manifest = read_manifest(dataset)
        self._share = BatchShare() if share is None else share
        self.streams = streams(params, self._share.parts)
        if params.mixture:
            require_names(params.mixture, datasets_of(self._manifest))
        self._embed_dim = tower.embed_dim
        self._resolutions = resolutions(params)
        self._views = tuple(view_of(params, tower, at) for at in self._resolutions)
        self._extra = views_of(params, tower)

    def from_step(self, start: int) -> Iterator[Batch]:
        """Yield batches without end, from batch `start` on."""
        return (loaded.batch for loaded in self.load(start))

    def load(self, start: int, workers: int = 1, backend: Backend = "threads") -> Generator[LoadedBatch]:
        """Yield batches with their failed samples, decoded ahead by workers; closing the generator ends these.

        Raises:
            DataError: a damaged shard, or every sample is left out.
        """
        indices, share = self._mine()
        collator = _Collator(
            self._views, self._embed_dim, self._params.seed, self.streams, str(self._dataset), self._dropped.regions,
            share, self._extra,
        )  # fmt: skip
        yield from ordered_map(collator, self._steps(indices, start), workers, backend)

    @property
    def image_hw(self) -> tuple[int, int]:
        """The height and width in pixels of the images of the last step."""
        return self._views[-1].image_px, self._views[-1].image_px

    @property
    def samples(self) -> int:
        """The number of stored samples, including quarantined ones."""
        return self._manifest.samples

    def _mine(self) -> tuple[range, BatchShare]:
        """Return the streams of this process, and its share of them where processes divide a stream."""
        index, parts = self._share.index, self._share.parts
        if self.streams >= parts:
            return range(*bounds(self.streams, parts, index)), BatchShare()
        sharing = parts // self.streams
        return range(index // sharing, index // sharing + 1), BatchShare(index % sharing, sharing)

    def _order(self) -> SampleOrder | MixedOrder:
        folder, manifest, seed = self._dataset, self._manifest, self._params.seed
        if self._params.mixture:
            return MixedOrder(folder, manifest, seed, self._params.mixture, self.streams, self._dropped.images)
        return SampleOrder(folder, manifest, seed, self.streams, self._dropped.images)

    def _steps(self, indices: range, start: int) -> Iterator[_Step]:
        order = self._order()
        sizes = [{index: _size(at.batch, self.streams, index) for index in indices} for at in self._resolutions]
        before = steps_before(self._resolutions, start)
        given = {index: sum(n * size[index] for n, size in zip(before, sizes, strict=True)) for index in indices}
        samples = {index: order.stream(index, given[index]) for index in indices}
        for number in itertools.count(start):
            at = index_at(self._resolutions, number)
            drawn = ((index, tuple(itertools.islice(samples[index], size))) for index, size in sizes[at].items())
            yield _Step(number, at, tuple(drawn))


def _size(batch: int, streams: int, index: int) -> int:
    """Return how many samples of a batch come from a stream."""
    first, last = bounds(batch, streams, index)
    return last - first


def streams(params: TrainParams, processes: int) -> int:
    """Return how many streams the order of samples has.

    Raises:
        InputError: they cannot be divided evenly among the processes, or a batch has not one sample for each.
    """
    wanted = processes if params.loader.streams == "auto" else params.loader.streams
    if wanted % processes and processes % wanted:
        raise InputError(
            f"train.loader.streams: expected a multiple or a divisor of the {processes} processes, got {wanted}"
        )
    least = max(wanted, processes) * params.accumulate
    for at in resolutions(params):
        if at.batch < least:
            raise InputError(
                f"{at.key}.batch: expected at least {least}, an image for each of {processes} processes, {wanted} "
                f"streams and {params.accumulate} micro-batches, got {at.batch}"
            )
    return wanted


def decoders(params: TrainParams, on_gpu: bool, processes_here: int) -> int:
    """Return the number of decoding workers for one of this machine's `processes_here` processes."""
    if params.loader.workers != "auto":
        return params.loader.workers
    return max(1, min(_MOST_WORKERS, threads() // processes_here - 1)) if on_gpu else 1


def of_samples(records: Iterable[ImageRecord], batch: Batch) -> Counter[str]:
    """Count the samples as they were shown: images and regions, and some kinds of either."""
    records = list(records)
    height, width = batch.images.shape[2:]
    x0, y0, x1, y1 = batch.boxes_xyxy.unbind(1)
    slivers = ((x1 - x0) * width < _LEAST_PX) | ((y1 - y0) * height < _LEAST_PX)
    return Counter(
        {
            IMAGES: len(records),
            UNMIRRORED: sum(not may_be_mirrored(record) for record in records),
            REGIONS: len(slivers),
            SLIVERS: int(slivers.sum()),
            WITH_NEGATIVES: len(batch.region_of_negative.unique()),
            WITH_LONG: int((batch.long_caption >= 0).sum()),
        }
    )
