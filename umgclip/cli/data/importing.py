"""Commands `umgclip data import KIND`: convert a source of images into a dataset."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

import typer

from umgclip.cli.data.import_options import CLASS_NAMES, COMMON, ENCODING, NUMBERED, SPOKEN, Option, subset, text, texts
from umgclip.cli.data.import_run import ImportTarget, import_source
from umgclip.cli.group import Commands

import_app = typer.Typer(
    cls=Commands,
    help="Import images and their annotations, from files or S3, into the dataset OUT/SPLIT.",
    no_args_is_help=True,
)


def _command(kind: str, help_: str, **specific: Option) -> None:
    """Add the command of a kind of source, with its own options and the common ones."""

    def command(**given: Any) -> None:  # noqa: ANN401 - as typed in `options`
        target = ImportTarget(*(given.pop(name) for name in ("out", "append", "replace", "params")))
        import_source(kind, given.pop("source"), given.pop("split"), given, target)

    options = {"source": COMMON["source"], **COMMON, **specific}
    options = {name: options[name] for name in ("source", *specific, *COMMON)}
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
    "huggingface",
    "Import a data set of Hugging Face's `datasets`: parquet, save_to_disk, or images with metadata.csv or .jsonl.",
    source=Option(
        Annotated[
            list[str],
            typer.Argument(help="folder or s3://BUCKET/PREFIX of the data set, or its .parquet, .arrow files"),
        ],
        inspect.Parameter.empty,
    ),
    **subset("train; for a benchmark validation, else test"),
    config=text("configuration, if the data set has several"),
    image_column=text("column of images; default: by its type and name"),
    caption_column=text("column of captions, a text or a list per row, or none; default: all with usual names"),
    label_column=text("column of the class of an image that shows one thing, or none"),
    objects_column=text("column of boxes and their classes, or none; default: objects, annotations, ..."),
    declared_boxes=Option(
        Annotated[
            Literal["xywh", "xyxy", "cxcywh"] | None,
            typer.Option(
                "--box-format",
                help="order of the numbers of a box: corner and size (COCO; the default), corners, centre and size",
            ),
        ]
    ),
    class_names=text("file with the names of numbers in the data: a name a line, or JSON"),
    annotator=SPOKEN["annotator"],
)
_command(
    "fiftyone",
    "Import a data set that FiftyOne exported as FiftyOneDataset: detections with masks, polylines, classifications.",
    subset=text("tag of the samples to import, such as train; default: all"),
    objects_column=Option(
        Annotated[
            str | None,
            typer.Option("--objects-field", help="field of detections or polylines, or none; default: ground_truth"),
        ]
    ),
    label_column=Option(
        Annotated[
            str | None, typer.Option("--label-field", help="field of classifications, or none; default: ground_truth")
        ]
    ),
    caption_column=Option(
        Annotated[
            str | None,
            typer.Option("--caption-field", help="field of captions, or none; default: all usual ones"),
        ]
    ),
    annotator=SPOKEN["annotator"],
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
