"""Command `umgclip data browse`: write a gallery of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umgclip.browse.settings import MOST, Selection
from umgclip.errors import InputError

_DEFAULT = Selection()
_VALIDATES = (Path("validate") / "quarantine.parquet", Path("data_docs") / "failed_quarantine.parquet")


def browse(
    where: Annotated[str, typer.Argument(help="dataset: a folder or s3://BUCKET/PREFIX with manifest.json")],
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
    serve: Annotated[bool, typer.Option("--serve", help="then serve the gallery on 127.0.0.1 until Ctrl-C")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="port for --serve; 0 takes a free one")] = 0,
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

    Example: umgclip data browse artifacts/annotate/train --serve
    """
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    datasets_below = datasets.opened(where)
    if len(datasets_below) > 1:
        raise InputError(f"{where}: expected one dataset, found {', '.join(datasets_below)}; give one of them")
    where, (dataset, manifest) = next(iter(datasets_below.items()))
    if not where.startswith("s3://"):
        session.check_output(out, (Path(where), *(Path(name) for name in quarantine or () if "://" not in name)))
    from umgclip.browse.gallery import Inputs, write_gallery

    selection = Selection(count=count, quarantined=quarantined, shards=shards, seed=seed, side_px=side_px)
    inputs = Inputs(dataset, manifest, quarantine if quarantine is not None else _validates(where))
    with session.only_writer(out), session.untracked("data browse") as opened:
        summary = write_gallery(selection, inputs, out, opened.counter(None))
    session.show(summary)
    if serve:
        _answer(out, port)


def _validates(where: str) -> list[str]:
    """Return the quarantine that the stage validate wrote for the pipeline's annotations, gate open or closed."""
    folder = Path(where)
    if folder.parts[-2:] != ("annotate", "train"):
        return []
    candidates = (folder.resolve().parents[1] / name for name in _VALIDATES)
    return [str(path) for path in candidates if path.is_file()][:1]


def _answer(folder: Path, port: int) -> None:
    from umgclip.browse.server import address, open_server

    with open_server(folder, port) as server:
        typer.echo(f"{address(server)} serves the gallery; Ctrl-C stops it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
