"""`umgclip data import KIND`: a source of images becomes a dataset."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from umgclip.sources.importing import Imported

import_app = typer.Typer(
    help="Images with what is known of them, from files or S3, as the dataset OUT/SPLIT.", no_args_is_help=True
)

Split = Literal["train", "benchmark"]
Source = Annotated[str, typer.Argument(help="a folder, or s3://BUCKET/PREFIX")]
Out = Annotated[str, typer.Option("--out", help="folder or s3://BUCKET/PREFIX of the datasets train and benchmark")]
SplitOption = Annotated[
    Split, typer.Option("--split", help="benchmark: all that is known is the truth, written by humans")
]
Name = Annotated[str | None, typer.Option("--name", help="of the dataset in each record; else the source's last word")]
License = Annotated[str | None, typer.Option("--license", help="of images that do not say theirs")]
Append = Annotated[bool, typer.Option("--append", help="add to the dataset that is there, instead of replacing it")]
HeldOut = Annotated[
    list[str] | None, typer.Option("--held-out", help="class of a benchmark that training never labels; repeat it")
]
Annotator = Annotated[str | None, typer.Option("--annotator", help="who wrote tags and regions, such as human")]
BoxFormat = Annotated[Literal["xyxy", "xywh"], typer.Option("--box-format", help="of a box that does not say it")]
ClassNames = Annotated[str | None, typer.Option("--class-names", help="file with a name for each folder or number")]
Params = Annotated[Path, typer.Option("--params", help="the parameter file; its section data.imports counts")]
DATA, PARAMS = "data", Path("params.yaml")


@import_app.command("folder")
def folder(
    source: Source,
    out: Out = DATA,
    split: SplitOption = "train",
    captions: Annotated[str | None, typer.Option(help="table: .csv, .tsv, .parquet, .json, .jsonl")] = None,
    image_column: Annotated[str | None, typer.Option(help="of the table: paths or names of images")] = None,
    caption_column: Annotated[str | None, typer.Option(help="of the table: captions, one or a list a row")] = None,
    labels: Annotated[Literal["none", "folders"], typer.Option(help="folders: each is a class of images")] = "none",
    class_names: ClassNames = None,
    held_out: HeldOut = None,
    annotator: Annotator = None,
    box_format: BoxFormat = "xyxy",
    name: Name = None,
    license: License = None,  # noqa: A002 - the option's name
    append: Append = False,
    params: Params = PARAMS,
) -> None:
    """Image files, with captions in a table or in .txt and .json files beside them."""
    options = {
        "captions": captions, "image_column": image_column, "caption_column": caption_column, "labels": labels,
        "class_names": class_names, "held_out": held_out, "annotator": annotator, "box_format": box_format,
        "name": name, "license": license,
    }  # fmt: skip
    _import("folder", source, split, options, Target(out, append, params))


@import_app.command("coco")
def coco(
    source: Source,
    out: Out = DATA,
    split: SplitOption = "train",
    captions: Annotated[str | None, typer.Option(help="captions_*.json")] = None,
    instances: Annotated[list[str] | None, typer.Option(help="instances_*.json, also of LVIS; repeat it")] = None,
    panoptic: Annotated[str | None, typer.Option(help="panoptic_*.json")] = None,
    panoptic_masks: Annotated[str | None, typer.Option(help="folder of its PNG files; else beside the JSON")] = None,
    held_out: HeldOut = None,
    name: Name = None,
    license: License = None,  # noqa: A002 - the option's name
    append: Append = False,
    params: Params = PARAMS,
) -> None:
    """COCO and data sets written like it: captions, instances or panoptic segments."""
    options = {
        "captions": captions, "annotations": instances, "panoptic": panoptic, "panoptic_masks": panoptic_masks,
        "held_out": held_out, "name": name, "license": license,
    }  # fmt: skip
    _import("coco", source, split, options, Target(out, append, params))


@import_app.command("webdataset")
def webdataset(
    source: Source,
    out: Out = DATA,
    split: SplitOption = "train",
    class_names: ClassNames = None,
    held_out: HeldOut = None,
    annotator: Annotator = None,
    box_format: BoxFormat = "xyxy",
    name: Name = None,
    license: License = None,  # noqa: A002 - the option's name
    append: Append = False,
    params: Params = PARAMS,
) -> None:
    """WebDataset tars with .txt, .json or .cls beside the images; those of img2dataset and of `data export` too."""
    options = {
        "class_names": class_names, "held_out": held_out, "annotator": annotator, "box_format": box_format,
        "name": name, "license": license,
    }  # fmt: skip
    _import("webdataset", source, split, options, Target(out, append, params))


@import_app.command("umg41m")
def umg41m(
    source: Source,
    out: Out = DATA,
    split: SplitOption = "train",
    held_out: HeldOut = None,
    annotator: Annotator = None,
    box_format: BoxFormat = "xyxy",
    name: Name = None,
    license: License = None,  # noqa: A002 - the option's name
    append: Append = False,
    params: Params = PARAMS,
) -> None:
    """UMG-41M: images and their JSON side by side, read tolerantly; what was not understood is reported."""
    options = {
        "held_out": held_out, "annotator": annotator, "box_format": box_format, "name": name, "license": license
    }  # fmt: skip
    _import("umg41m", source, split, options, Target(out, append, params))


@import_app.command("finehard")
def finehard(
    source: Source,
    annotations: Annotated[list[str], typer.Option(help="JSON, JSONL or parquet file, or a folder; repeat it")],
    out: Out = DATA,
    split: SplitOption = "train",
    held_out: HeldOut = None,
    annotator: Annotator = None,
    box_format: BoxFormat = "xyxy",
    name: Name = None,
    license: License = None,  # noqa: A002 - the option's name
    append: Append = False,
    params: Params = PARAMS,
) -> None:
    """FineHARD, GRIT and what is written like them: JSON of many images with their regions."""
    options = {
        "annotations": annotations, "held_out": held_out, "annotator": annotator, "box_format": box_format,
        "name": name, "license": license,
    }  # fmt: skip
    _import("finehard", source, split, options, Target(out, append, params))


class Target:
    """Where an import writes, and how."""

    def __init__(self, out: str, append: bool, params: Path) -> None:
        self.out, self.append, self.params = out, append, params


def _import(kind: str, source: str, split: Split, options: dict[str, Any], target: Target) -> None:
    from umgclip.cli import session
    from umgclip.params import DataParams, load_section
    from umgclip.sources.importing import Watch, run_import
    from umgclip.sources.request import Request

    section = load_section(target.params, DataParams).imports
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value}
    given.setdefault("name", PurePosixPath(source.rstrip("/")).name or kind)
    request = Request(kind=kind, source=source, split=split, **given)  # type: ignore[arg-type]
    started = time.monotonic()
    with session.untracked("data import") as opened:
        advances: list[Callable[[int], None]] = []
        watch = Watch(
            lambda total: advances.append(opened.counter(total)), lambda count: advances[0](count) if advances else None
        )
        done = run_import(request, section, target.out, append=target.append, watch=watch)
    session.show(summary(f"{target.out.rstrip('/')}/{split}", done, time.monotonic() - started))


def summary(where: str, done: Imported, seconds: float) -> Any:  # noqa: ANN401 - a Summary, imported late
    """What an import did, as a table."""
    from umgclip.cli.datasets import describe
    from umgclip.summary import Summary

    rate = done.images / max(seconds, 1e-9)
    rows = [("image files", f"{done.images} in {seconds:.1f} s, {rate:.0f} a second")]
    if done.resumed:
        rows.append(("parts that were done before", f"{done.resumed} of {done.parts}"))
    rows += describe(done.statistics.as_json(), done.manifest)
    return Summary(f"data import: {where}", tuple(rows))
