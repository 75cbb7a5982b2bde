"""Command `umgclip data duplicates`: find images that look the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from umgclip.cli.habits import completion
from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.sources.near_duplicates.search import Dataset
    from umgclip.stage import Summary

_DATASET = "dataset: a folder or s3://BUCKET/PREFIX with manifest.json"


def duplicates(
    where: Annotated[str, typer.Argument(help=_DATASET, autocompletion=completion.datasets)],
    against: Annotated[
        str | None, typer.Option(help="search for images of this other dataset, such as a benchmark")
    ] = None,
    distance: Annotated[int, typer.Option(min=0, max=16, help="most bits of 64 that two hashes may differ in")] = 6,
    out: Annotated[Path, typer.Option("--out", help="folder for the table; hashes in it are reused")] = (
        Path("artifacts") / "duplicates"
    ),
    write_quarantine: Annotated[
        bool,
        typer.Option("--write-quarantine", help="also write OUT/quarantine.parquet with all images but the kept ones"),
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="processes for hashing; 0: one per core")] = 0,
) -> None:
    """Find groups of images that look the same, by perceptual hash.

    Copies in another size, codec or quality are found, and slightly edited
    ones; crops and mirror images are not. OUT/duplicates.parquet has a row for
    each image of a group, the image to keep first, with the number of bits in
    which the others differ from it. Within one dataset the first image of a
    group is kept, with --against the image of the other dataset.

    The first run reads every image. Hashes are kept in OUT/hashes, one file
    per shard, so an interrupted run resumes, and another --distance takes
    seconds.

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

    datasets_below = datasets.opened(where)
    if len(datasets_below) > 1:
        raise InputError(f"{where}: expected one dataset, found {', '.join(datasets_below)}; give one of them")
    name, (source, manifest) = next(iter(datasets_below.items()))
    return Dataset(name, source, manifest)


def _summary(where: str, against: str | None, report: dict, table: Path) -> Summary:
    from umgclip.stage import Summary

    by_distance = ", ".join(f"{bits}: {count}" for bits, count in report["duplicates_by_distance"].items())
    rows = [
        ("images", f"{report['images']}"),
        ("unreadable", f"{report['unreadable']}"),
        ("duplicates" if against is None else f"also in {against}", f"{report['duplicates']}"),
        ("by differing bits", by_distance or "-"),
        ("groups", f"{report['groups']}, the largest of {report['largest_group']}"),
        ("table", f"{table}"),
    ]
    return Summary(f"data: {where}", tuple(rows), {"dataset": where, "against": against, **report, "table": str(table)})
