"""The commands for the stages of the pipeline, and for `segment`, which is not part of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from umgclip.cli.habits.progress import PULSE
from umgclip.cli.options import (
    ARTIFACTS,
    DATA,
    METRICS,
    PARAMS,
    Adapter,
    Annotations,
    Base,
    Benchmark,
    Concepts,
    Data,
    DataLocation,
    Discard,
    Metrics,
    Out,
    Params,
    Quarantine,
    Vocabulary,
)
from umgclip.cli.teaching import is_version, local_teacher


def base(
    data: Data = DATA, out: Out = ARTIFACTS / "base", params: Params = PARAMS, vocabulary: Concepts = None
) -> None:
    """Make the base CLIP: load pretrained weights, or train it on images and alt texts."""
    from umgclip.cli import session
    from umgclip.cli.project import followed
    from umgclip.params import BaseParams, load_section

    section = load_section(params, BaseParams)
    if vocabulary is not None:
        section = section.model_copy(update={"vocabulary": str(vocabulary)})
    followed.check("base", section)
    session.check_output(out, (data, params))
    from umgclip.base import stage

    with session.only_writer(out), session.tracked("base", section) as opened:
        report = opened.steps(stage.total_steps(section))
        summary = stage.run(section, stage.BaseInputs(data=data), out, report=report)
    session.show(summary, out=out)


def annotate(
    data: DataLocation = DATA,
    base: Base = ARTIFACTS / "base",
    metrics: Metrics = METRICS / "annotate.json",
    out: Out = ARTIFACTS / "annotate",
    params: Params = PARAMS,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="retry only the samples that an identical earlier run failed on")
    ] = False,
    vocabulary: Concepts = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher",
            help="tuned model that annotates beside the base: models:/NAME@ALIAS, models:/NAME/VERSION or a folder; "
            "default: the one that params.yaml names",
        ),
    ] = None,
) -> None:
    """Annotate raw images with captions, tags, boxes and masks, each with its score and source.

    The file `.annotate-progress.json` next to the output shows the progress.
    To resume a stopped run, run the command again. Images that fail go to
    `quarantine.parquet` with a reason. --retry-failed retries them, also after
    the run has finished, and leaves all other images unchanged.
    """
    from umgclip.cli import session
    from umgclip.cli.project import followed
    from umgclip.params import AnnotateParams, load_section

    section = load_section(params, AnnotateParams)
    if vocabulary is not None:
        rules = section.rules.model_copy(update={"vocabulary": str(vocabulary)})
        section = section.model_copy(update={"rules": rules})
    if teacher is not None:
        section = section.model_copy(update={"teacher": teacher})
    followed.check("annotate", section)
    local = [data] if isinstance(data, Path) else []
    teachers = [Path(section.teacher)] if section.teacher and not is_version(section.teacher) else []
    session.check_output(out, (*local, base, params, *teachers))
    from umgclip.annotate import stage

    inputs = stage.AnnotateInputs(data=data, base=base, metrics=metrics)
    with (
        session.only_writer(out),
        session.tracked("annotate", section, metrics) as opened,
        local_teacher(section) as local_section,
    ):
        advance, watch = opened.watched(stage.total_samples(data))
        summary = stage.run(local_section, inputs, out, advance=advance, watch=watch, retry_failed=retry_failed)
    session.show(summary, out=out, metrics=metrics)


def validate(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    benchmark: Benchmark = DATA / "benchmark",
    vocabulary: Vocabulary = ARTIFACTS / "annotate" / "vocabulary.json",
    data_docs: Annotated[Path, typer.Option(help="folder for the Data Docs; an existing one is replaced")] = ARTIFACTS
    / "data_docs",
    metrics: Metrics = METRICS / "validate.json",
    out: Out = ARTIFACTS / "validate",
    params: Params = PARAMS,
) -> None:
    """Check the annotations and quarantine bad rows; fail if there are too many."""
    from umgclip.cli import session
    from umgclip.params import ValidateParams, load_section

    section = load_section(params, ValidateParams)
    for folder in (out, data_docs):
        session.check_output(folder, (annotations, benchmark, vocabulary, params))
    from umgclip.validate import stage

    inputs = stage.ValidateInputs(annotations, benchmark, vocabulary, data_docs, metrics)
    with session.only_writer(out, data_docs), session.tracked("validate", section, metrics):
        summary = stage.run(section, inputs, out)
    session.show(summary, out=out, metrics=metrics)


def train(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    quarantine: Quarantine = ARTIFACTS / "validate" / "quarantine.parquet",
    base: Base = ARTIFACTS / "base",
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = ARTIFACTS / ".train",
    metrics: Metrics = METRICS / "train.json",
    plots: Annotated[Path, typer.Option(help="CSV file of losses to write")] = Path("plots") / "train.csv",
    out: Out = ARTIFACTS / "train",
    params: Params = PARAMS,
    discard: Discard = False,
) -> None:
    """Tune both towers with LoRA on images, regions and pixels at once; resume from a checkpoint if there is one.

    The command starts `train.processes` processes itself. For a run on several
    machines, start it on each of them with PET_NNODES, PET_NODE_RANK,
    PET_MASTER_ADDR and PET_MASTER_PORT set. If torchrun starts it, as in
    `torchrun --nnodes 2 ... -m umgclip train`, it is one of torchrun's
    processes and starts no others.
    """
    from umgclip.cli import session
    from umgclip.params import TrainParams, load_section

    section = load_section(params, TrainParams)
    session.check_output(out, (annotations, quarantine, base, work, params))
    from umgclip.train import launch

    count, seat = launch.processes(section), launch.seat()
    if count > 1 or seat is not None:
        PULSE.end()  # the first of the processes shows the progress
        raise typer.Exit(launch.start(count, sys.argv[1:], seat))
    from umgclip.learning.world import join_world
    from umgclip.train import defaults, stage

    inputs = stage.TrainInputs(annotations, quarantine, base, work, metrics, plots)
    with join_world(section.device) as world, session.only_writer(*((out, work) if world.first else ())):
        used = defaults.resolved(section, base)
        with session.for_one_of_many("train", used, world.first) as opened:
            report = opened.steps(stage.total_steps(section))
            summary = stage.run(section, inputs, out, report=report, world=world, discard=discard)
    if world.first:
        session.show(summary, out=out, metrics=metrics)


def evaluate(
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    benchmark: Benchmark = DATA / "benchmark",
    annotations: Annotated[Path, typer.Option(help="the annotator's dataset of the benchmark images")] = ARTIFACTS
    / "annotate"
    / "benchmark",
    proposals: Annotated[Path, typer.Option(help="class-agnostic regions of the benchmark images")] = ARTIFACTS
    / "annotate"
    / "proposals",
    masks: Annotated[
        Path | None, typer.Option(help="regions of the benchmark images by another masker, for panoptic segmentation")
    ] = None,
    segmenter: Annotated[Path | None, typer.Option(help="decoder that segment wrote, to evaluate as well")] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="COCO results of a detector, whose boxes are named for detection AP")
    ] = None,
    metrics: Metrics = METRICS / "evaluate.json",
    headlines: Annotated[Path, typer.Option(help="JSON file for the few most important metrics")] = METRICS
    / "headlines.json",
    out: Out = ARTIFACTS / "evaluate",
    params: Params = PARAMS,
) -> None:
    """Evaluate the base, the tuned model and the annotator on all benchmarks; write the page `report.html`."""
    from umgclip.cli import session
    from umgclip.io.manifest import read_manifest
    from umgclip.params import EvaluateParams, load_section

    section = load_section(params, EvaluateParams)
    others = [folder for folder in (masks, segmenter, boxes) if folder]
    session.check_output(out, (base, adapter, benchmark, annotations, proposals, params, *others))
    images = read_manifest(benchmark).samples
    from umgclip.evaluate import stage

    inputs = stage.EvaluateInputs(
        base, adapter, benchmark, annotations, proposals, metrics, masks, segmenter, headlines, boxes
    )
    with session.only_writer(out), session.tracked("evaluate", section, metrics) as opened:
        summary = stage.run(section, inputs, out, advance=opened.counter(images))
        opened.keep(out / "report.html")
    session.show(summary, out=out, metrics=metrics)


def probe(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    quarantine: Quarantine = ARTIFACTS / "validate" / "quarantine.parquet",
    vocabulary: Vocabulary = ARTIFACTS / "annotate" / "vocabulary.json",
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    out: Annotated[Path, typer.Option("--out", help="JSON file to write")] = ARTIFACTS / "probe.json",
    regions: Annotated[
        Path | None,
        typer.Option(help="labelled regions that models are compared by: written if there is no such file, else read"),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
) -> None:
    """Measure the tuned model on training images that validate put aside, without their truth.

    `validate.leave_out` is the number of these images, which train does not
    see. The measures need no truth: whether image and caption find each other,
    whether the dense map finds the concepts of the caption, and whether it
    names regions as the annotator did whose labels are in `--regions`.
    `python -m flows.engine` compares its rounds by them.
    """
    from umgclip.cli import session
    from umgclip.evaluate import probe as probing

    inputs = probing.ProbeInputs(annotations, quarantine, vocabulary, base, adapter, regions)
    session.show(probing.run(inputs, out, device), metrics=out)


def register(
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    metrics: Annotated[Path, typer.Option(help="metrics file that evaluate wrote")] = METRICS / "evaluate.json",
    data: Data = DATA,
    vocabulary: Vocabulary = ARTIFACTS / "annotate" / "vocabulary.json",
    protocols: Annotated[Path, typer.Option(help="protocols that evaluate wrote, for the model card")] = ARTIFACTS
    / "evaluate"
    / "protocol.json",
    out: Out = ARTIFACTS / "register",
    params: Params = PARAMS,
) -> None:
    """Register the tuned model in MLflow, and make it the champion if it passes the gates."""
    from umgclip.cli import session
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    session.check_output(out, (base, adapter, metrics, data, vocabulary, protocols, params))
    from umgclip.register import stage

    # the stage opens an MLflow run itself, and only to make a new version, so that repeating it adds no run
    inputs = stage.RegisterInputs(base, adapter, metrics, data, Path.cwd(), vocabulary, protocols)
    with session.only_writer(out):
        summary = stage.run(section, inputs, out)
    session.show(summary, out=out)


def segment(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    quarantine: Quarantine = ARTIFACTS / "validate" / "quarantine.parquet",
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = ARTIFACTS / ".segment",
    metrics: Metrics = METRICS / "segment.json",
    plots: Annotated[Path, typer.Option(help="CSV file of losses to write")] = Path("plots") / "segment.csv",
    out: Out = ARTIFACTS / "segment",
    params: Params = PARAMS,
    discard: Discard = False,
) -> None:
    """Train a decoder for panoptic and semantic segmentation on the frozen tuned tower.

    It is not part of `dvc repro`: run it after `umgclip train`. A killed run
    resumes from its checkpoint and gives the same result as an uninterrupted
    one. `umgclip evaluate --segmenter artifacts/segment` evaluates the decoder.
    """
    from umgclip.cli import session
    from umgclip.params import SegmentParams, load_section

    section = load_section(params, SegmentParams)
    session.check_output(out, (annotations, quarantine, base, adapter, work, params))
    from umgclip.segment import stage

    inputs = stage.SegmentInputs(annotations, quarantine, base, adapter, work, metrics, plots)
    with session.only_writer(out, work), session.tracked("segment", section, metrics) as opened:
        summary = stage.run(section, inputs, out, report=opened.steps(section.steps), discard=discard)
    session.show(summary, out=out, metrics=metrics)
