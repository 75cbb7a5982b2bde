"""`umgclip compare`: two or more CLIPs on one benchmark, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from umgclip.cli.lines import say
from umgclip.cli.options import DATA, PARAMS, Benchmark, Params
from umgclip.errors import InputError
from umgclip.suggestions import did_you_mean

if TYPE_CHECKING:
    from umgclip.cli.terminal import Sheet
    from umgclip.evaluate.compare import ComparedModels
    from umgclip.params import EvaluateParams

_FORMS = "models:/NAME@ALIAS, a folder, or NAME:TAG of open_clip such as ViT-B-32:laion2b_s34b_b79k"
_WIDTH = 120


def compare(
    models: Annotated[
        list[str], typer.Argument(help=f"two or more models: {_FORMS}; NAME=MODEL names the column of a model")
    ],
    benchmark: Benchmark = DATA / "benchmark",
    images: Annotated[
        Path | None, typer.Option("--images", help="folder of photographs, with --instances instead of --benchmark")
    ] = None,
    instances: Annotated[
        Path | None, typer.Option("--instances", help="COCO file with the true boxes and names of --images")
    ] = None,
    boxes: Annotated[
        Path | None, typer.Option(help="COCO results of a detector, whose boxes are named for detection AP")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="JSON file for all metrics, intervals and protocols")
    ] = None,
    complete: Annotated[bool, typer.Option("--all", help="show every metric, not the main ones alone")] = False,
    params: Params = PARAMS,
) -> None:
    """Compare CLIPs on boxes, masks, captions or classes of your own.

    The benchmark is a dataset that `umgclip data import ... --split benchmark`
    wrote, or --images with --instances. Every model reads the same images,
    each at its own size and with its own prompt, unless the section evaluate
    of params.yaml, if there is one, sets others. Beside each model after the
    first are its change from the first and the change's 95 % interval.

    Examples:
      umgclip compare ViT-B-32:openai ViT-B-16:openai
      umgclip compare base=artifacts/base tuned=artifacts --images photos --instances boxes.json
    """
    names = _names(models)
    if (images is None) != (instances is None):
        raise InputError("compare: expected --images FOLDER and --instances FILE together, got one of them")
    for name in names.values():
        _require_model(name)
    from umgclip.cli import session, terminal
    from umgclip.evaluate.compare import compare as measure
    from umgclip.io.manifest import read_manifest

    section = _settings(params)
    with ExitStack() as stack:
        if images is not None and instances is not None:
            benchmark = stack.enter_context(_imported(images, instances))
        total = read_manifest(benchmark).samples
        clips = stack.enter_context(_opened(names))
        advance = stack.enter_context(session.untracked("compare")).counter(total)
        comparison = measure(section, benchmark, clips, boxes=boxes, advance=advance)
    if out is not None:
        comparison.write(out)
    document = {name: getattr(comparison, name) for name in ("metrics", "change", "protocols", "per_class")}
    terminal.show(table(comparison, complete=complete), least_width=_WIDTH, document=document)
    if not comparison.change:
        terminal.remark("no intervals: so few images do not show how precise the numbers are")


def table(comparison: ComparedModels, *, complete: bool) -> Sheet:
    """Return metrics by row and models by column; of two models also their difference and its interval."""
    from umgclip.cli.session import numbers
    from umgclip.cli.terminal import Sheet
    from umgclip.evaluate.stage import HEADLINES
    from umgclip.params.register import BENCHMARKS

    names = list(comparison.metrics)
    sheet = Sheet(title="Models, shares of 1")
    for column in ("benchmark", "metric"):
        sheet.add_column(column)
    for name in names:
        sheet.add_column(name, justify="right")
        if name != names[0]:
            sheet.add_column("change", justify="right")
            sheet.add_column("95 % of change", justify="right")
    for benchmark in BENCHMARKS:
        columns = [numbers(comparison.metrics[name].get(benchmark, {})) for name in names]
        every = dict.fromkeys(metric for column in columns for metric in column)
        shown = [metric for metric in every if complete or (benchmark, metric) in HEADLINES]
        for row, metric in enumerate(shown):
            values = [column.get(metric) for column in columns]
            cells = [_number(values[0])]
            for name, value in zip(names[1:], values[1:], strict=True):
                ends = comparison.change.get(name, {}).get(benchmark, {}).get(metric)
                cells += [_number(value), *_change(values[0], value, ends)]
            sheet.add_row(benchmark if row == 0 else "", metric, *cells)
        sheet.add_section()
    return sheet


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _change(first: float | None, value: float | None, ends: Mapping[str, float] | None) -> tuple[str, str]:
    step = "" if first is None or value is None else f"{value - first:+.3f}"
    return step, f"{ends['low']:+.3f} to {ends['high']:+.3f}" if ends else ""


def _names(models: Sequence[str]) -> dict[str, str]:
    """Return the models by the names of their columns: as given before `=`, or the models themselves."""
    if len(models) < 2:
        raise InputError(f"expected two models or more to compare, got {len(models)}")
    named: dict[str, str] = {}
    for model in models:
        name, given, source = ("", "", model) if Path(model).exists() else model.partition("=")
        column = name if given else model
        if column in named:
            raise InputError(f"expected different models, got {column} twice; NAME=MODEL names them")
        if not column or (given and not source):
            raise InputError(f"expected MODEL or NAME=MODEL, got {model!r}")
        named[column] = source if given else model
    return named


def _settings(params: Path) -> EvaluateParams:
    from umgclip.params import EvaluateParams, load_section

    if params != PARAMS or params.is_file():
        return load_section(params, EvaluateParams)
    return EvaluateParams(crop_px=None)


@contextmanager
def _imported(images: Path, instances: Path) -> Iterator[Path]:
    """Import photographs and their COCO boxes into a benchmark that is there until the end."""
    from umgclip.cli import session
    from umgclip.params import DataParams
    from umgclip.sources.importing.run import ImportCallbacks, run_import
    from umgclip.sources.request import Request

    request = Request("coco", str(images), "benchmark", instances.stem, annotations=(str(instances),))
    with TemporaryDirectory(prefix="umgclip-compare-") as folder:
        with session.untracked("data import") as opened:
            bars: list[Callable[[int], None]] = []
            callbacks = ImportCallbacks(
                lambda total: bars.append(opened.counter(total)),
                lambda count: bars[0](count) if bars else None,
                lambda _there: None,
            )
            done = run_import(request, DataParams().imports, folder, callbacks=callbacks)
        numbers = done.statistics.as_json()
        for title, name in (("quarantined", "quarantine"), ("not understood", "not_understood")):
            if counts := numbers.get(name):
                say(f"compare: {title}: {', '.join(f'{reason} {count}' for reason, count in counts.items())}")
        yield Path(folder) / "benchmark"


@contextmanager
def _opened(names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Open the models in turn; files that were fetched or unpacked are there until the end."""
    with ExitStack() as stack:
        yield {column: stack.enter_context(_model(source)) for column, source in names.items()}


