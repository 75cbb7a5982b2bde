"""`umgclip data browse`: a gallery of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from umgclip.browse.settings import MOST, Selection
from umgclip.errors import InputError

_DEFAULT = Selection()
_VALIDATES = (Path("validate") / "quarantine.parquet", Path("data_docs") / "failed_quarantine.parquet")


def browse(
    where: Annotated[str, typer.Argument(help="a dataset: a folder or s3://BUCKET/PREFIX with manifest.json")],
    out: Annotated[Path, typer.Option("--out", help="the folder to make; an older gallery is replaced")] = (
        Path("artifacts") / "browse"
    ),
    count: Annotated[int, typer.Option("--count", "-n", min=1, max=MOST, help="images drawn at random")] = (
        _DEFAULT.count
    ),
    quarantined: Annotated[
        int, typer.Option(min=0, max=MOST, help="images with a row in a quarantine, besides")
    ] = _DEFAULT.quarantined,
    quarantine: Annotated[
        list[str] | None,
        typer.Option(help="quarantine.parquet of a later stage, local or s3://; repeat it"),
    ] = None,
    shards: Annotated[
        int, typer.Option(min=1, help="most shards read for --count, and as many more for --quarantined")
    ] = _DEFAULT.shards,
    seed: Annotated[int, typer.Option(min=0, help="of the draw: the same seed shows the same images")] = _DEFAULT.seed,
    side_px: Annotated[int, typer.Option(min=64, max=4096, help="longer side of a picture")] = _DEFAULT.side_px,
    serve: Annotated[bool, typer.Option("--serve", help="then answer on 127.0.0.1 until Ctrl-C")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="for --serve; 0 takes a free one")] = 0,
) -> None:
    """A gallery to look at: images with boxes, masks, captions, tags, scores, and what was refused.

    OUT/index.html opens in any browser, from the disk as from a server, and
    asks nothing from elsewhere. A dataset of any size is drawn from: memory
    does not grow with it, and no more than --shards shards are read.

    What quarantines say is shown beside it: the dataset's own
    quarantine.parquet, and those of --quarantine. Without that option
    .../annotate/train takes the one of the stage validate, .../validate, or
    .../data_docs where the gate closed.

    Example: umgclip data browse artifacts/annotate/train --serve
    """
    from umgclip.cli import session
    from umgclip.cli.data import datasets

    found = datasets.opened(where)
    if len(found) > 1:
        raise InputError(f"{where}: expected one dataset, found {', '.join(found)}; name one of them")
    where, (place, manifest) = next(iter(found.items()))
    if not where.startswith("s3://"):
        session.check_output(out, (Path(where), *(Path(name) for name in quarantine or () if "://" not in name)))
    from umgclip.browse.gallery import Inputs, write_gallery

    selection = Selection(count=count, quarantined=quarantined, shards=shards, seed=seed, side_px=side_px)
    inputs = Inputs(place, manifest, quarantine if quarantine is not None else _validates(where))
    with session.only_writer(out), session.untracked("data browse") as opened:
        summary = write_gallery(selection, inputs, out, opened.counter(None))
    session.show(summary)
    if serve:
        _answer(out, port)


def _validates(where: str) -> list[str]:
    """The quarantine of the stage validate about the pipeline's own annotations; another one if the gate closed."""
    dataset = Path(where)
    if dataset.parts[-2:] != ("annotate", "train"):
        return []
    found = (dataset.resolve().parents[1] / name for name in _VALIDATES)
    return [str(path) for path in found if path.is_file()][:1]


def _answer(folder: Path, port: int) -> None:
    from umgclip.browse.server import address, open_server

    with open_server(folder, port) as server:
        typer.echo(f"{address(server)} shows it; Ctrl-C ends it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("stopped")
