"""Make datasets of finished shards: tars, joined tables, manifest and counts, with the vocabulary beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from umgclip.annotate import retry
from umgclip.annotate.job import Job
from umgclip.annotate.output import TABLES
from umgclip.annotate.plan import AnnotationPlan
from umgclip.annotate.rejected import refused
from umgclip.annotate.vocabulary import GivenNames
from umgclip.data.vocabulary import Vocabulary
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import write_json
from umgclip.io.manifest import MadeBy, Manifest, ShardInfo, write_manifest
from umgclip.io.places import Folder

Marks = Mapping[str, Mapping[str, Any]]


def marks_of(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    """Return the content of every shard's marker, by the shard's name.

    Raises:
        DataError: a shard is not finished.
    """
    marks = {}
    for job in jobs:
        marker = job.marker()
        if marker is None:
            raise DataError(f"{job.out}/{job.marker_name}: expected the marker of a finished shard, got none")
        marks[job.name] = marker
    return marks


def collect(plan: AnnotationPlan, split: str, marks: Marks, folder: Path) -> dict[str, Any]:
    """Make a split's dataset, its manifest last, and return its counts.

    The dataset does not depend on the other splits, on where and how the work was done, or on params that decide no
    result.
    """
    jobs, manifest = plan.jobs[split], plan.manifests[split]
    counts = _put_together(jobs, marks, folder)
    made_by = MadeBy(stage="annotate", input_sha256=manifest.digest())
    shards = [_described(job, marks[job.name]) for job in jobs]
    write_manifest(folder, Manifest(made_by=made_by, shards=shards, classes=manifest.classes))
    return counts


def write_vocabulary(folder: Path, vocabulary: Vocabulary, given: GivenNames) -> None:
    """Write the concepts, and the names that came with images or that models wrote, as `vocabulary.json`."""
    concepts = set(vocabulary.concepts)
    write_json(
        folder / "vocabulary.json",
        {
            "things": [*vocabulary.things, *sorted(given.things - given.stuff - concepts)],
            "stuff": [*vocabulary.stuff, *sorted(given.stuff - concepts)],
            "held_out": list(vocabulary.held_out),
        },
    )


def _put_together(jobs: Sequence[Job], marks: Marks, folder: Path) -> dict[str, Any]:
    """Move the tars, if they are on this machine, join the tables, and return the counts."""
    folder.mkdir()
    counts: dict[str, Any] = {"samples": 0, "failed": 0, "refused": 0, "left_out": 0}
    reasons: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for job in jobs:
        mark = marks[job.name]
        if isinstance(job.out, Folder):
            Folder(folder).put(job.out.path / job.name, job.name)
        for name in ("samples", "failed", "left_out"):
            counts[name] += mark[name]
        counts["refused"] += refused(mark["reasons"])
        reasons.update(mark["rejected"])
        failed.update(mark["reasons"])
    for name, schema in TABLES.items():
        parts = (retry.table(job, name, marks[job.name]["tables"][name]) for job in jobs)
        counts[f"{name}_rows"] = tables.join_tables(folder / f"{name}.parquet", parts, schema)
    counts["labelled_regions"] = _labelled(folder)
    counts["rejected"] = dict(sorted(reasons.items()))
    counts["reasons"] = dict(sorted(failed.items()))
    return counts


def _described(job: Job, mark: Mapping[str, Any]) -> ShardInfo:
    return ShardInfo(
        path=job.label,
        sha256=mark["sha256"],
        samples=mark["samples"],
        bytes=mark["bytes"],
        dataset=job.info.dataset,
    )


def _labelled(folder: Path) -> int:
    return sum(batch["labelled"].true_count for batch in tables.batches(folder / "regions.parquet", ["labelled"]))