@contextmanager
def _model(name: str) -> Iterator[Any]:
    from umgclip.evaluate.compare import Contender
    from umgclip.register.opening import open_model

    if _is_opened(name):
        with open_model(name) as opened:
            yield Contender(opened.clip, opened.usage)
        return
    architecture, _, tag = name.partition(":")
    with TemporaryDirectory(prefix="umgclip-compare-") as folder:
        try:
            clip = _pretrained(architecture, tag, Path(folder) / "base")
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
        yield Contender(clip)


def _is_opened(name: str) -> bool:
    """Return whether a model is one that `open_model` opens, rather than NAME:TAG of open_clip."""
    return name.startswith("models:/") or Path(name).exists()


def _require_model(name: str) -> None:
    """Refuse a name that cannot be a model, before anything is imported, fetched or measured.

    Raises:
        InputError: it has another form, or open_clip knows no such architecture or tag; suggests the nearest.
    """
    architecture, _, tag = name.partition(":")
    if _is_opened(name):
        return
    if not tag:
        raise InputError(f"expected {_FORMS}, got {name!r}")
    import open_clip

    known = open_clip.list_models()
    if architecture not in known:
        hint = did_you_mean(architecture, known) or "; expected one of open_clip.list_models()"
        raise InputError(f"{name}: open_clip has no model {architecture!r}{hint}")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags and not Path(tag).exists():
        raise InputError(
            f"{name}: {architecture} has no weights {tag!r}{did_you_mean(tag, tags)} (expected one of "
            f"{', '.join(tags)})"
        )


def _pretrained(architecture: str, tag: str, folder: Path) -> Any:  # noqa: ANN401 - open_clip's models share no base class
    from umgclip.base import stage as base
    from umgclip.model.clip import files
    from umgclip.params import BaseParams

    params = BaseParams(model=architecture, pretrained=tag)
    base.run(params, base.BaseInputs(Path("data")), folder)
    return files.load(folder)[0]
