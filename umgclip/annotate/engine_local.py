"""Annotate the shards of a dataset on one machine, each shard by one process.

A shard is the unit of commit: its tar and tables appear under their final names, a marker with counts comes last. What
is marked is not done again, so a killed run goes on where it was. A sample that cannot be read becomes a quarantine
row; it is never dropped silently.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from umgclip.annotate.rules.rejected import Rejected, count_reasons
from umgclip.data.concepts import Vocabulary
from umgclip.data.stream import Sample, decode
from umgclip.errors import DataError, UmgclipError
from umgclip.io import tables
from umgclip.io.atomic import atomic_file, sha256_file, write_json
from umgclip.io.shards import RawSample, ShardWriter, read_shard
from umgclip.manifest import ShardInfo
from umgclip.params import AnnotateParams, threads
from umgclip.records import shows_one_object

if TYPE_CHECKING:
    from umgclip.annotate.annotator import Annotated, Annotator
    from umgclip.annotate.roles import Failure


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


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to build its annotator."""

    params: AnnotateParams
    base: Path
    vocabulary: Vocabulary


_annotator: Annotator | None = None
_progress: Any = None
_batch = 1


def run_jobs(jobs: list[Job], recipe: Recipe, advance: Callable[[int], None]) -> None:
    """Annotate every job that is not marked as done.

    Args:
        jobs: the shards.
        recipe: params, base weights and vocabulary.
        advance: called with the number of samples finished since the last call.

    Raises:
        DataError: a shard is damaged.
        UmgclipError: a worker process died.
    """
    todo = [job for job in jobs if not job.marker.is_file()]
    advance(sum(job.info.samples for job in jobs) - sum(job.info.samples for job in todo))
    if not todo:
        return
    context = multiprocessing.get_context("spawn")
    counter = context.Value("l", 0)
    workers = min(recipe.params.workers or threads(), len(todo))
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(recipe, counter))
    try:
        pending = {pool.submit(_annotate_shard, job) for job in todo}
        _wait(pending, counter, advance)
    except BrokenProcessPool as error:
        raise UmgclipError("annotate: a worker process died (out of memory?); run again to go on") from error
    finally:
        # first: a shutdown alone lets every worker finish its shard
        for worker in set(multiprocessing.active_children()) - others:
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def _wait(pending: set[Future[None]], counter: Any, advance: Callable[[int], None]) -> None:  # noqa: ANN401
    shown = 0
    while pending:
        done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
        advance(counter.value - shown)
        shown = counter.value
        for future in done:
            future.result()


def _start_worker(recipe: Recipe, counter: Any) -> None:  # noqa: ANN401 - a shared value of multiprocessing
    # here and not above: the parent, which only waits, starts without them
    import torch

    from umgclip.annotate.annotator import build_annotator

    global _annotator, _progress, _batch  # noqa: PLW0603 - the state of a worker process
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends its workers
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    _annotator = build_annotator(recipe.params, recipe.base, recipe.vocabulary)
    _progress = counter
    _batch = recipe.params.batch


def _annotate_shard(job: Job) -> None:
    if _annotator is None:
        raise UmgclipError("annotate: the worker was not started by run_jobs")
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
        for raws, samples in _decoded(job, failed, left_out, _batch):
            results = _annotator.propose(samples) if job.proposals_only else _annotator(samples)
            for raw, annotated in zip(raws, results, strict=True):
                if annotated.failures:
                    failed.append(_failed_row(raw.key, job, annotated.failures))
                    continue
                rejected.extend(annotated.rejected)
                refused.extend(one.row(raw.key, job.info.path) for one in annotated.rejected)
                writer.write(_stored(raw, annotated))
                images.append(tables.image_row(annotated.record, job.info.path))
                regions.extend(tables.region_row(annotated.record, r) for r in annotated.record.regions or [])
            with _progress.get_lock():
                _progress.value += len(raws)
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


def _failed_row(key: str, job: Job, failures: Mapping[str, Failure]) -> dict[str, Any]:
    """A sample that a role has no answer for is not complete: it waits in the quarantine."""
    role, failure = next(iter(failures.items()))
    detail = "; ".join(f"{role}: {one.reason}: {one.detail}" for role, one in failures.items())
    return {
        "key": key,
        "shard": job.info.path,
        "region_id": None,
        "stage": "annotate",
        "reason": f"{role}_{failure.reason}",
        "detail": detail,
    }


def _decoded(
    job: Job, failed: list[dict[str, Any]], left_out: list[str], size: int
) -> Iterator[tuple[list[RawSample], list[Sample]]]:
    """Batches to annotate; what cannot be read goes to `failed`, what no benchmark asks regions of to `left_out`."""
    raws: list[RawSample] = []
    samples: list[Sample] = []
    for raw in read_shard(job.source):
        try:
            sample = _without_truth(decode(raw, job.info.path), job)
        except DataError as error:
            failed.append(
                {
                    "key": raw.key,
                    "shard": job.info.path,
                    "region_id": None,
                    "stage": "annotate",
                    "reason": "unreadable",
                    "detail": str(error),
                }
            )
            with _progress.get_lock():
                _progress.value += 1
            continue
        if job.hide_truth and shows_one_object(sample.record):
            left_out.append(raw.key)
            with _progress.get_lock():
                _progress.value += 1
            continue
        raws.append(raw)
        samples.append(sample)
        if len(raws) == size:
            yield raws, samples
            raws, samples = [], []
    if raws:
        yield raws, samples


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
