"""Run the stage `annotate`: raw shards in, annotated shards and flat tables out."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from umgclip.annotate import retry
from umgclip.annotate.cache.files import prune
from umgclip.annotate.collect import Marks, collect, marks_of, write_vocabulary
from umgclip.annotate.corrected import in_words, match_corrections
from umgclip.annotate.cut import cut_captions
from umgclip.annotate.engines import local
from umgclip.annotate.failures import check_failures, reasons_in_words
from umgclip.annotate.job import Job, Recipe
from umgclip.annotate.models.source_name import describe
from umgclip.annotate.plan import SPLITS, AnnotationPlan, make_plan, manifests_of, samples_of
from umgclip.annotate.progress import Report, RunProgress, Tally
from umgclip.annotate.rejected import not_refused
from umgclip.io.atomic import explain_os_errors, fresh_folder, write_json
from umgclip.io.places import Folder, place_at
from umgclip.params import AnnotateParams
from umgclip.stage import Summary, begin

_log = logging.getLogger(__name__)
Advance = Callable[[int], None]
Watch = Callable[[Mapping[str, float]], None]


@dataclass(frozen=True)
class AnnotateInputs:
    """The data (`train` and `benchmark` in a folder or S3) and the base, which are read; the metrics file, written."""

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

    The tags and regions of a benchmark are removed before the annotator sees its images. `proposals` are the images of
    the benchmark again, without captions. Single-object images are left out of both and counted, since no benchmark
    measures regions on them.

    Finished shards wait in a folder beside `out`, named after a digest of everything that they depend on, until all are
    done. With `annotate.output` they go below an S3 prefix of that name, and stay there. For an `out` with the name
    NAME, the file `.NAME-progress.json` beside it shows the progress.

    Args:
        params: the section `annotate`.
        inputs: the paths that are read and written.
        out: the folder that is made.
        advance: called with the number of images that were finished.
        watch: called with the numbers of the progress file whenever it is written.
        retry_failed: do only those samples again that an identical earlier run failed on, and keep the others.

    Raises:
        DataError: a dataset is missing or damaged, or more samples failed than `max_failed`.
        InputError: there is nothing to retry, weights are missing, or Ray is not installed.
        OutputError: `out` cannot be written.
    """
    with _engine(params.engine) as run_jobs:
        begin("reading captions and vocabulary")
        plan = make_plan(params, inputs.data, inputs.base, out)
        _make_folders(plan, out, retry_failed)
        limit, total = (params.max_failed, plan.manifests["train"].samples), samples_of(plan.manifests)
        progress = _Limited(total, out.parent / f".{out.name}-progress.json", advance, watch, limit)
        todo = list(_todo(plan, progress, retry_failed))
        begin("annotating")
        try:
            run_jobs(todo, plan.recipe, progress)
        finally:
            progress.write()
    marks = {split: marks_of(jobs) for split, jobs in plan.jobs.items()}
    with fresh_folder(out) as folder:
        begin("joining shards and tables")
        counts = {split: collect(plan, split, marks[split], folder / split) for split in SPLITS}
        train = counts["train"]
        matched = match_corrections(params.corrections, folder)
        lost = not_refused(train["reasons"])
        total = train["samples"] + sum(lost.values())
        check_failures(lost, _examples(marks["train"]), total, params.max_failed)
        if params.rules.unknown_tags == "keep":
            plan.given.add_written(folder / "train")
        if params.models:
            write_json(folder / "annotators.json", describe(params))
        write_vocabulary(folder, plan.recipe.vocabulary, plan.given)
        write_json(folder / "made_by.json", plan.made_by)
        if plan.precision is not None:
            write_json(folder / "label_precision.json", plan.precision.report())
        cut = cut_captions(folder / "train", inputs.base)
    _end(plan, out, marks)
    write_json(inputs.metrics, _metrics(counts, plan, matched))
    _prune(params)
    progress.write(finished=True)
    return _summary(counts, plan, cut, matched)


def total_samples(data: Path | str) -> int:
    """Return the number of samples that `run` will annotate, for a progress bar."""
    return samples_of(manifests_of(data))


class _Limited(RunProgress):
    """Progress that ends the run as soon as more training samples failed than `annotate.max_failed` allows."""

    def __init__(self, total: int, path: Path, advance: Advance, watch: Watch, limit: tuple[float, int]) -> None:
        """Start the clock; `limit` is the share of training samples that may fail, and the number of all of them."""
        super().__init__(total, path, advance, watch)
        self._max_failed, self._samples = limit

    def add(self, tally: Tally) -> None:
        super().add(tally)
        check_failures(self.done.lost, self.done.examples, self._samples, self._max_failed)


