"""`umgclip data duplicates`: images that look the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.sources.near_duplicates.search import Dataset
    from umgclip.stage import Summary

_DATASET = "a dataset: a folder or s3://BUCKET/PREFIX with manifest.json"


def duplicates(
    where: Annotated[str, typer.Argument(help=_DATASET)],
    against: Annotated[str | None, typer.Option(help="look for images of this dataset, such as a benchmark")] = None,
    distance: Annotated[int, typer.Option(min=0, max=16, help="most bits of 64 that two hashes may differ in")] = 6,
    out: Annotated[Path, typer.Option("--out", help="folder for the table; hashes in it are used again")] = (
        Path("artifacts") / "duplicates"
    ),
    write_quarantine: Annotated[
        bool, typer.Option("--write-quarantine", help="also OUT/quarantine.parquet, with all but the kept images")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="processes that hash; 0: one per core")] = 0,
) -> None:
    """Groups of images that look the same, by perceptual hash.

    Copies in another size, codec or quality, and slightly edited ones, are
    found; crops and mirror images are not. OUT/duplicates.parquet has a row
    for each image of a group, the one to keep first, with the bits that the
    others differ in. In the dataset alone the first of a group is kept, with
    --against the other dataset's.

    The first run reads every image. Hashes stay in OUT/hashes, a file a
    shard: a run that was stopped goes on, another --distance costs seconds.

    Example: umgclip data duplicates data/train --against data/benchmark
    """
    from umgclip.cli import session
    from umgclip.sources.near_duplicates.search import TABLE, Search, find_duplicates

    dataset = _open(where)
    other = _open(against) if against is not None else None
    search = Search(distance, workers, write_quarantine)
    images = dataset.manifest.samples
    total = images + (other.manifest.samples if other is not None else 0)
    with session.only_writer(out), session.untracked("data duplicates") as opened:
        hashed, looked_up = opened.counter(total, " images hashed"), opened.counter(images, " images compared")
        report = find_duplicates(dataset, other, search, out, hashed, looked_up)
    session.show(_summary(where, against, report, out / TABLE))


def _open(where: str) -> Dataset:
    from umgclip.cli.data import datasets
    from umgclip.sources.near_duplicates.search import Dataset

    found = datasets.opened(where)
    if len(found) > 1:
        raise InputError(f"{where}: expected one dataset, found {', '.join(found)}; name one of them")
    name, (place, manifest) = next(iter(found.items()))
    return Dataset(name, place, manifest)


def _summary(where: str, against: str | None, report: dict, table: Path) -> Summary:
    from umgclip.stage import Summary

    by_distance = ", ".join(f"{bits}: {count}" for bits, count in report["duplicates_by_distance"].items())
    rows = [
        ("images", f"{report['images']}"),
        ("that cannot be read", f"{report['unreadable']}"),
        ("duplicates" if against is None else f"that are in {against}", f"{report['duplicates']}"),
        ("by bits of distance", by_distance or "-"),
        ("groups", f"{report['groups']}, the largest of {report['largest_group']}"),
        ("table", f"{table}"),
    ]
    return Summary(f"data: {where}", tuple(rows))
