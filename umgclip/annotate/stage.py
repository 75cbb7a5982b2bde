"""Stage `annotate`: raw shards in, annotated shards and flat tables out."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from umgclip import __version__
from umgclip.annotate import kept
from umgclip.annotate.answers.code import code_digest
from umgclip.annotate.answers.identity import answer_identities
from umgclip.annotate.answers.store import prune
from umgclip.annotate.digests import file_digests
from umgclip.annotate.given import Given, captions
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.policy.refusal import refused
from umgclip.annotate.progress import Progress
from umgclip.annotate.rules.vocabulary_file import joined, read_vocabulary
from umgclip.annotate.shard_output import TABLES
from umgclip.annotate.source_name import describe
from umgclip.annotate.tally import Report, Tally
from umgclip.data.concepts import Vocabulary, mine
from umgclip.errors import DataError
from umgclip.io import tables
from umgclip.io.atomic import explain_os_errors, fresh_folder, sha256_file, sha256_json, write_json
from umgclip.io.places import Folder, place_at
from umgclip.io.shard_source import shard_at
from umgclip.manifest import REMOTE, MadeBy, Manifest, ShardInfo, read_manifest_at, write_manifest
from umgclip.model.layout import WEIGHTS
from umgclip.params import AnnotateParams
from umgclip.summary import Summary

# where each output comes from; `proposals` are the benchmark's images again, without a look at their captions
SPLITS = {"train": "train", "benchmark": "benchmark", "proposals": "benchmark"}
# params that say where and how work is done, not what comes of it
_OF_NO_EFFECT = {"workers", "engine", "ray", "store", "store_gb", "attempts", "output"}

Advance = Callable[[int], None]
Watch = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class AnnotateInputs:
    """The data (`train` and `benchmark` in a folder or S3) and the base, which are read; the metrics file written."""

    data: Path | str
    base: Path
    metrics: Path


def run(
    params: AnnotateParams,
    inputs: AnnotateInputs,
    out: Path,
    *,
    advance: Advance = lambda _: None,
    watch: Watch = lambda _: None,
    retry_failed: bool = False,
) -> Summary:
    """Annotate `train`, and the images of `benchmark` from their captions alone.

    What a benchmark knows of tags and regions is taken away before the annotator sees it. `proposals` are the
    benchmark's again, without captions. Single-object images are left out of both, and counted: no benchmark asks
    regions of them.

    Finished shards wait in a folder beside `out`, named after everything that they depend on, until all are done; with
    `annotate.output` they go below an S3 prefix of that name, and stay there. How far it is stands in
    `.NAME-progress.json` beside `out`, which is called NAME.

    Args:
        params: the section `annotate`.
        inputs: paths.
        out: the folder that is made.
        advance: told of finished images.
        watch: told the numbers of the progress file, whenever it is written.
        retry_failed: do those samples again that an earlier run of the same could not annotate, and keep the others.

    Raises:
        DataError: a dataset is missing or damaged, or more samples failed than `max_failed`.
        InputError: there is nothing to retry, weights are missing, or Ray is not installed.
        OutputError: `out` cannot be written.
    """
    manifests = {split: read_manifest_at(_below(inputs.data, source)) for split, source in SPLITS.items()}
    bare = {split: _jobs(_below(inputs.data, SPLITS[split]), manifests[split], split) for split in SPLITS}
    given = Given()
    vocabulary = mine(captions(bare["train"], given), params.min_concept_count, params.held_out)
    if params.rules.vocabulary is not None:
        vocabulary = joined(vocabulary, read_vocabulary(Path(params.rules.vocabulary)))
    unknown = [name for name in params.held_out if name not in vocabulary.concepts]
    recipe, fingerprint = _recipe(params, inputs.base, manifests.values(), vocabulary)
    working = out.parent / f".{out.name}.{recipe.config[:16]}"
    place = Folder(working) if params.output is None else place_at(params.output).within(recipe.config[:16])
    jobs = {split: [replace(job, out=place.within(split)) for job in bare[split]] for split in SPLITS}
    markers = kept.path_for(out)
    if isinstance(place, Folder):
        with explain_os_errors(working):
            if retry_failed and not working.is_dir():
                kept.restore(out, markers, recipe.config, jobs)
            for split in SPLITS:
                (working / split).mkdir(parents=True, exist_ok=True)
    progress = _Limited(_total(manifests), out.parent / f".{out.name}-progress.json", advance, watch)
    progress.limit, progress.of = params.max_failed, manifests["train"].samples
    todo = list(_todo([job for split in SPLITS for job in jobs[split]], progress, retry_failed))
    try:
        _engine(params.engine)(todo, recipe, progress)
    finally:
        progress.write()
    counts = {}
    found = {split: _markers(jobs[split]) for split in SPLITS}
    with fresh_folder(out) as folder:
        for split in SPLITS:
            counts[split] = _collect(jobs[split], found[split], folder / split)
            made_by = MadeBy(
                stage="annotate",
                params_sha256=fingerprint,
                code_version=__version__,
                input_sha256=manifests[split].digest(),
            )
            shards = [_described(job, found[split][job.name]) for job in jobs[split]]
            write_manifest(folder / split, Manifest(made_by=made_by, shards=shards, classes=manifests[split].classes))
        train = counts["train"]
        failed = train["failed"] - train["refused"]
        _check_failures(failed, train["samples"] + failed, params.max_failed)
        if params.rules.unknown_tags == "keep":
            given.add_written(folder / "train")
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
    if isinstance(place, Folder):
        write_json(markers, {"config": recipe.config, **found})
        shutil.rmtree(working)
    write_json(inputs.metrics, counts)
    if params.store is not None and isinstance(store := place_at(params.store), Folder):
        prune(store, int(params.store_gb * 1e9))
    progress.write(finished=True)
    return _summary(counts, vocabulary, unknown)


def total_samples(data: Path | str) -> int:
    """Samples that `run` will annotate, for a progress bar."""
    return _total({split: read_manifest_at(_below(data, source)) for split, source in SPLITS.items()})


def _total(manifests: Mapping[str, Manifest]) -> int:
    return sum(manifest.samples for manifest in manifests.values())


def _below(data: Path | str, name: str) -> Path | str:
    return data / name if isinstance(data, Path) else f"{data.rstrip('/')}/{name}"


class _Limited(Progress):
    """Ends the run once so many training samples failed that it cannot come to a good end."""

    limit, of = 1.0, 0

    def add(self, tally: Tally) -> None:
        super().add(tally)
        _check_failures(self.done.lost, self.of, self.limit)


def _engine(name: str) -> Callable[[Sequence[Job], Recipe, Report], None]:
    """What runs the jobs."""
    if name == "local":
        from umgclip.annotate import engine_local

        return engine_local.run_jobs
    from umgclip.annotate import engine_ray

    return engine_ray.run_jobs


def _recipe(
    params: AnnotateParams, base: Path, manifests: Iterable[Manifest], vocabulary: Vocabulary
) -> tuple[Recipe, str]:
    """What workers need, and the digest of everything that decides the result but the code."""
    weights, files = sha256_file(base / WEIGHTS), file_digests(params)
    fingerprint = sha256_json(
        {
            "params": params.model_dump(exclude=_OF_NO_EFFECT),
            "base": weights,
            "inputs": [manifest.digest() for manifest in manifests],
            "files": files,
            "vocabulary": [vocabulary.things, vocabulary.stuff, vocabulary.held_out],
            "code": __version__,
        }
    )
    config = sha256_json([fingerprint, code_digest("umgclip.annotate.work"), params.output])
    identities = answer_identities(params, weights, vocabulary, files)
    return Recipe(params, base, vocabulary, identities, config, run=uuid.uuid4().hex), fingerprint


def _jobs(where: Path | str, manifest: Manifest, split: str) -> list[Job]:
    """One for each shard; where its results go is said later. Shards in S3 are called by the end of their URL."""
    names = [s.path.rpartition("/")[2] if s.path.startswith(REMOTE) else s.path for s in manifest.shards]
    if len(set(names)) < len(names):
        names = [f"{number:06d}-{name}" for number, name in enumerate(names)]
    hide, bare = split != "train", split == "proposals"
    return [
        Job(shard_at(where, shard.path), shard, name, Folder(Path()), hide, bare)
        for shard, name in zip(manifest.shards, names, strict=True)
    ]


def _todo(jobs: Iterable[Job], report: Report, retry_failed: bool) -> Iterable[Job]:
    """What is not done, or is to be done again; the rest is counted."""
    for job in jobs:
        marker = job.marker()
        if marker is None:
            yield job
        elif retry_failed and marker["failed"]:
            yield replace(job, retry=True)
        else:
            lost = 0 if job.hide_truth else marker["failed"] - refused(marker["reasons"])
            report.add(Tally(job.info.samples, Counter(marker["reasons"]), lost))


def _markers(jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
    found = {}
    for job in jobs:
        marker = job.marker()
        if marker is None:
            raise DataError(f"{job.out}/{job.marker_name}: expected the mark of a finished shard, found none")
        found[job.name] = marker
    return found


def _described(job: Job, marker: Mapping[str, Any]) -> ShardInfo:
    return ShardInfo(path=job.label, sha256=marker["sha256"], samples=marker["samples"], bytes=marker["bytes"])


def _collect(jobs: Sequence[Job], markers: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, Any]:
    """Put finished shards into their dataset, if they are here, and join their tables."""
    folder.mkdir()
    counts: dict[str, Any] = {"samples": 0, "failed": 0, "refused": 0, "left_out": 0}
    reasons: Counter[str] = Counter()
    for job in jobs:
        marker = markers[job.name]
        if isinstance(job.out, Folder):
            Folder(folder).put(job.out.path / job.name, job.name)
        for name in ("samples", "failed", "left_out"):
            counts[name] += marker[name]
        counts["refused"] += refused(marker["reasons"])
        reasons.update(marker["rejected"])
    for name, schema in TABLES.items():
        parts = (kept.table(job.out, job.table_name(name)) for job in jobs)
        counts[f"{name}_rows"] = tables.join_tables(folder / f"{name}.parquet", parts, schema)
    counts["labelled_regions"] = _labelled(folder)
    counts["rejected"] = dict(sorted(reasons.items()))
    return counts


def _labelled(folder: Path) -> int:
    column = tables.read_columns(folder / "regions.parquet", ["labelled"])
    return int(column["labelled"].to_numpy(zero_copy_only=False).sum())


def _check_failures(failed: int, total: int, limit: float) -> None:
    if failed > limit * total:
        raise DataError(
            f"annotate: {failed} of {total} training samples could not be annotated, "
            f"more than annotate.max_failed = {limit}; see `umgclip data verify`"
        )


def _summary(counts: dict[str, dict[str, Any]], vocabulary: Vocabulary, unknown: list[str]) -> Summary:
    train = counts["train"]
    rows = [
        ("images annotated", f"{train['samples']}"),
        ("images that could not be read or annotated", f"{train['failed'] - train['refused']}"),
        ("regions and texts that a rule refused", f"{train['rejected_rows']}"),
        ("regions (labelled)", f"{train['regions_rows']} ({train['labelled_regions']})"),
        ("things, stuff in the vocabulary", f"{len(vocabulary.things)}, {len(vocabulary.stuff)}"),
        ("held out from labels", f"{len(vocabulary.held_out)}"),
    ]
    if train["refused"]:
        rows.insert(2, ("images that a policy refused", f"{train['refused']}"))
    if unknown:
        rows.append(("held-out names that no caption uses", ", ".join(unknown)))
    return Summary("annotate", tuple(rows))
