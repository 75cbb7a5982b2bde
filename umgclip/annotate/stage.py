"""Stage `annotate`: raw shards in, annotated shards and flat tables out."""

from __future__ import annotations

import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from umgclip import __version__
from umgclip.annotate.digests import file_digests
from umgclip.annotate.rules.vocabulary_file import joined, read_vocabulary
from umgclip.annotate.source_name import describe
from umgclip.annotate.tally import Report, Tally
from umgclip.annotate.work import Job, Recipe
from umgclip.data.concepts import Vocabulary, mine
from umgclip.data.stream import read_raw
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import explain_os_errors, fresh_folder, sha256_file, sha256_json, write_json
from umgclip.manifest import MadeBy, Manifest, ShardInfo, read_manifest, write_manifest
from umgclip.model.layout import WEIGHTS
from umgclip.params import AnnotateParams
from umgclip.records import ImageRecord, parse_record
from umgclip.summary import Summary

# where each output comes from; `proposals` are the benchmark's images again, without a look at their captions
SPLITS = {"train": "train", "benchmark": "benchmark", "proposals": "benchmark"}
_TABLES = {
    "images": tables.IMAGES,
    "regions": tables.REGIONS,
    "quarantine": tables.QUARANTINE,
    "rejected": tables.REJECTED,
}


@dataclass(frozen=True)
class AnnotateInputs:
    """Folders read: the data (with `train` and `benchmark`) and the base; the metrics file written."""

    data: Path
    base: Path
    metrics: Path


def run(
    params: AnnotateParams, inputs: AnnotateInputs, out: Path, *, advance: Callable[[int], None] = lambda _: None
) -> Summary:
    """Annotate `train`, and the images of `benchmark` from their captions alone.

    What a benchmark knows of tags and regions is taken away before the annotator sees it. `proposals` are the
    benchmark's again, without captions. Single-object images are left out of both, and counted: no benchmark asks
    regions of them.

    Finished shards wait in a folder beside `out`, named after everything that they depend on, until all are done.

    Raises:
        DataError: a dataset is missing or damaged, or more samples failed than `max_failed`.
        OutputError: `out` cannot be written.
    """
    manifests = {split: read_manifest(inputs.data / source) for split, source in SPLITS.items()}
    given = _Given()
    vocabulary = mine(_captions(inputs.data / "train", given), params.min_concept_count, params.held_out)
    if params.rules.vocabulary is not None:
        vocabulary = joined(vocabulary, read_vocabulary(Path(params.rules.vocabulary)))
    unknown = [name for name in params.held_out if name not in vocabulary.concepts]
    fingerprint = _fingerprint(params, inputs.base, manifests.values(), vocabulary)
    working = out.parent / f".{out.name}.{fingerprint[:16]}"
    with explain_os_errors(working):
        jobs = {
            split: _jobs(inputs.data / source, manifests[split], working / split, split)
            for split, source in SPLITS.items()
        }
    recipe = Recipe(params, inputs.base, vocabulary, run=uuid.uuid4().hex)
    _engine(params.engine)([job for split in SPLITS for job in jobs[split]], recipe, _Watch(advance))
    counts = {}
    with fresh_folder(out) as folder:
        for split in SPLITS:
            counts[split] = _collect(jobs[split], folder / split, manifests[split], fingerprint)
        _check_failures(counts["train"], params.max_failed)
        if params.rules.unknown_tags == "keep":
            _add_written(given, folder / "train")
        if params.models:
            write_json(folder / "annotators.json", describe(params))
        write_json(
            folder / "vocabulary.json",
            {
                "things": [*vocabulary.things, *sorted(given.things - given.stuff - set(vocabulary.concepts))],
                "stuff": [*vocabulary.stuff, *sorted(given.stuff - set(vocabulary.concepts))],
                "held_out": list(vocabulary.held_out),
            },
        )
    shutil.rmtree(working)
    write_json(inputs.metrics, counts)
    return _summary(counts, vocabulary, unknown)


def total_samples(data: Path) -> int:
    """Samples that `run` will annotate, for a progress bar."""
    return sum(read_manifest(data / source).samples for source in SPLITS.values())


def _engine(name: str) -> Callable[[Sequence[Job], Recipe, Report], None]:
    """What runs the jobs."""
    if name == "local":
        from umgclip.annotate import engine_local

        return engine_local.run_jobs
    from umgclip.annotate import engine_ray

    return engine_ray.run_jobs


@dataclass(frozen=True)
class _Watch:
    """Counts images only."""

    advance: Callable[[int], None]

    def add(self, tally: Tally) -> None:
        self.advance(tally.images)

    def workers(self, alive: int) -> None:
        pass


@dataclass
class _Given:
    """Names that came with the images, as tags of them or of their regions: known, however rare."""

    things: set[str] = field(default_factory=set)
    stuff: set[str] = field(default_factory=set)

    def add(self, record: ImageRecord) -> None:
        self.things.update(tag.text for tag in record.tags or [])
        for region in record.regions or []:
            (self.stuff if region.is_stuff else self.things).update(tag.text for tag in region.tags or [])


