"""Commands `umgclip data import KIND`: convert a source of images into a dataset."""

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
from umgclip.cli.group import Commands
from umgclip.errors import InputError

if TYPE_CHECKING:
    from umgclip.io.manifest import Manifest
    from umgclip.params import ImportParams
    from umgclip.sources.importing.run import Imported
    from umgclip.sources.request import Request

import_app = typer.Typer(
    cls=Commands,
    help="Import images and their annotations, from files or S3, into the dataset OUT/SPLIT.",
    no_args_is_help=True,
)


def _command(kind: str, help_: str, **specific: Option) -> None:
    """Add the command of a kind of source, with its own options and the common ones."""

    def command(**given: Any) -> None:  # noqa: ANN401 - as typed in `options`
        target = ImportTarget(*(given.pop(name) for name in ("out", "append", "replace", "params")))
        _import(kind, given.pop("source"), given.pop("split"), given, target)

    options = {"source": COMMON["source"], **specific, **COMMON}
    keyword = inspect.Parameter.KEYWORD_ONLY
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(name, keyword, default=o.default, annotation=o.type) for name, o in options.items()]
    )
    import_app.command(kind.replace("_", "-"), help=help_)(command)


_command(
    "folder",
    "Import image files, with captions from a table or from .txt and .json files beside them.",
    captions=text("table of captions: .csv, .tsv, .txt, .parquet, .json, .jsonl"),
    image_column=text("column with paths or names of images; a position from 1 if the table has no header line"),
    caption_column=text("column with captions, one or a list per row"),
    **ENCODING,
    ignore_labels=Option(
        Annotated[bool, typer.Option("--ignore-labels", help="ignore YOLO, VOC and labelme files beside the images")],
        False,
    ),
    labels=Option(
        Annotated[Literal["none", "folders"], typer.Option(help="folders: each folder of the source is a class")],
        "none",
    ),
    **CLASS_NAMES,
    **SPOKEN,
)
_command(
    "yolo",
    "Import YOLO: boxes and polygons in .txt files, with data.yaml, obj.names or classes.txt (also Darknet's, CVAT's).",
    **subset("train (val for a benchmark) if there are subsets, else all"),
    class_names=text("file of class names if the data set has none: one per line, or a JSON object by number"),
    task=Option(
        Annotated[
            Literal["segment"] | None,
            typer.Option(help="segment: read lines that all have the same length as polygons"),
        ]
    ),
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "voc",
    "Import Pascal VOC: JPEGImages, Annotations and ImageSets, or .xml files beside the images.",
    **subset("train (val for a benchmark) if there are subsets, else all"),
    first_pixel=Option(
        Annotated[
            int, typer.Option(min=0, max=1, help="number of an image's first pixel; with 0 boxes are not shifted")
        ],
        1,
    ),
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "labelme",
    "Import labelme: .json files beside the images, with polygons, rectangles, circles and masks.",
    **ENCODING,
    annotator=SPOKEN["annotator"],
)
_command(
    "coco",
    "Import COCO and data sets in its format, such as LVIS: captions, instances or panoptic segments.",
    captions=text("COCO's captions_*.json"),
    instances=texts("instances_*.json, also LVIS; may be repeated"),
    panoptic=text("COCO's panoptic_*.json"),
    panoptic_masks=text("folder of the panoptic PNG files; default: beside the JSON"),
)
_command(
    "webdataset",
    "Import WebDataset tars with .txt, .json or .cls beside the images, as img2dataset and `data export` write them.",
    **CLASS_NAMES,
    **ENCODING,
    **SPOKEN,
)
_command(
    "umg41m",
    "Import UMG-41M: its archives of JSON and images by name; what is not understood is counted in the summary.",
    annotations=texts("archive of JSON (.zip, .tar.gz) or a folder of them; default: those in the source; repeatable"),
    **ENCODING,
    **SPOKEN,
)
_command(
    "finehard",
    "Import FineHARD, GRIT and similar data sets: JSON of many images with their regions.",
    annotations=texts("JSON, JSONL or parquet file, or a folder of them; may be repeated"),
    **SPOKEN,
)
_command(
    "imagenet",
    "Import ImageNet and its relatives: one folder per class, n01440764 or 0; names and templates are built in.",
    annotations=texts("LOC_val_solution.csv, if the images are not in folders"),
)
_command(
    "clip_benchmark",
    "Import CLIP_benchmark's WebDatasets: SUBSET/0.tar, classnames.txt, templates; classification or retrieval.",
    **subset("test"),
)
_command(
    "karpathy",
    "Import Flickr30k or COCO with Karpathy's split.",
    annotations=texts("dataset_flickr30k.json or dataset_coco.json"),
    **subset("test"),
)
_command(
    "mmvp",
    "Import MMVP-VLM: Questions.csv, and pairs of images that differ in one visual pattern; for a benchmark only.",
    annotations=texts("Questions.csv, if it is not among the images"),
)
_command(
    "fg_ovd",
    "Import FG-OVD: boxes with one true text and up to ten perturbed ones each; its JSON, or FG-CLIP's JSON lines.",
    annotations=texts("1_attributes.json (hard), 2_attributes.json, 3_attributes.json, shuffle_negatives.json, ..."),
    **SPOKEN,
)
_command(
    "long_captions",
    "Import a retrieval set of long captions: Urban-1k, DCI, DOCCI, or the first 1,000 images of ShareGPT4V.",
    task=Option(
        Annotated[
            Literal["urban1k", "dci", "dci-full", "docci", "sharegpt4v"],
            typer.Option(help="the set; dci-full: with the short caption before the long one"),
        ],
        "urban1k",
    ),
    annotations=texts("sharegpt4v: share-captioner_*.json; docci: its JSON lines, if they are not in SOURCE"),
    **subset("test, of docci"),
)
_command(
    "semantic",
    "Import images and semantic maps with the same names, as segmentation toolboxes prepare them.",
    masks=text("folder or S3 prefix of the maps: .png, .tif or .mat"),
    **NUMBERED,
    void=Option(
        Annotated[
            list[int] | None, typer.Option(help="number in the maps that means no class, such as 255; may be repeated")
        ]
    ),
)
_command(
    "ade20k",
    "Import ADE20K: ADEChallengeData2016 with its 150 classes, or ADE20K_2021_17_01 with the classes of a table.",
    task=Option(
        Annotated[
            Literal["semantic", "panoptic", "full"],
            typer.Option(help="truth to import; full: the classes of --class-names, such as 847"),
        ],
        "semantic",
    ),
    **subset("validation"),
    class_names=text("for --task full: table of numbers and names, lines such as '2978: wall', or JSON"),
)
_command(
    "pascal_context",
    "Import PASCAL Context over VOC 2010: JPEGImages, trainval/*.mat, labels.txt, 59_labels.txt.",
    task=Option(Annotated[Literal["59", "459"], typer.Option(help="number of classes")], "59"),
    **subset("val"),
    listed=Option(
        Annotated[str | None, typer.Option("--list", help="file with the names of the images; default: SUBSET.txt")]
    ),
)
_command(
    "cityscapes",
    "Import Cityscapes: leftImg8bit and gtFine; labelIds maps, or the panoptic JSON.",
    task=Option(Annotated[Literal["semantic", "panoptic"], typer.Option(help="truth to import")], "semantic"),
    **subset("val"),
)
_command(
    "open_images",
    "Import Open Images: labels that humans verified to be present in an image, or absent from it.",
    annotations=texts("*-annotations-human-imagelabels.csv; may be repeated"),
    class_names=text("*-class-descriptions.csv"),
)