@contextmanager
def _engine(name: str) -> Iterator[Callable[[Sequence[Job], Recipe, Report], None]]:
    """Give the function of an engine that runs the jobs; the local one has a worker import its libraries before."""
    if name == "local":
        with local.recruit() as early:
            yield partial(local.run_jobs, early=early)
        return
    from umgclip.annotate.engines import ray

    yield ray.run_jobs


def _make_folders(plan: AnnotationPlan, out: Path, retry_failed: bool) -> None:
    """Make the folders where finished shards wait, if those are on this machine.

    To retry failed samples, an earlier result is split into its shards again.
    """
    if not isinstance(plan.folder, Folder):
        return
    with explain_os_errors(plan.folder.path):
        folders = {job.out.path for jobs in plan.jobs.values() for job in jobs if isinstance(job.out, Folder)}
        if retry_failed and not all(folder.is_dir() for folder in folders):
            retry.restore(out, retry.path_for(out), plan.digest, plan.jobs)
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)


def _todo(plan: AnnotationPlan, report: Report, retry_failed: bool) -> Iterable[Job]:
    """Yield the jobs that are not done, and those with failed samples to retry; report the counts of the others."""
    for job in chain.from_iterable(plan.jobs[split] for split in SPLITS):
        marker = job.marker()
        if marker is not None and (damage := job.damage(marker)) is not None:
            _log.warning("annotate: %s; the shard is annotated again", damage)
            job.out.delete(job.marker_name)
            marker = None
        if marker is None:
            yield job
        elif retry_failed and marker["failed"]:
            yield replace(job, retry=True)
        else:
            lost = {} if job.hide_truth else not_refused(marker["reasons"])
            examples = {reason: text for reason, text in marker.get("examples", {}).items() if reason in lost}
            report.add(Tally(job.info.samples, Counter(marker["reasons"]), Counter(lost), examples))


def _end(plan: AnnotationPlan, out: Path, marks: Mapping[str, Marks]) -> None:
    """Store the markers for a retry of failed samples, and delete the folder in which the shards waited."""
    if isinstance(plan.folder, Folder):
        write_json(retry.path_for(out), {"config": plan.digest, **marks})
        shutil.rmtree(plan.folder.path)


def _prune(params: AnnotateParams) -> None:
    if params.store is not None and isinstance(store := place_at(params.store), Folder):
        prune(store, int(params.store_gb * 1e9))


def _examples(marks: Marks) -> dict[str, str]:
    """Return one failed sample for each reason, from the markers of all shards."""
    examples: dict[str, str] = {}
    for mark in marks.values():
        examples = {**mark.get("examples", {}), **examples}
    return examples


def _metrics(
    counts: dict[str, dict[str, Any]], plan: AnnotationPlan, matched: dict[str, int] | None
) -> dict[str, Mapping[str, Any]]:
    metrics: dict[str, Mapping[str, Any]] = dict(counts)
    if matched is not None:
        metrics["corrections"] = matched
    if plan.precision is not None:
        metrics["label_precision"] = plan.precision.headline()
    return metrics


def _summary(
    counts: dict[str, dict[str, Any]], plan: AnnotationPlan, cut: str | None, matched: dict[str, int] | None
) -> Summary:
    train, vocabulary = counts["train"], plan.recipe.vocabulary
    unknown = [name for name in vocabulary.held_out if name not in vocabulary.concepts]
    rows = [
        ("images annotated", f"{train['samples']}"),
        ("images that could not be read or annotated", reasons_in_words(not_refused(train["reasons"]))),
        ("regions and texts that a rule refused", f"{train['rejected_rows']}"),
        ("regions (labelled)", f"{train['regions_rows']} ({train['labelled_regions']})"),
        ("things, stuff in the vocabulary", f"{len(vocabulary.things)}, {len(vocabulary.stuff)}"),
        ("held out from labels", f"{len(vocabulary.held_out)}"),
    ]
    if train["refused"]:
        rows.insert(2, ("images that a policy refused", f"{train['refused']}"))
    if matched is not None:
        rows.insert(-1, ("images that people corrected", in_words(matched)))
    if plan.precision is not None:
        rows.insert(-2, ("precision of region labels, estimated", plan.precision.in_words()))
    if plan.wordless:
        rows.insert(-1, ("vocabulary of captions", plan.wordless))
    if cut:
        rows.append(("captions that the base cuts", cut))
    if unknown:
        rows.append(("held-out names that no caption uses", ", ".join(unknown)))
    return Summary("annotate", tuple(rows))
