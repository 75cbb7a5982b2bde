"""`umgclip data import KIND`: a source of images becomes a dataset."""

from __future__ import annotations

import inspect
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from umgclip.cli.data.import_options import CLASS_NAMES, COMMON, ENCODING, NUMBERED, SPOKEN, Option, subset, text, texts
from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.io.manifest import Manifest
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import Imported
    from umgclip.sources.request import Request

import_app = typer.Typer(
    help="Images with what is known of them, from files or S3, as the dataset OUT/SPLIT.", no_args_is_help=True
)


def _command(kind: str, help_: str, **own: Option) -> None:
    """Add the command of a kind of source, with its own options and the common ones."""

    def command(**given: Any) -> None:  # noqa: ANN401 - as typed in `options`
        target = ImportTarget(*(given.pop(name) for name in ("out", "append", "replace", "params")))
        _import(kind, given.pop("source"), given.pop("split"), given, target)

    options = {"source": COMMON["source"], **own, **COMMON}
    keyword = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, keyword, default=o.default, annotation=o.type) for name, o in options.items()]
    )
    import_app.command(kind.replace("_", "-"), help=help_)(command)


_command(
    "folder",
    "Image files, with captions in a table or in .txt and .json files beside them.",
    captions=text("table: .csv, .tsv, .txt, .parquet, .json, .jsonl"),
    image_column=text("of the table: paths or names of images; a position from 1 where it has no line of names"),
    caption_column=text("of the table: captions, one or a list a row"),
    **ENCODING,
    ignore_labels=Option(
        Annotated[bool, typer.Option("--ignore-labels", help="leave YOLO, VOC and labelme beside the images alone")],
        False,
    ),
    labels=Option(
        Annotated[Literal["none", "folders"], typer.Option(help="folders: each is a class of images")], "none"
    ),
    **CLASS_NAMES,
    **SPOKEN,
)
_command(
    "yolo",
    "YOLO: boxes and polygons in .txt files, with data.yaml, obj.names or classes.txt; Ultralytics, Darknet, CVAT.",
    **subset("train, in a benchmark val, where there are such, or all"),
    class_names=text("file with a name a line, or a JSON object by number, where the data set has none"),
    task=Option(Annotated[Literal["segment"] | None, typer.Option(help="segment: lines of one length are polygons")]),
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "voc",
    "Pascal VOC: JPEGImages, Annotations and ImageSets, or .xml files beside the images.",
    **subset("train, in a benchmark val, where there are such, or all"),
    first_pixel=Option(
        Annotated[int, typer.Option(min=0, max=1, help="0: boxes count from 0, and stand as they are")], 1
    ),
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "labelme",
    "labelme: .json files beside the images, with polygons, rectangles, circles and masks.",
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "coco",
    "COCO and data sets written like it, LVIS and ADE20K's panoptic JSON: captions, instances or panoptic segments.",
    captions=text("captions_*.json"),
    instances=texts("instances_*.json, also of LVIS; repeat it"),
    panoptic=text("panoptic_*.json"),
    panoptic_masks=text("folder of its PNG files; else beside the JSON"),
)
_command(
    "webdataset",
    "WebDataset tars with .txt, .json or .cls beside the images; those of img2dataset and of `data export` too.",
    **CLASS_NAMES,
    **ENCODING,
    **SPOKEN,
)
_command(
    "umg41m",
    "UMG-41M: images and their JSON side by side, read tolerantly; what was not understood is reported.",
    **ENCODING,
    **SPOKEN,
)
_command(
    "finehard",
    "FineHARD, GRIT and what is written like them: JSON of many images with their regions.",
    annotations=texts("JSON, JSONL or parquet file, or a folder; repeat it"),
    **SPOKEN,
)
_command(
    "imagenet",
    "ImageNet and its relatives: a folder a class, n01440764 or 0; names and templates are known.",
    annotations=texts("LOC_val_solution.csv, where the images lie in no folders"),
)
_command(
    "clip_benchmark",
    "CLIP_benchmark's WebDatasets: SUBSET/0.tar, classnames.txt, templates; classification or retrieval.",
    **subset("test"),
)
_command(
    "karpathy",
    "Flickr30k and COCO with Karpathy's split.",
    annotations=texts("dataset_flickr30k.json or dataset_coco.json"),
    **subset("test"),
)
_command(
    "semantic",
    "Images and semantic maps of the same names, as toolboxes prepare them.",
    masks=text("folder or S3 prefix of the maps: .png, .tif or .mat"),
    **NUMBERED,
    void=Option(Annotated[list[int] | None, typer.Option(help="number of no class, such as 255; repeat it")]),
)
_command(
    "ade20k",
    "ADE20K: ADEChallengeData2016 with its 150 classes, or ADE20K_2021_17_01 with those of a table.",
    task=Option(
        Annotated[
            Literal["semantic", "panoptic", "full"], typer.Option(help="full: of the table, such as 847 classes")
        ],
        "semantic",
    ),
    **subset("validation"),
    class_names=text("for full: table of numbers and names, lines such as '2978: wall', or JSON"),
)
_command(
    "pascal_context",
    "PASCAL Context over VOC 2010: JPEGImages, trainval/*.mat, labels.txt, 59_labels.txt.",
    task=Option(Annotated[Literal["59", "459"], typer.Option(help="number of classes")], "59"),
    **subset("val"),
    listed=Option(Annotated[str | None, typer.Option("--list", help="names of the images; else SUBSET.txt")]),
)
_command(
    "cityscapes",
    "Cityscapes: leftImg8bit and gtFine; labelIds maps, or the panoptic JSON.",
    task=Option(Annotated[Literal["semantic", "panoptic"], typer.Option(help="which truth")], "semantic"),
    **subset("val"),
)
_command(
    "open_images",
    "Open Images: labels that humans verified to be in an image, or not to be in it.",
    annotations=texts("*-annotations-human-imagelabels.csv; repeat it"),
    class_names=text("*-class-descriptions.csv"),
)


