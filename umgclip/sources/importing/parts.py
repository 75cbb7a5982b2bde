"""Parts of an import: each process takes some images, writes shards and tables, and last a marker file.

A part with a marker is never done again. The result depends neither on the number of processes nor on which of them
does a part.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import explain_os_errors
from umgclip.io.crew import Recruit
from umgclip.io.manifest import ShardInfo
from umgclip.io.places import Place
from umgclip.io.shards import ShardWriter
from umgclip.io.survivors import Deaths, run_parts
from umgclip.params import ImportParams, threads
from umgclip.sources.formats.catalog import KINDS
from umgclip.sources.formats.shared.reading import UNFORESEEN, made_ahead, one_at_a_time
from umgclip.sources.importing.failures import TableRows, prepare_safely, read_all
from umgclip.sources.importing.samples import LIMIT_UNIT, PreparedSample, quarantine_rows
from umgclip.sources.note import Problem, SourceImage
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Request

_NAMED = 12  # hexadecimal digits of a shard's hash in its name
_HINT = (
    "import: workers die repeatedly; if memory runs out, run again with a smaller data.imports.workers, max_pixels "
    "or max_image_mb"
)
_AHEAD = 4  # images in memory while one of them is decoded
HOPELESS = 200  # consecutive failures at the start of a part that stop the import


@dataclass(frozen=True)
class ImportContext:
    """Settings and folders that every part of an import needs.

    Attributes:
        plan: the SQLite file of the plan.
        scratch: a local folder for unfinished files.
        shards: where finished shards go.
        parts: where tables and markers go.
        stem: first part of shard names; it differs for each dataset that is added to.
    """

    request: Request
    params: ImportParams
    plan: Path
    scratch: Path
    shards: Place
    parts: Place
    stem: str


@dataclass(frozen=True)
class ImportPart:
    """A range of positions of the plan, done as one unit."""

    number: int
    span: tuple[int, int]

    def __str__(self) -> str:
        return f"part {self.number}"

    @property
    def marker(self) -> str:
        """Name of the file that marks the part as done; it is written last."""
        return f"{self.number:06d}.json"

    def table(self, name: str) -> str:
        """Return the file name of one of the part's tables."""
        return f"{self.number:06d}.{name}.parquet"


TABLES = {
    "images": tables.IMPORTED,
    "regions": tables.REGIONS,
    "quarantine": tables.QUARANTINE,
    "again": tables.AGAIN,
}
_SHARDS, _FEWEST, _MOST = 16, 32, 1000  # shards of a small dataset; fewest and most samples in a shard


