"""The command line: one command a stage, `promote` and `rollback`, `data`, `report`, `export`, `serve`, `doctor`.

Nothing heavy is imported until a command runs, so that `umgclip --help` answers at once.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from umgclip import __version__
from umgclip.cli import exits
from umgclip.cli.browsing import browse
from umgclip.cli.duplicates import duplicates
from umgclip.cli.importing import import_app
from umgclip.cli.serving import serve
from umgclip.errors import InputError

STAGES = ("base", "annotate", "validate", "train", "evaluate", "register")
COMMANDS = (*STAGES, "segment", "promote", "rollback", "report", "data", "export", "serve", "doctor")


class _Commands(TyperGroup):
    """Commands that name each other when one is unknown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401 - types private to Typer
        if args and args[0] not in self.commands:
            raise InputError(f"unknown command {args[0]!r}; expected one of {', '.join(self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Annotate, validate, tune and evaluate a CLIP at three grains. `dvc repro` runs the stages that are stale.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(cls=_Commands, help="Make, import, look at, verify and export datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
data_app.add_typer(import_app, name="import")
data_app.command("browse")(browse)
data_app.command("duplicates")(duplicates)


def _place(where: str | Path) -> Path | str:
    """A local path, or the URL of what lies in S3."""
    return where if isinstance(where, str) and where.startswith("s3://") else Path(where)


Params = Annotated[Path, typer.Option("--params", help="the parameter file")]
Out = Annotated[Path, typer.Option("--out", help="the folder to make; an old one is replaced")]
Metrics = Annotated[Path, typer.Option("--metrics", help="the JSON file of metrics to write")]
Data = Annotated[Path, typer.Option("--data", help="folder with the datasets train and benchmark")]
DataPlace = Annotated[
    Any,
    typer.Option(
        "--data", parser=_place, metavar="PATH", help="folder or s3:// prefix with the datasets train and benchmark"
    ),
]
Base = Annotated[Path, typer.Option("--base", help="folder that the stage base wrote")]
Annotations = Annotated[Path, typer.Option("--annotations", help="annotated training dataset")]
Benchmark = Annotated[Path, typer.Option("--benchmark", help="dataset with truth")]
Vocabulary = Annotated[Path, typer.Option("--vocabulary", help="concepts that annotate drew from the alt texts")]
Where = Annotated[str, typer.Argument(help="a dataset or a folder of datasets, local or s3://BUCKET/PREFIX")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="only say what would happen")]
Quarantine = Annotated[Path, typer.Option("--quarantine", help="rows that validate took out")]
Discard = Annotated[
    bool,
    typer.Option(
        "--discard-checkpoint",
        envvar="UMGCLIP_DISCARD_CHECKPOINT",
        help="begin again, also where a killed run could go on",
    ),
]
Adapter = Annotated[Path, typer.Option("--adapter", help="folder that the stage train wrote")]

PARAMS = Path("params.yaml")
DATA = Path("data")
ARTIFACTS = Path("artifacts")
METRICS = Path("metrics")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"umgclip {__version__}")
        raise typer.Exit


@app.callback()
def _set_up(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")  # or it tells of every table that it makes


@data_app.command("demo")
def data_demo(out: Out = DATA, params: Params = PARAMS) -> None:
    """Compose the demo: training scenes with alt texts, a benchmark with its whole truth."""
    from umgclip.cli import datasets, session
    from umgclip.params import DataParams, load_section

    section = load_section(params, DataParams)
    session.check_output(out, (params,))
    with session.untracked("data demo") as opened:
        summary = datasets.make_demo(section, out, opened.counter(datasets.demo_scenes(section)))
    session.show(summary)


@data_app.command("verify")
def data_verify(where: Where = "data") -> None:
    """Compare a dataset with its manifest, hash by hash, and read every sample."""
    from umgclip.cli import datasets, session

    samples = sum(manifest.samples for _, manifest in datasets.opened(where).values())
    with session.untracked("data verify") as opened:
        summary = datasets.check(where, opened.counter(samples))
    session.show(summary)


@data_app.command("stats")
def data_stats(where: Where = "data") -> None:
    """What datasets hold: images, captions, tags, regions, classes, and what was refused."""
    from umgclip.cli import datasets, session

    for summary in datasets.statistics(where):
        session.show(summary)


@data_app.command("head")
def data_head(
    where: Where = "data",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="samples of each dataset")] = 3,
) -> None:
    """The first samples, with all that is said of them."""
    from umgclip.cli import datasets, session

    for summary in datasets.head(where, count):
        session.show(summary)


