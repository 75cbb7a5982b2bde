"""Commands of `umgclip data`: make, import, inspect, verify and export datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from umgclip.cli.data.browsing import browse
from umgclip.cli.data.duplicates import duplicates
from umgclip.cli.data.importing import import_app
from umgclip.cli.group import Commands
from umgclip.cli.habits import completion
from umgclip.cli.options import DATA, PARAMS, Out, Params, Where

data_app = typer.Typer(cls=Commands, help="Make, import, inspect, verify and export datasets.", no_args_is_help=True)
data_app.add_typer(import_app, name="import")
data_app.command("browse")(browse)
data_app.command("duplicates")(duplicates)


@data_app.command("demo")
def demo(out: Out = DATA, params: Params = PARAMS) -> None:
    """Compose the demo: training scenes with alt texts, and a benchmark with its complete truth."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.params import DataParams, load_section
    from umgclip.sources.demo.scenes import is_demo

    section = load_section(params, DataParams)
    session.check_output(out, (params,), is_demo)
    with session.only_writer(out), session.untracked("data demo") as opened:
        summary = datasets.make_demo(section, out, opened.counter(datasets.demo_scenes(section)))
    session.show(summary, out=out)


@data_app.command("patterns")
def patterns(
    out: Out = Path("patterns"),
    pairs: Annotated[int, typer.Option(min=1, help="pairs of each pattern in the benchmark")] = 60,
    scenes: Annotated[int, typer.Option(min=1, help="training images with texts of the same patterns")] = 1000,
    params: Params = PARAMS,
) -> None:
    """Draw visual-pattern pairs: colour, count, left and right, and two controls; and training images with their words.

    Side and seed of the images are those of the section `data`.
    """
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.params import DataParams, load_section
    from umgclip.sources.demo.patterns import is_patterns

    section = load_section(params, DataParams)
    session.check_output(out, (params,), is_patterns)
    with session.only_writer(out), session.untracked("data patterns") as opened:
        summary = datasets.make_patterns(section, out, (pairs, scenes), opened.counter)
    session.show(summary, out=out)


@data_app.command("verify")
def verify(where: Where = "data") -> None:
    """Check a dataset: compare every shard's hash with the manifest, and read every sample."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    samples = sum(manifest.samples for _, manifest in datasets.opened(where).values())
    with session.untracked("data verify") as opened:
        summary = datasets.check(where, opened.counter(samples))
    session.show(summary)


@data_app.command("stats")
def stats(where: Where = "data") -> None:
    """Count what datasets hold: images, captions, tags, regions, classes, and what was refused."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    session.show(*datasets.statistics(where), under="datasets")


@data_app.command("head")
def head(
    where: Where = "data",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="samples shown of each dataset")] = 3,
) -> None:
    """Show the first samples of each dataset with all their annotations."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    session.show(*datasets.head(where, count), under="samples")


@data_app.command("export")
def export(
    where: Annotated[
        str,
        typer.Argument(
            help="dataset: a folder or s3://BUCKET/PREFIX with manifest.json", autocompletion=completion.datasets
        ),
    ],
    to: Annotated[
        Literal["coco", "fiftyone", "huggingface", "webdataset"], typer.Option("--to", help="format to write")
    ],
    out: Out,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="fiftyone: a model whose labels become a field, as NAME=FOLDER, tuned=artifacts; may be repeated"
        ),
    ] = None,
) -> None:
    """Export a dataset for other programs: COCO, FiftyOne, Hugging Face's parquet, or tars in img2dataset's layout."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.io.atomic import is_kind

    dataset, manifest = datasets.open_dataset(where)
    if not where.startswith("s3://"):
        session.check_output(out, (Path(where),), is_kind(f"{to} export"))
    from umgclip.cli.data.classifying import classifiers
    from umgclip.sources.exporting.catalog import EXPORTS
    from umgclip.sources.exporting.fiftyone import to_fiftyone

    with session.only_writer(out), session.untracked("data export") as opened:
        counter = opened.counter(manifest.samples)
        if model:
            summary = to_fiftyone(dataset, manifest, out, counter, classifiers(model, to))
        else:
            summary = EXPORTS[to](dataset, manifest, out, counter)
    session.show(summary, out=out)