class _Tables:
    """Table writers of a part, and its counters for the summary."""

    def __init__(self, part: ImportPart, folder: Path) -> None:
        self.paths = {name: folder / part.table(name) for name in TABLES}
        self._writers = {name: tables.TableWriter(self.paths[name], schema) for name, schema in TABLES.items()}
        self.unknown: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()

    def add(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        self._writers[name].add(rows)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()


def split_parts(plan: ImportPlan, request: Request, params: ImportParams) -> list[ImportPart]:
    """Split a plan into parts, each with as many images as a shard may have, with one tar, or one span of the plan."""
    total, tars = plan.size(), plan.leading()
    size = KINDS[request.kind].images_a_part or _shard_samples(params, total - tars)
    firsts, at = [*range(tars)], tars
    for first, last in plan.fact("spans") or []:
        firsts += [*range(at, first, size), first]
        at = last
    firsts += range(at, total, size)
    return [ImportPart(n, (first, last)) for n, (first, last) in enumerate(itertools.pairwise([*firsts, total]))]


def _shard_samples(params: ImportParams, images: int) -> int:
    """Return the most samples in a shard; small datasets get small shards, so that all workers have one."""
    if params.shard_samples != "auto":
        return params.shard_samples
    return max(_FEWEST, min(_MOST, -(-images // _SHARDS)))


def run_import_parts(
    context: ImportContext,
    parts: list[ImportPart],
    workers: int,
    advance: Callable[[int], None],
    *,
    early: Recruit | None,
) -> None:
    """Do all parts in worker processes.

    After a death a part is done one image at a time, to know which image it is; one over which a process dies twice
    goes to the quarantine as `crashed`.

    Args:
        context: the import that is under way.
        parts: parts that are not done yet.
        workers: processes; 0: one per core.
        advance: called with the number of images done since the last call; negative for images that are done again.
        early: the first of the processes; None: this process if one worker is requested, and an image that kills it
            ends the import.

    Raises:
        DataError, StorageError, OutputError: a folder or S3 prefix cannot be read or written.
        UmgclipError: processes die repeatedly.
    """
    workers = min(workers or threads(), len(parts))
    if early is not None or workers > 1:
        run_parts(partial(do_part, context), parts, workers, advance, _HINT, early)
        return
    for part in parts:
        do_part(context, part, advance, Deaths())


def do_part(context: ImportContext, part: ImportPart, advance: Callable[[int], None], deaths: Deaths) -> None:
    """Do one part; it is stored as a whole or not at all.

    Args:
        context: the import that is under way.
        part: the part to do.
        advance: called with 1 for each image done; after a death, before the next one is touched.
        deaths: positions in the part at which processes died before.
    """
    scratch = Path(tempfile.mkdtemp(prefix=f"part-{part.number:06d}-", dir=context.scratch))
    try:
        with explain_os_errors(scratch), warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # params have their own limit
            rows = _Tables(part, scratch)
            samples = _prepared_samples(context, part, rows, advance, deaths)
            shards = list(_shards(context, part, scratch, rows, samples))
            rows.close()
            for path in rows.paths.values():
                context.parts.put(path, path.name)
            marker = {"shards": shards, "unknown": rows.unknown, "told": rows.told, "counts": rows.counts}
            path = scratch / part.marker
            path.write_text(json.dumps(marker, sort_keys=True), encoding="utf-8")
            _sync(path)
            context.parts.put(path, part.marker)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _shards(
    context: ImportContext,
    part: ImportPart,
    scratch: Path,
    rows: _Tables,
    samples: Iterator[tuple[PreparedSample, TableRows]],
) -> Iterator[dict[str, Any]]:
    """Write and store the shards of a part; yield the manifest entry of each."""
    writer: ShardWriter | None = None
    path, size, number = scratch / "shard.tar", 0, 0
    # a part fits one shard, unless it is a tar with an unknown number of images
    most = _MOST if context.params.shard_samples == "auto" else context.params.shard_samples
    pending: list[dict[str, Any]] = []  # rows of images wait for their shard's name, those of regions need none
    seen: set[str] = set()
    for prepared, about in samples:
        record = prepared.record
        if record.key in seen:  # stored for the join, which merges it into the first one
            rows.add("again", [{"key": record.key, "name": prepared.name, "json": prepared.sample.json.decode()}])
            continue
        seen.add(record.key)
        writer = writer or ShardWriter(path)
        writer.write(prepared.sample)
        pending.append(about.image)
        rows.add("regions", about.regions)
        size += len(prepared.sample.image) + len(prepared.sample.json)
        if writer.samples >= most or size >= context.params.shard_mb * LIMIT_UNIT:
            yield _store(context, (part.number, number), (path, writer), pending, rows)
            writer, size, pending, number = None, 0, [], number + 1
    if writer is not None:
        yield _store(context, (part.number, number), (path, writer), pending, rows)


def _store(
    context: ImportContext,
    numbers: tuple[int, int],
    written: tuple[Path, ShardWriter],
    pending: list[dict[str, Any]],
    rows: _Tables,
) -> dict[str, Any]:
    path, writer = written
    writer.close()
    _sync(path)
    name = shard_name(context.stem, *numbers, writer.sha256)
    context.shards.put(path, name)
    path.unlink()
    rows.add("images", ({**image, "shard": name} for image in pending))
    return ShardInfo(path=name, sha256=writer.sha256, samples=writer.samples, bytes=writer.bytes).model_dump()


def shard_name(stem: str, part: int, number: int, sha256: str) -> str:
    """Build the name of a shard from its part, its number and its content hash, so that names never collide."""
    return f"{stem}-{part:06d}-{number:03d}-{sha256[:_NAMED]}.tar"


def _prepared_samples(
    context: ImportContext, part: ImportPart, rows: _Tables, advance: Callable[[int], None], deaths: Deaths
) -> Iterator[tuple[PreparedSample, TableRows]]:
    failures = 0  # consecutive unforeseen errors from the first image on

    def prepare(image: SourceImage) -> tuple[SourceImage, PreparedSample | None, TableRows | None, list[Problem]]:
        return image, *prepare_safely(image, context.request, context.params)

    with ImportPlan(context.plan) as plan, one_at_a_time() if deaths.over else nullcontext():
        images = read_all(context.request, context.params, plan, part.span, deaths)
        calls = (partial(prepare, image) for image in images)
        # a thread decodes and hashes, mostly without the interpreter's lock, while this one reads and writes
        for image, prepared, about, problems in made_ahead(calls, threads=1, most=_AHEAD):
            rows.counts["images"] += 1
            rows.unknown.update(image.note.unknown)
            rows.told.update(image.note.told)
            rows.add("quarantine", quarantine_rows(image.name, prepared.record.key if prepared else None, problems))
            if prepared is not None and about is not None:
                rows.counts["rewritten"] += prepared.changed
                yield prepared, about
            if failures == rows.counts["images"] - 1 and problems and problems[0].reason == UNFORESEEN:
                failures += 1
                _check_hope(context.request, failures, problems[0])
            advance(1)


def _check_hope(request: Request, failures: int, problem: Problem) -> None:
    if failures == HOPELESS:
        raise DataError(
            f"{request.source}: expected images for {request.kind}; the first {failures} of a part all failed with "
            f"unforeseen errors, the last with {problem.detail}"
        )


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())