@data_app.command("export")
def data_export(
    where: Annotated[str, typer.Argument(help="a dataset: a folder or s3://BUCKET/PREFIX with manifest.json")],
    to: Annotated[Literal["coco", "webdataset"], typer.Option("--to", help="the format")],
    out: Out,
) -> None:
    """A dataset in a format that other programs read: COCO files, or tars as img2dataset writes them."""
    from umgclip.cli import datasets, session

    place, manifest = datasets.open_dataset(where)
    if not where.startswith("s3://"):
        session.check_output(out, (Path(where),))
    from umgclip.sources.export import EXPORTS

    with session.untracked("data export") as opened:
        summary = EXPORTS[to](place, manifest, out, opened.counter(manifest.samples))
    session.show(summary)


@app.command()
def base(data: Data = DATA, out: Out = ARTIFACTS / "base", params: Params = PARAMS) -> None:
    """The CLIP to start from: trained on images and alt texts, or loaded."""
    from umgclip.cli import session
    from umgclip.params import BaseParams, load_section

    section = load_section(params, BaseParams)
    session.check_output(out, (data, params))
    from umgclip.base import stage

    with session.tracked("base", section) as opened:
        report = opened.steps(stage.total_steps(section))
        summary = stage.run(section, stage.BaseInputs(data=data), out, report=report)
    session.show(summary)


@app.command()
def annotate(
    data: DataPlace = DATA,
    base: Base = ARTIFACTS / "base",
    metrics: Metrics = METRICS / "annotate.json",
    out: Out = ARTIFACTS / "annotate",
    params: Params = PARAMS,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="do again only what an earlier run of the same could not annotate")
    ] = False,
) -> None:
    """Captions, tags, boxes and masks for raw images, with scores and sources.

    How far it is stands in `.annotate-progress.json` beside the output. A run
    that was stopped goes on where it was: run it again. Images that fail go
    to `quarantine.parquet` with a reason; --retry-failed takes them up again,
    also after the run has ended, and keeps all others as they are.
    """
    from umgclip.cli import session
    from umgclip.params import AnnotateParams, load_section

    section = load_section(params, AnnotateParams)
    session.check_output(out, (base, params) if isinstance(data, str) else (data, base, params))
    from umgclip.annotate import stage

    inputs = stage.AnnotateInputs(data=data, base=base, metrics=metrics)
    with session.tracked("annotate", section, metrics) as opened:
        advance, watch = opened.watched(stage.total_samples(data))
        summary = stage.run(section, inputs, out, advance=advance, watch=watch, retry_failed=retry_failed)
    session.show(summary)


@app.command()
def validate(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    benchmark: Benchmark = DATA / "benchmark",
    vocabulary: Vocabulary = ARTIFACTS / "annotate" / "vocabulary.json",
    data_docs: Annotated[Path, typer.Option(help="folder for the Data Docs, replaced")] = ARTIFACTS / "data_docs",
    metrics: Metrics = METRICS / "validate.json",
    out: Out = ARTIFACTS / "validate",
    params: Params = PARAMS,
) -> None:
    """The gate: check the annotations, quarantine bad rows, stop when there are too many."""
    from umgclip.cli import session
    from umgclip.params import ValidateParams, load_section

    section = load_section(params, ValidateParams)
    for written in (out, data_docs):
        session.check_output(written, (annotations, benchmark, vocabulary, params))
    from umgclip.validate import stage

    inputs = stage.ValidateInputs(annotations, benchmark, vocabulary, data_docs, metrics)
    with session.tracked("validate", section, metrics):
        summary = stage.run(section, inputs, out)
    session.show(summary)


@app.command()
def train(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    quarantine: Quarantine = ARTIFACTS / "validate" / "quarantine.parquet",
    base: Base = ARTIFACTS / "base",
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = ARTIFACTS / ".train",
    metrics: Metrics = METRICS / "train.json",
    plots: Annotated[Path, typer.Option(help="the CSV file of losses to write")] = Path("plots") / "train.csv",
    out: Out = ARTIFACTS / "train",
    params: Params = PARAMS,
    discard: Discard = False,
) -> None:
    """LoRA on both towers, at image, region and pixel level at once; goes on from its checkpoints.

    Starts `train.processes` processes itself. Started by torchrun, as in
    `torchrun --nnodes 2 ... -m umgclip train`, it is one of those instead.
    """
    from umgclip.cli import session
    from umgclip.params import TrainParams, load_section

    section = load_section(params, TrainParams)
    session.check_output(out, (annotations, quarantine, base, work, params))
    from umgclip.train import launch

    count = launch.processes(section)
    if count > 1:
        raise typer.Exit(launch.start(count, sys.argv[1:]))
    from umgclip.train import stage
    from umgclip.train.world import join_world

    inputs = stage.TrainInputs(annotations, quarantine, base, work, metrics, plots)
    with join_world(section.device) as world, session.for_one_of_many("train", section, world.first) as opened:
        report = opened.steps(stage.total_steps(section))
        summary = stage.run(section, inputs, out, report=report, world=world, discard=discard)
    if world.first:
        session.show(summary)