@dataclass(frozen=True)
class ImportTarget:
    """Where an import writes, and how."""

    out: str
    append: bool
    replace: bool
    params: Path


def _import(kind: str, source: str, split: str, options: dict[str, Any], target: ImportTarget) -> None:
    from umgclip.cli import session
    from umgclip.params import DataParams, load_section
    from umgclip.sources.formats.other_formats import OtherFormatError
    from umgclip.sources.request import Request

    section = load_section(target.params, DataParams).imports
    given = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if _is_said(value)
    }
    if "instances" in given:
        given["annotations"] = given.pop("instances")
    if "held_out" in given:
        given["held_out"] = tuple(name for word in given["held_out"] for name in _names(word))
    given.setdefault("name", PurePosixPath(source.rstrip("/")).name or kind)
    request = Request(kind=kind, source=source, split=split, **given)  # type: ignore[arg-type]
    if target.append and target.replace:
        raise InputError("expected --append or --replace, got both")
    started = time.monotonic()
    try:
        done = _run(request, section, target)
    except OtherFormatError as error:
        if not _can_be_asked():
            raise
        wanted = typer.confirm(f"{error.found}. Import the folder as `{error.kind}`?", default=True)
        other = {"kind": error.kind} if wanted else {"ignore_labels": True}
        done = _run(replace(request, **other), section, target)
    session.show(summary(f"{target.out.rstrip('/')}/{split}", done, time.monotonic() - started))


def _can_be_asked() -> bool:
    """Whether somebody sits at the terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _is_said(value: object) -> bool:
    """Whether an option was given, or has a default that counts."""
    return value is not None and value is not False and value not in ("", [])


def _run(request: Request, section: ImportParams, target: ImportTarget) -> Imported:
    from umgclip.cli import session
    from umgclip.sources.importing.run import ImportCallbacks, run_import

    with session.untracked("data import") as opened:
        advances: list[Callable[[int], None]] = []
        callbacks = ImportCallbacks(
            lambda total: advances.append(opened.counter(total)),
            lambda count: advances[0](count) if advances else None,
            lambda there: _may_replace(target, request.split, there),
        )
        return run_import(request, section, target.out, append=target.append, callbacks=callbacks)


def _may_replace(target: ImportTarget, split: str, there: Manifest) -> None:
    """No dataset goes without a word: --replace says so, or who sits at the terminal.

    Raises:
        InputError: nobody said so; names what would be lost.
    """
    if target.replace:
        return
    name = there.notes.get("name")
    made = "of the demo" if there.made_by.stage == "data" else f"imported as {name!r}" if name else "of another origin"
    holds = f"{target.out.rstrip('/')}/{split} holds {there.samples} images {made}"
    if sys.stdin.isatty() and typer.confirm(f"{holds}. Replace them?"):
        return
    raise InputError(
        f"{holds}; --replace replaces them by this import, --append adds to them, --out writes to another place"
    )


def _names(word: str) -> list[str]:
    """A name, or those of a file."""
    if not word.startswith("@"):
        return [word]
    path = Path(word[1:])
    if not path.is_file():
        raise InputError(f"--held-out: {path}: expected a file with a name a line, found none")
    return [line.strip() for line in path.readtext(encoding="utf-8-sig").splitlines() if line.strip()]


def summary(where: str, done: Imported, seconds: float) -> Any:  # noqa: ANN401 - a Summary, imported late
    """What an import did, as a table."""
    from umgclip.cli.data.datasets import describe
    from umgclip.stage import Summary

    rate = done.images / max(seconds, 1e-9)
    rows = [("image files", f"{done.images} in {seconds:.1f} s, {rate:.0f} a second")]
    if done.resumed:
        rows.append(("parts that were done before", f"{done.resumed} of {done.parts}"))
    rows += describe(done.statistics.as_json(), done.manifest)
    return Summary(f"data import: {where}", tuple(rows))
