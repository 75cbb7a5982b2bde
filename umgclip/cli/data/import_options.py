"""Options of `umgclip data import KIND`, as Typer reads them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer


class Option(NamedTuple):
    """An option of a command as Typer reads it: the annotated type, and the value where it is not given."""

    type: Any
    default: Any = None


def text(help_: str) -> Option:
    return Option(Annotated[str | None, typer.Option(help=help_)])


def texts(help_: str) -> Option:
    return Option(Annotated[list[str] | None, typer.Option(help=help_)])


# what every kind has; SOURCE is the argument
COMMON = {
    "source": Option(Annotated[str, typer.Argument(help="a folder, or s3://BUCKET/PREFIX")], inspect.Parameter.empty),
    "out": Option(
        Annotated[str, typer.Option(help="folder or s3://BUCKET/PREFIX of the datasets train and benchmark")], "data"
    ),
    "split": Option(
        Annotated[
            Literal["train", "benchmark"],
            typer.Option(help="benchmark: all that is known is the truth, written by humans"),
        ],
        "train",
    ),
    "held_out": texts("class of a benchmark that training never labels, or @FILE with one a line; repeat it"),
    "name": text("of the dataset in each record; else the source's last word"),
    "license": text("of images that do not say theirs"),
    "append": Option(
        Annotated[bool, typer.Option("--append", help="add to the dataset that is there")],
        False,
    ),
    "replace": Option(
        Annotated[bool, typer.Option("--replace", help="replace the dataset that is there, if there is one")], False
    ),
    "params": Option(
        Annotated[Path, typer.Option(help="the parameter file; its section data.imports counts")], Path("params.yaml")
    ),
}
SPOKEN = {
    "annotator": text("who wrote tags and regions, such as human"),
    "box_format": Option(
        Annotated[Literal["xyxy", "xywh"], typer.Option(help="of a box that does not say it")], "xyxy"
    ),
}
ENCODING = {"encoding": text("of tables and texts that are neither UTF-8 nor UTF-16, such as latin-1, cp1252, gb18030")}
CLASS_NAMES = {"class_names": text("file with a name for each folder or number")}
NUMBERED = {"class_names": text("table of numbers and names: lines such as '7: road, route', or JSON")}


def subset(default: str) -> dict[str, Option]:
    return {"subset": text(f"of the data set, as its files call it; else {default}")}