@app.command()
def evaluate(
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    benchmark: Benchmark = DATA / "benchmark",
    annotations: Annotated[Path, typer.Option(help="the annotator's dataset of the benchmark's images")] = ARTIFACTS
    / "annotate"
    / "benchmark",
    proposals: Annotated[Path, typer.Option(help="class-agnostic regions of the benchmark's images")] = ARTIFACTS
    / "annotate"
    / "proposals",
    masks: Annotated[
        Path | None, typer.Option(help="regions of the benchmark's images by another masker, for panoptic segments")
    ] = None,
    segmenter: Annotated[Path | None, typer.Option(help="decoder that segment wrote, to be measured too")] = None,
    metrics: Metrics = METRICS / "evaluate.json",
    out: Out = ARTIFACTS / "evaluate",
    params: Params = PARAMS,
) -> None:
    """Base and tuned model on six benchmarks, the annotator beside them, and a page to look at: `report.html`."""
    from umgclip.cli import session
    from umgclip.manifest import read_manifest
    from umgclip.params import EvaluateParams, load_section

    section = load_section(params, EvaluateParams)
    others = [folder for folder in (masks, segmenter) if folder]
    session.check_output(out, (base, adapter, benchmark, annotations, proposals, params, *others))
    images = read_manifest(benchmark).samples
    from umgclip.evaluate import stage

    inputs = stage.EvaluateInputs(base, adapter, benchmark, annotations, proposals, metrics, masks, segmenter)
    with session.tracked("evaluate", section, metrics) as opened:
        summary = stage.run(section, inputs, out, advance=opened.counter(images))
        opened.keep(out / "report.html")
    session.show(summary)


@app.command()
def register(
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    metrics: Annotated[Path, typer.Option(help="the metrics that evaluate wrote")] = METRICS / "evaluate.json",
    data: Data = DATA,
    vocabulary: Vocabulary = ARTIFACTS / "annotate" / "vocabulary.json",
    protocols: Annotated[Path, typer.Option(help="how evaluate measures, for the model card")] = ARTIFACTS
    / "evaluate"
    / "protocol.json",
    out: Out = ARTIFACTS / "register",
    params: Params = PARAMS,
) -> None:
    """A version of the model in MLflow's registry, and `champion` if the gates let it."""
    from umgclip.cli import session
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    session.check_output(out, (base, adapter, metrics, data, vocabulary, protocols, params))
    from umgclip.register import stage

    # it opens a run itself, and only when there is a version to make: repeating it leaves no trace
    inputs = stage.RegisterInputs(base, adapter, metrics, data, Path.cwd(), vocabulary, protocols)
    session.show(stage.run(section, inputs, out))


@app.command()
def segment(
    annotations: Annotations = ARTIFACTS / "annotate" / "train",
    quarantine: Quarantine = ARTIFACTS / "validate" / "quarantine.parquet",
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    work: Annotated[Path, typer.Option(help="folder for checkpoints")] = ARTIFACTS / ".segment",
    metrics: Metrics = METRICS / "segment.json",
    plots: Annotated[Path, typer.Option(help="the CSV file of losses to write")] = Path("plots") / "segment.csv",
    out: Out = ARTIFACTS / "segment",
    params: Params = PARAMS,
    discard: Discard = False,
) -> None:
    """A decoder for panoptic and semantic segmentation on the frozen tuned tower.

    Not part of `dvc repro`: run it after `umgclip train`. A killed run goes on
    from its checkpoint, and ends as it would have without.
    `umgclip evaluate --segmenter artifacts/segment` measures what it wrote.
    """
    from umgclip.cli import session
    from umgclip.params import SegmentParams, load_section

    section = load_section(params, SegmentParams)
    session.check_output(out, (annotations, quarantine, base, adapter, work, params))
    from umgclip.segment import stage

    inputs = stage.SegmentInputs(annotations, quarantine, base, adapter, work, metrics, plots)
    with session.tracked("segment", section, metrics) as opened:
        summary = stage.run(section, inputs, out, report=opened.steps(section.steps), discard=discard)
    session.show(summary)