def _add_written(given: _Given, dataset: Path) -> None:
    """Names that models wrote and no vocabulary held, from the tables."""
    regions = (
        tables.read_columns(dataset / "regions.parquet", ["label", "is_stuff"])
        .group_by(["label", "is_stuff"])
        .aggregate([])
    )
    for label, is_stuff in zip(regions["label"].to_pylist(), regions["is_stuff"].to_pylist(), strict=True):
        if label is not None:
            (given.stuff if is_stuff else given.things).add(label)
    for joined_tags in tables.read_columns(dataset / "images.parquet", ["tags"])["tags"].unique().to_pylist():
        given.things.update(name for name in joined_tags.split("|") if name)


def _captions(dataset: Path, given: _Given) -> Iterable[str]:
    for shard, raw in read_raw(dataset):
        try:
            record = parse_record(raw.json, where=f"{shard}:{raw.key}")
        except DataError:
            continue  # the engine meets it again and writes it into the quarantine
        given.add(record)
        yield from (text.text for text in (record.captions or [])[:1])


def _fingerprint(params: AnnotateParams, base: Path, manifests: Iterable[Manifest], vocabulary: Vocabulary) -> str:
    """Of everything that decides the result; the number of workers does not."""
    return sha256_json(
        {
            "params": params.model_dump(exclude={"workers", "engine", "ray"}),
            "base": sha256_file(base / WEIGHTS),
            "inputs": [manifest.digest() for manifest in manifests],
            "files": file_digests(params),
            "vocabulary": [vocabulary.things, vocabulary.stuff, vocabulary.held_out],
            "code": __version__,
        }
    )


def _jobs(source: Path, manifest: Manifest, out: Path, split: str) -> list[Job]:
    out.mkdir(parents=True, exist_ok=True)
    hide, bare = split != "train", split == "proposals"
    return [Job(source / shard.path, shard, out, hide, bare) for shard in manifest.shards]


def _collect(jobs: list[Job], folder: Path, manifest: Manifest, fingerprint: str) -> dict[str, Any]:
    """Move finished shards into their dataset, join the tables, write the manifest last."""
    folder.mkdir()
    counts: dict[str, Any] = {"samples": 0, "failed": 0, "left_out": 0}
    reasons: Counter[str] = Counter()
    shards = []
    for job in jobs:
        marker = json.loads(job.marker.read_text(encoding="utf-8"))
        shutil.copy2(job.out / job.info.path, folder / job.info.path)
        shards.append(
            ShardInfo(path=job.info.path, sha256=marker["sha256"], samples=marker["samples"], bytes=marker["bytes"])
        )
        for name in ("samples", "failed", "left_out"):
            counts[name] += marker[name]
        reasons.update(marker["rejected"])
    for name, schema in _TABLES.items():
        parts = [job.out / f"{Path(job.info.path).stem}.{name}.parquet" for job in jobs]
        rows = tables.join_tables(folder / f"{name}.parquet", parts, schema)
        counts[f"{name}_rows"] = rows
    counts["labelled_regions"] = _labelled(folder)
    counts["rejected"] = dict(sorted(reasons.items()))
    made_by = MadeBy(
        stage="annotate", params_sha256=fingerprint, code_version=__version__, input_sha256=manifest.digest()
    )
    write_manifest(folder, Manifest(made_by=made_by, shards=shards, classes=manifest.classes))
    return counts


def _labelled(folder: Path) -> int:
    column = tables.read_columns(folder / "regions.parquet", ["labelled"])
    return int(column["labelled"].to_numpy(zero_copy_only=False).sum())


def _check_failures(counts: dict[str, Any], limit: float) -> None:
    total = counts["samples"] + counts["failed"]
    if counts["failed"] > limit * total:
        raise DataError(
            f"annotate: {counts['failed']} of {total} training samples could not be annotated, "
            f"more than annotate.max_failed = {limit}; see `umgclip data verify`"
        )


def _summary(counts: dict[str, dict[str, Any]], vocabulary: Vocabulary, unknown: list[str]) -> Summary:
    train = counts["train"]
    rows = [
        ("images annotated", f"{train['samples']}"),
        ("images that could not be read or annotated", f"{train['failed']}"),
        ("regions and texts that a rule refused", f"{train['rejected_rows']}"),
        ("regions (labelled)", f"{train['regions_rows']} ({train['labelled_regions']})"),
        ("things, stuff in the vocabulary", f"{len(vocabulary.things)}, {len(vocabulary.stuff)}"),
        ("held out from labels", f"{len(vocabulary.held_out)}"),
    ]
    if unknown:
        rows.append(("held-out names that no caption uses", ", ".join(unknown)))
    return Summary("annotate", tuple(rows))
