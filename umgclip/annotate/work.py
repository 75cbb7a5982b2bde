"""What one worker does with one shard, on whichever machine an engine has put it.

A shard is the unit of commit: its tar and tables appear under their final names, a marker with counts comes last. What
is marked is not done again, so a killed run goes on where it was. A sample that cannot be read becomes a quarantine
row; it is never dropped silently.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from umgclip.annotate.rules.rejected import Rejected, count_reasons
from umgclip.annotate.tally import Tally
from umgclip.data.concepts import Vocabulary
from umgclip.data.stream import Sample, decode
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import atomic_file, sha256_file, write_json
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.manifest import ShardInfo
from umgclip.params import AnnotateParams
from umgclip.records import shows_one_object

if TYPE_CHECKING:
    from umgclip.annotate.roles import Failure
    from umgclip.annotate.written import Annotated

Advance = Callable[[Tally], None]


class NotAnsweredError(Exception):
    """A role's answers are neither stored nor may this worker load the model that gives them; names both."""


@dataclass(frozen=True)
class Job:
    """One shard to annotate: where it is, where its results go, and whether only proposals are asked for."""

    source: Path
    info: ShardInfo
    out: Path
    hide_truth: bool = False
    proposals_only: bool = False

    @property
    def marker(self) -> Path:
        """Written last: the shard is done."""
        return self.out / f"{self.info.path}.done.json"

    def is_done(self) -> bool:
        """Whether its results are complete."""
        return self.marker.is_file()


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to annotate; it travels to other processes and machines.

    Attributes:
        params: the section `annotate`.
        base: folder with the base's weights.
        vocabulary: concepts, those of `rules.vocabulary` included.
        loads: models that the worker may load, built-ins by name too; None: all. What others would say has to be
            stored.
        run: name of this run of the stage; crashes are counted within one.
    """

    params: AnnotateParams
    base: Path
    vocabulary: Vocabulary
    loads: frozenset[str] | None = None
    run: str = ""


class ShardWorker:
    """An annotator with its models, and what it does to shards."""

    def __init__(self, recipe: Recipe) -> None:
        """Make the annotator; torch and OpenCV are held to one thread, since workers share a machine."""
        # here and not above: who only waits for workers starts without them
        import torch

        from umgclip.annotate.annotator import build_annotator

        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        self._annotator = build_annotator(recipe.params, recipe.base, recipe.vocabulary)
        self._batch = recipe.params.batch

    def annotate(self, job: Job, advance: Advance) -> None:
        """Annotate one shard and commit it; the result does not depend on who does it.

        Args:
            job: the shard.
            advance: told what was done after every batch.

        Raises:
            NotAnsweredError: what may be loaded here has said all it can, and the answers are in the store; another
                model's are missing, so nothing is committed.
            DataError: the shard is damaged.
        """
        started = time.perf_counter()
        images: list[dict[str, Any]] = []
        regions: list[dict[str, Any]] = []
        failed: list[dict[str, Any]] = []
        left_out: list[str] = []
        rejected: list[Rejected] = []
        refused: list[dict[str, Any]] = []
        path = job.out / job.info.path
        with atomic_file(path) as temporary:
            writer = ShardWriter(temporary)
            for raws, samples in self._decoded(job, failed, left_out, advance):
                results = self._annotator.propose(samples) if job.proposals_only else self._annotator(samples)
                tally = Tally(len(raws))
                for raw, annotated in zip(raws, results, strict=True):
                    if annotated.failures:
                        failed.append(_failed_row(raw.key, job, annotated.failures))
                        tally.failed[failed[-1]["reason"]] += 1
                        continue
                    rejected.extend(annotated.rejected)
                    refused.extend(one.row(raw.key, job.info.path) for one in annotated.rejected)
                    writer.write(_stored(raw, annotated))
                    images.append(tables.image_row(annotated.record, job.info.path))
                    regions.extend(tables.region_row(annotated.record, r) for r in annotated.record.regions or [])
                advance(tally)
            writer.close()
        tables.write_table(path.with_suffix(".images.parquet"), images, tables.IMAGES)
        tables.write_table(path.with_suffix(".regions.parquet"), regions, tables.REGIONS)
        tables.write_table(path.with_suffix(".quarantine.parquet"), failed, tables.QUARANTINE)
        tables.write_table(path.with_suffix(".rejected.parquet"), refused, tables.REJECTED)
        found = len(images) + len(failed) + len(left_out)
        if found != job.info.samples:
            raise DataError(f"{job.source}: expected {job.info.samples} samples as in the manifest, got {found}")
        write_json(
            job.marker,
            {
                "samples": len(images),
                "failed": len(failed),
                "left_out": len(left_out),
                "rejected": count_reasons(rejected),
                "sha256": sha256_file(path),
                "bytes": path.stat().st_size,
                "seconds": round(time.perf_counter() - started, 3),
            },
        )

    def _decoded(
        self, job: Job, failed: list[dict[str, Any]], left_out: list[str], advance: Advance
    ) -> Iterator[tuple[list[RawSample], list[Sample]]]:
        """Batches to annotate; the unreadable go to `failed`, what no benchmark asks regions of to `left_out`."""
        raws: list[RawSample] = []
        samples: list[Sample] = []
        for raw in read_shard(job.source):
            try:
                sample = _without_truth(decode(raw, job.info.path), job)
            except DataError as error:
                failed.append(_quarantined(raw.key, job, "unreadable", str(error)))
                advance(Tally(1, failed=Counter({"unreadable": 1})))
                continue
            if job.hide_truth and shows_one_object(sample.record):
                left_out.append(raw.key)
                advance(Tally(1))
                continue
            raws.append(raw)
            samples.append(sample)
            if len(raws) == self._batch:
                yield raws, samples
                raws, samples = [], []
        if raws:
            yield raws, samples


def _failed_row(key: str, job: Job, failures: Mapping[str, Failure]) -> dict[str, Any]:
    """A sample that a role has no answer for is not complete: it waits in the quarantine."""
    role, failure = next(iter(failures.items()))
    detail = "; ".join(f"{role}: {one.reason}: {one.detail}" for role, one in failures.items())
    return _quarantined(key, job, f"{role}_{failure.reason}", detail)


def _quarantined(key: str, job: Job, reason: str, detail: str) -> dict[str, Any]:
    where = {"key": key, "shard": job.info.path, "region_id": None, "stage": "annotate"}
    return {**where, "reason": reason, "detail": detail}


def _without_truth(sample: Sample, job: Job) -> Sample:
    """A benchmark's truth must not reach its annotations."""
    if not job.hide_truth:
        return sample
    captions = None if job.proposals_only else sample.record.captions
    record = sample.record.model_copy(update={"captions": captions, "tags": None, "regions": None})
    return Sample(sample.pixels, record)


def _stored(raw: RawSample, annotated: Annotated) -> RawSample:
    buffer = BytesIO()
    np.save(buffer, annotated.embeddings, allow_pickle=False)
    return RawSample(raw.key, raw.image, raw.extension, annotated.record.to_json(), buffer.getvalue())
