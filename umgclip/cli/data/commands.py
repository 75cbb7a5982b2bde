"""`umgclip data`: datasets made, imported, looked at, verified and exported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from umgclip.cli.data.browsing import browse
from umgclip.cli.data.duplicates import duplicates
from umgclip.cli.data.importing import import_app
from umgclip.cli.group import Commands
from umgclip.cli.options import DATA, PARAMS, Out, Params, Where

data_app = typer.Typer(cls=Commands, help="Make, import, look at, verify and export datasets.", no_args_is_help=True)
data_app.add_typer(import_app, name="import")
data_app.command("browse")(browse)
data_app.command("duplicates")(duplicates)


@data_app.command("demo")
def demo(out: Out = DATA, params: Params = PARAMS) -> None:
    """Compose the demo: training scenes with alt texts, a benchmark with its whole truth."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.params import DataParams, load_section
    from umgclip.sources.demo.scenes import is_demo

    section = load_section(params, DataParams)
    session.check_output(out, (params,), is_demo)
    with session.only_writer(out), session.untracked("data demo") as opened:
        summary = datasets.make_demo(section, out, opened.counter(datasets.demo_scenes(section)))
    session.show(summary)


@data_app.command("verify")
def verify(where: Where = "data") -> None:
    """Compare a dataset with its manifest, hash by hash, and read every sample."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    samples = sum(manifest.samples for _, manifest in datasets.opened(where).values())
    with session.untracked("data verify") as opened:
        summary = datasets.check(where, opened.counter(samples))
    session.show(summary)


@data_app.command("stats")
def stats(where: Where = "data") -> None:
    """What datasets hold: images, captions, tags, regions, classes, and what was refused."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    for summary in datasets.statistics(where):
        session.show(summary)


@data_app.command("head")
def head(
    where: Where = "data",
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="samples of each dataset")] = 3,
) -> None:
    """The first samples, with all that is said of them."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    for summary in datasets.head(where, count):
        session.show(summary)


@data_app.command("export")
def export(
    where: Annotated[str, typer.Argument(help="a dataset: a folder or s3://BUCKET/PREFIX with manifest.json")],
    to: Annotated[Literal["coco", "webdataset"], typer.Option("--to", help="the format")],
    out: Out,
) -> None:
    """A dataset in a format that other programs read: COCO files, or tars as img2dataset writes them."""
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    place, manifest = datasets.open_dataset(where)
    if not where.startswith("s3://"):
        session.check_output(out, (Path(where),))
    from umgclip.sources.export import EXPORTS

    with session.only_writer(out), session.untracked("data export") as opened:
        summary = EXPORTS[to](place, manifest, out, opened.counter(manifest.samples))
    session.show(summary)