@dataclass(frozen=True)
class ImportTarget:
    """Target of an import: where it writes, whether it appends or replaces, and the parameter file."""

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
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if _is_given(value)
    }
    if "instances" in given:
        given["annotations"] = given.pop("instances")
    if "held_out" in given:
        given["held_out"] = tuple(name for word in given["held_out"] for name in _names(word))
    given.setdefault("name", PurePosixPath(source.rstrip("/")).name or kind)
    request = Request(kind=kind, source=source, split=split, **given)  # type: ignore[arg-type]
    if target.append and target.replace:
        raise InputError("expected --append or --replace, got both; give one of them")
    started = time.monotonic()
    try:
        done = _run(request, section, target)
    except OtherFormatError as error:
        if not _can_ask():
            raise
        wanted = typer.confirm(f"{error.found}. Import the folder as `{error.kind}`?", default=True)
        other = {"kind": error.kind} if wanted else {"ignore_labels": True}
        done = _run(replace(request, **other), section, target)
    session.show(summary(f"{target.out.rstrip('/')}/{split}", done, time.monotonic() - started))


def _can_ask() -> bool:
    """Return whether somebody at the terminal can answer a question."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _is_given(value: object) -> bool:
    """Return whether an option was given, or has a default that counts."""
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
    """Refuse to replace a dataset unless --replace was given or the person at the terminal agrees.

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
        f"{holds}; --replace replaces them with this import, --append adds to them, --out writes elsewhere"
    )


def _names(word: str) -> list[str]:
    """Return the name itself, or the names in the file of `@FILE`."""
    if not word.startswith("@"):
        return [word]
    path = Path(word[1:])
    if not path.is_file():
        raise InputError(f"--held-out: {path}: expected a file with a name a line, found none; check the path behind @")
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def summary(where: str, done: Imported, seconds: float) -> Any:  # noqa: ANN401 - a Summary, imported late
    """Build the table that summarises an import."""
    from umgclip.cli.data.datasets import describe
    from umgclip.stage import Summary

    rate = done.images / max(seconds, 1e-9)
    rows = [("image files", f"{done.images} in {seconds:.1f} s, {rate:.0f} a second")]
    if done.resumed:
        rows.append(("parts resumed", f"{done.resumed} of {done.parts}"))
    rows += describe(done.statistics.as_json(), done.manifest)
    return Summary(f"data import: {where}", tuple(rows))
