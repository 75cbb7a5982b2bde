"""Command `umgclip data browse`: write a gallery of a dataset."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from umgclip.browse.settings import MOST, Selection
from umgclip.cli.habits import completion, output
from umgclip.errors import InputError

_DEFAULT = Selection()
_VALIDATES = (Path("validate") / "quarantine.parquet", Path("data_docs") / "failed_quarantine.parquet")


def browse(
    where: Annotated[
        str,
        typer.Argument(
            help="dataset: a folder or s3://BUCKET/PREFIX with manifest.json", autocompletion=completion.datasets
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="folder to write; an older gallery is replaced")] = (
        Path("artifacts") / "browse"
    ),
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MOST, help="images drawn at random")] = (
        _DEFAULT.count
    ),
    quarantined: Annotated[
        int, typer.Option(min=0, max=MOST, help="further images, each with a row in a quarantine")
    ] = _DEFAULT.quarantined,
    quarantine: Annotated[
        list[str] | None,
        typer.Option(help="quarantine.parquet of a later stage, local or s3://; may be repeated"),
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, help="most shards read for --count, and again as many for --quarantined")
    ] = _DEFAULT.shards,
    seed: Annotated[
        int, typer.Option(min=0, help="seed of the draw; the same seed shows the same images")
    ] = _DEFAULT.seed,
    side_px: Annotated[
        int, typer.Option(min=64, max=4096, help="longer side of the pictures in pixels")
    ] = _DEFAULT.side_px,
    predictions: Annotated[
        str | None,
        typer.Option(help="folder that evaluate wrote, local or s3://: its predictions beside the truth, its report"),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(help="model that names the regions shown, or NAME=MODEL; may be repeated to compare models"),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(help="names for --model to choose from, separated by commas, or @FILE with one per line"),
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="then serve the gallery on 127.0.0.1 until Ctrl-C")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port for --serve; 0 takes a free one")] = 0,
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            help="with --serve: index of umgclip index for the tab Search; default: artifacts/index, if it is "
            "of this dataset",
        ),
    ] = None,
) -> None:
    """Write a gallery: images with boxes, masks, captions, tags, scores, and what was refused.

    OUT/index.html opens in any browser, from disk or from a server, and loads
    nothing from the network. The dataset may have any size: images are drawn
    at random, no more than --shards shards are read for them, and memory does
    not grow with the dataset.

    The gallery also shows quarantine rows: those of the dataset's own
    quarantine.parquet and of each --quarantine. Without that option, a dataset
    .../annotate/train is shown with the quarantine of the stage validate, from
    .../validate, or from .../data_docs if the gate closed.

    With --predictions, or with one or more --model, each image shows what the
    models make of its regions beside their labels, and a filter selects where
    they differ. Models choose among the classes of a benchmark, the concepts
    of an annotated dataset, or --labels.

    Example: umgclip data browse artifacts/annotate/train --serve

    Example: umgclip data browse data/benchmark --predictions artifacts/evaluate
    """
    from umgclip.cli import session
    from umgclip.cli.data import datasets
    from umgclip.io.atomic import GALLERY, is_kind

    datasets_below = datasets.opened(where)
    if len(datasets_below) > 1:
        raise InputError(f"{where}: expected one dataset, found {', '.join(datasets_below)}; give one of them")
    where, (dataset, manifest) = next(iter(datasets_below.items()))
    if not where.startswith("s3://"):
        others = [*(quarantine or ()), *([predictions] if predictions else [])]
        session.check_output(
            out, (Path(where), *(Path(name) for name in others if "://" not in name)), is_kind(GALLERY)
        )
    from umgclip.browse.gallery import Inputs, write_gallery
    from umgclip.cli.data.predicted import classifiers
    from umgclip.io.places import place_at

    selection = Selection(count=count, quarantined=quarantined, shards=shards, seed=seed, side_px=side_px)
    if predictions and (model or labels):
        raise InputError("--predictions: expected these or --model and --labels, got both")
    inputs = Inputs(
        dataset,
        manifest,
        quarantine if quarantine is not None else _validates(where),
        None if predictions is None else place_at(predictions),
        classifiers(model or (), labels or (), where, manifest),
    )
    with session.only_writer(out), session.untracked("data browse") as opened:
        summary = write_gallery(selection, inputs, out, opened.counter(None))
    session.show(summary, out=out)
    if serve:
        _answer(out, port, where, index)


def _validates(where: str) -> list[str]:
    """Return the quarantine that the stage validate wrote for the pipeline's annotations, gate open or closed."""
    folder = Path(where)
    if folder.parts[-2:] != ("annotate", "train"):
        return []
    candidates = (folder.resolve().parents[1] / name for name in _VALIDATES)
    return [str(path) for path in candidates if path.is_file()][:1]


def _answer(folder: Path, port: int, dataset: str, index: str | None) -> None:
    from umgclip.browse.server import address, open_server
    from umgclip.cli import terminal
    from umgclip.cli.searching import search_tab

    with open_server(folder, port, search_tab(dataset, index)) as server:
        output.write()  # the result is complete, and serving has no end
        terminal.remark(f"{address(server)} serves the gallery; Ctrl-C stops it")
        sys.stdout.flush()  # a pipe or a log would see it at the end
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            terminal.remark("stopped")
