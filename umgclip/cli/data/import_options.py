"""Options of `umgclip data import KIND`: those of all kinds, and those that several kinds share."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer


class Option(NamedTuple):
    """An option of a command for Typer: the annotated type, and the default value."""

    type: Any
    default: Any = None


def text(help_: str) -> Option:
    """Return an optional text option with this help."""
    return Option(Annotated[str | None, typer.Option(help=help_)])


def texts(help_: str) -> Option:
    """Return a text option with this help that may be given several times."""
    return Option(Annotated[list[str] | None, typer.Option(help=help_)])


# options of every kind; `source` is the argument SOURCE
COMMON = {
    "source": Option(
        Annotated[str, typer.Argument(help="folder or s3://BUCKET/PREFIX with the images")], inspect.Parameter.empty
    ),
    "out": Option(
        Annotated[str, typer.Option(help="folder or s3://BUCKET/PREFIX that holds the datasets train and benchmark")],
        "data",
    ),
    "split": Option(
        Annotated[
            Literal["train", "benchmark"],
            typer.Option(help="benchmark: all annotations are the truth, written by humans"),
        ],
        "train",
    ),
    "hold_out": Option(
        Annotated[
            float | None,
            typer.Option(help="share of the images for the benchmark, such as 0.2: writes OUT/train and OUT/benchmark"),
        ]
    ),
    "held_out": texts("benchmark class that training never labels, or @FILE with one per line; may be repeated"),
    "name": text("name of the dataset in each record; default: the last part of SOURCE"),
    "license": text("license of images that do not state one"),
    "append": Option(
        Annotated[bool, typer.Option("--append", help="add to the existing dataset")],
        False,
    ),
    "replace": Option(
        Annotated[bool, typer.Option("--replace", help="replace the existing dataset, if there is one")], False
    ),
    "params": Option(
        Annotated[Path, typer.Option(help="parameter file; only its section data.imports is used")], Path("params.yaml")
    ),
}
SPOKEN = {
    "annotator": text("author of tags and regions, such as human"),
    "box_format": Option(
        Annotated[
            Literal["xyxy", "xywh"], typer.Option(help="order of the numbers of a box if the source does not state it")
        ],
        "xyxy",
    ),
}
ENCODING = {
    "encoding": text("encoding of tables and texts that are not UTF-8 or UTF-16, such as latin-1, cp1252, gb18030")
}
CLASS_NAMES = {"class_names": text("file with a name for each folder or number")}
NUMBERED = {"class_names": text("table of numbers and names: lines such as '7: road, route', or JSON")}


def subset(default: str) -> dict[str, Option]:
    """Return the option `--subset`, whose help names the default."""
    return {"subset": text(f"subset of the data set, as its files call it; default: {default}")}
