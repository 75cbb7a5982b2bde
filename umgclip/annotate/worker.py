"""Annotate one shard after the other, on the machine that an engine has chosen.

A shard is the unit of commit: its tar and tables appear under their final names, a marker with counts comes last. A
shard with a marker is not done again, so that a killed run resumes where it stopped. A sample that cannot be read or
annotated becomes a row of the quarantine; it is never dropped silently.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence

import cv2
import torch

from umgclip.annotate.annotator import Annotator, build_annotator
from umgclip.annotate.batches import FailedSample, SampleBatch, read_batches
from umgclip.annotate.cache.cache import AnswerCache, ImageId
from umgclip.annotate.cache.fallback import first_line
from umgclip.annotate.cache.lazy_model import NotAnsweredError
from umgclip.annotate.corrected import correction_of, restrained
from umgclip.annotate.draft import Annotated
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.journal import ShardJournal
from umgclip.annotate.output import Output, SampleEntry, make_entry, output, write_marker
from umgclip.annotate.progress import Clock, Tally
from umgclip.annotate.rejected import not_refused
from umgclip.annotate.retry import Previous
from umgclip.data.corrections import Corrections, open_corrections
from umgclip.data.stream import Sample
from umgclip.errors import DataError, UmgclipError
from umgclip.io.places import place_at
from umgclip.io.shard_source import read_shard_at
from umgclip.io.shards import RawSample

__all__ = ["LOST_DEVICE", "Advance", "Job", "NotAnsweredError", "Recipe", "ShardWorker"]

Advance = Callable[[Tally], None]
LOST_DEVICE = 70  # exit code of a worker that can no longer use its GPU


class ShardWorker:
    """An annotator with its models, which annotates and commits shards."""

    def __init__(self, recipe: Recipe) -> None:
        """Make the annotator; models are loaded when they are first needed.

        torch and OpenCV use one thread, since workers share a machine, and so that sums are always in the same order.
        """
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._recipe, store = recipe, recipe.params.store
        self._cache = AnswerCache(None if store is None else place_at(store), recipe.identities)
        annotator = build_annotator(recipe.params, recipe.base, recipe.vocabulary, self._cache, recipe.loads)
        self._annotator = annotator.with_neighbours(recipe.neighbours).with_label_bar(recipe.label_bar)
        self._corrections = open_corrections(recipe.params.corrections)

    def annotate(self, job: Job, advance: Advance) -> None:
        """Annotate one shard and commit it; the result does not depend on who does it.

        Args:
            job: the shard.
            advance: called with the counts of the work after every batch.

        Raises:
            NotAnsweredError: the models that may be loaded here have stored their answers; another model's are
                missing, so nothing is committed.
            DataError: the shard is damaged.
        """
        corrections = None if job.hide_truth else self._corrections
        _Work(self._recipe, self._cache, self._annotator, job, advance, corrections).run()


class _Work:
    """The work on one shard, from its first batch to its marker."""

    def __init__(
        self, recipe: Recipe, cache: AnswerCache, annotator: Annotator, job: Job, advance: Advance,
        corrections: Corrections | None,
    ) -> None:  # fmt: skip
        self._recipe, self._cache, self._annotator, self._job, self._advance = recipe, cache, annotator, job, advance
        self._corrections = corrections
        self._journal = ShardJournal(job.out, job.name, recipe.run, recipe.params.attempts)
        self._clock, self._asked = Clock(), Tally()
        self._missing: NotAnsweredError | None = None

    def run(self) -> None:
        self._journal.open()
        self._cache.drain()
        self._cache.open(self._job.info.sha256, self._job.view)
        previous = Previous.of(self._job) if self._job.retry else None
        try:
            with output(self._job) as writing:
                if previous is None:
                    self._annotate_all(writing)
                else:
                    self._annotate_failed(writing, previous)
                self._journal.take_up([])
                if self._missing is not None:
                    raise self._missing
                if writing.samples != self._job.info.samples:
                    raise DataError(
                        f"{self._job.source}: expected {self._job.info.samples} samples as in the manifest, "
                        f"got {writing.samples}"
                    )
                with self._clock.on("write"):
                    counts = writing.close()
                closed = time.perf_counter()
        except NotAnsweredError:
            self._cache.write()
            self._journal.close()
            raise
        self._clock.add("commit", time.perf_counter() - closed)
        with self._clock.on("store"):
            self._cache.write()
        roles = {
            role: {"rows": count, "seconds": round(self._asked.seconds[role], 3), "regions": self._asked.regions[role]}
            for role, count in sorted(self._asked.asked.items())
        }
        timings = {"seconds": self._clock.total(), "timings": self._clock.read(), "roles": roles}
        write_marker(self._job, {**counts, "tables": writing.tables, **timings, "config": self._recipe.config})
        self._journal.close()

    def _annotate_all(self, writing: Output) -> None:
        for batch, entries in self._annotated(()):
            with self._clock.on("write"):
                _put_aside(writing, batch)
                for raw, one in zip(batch.raws, entries, strict=True):
                    _put(writing, raw, one)

    def _annotate_failed(self, writing: Output, previous: Previous) -> None:
        """Annotate the failed samples of an earlier run again; images are read twice rather than held in memory."""
        again: dict[str, SampleEntry | FailedSample] = {}
        left_out: set[str] = set()
        for batch, entries in self._annotated(previous.keys):
            again |= batch.failed | dict(zip((raw.key for raw in batch.raws), entries, strict=True))
            left_out.update(batch.left_out)
        earlier = previous.entries()
        for raw in read_shard_at(self._job.source):
            if raw.key in previous.keys:
                writing.add(raw, next(earlier))
                self._advance(Tally(1))
            elif raw.key in left_out:
                writing.left_out += 1
            else:
                _put(writing, raw, again[raw.key])

    def _annotated(self, keep: Collection[str]) -> Iterator[tuple[SampleBatch, list[SampleEntry | FailedSample]]]:
        """Yield every batch with the results of its samples; skip batches for which a model's answers are missing."""
        size = self._recipe.params.batch
        for batch in read_batches(self._job, size, self._journal, self._clock, keep, self._corrections):
            try:
                with self._clock.on("annotate"):
                    entries = self._batch(batch.samples, batch.ids) if batch.raws else []
            except NotAnsweredError as missing:
                self._missing = self._missing or missing
                self._advance(self._cache.drain())
                continue
            self._tell(batch, entries)
            yield batch, entries

    def _tell(self, batch: SampleBatch, entries: Sequence[SampleEntry | FailedSample]) -> None:
        tally = self._cache.drain()
        self._asked.add(tally)
        keys = [raw.key for raw in batch.raws]
        lost = [
            *batch.failed.items(),
            *((k, one) for k, one in zip(keys, entries, strict=True) if isinstance(one, FailedSample)),
        ]
        reasons = Counter(one.reason for _, one in lost)
        counted = {} if self._job.hide_truth else not_refused(reasons)
        examples = {one.reason: f"{key}: {one.detail}" for key, one in reversed(lost) if one.reason in counted}
        tally.add(Tally(batch.count, reasons, Counter(counted), examples))
        self._advance(tally)

    def _batch(self, samples: Sequence[Sample], ids: Sequence[ImageId]) -> list[SampleEntry | FailedSample]:
        """Return an entry or a failure for every sample.

        A batch over which workers died before is done image by image; such an image is not done at all.
        """
        keys = [one.key for one in ids]
        if len(samples) > 1 and self._journal.is_deadly(keys):
            return self._singly(samples, ids)
        if self._journal.is_deadly(keys):
            return [FailedSample("crashed", "the process that worked on it died each time")]
        self._journal.take_up(keys)
        self._cache.begin([sample.pixels for sample in samples], ids)
        ask = self._annotator.propose if self._job.proposals_only else self._annotator
        try:
            annotated = ask(samples)
            if self._corrections is not None:
                annotated = [self._restrained(*one) for one in zip(annotated, samples, ids, strict=True)]
            return [self._entry(one) for one in annotated]
        except (UmgclipError, NotAnsweredError, torch.AcceleratorError):
            raise
        except Exception as error:  # noqa: BLE001 - any error that an image may cause
            if len(samples) == 1:
                return [FailedSample("annotate_error", first_line(error))]
        return self._singly(samples, ids)

    def _singly(self, samples: Sequence[Sample], ids: Sequence[ImageId]) -> list[SampleEntry | FailedSample]:
        return [e for s, one in zip(samples, ids, strict=True) for e in self._batch([s], [one])]

    def _restrained(self, annotated: Annotated, sample: Sample, identity: ImageId) -> Annotated:
        """Return the sample without what models added against the word of a person who looked at it."""
        correction = correction_of(self._corrections, identity.sha256, sample.record)
        if correction is None or annotated.failures:
            return annotated
        return restrained(annotated, sample.record, correction)

    def _entry(self, annotated: Annotated) -> SampleEntry | FailedSample:
        """Return what is stored of a sample, or a failure if a role has no answer for it."""
        if not annotated.failures:
            return make_entry(annotated, self._job.label)
        role, failure = next(iter(annotated.failures.items()))
        detail = "; ".join(f"{role}: {one.reason}: {one.detail}" for role, one in annotated.failures.items())
        return FailedSample(f"{role}_{failure.reason}", detail)


def _put(writing: Output, raw: RawSample, one: SampleEntry | FailedSample) -> None:
    if isinstance(one, FailedSample):
        writing.quarantine(raw.key, one.reason, one.detail)
    else:
        writing.add(raw, one)


def _put_aside(writing: Output, batch: SampleBatch) -> None:
    for key, lost in batch.failed.items():
        writing.quarantine(key, lost.reason, lost.detail)
    writing.left_out += len(batch.left_out)