@app.command()
def promote(
    version: Annotated[
        str | None, typer.Argument(help="number or alias of the version; the challenger when left out")
    ] = None,
    dry_run: DryRun = False,
    params: Params = PARAMS,
) -> None:
    """Make a version the champion, which is served, if its gates let it.

    The challenger is what `umgclip register` made last. The gates are
    `register.gates` in params.yaml: least values, most that may be lost
    against the champion, mean gain, time to answer. Numbers count only where
    benchmark and protocol are the champion's. The old champion is kept as
    `previous_champion`, and `umgclip rollback` goes back to it.

    Look first with `umgclip promote --dry-run`. A version that was rolled
    back is promoted only by its number, as in `umgclip promote 3`.

    Exit code 0: it is champion (with --dry-run: it would be). 7: the gates
    keep the champion. 2: no such version. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion

    promotion.promote(section, version, dry_run=dry_run)


@app.command()
def rollback(dry_run: DryRun = False, params: Params = PARAMS) -> None:
    """Make `previous_champion` the champion again, without asking the gates.

    The two change places, so a second rollback takes the first one back. The
    version that goes is marked: running the pipeline again does not promote
    it, only `umgclip promote` with its number does.

    Exit code 0: it moved (with --dry-run: it would). 7: there is no previous
    champion. 6: MLflow does not answer.
    """
    from umgclip.params import RegisterParams, load_section

    section = load_section(params, RegisterParams)
    from umgclip.cli import promotion

    promotion.rollback(section, dry_run=dry_run)


@app.command()
def report(
    metrics: Annotated[Path, typer.Option(help="the metrics that evaluate wrote")] = METRICS / "evaluate.json",
    registration: Annotated[Path, typer.Option(help="what register wrote")] = ARTIFACTS / "register" / "register.json",
    short: Annotated[bool, typer.Option("--markdown", help="the short table of the README instead")] = False,
    beside: Annotated[
        list[Path] | None, typer.Option(help="metrics of another run, a column of their own; may be repeated")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option(help="field of the protocol that may differ, such as region.resolution")
    ] = None,
) -> None:
    """The results as tables: base against tuned, the annotator, the registered version.

    With --beside, tuned models of several runs. Results of different
    protocols are refused: the error names the field.
    """
    from umgclip.cli.report import markdown, show_beside, show_results

    if beside:
        show_beside(metrics, beside, allow or [])
    elif short:
        typer.echo(markdown(metrics))
    else:
        show_results(metrics, registration)


@app.command("export")
def export_model(
    to: Annotated[str, typer.Option("--to", help="open_clip, peft or onnx")],
    model: Annotated[
        str | None, typer.Option("--model", help="models:/NAME@ALIAS, or a folder, instead of --base and --adapter")
    ] = None,
    base: Base = ARTIFACTS / "base",
    adapter: Adapter = ARTIFACTS / "train",
    out: Annotated[Path | None, typer.Option("--out", help="the folder to make; artifacts/export/FORMAT")] = None,
) -> None:
    """The tuned model for other tools: merged open_clip weights, the peft adapter, or ONNX graphs.

    Without --model it is what the stages base and train wrote. With it, a
    version of the registry or any folder that umgclip.load takes.
    """
    from umgclip.cli import session

    formats = ("open_clip", "peft", "onnx")
    if to not in formats:
        raise InputError(f"--to: expected one of {', '.join(formats)}, got {to!r}")
    folder = out or ARTIFACTS / "export" / to
    reads = (base, adapter) if model is None else () if model.startswith("models:/") else (Path(model),)
    session.check_output(folder, reads)
    from umgclip.cli.exporting import export

    source = base if model is None else model
    session.show(export(source, adapter if model is None else None, to, folder))  # type: ignore[arg-type]


app.command()(serve)


@app.command()
def doctor(params: Params = PARAMS) -> None:
    """Versions, processor, data, MLflow and S3 settings; exit code 1 when the pipeline cannot run."""
    from umgclip.cli import doctor as checks

    findings = checks.examine(Path.cwd(), params)
    checks.show(findings)
    raise typer.Exit(0 if all(finding.good for finding in findings) else 1)


def main() -> None:
    """Entry point of `umgclip`: every failure that can be explained is one message and its exit code."""
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    name = f"umgclip {words[0]}" if words and words[0] in COMMANDS else "umgclip"
    sys.exit(exits.run(app, name))


if __name__ == "__main__":
    main()
