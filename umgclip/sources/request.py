"""The request for an import: what to read, from where, and how to interpret it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from umgclip.data.wording import tidy
from umgclip.errors import InputError
from umgclip.io.texts import check_encoding
from umgclip.params.section import LOCATION
from umgclip.sources.note import BoxForm, Speaker

Kind = Literal[
    "folder", "yolo", "voc", "labelme", "coco", "webdataset", "umg41m", "finehard",
    "imagenet", "clip_benchmark", "karpathy", "mmvp", "fg_ovd", "long_captions", "semantic", "ade20k", "pascal_context",
    "cityscapes", "open_images", "huggingface", "fiftyone",
]  # fmt: skip
Split = Literal["train", "benchmark"]
HUMAN = "human"
_PATH = {LOCATION: True}
# default authors of captions, and of tags and regions; humans for all other formats
_SPEAKERS: dict[Kind, Speaker] = {
    "folder": Speaker("alt", HUMAN),
    "webdataset": Speaker("alt", "webdataset"),
    "umg41m": Speaker("umg41m", "umg41m"),
    "finehard": Speaker("finehard", "finehard"),
    "fg_ovd": Speaker("fg_ovd", "fg_ovd"),
}


@dataclass(frozen=True)
class Request:
    """Everything that a user can specify about one import.

    Attributes:
        kind: format of the source.
        source: a folder or an S3 prefix.
        split: `benchmark` stores everything as truth, written by `human`, and lists the classes in the manifest.
        name: name of the dataset; the split, or `singles`, is appended to it in each record.
        license: license of images that do not state one.
        captions: a table or a COCO file of captions.
        image_column: the table's column of images, as `caption_column` is that of captions; None: detected.
        annotations: COCO instances, the JSON files of `finehard`, `karpathy` and `fg_ovd`, the tables of `open_images`
            and `mmvp`, the archives of `umg41m`.
        panoptic: COCO panoptic JSON, with its PNG files in `panoptic_masks`.
        labels: `folders`: each folder of the source is a class, each image shows one thing.
        class_names: a file with a name for each class number (a line each) or for each folder (JSON).
        masks: a folder or S3 prefix of maps for `semantic`.
        void: numbers in these maps that mean no class.
        subset: subset of a public data set, as its own files call it: val, validation, test.
        task: truth of a public data set: semantic, panoptic, full (ADE20K), 59, 459 (PASCAL Context); the set of
            `long_captions`.
        listed: a file with the names of the images to import.
        held_out: things of a benchmark that training never labels.
        annotator: author of tags and regions, instead of the format's default.
        box_format: order of the four numbers of a box if the source does not state it.
        encoding: encoding of tables and texts without a byte order mark; None: UTF-8.
        first_pixel: number of an image's first pixel in VOC files; with 0 their boxes are not shifted.
        files: the parquet or Arrow files of `huggingface` below the source, instead of all.
        config: configuration of a data set of `huggingface` that has several.
        label_column: column or field of the class of an image; `none`: no column.
        objects_column: column or field of boxes with their classes; `none`: no column.
        declared_boxes: order of the numbers of a box in `huggingface`; None: as in COCO, if that fits.
        ignore_labels: ignore YOLO, VOC and labelme files beside the images of a `folder`.
        hold_out: share of the images that belongs to the benchmark, if one source is divided: `split` then takes its
            own part alone. The content of an image decides, so equal images are never on both sides.
    """

    kind: Kind
    source: str = field(metadata=_PATH)
    split: Split
    name: str
    license: str | None = None
    captions: str | None = field(default=None, metadata=_PATH)
    image_column: str | None = None
    caption_column: str | None = None
    annotations: tuple[str, ...] = field(default=(), metadata=_PATH)
    panoptic: str | None = field(default=None, metadata=_PATH)
    panoptic_masks: str | None = field(default=None, metadata=_PATH)
    labels: Literal["none", "folders"] = "none"
    class_names: str | None = field(default=None, metadata=_PATH)
    masks: str | None = field(default=None, metadata=_PATH)
    void: tuple[int, ...] = ()
    subset: str | None = None
    task: str | None = None
    listed: str | None = field(default=None, metadata=_PATH)
    held_out: tuple[str, ...] = ()
    annotator: str | None = None
    box_format: BoxForm = "xyxy"
    encoding: str | None = None
    first_pixel: Literal[0, 1] = 1
    files: tuple[str, ...] = ()
    config: str | None = None
    label_column: str | None = None
    objects_column: str | None = None
    declared_boxes: BoxForm | None = None
    ignore_labels: bool = False
    hold_out: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "held_out", tuple(dict.fromkeys(map(tidy, self.held_out))))
        if self.encoding is not None:
            check_encoding(self.encoding)
        if not self.name or "/" in self.name:
            raise InputError(f"name: expected a word without slash, got {self.name!r}")
        if self.held_out and self.split != "benchmark":
            raise InputError("held_out: expected only with the split benchmark; training has annotate.held_out")
        if self.annotations and self.panoptic and self.kind == "coco":
            raise InputError(
                "expected instances or panoptic, got both; leave out instances, since panoptic holds the things, too"
            )
        if self.hold_out is not None and not 0 < self.hold_out < 1:
            raise InputError(f"hold_out: expected a share above 0 and below 1, got {self.hold_out}")
        if self.panoptic_masks and not self.panoptic:
            raise InputError("panoptic_masks: expected --panoptic with its JSON file, too, got none")

    @property
    def speaker(self) -> Speaker:
        """Names of those who wrote captions, tags and regions without a source of their own."""
        if self.split == "benchmark":
            return Speaker(HUMAN, HUMAN)
        default = _SPEAKERS.get(self.kind, Speaker(HUMAN, HUMAN))
        return Speaker(default.captions, self.annotator or default.others)

    def decides(self) -> dict[str, Any]:
        """Return the fields that decide what is imported: all but the paths, whose content decides."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if LOCATION not in each.metadata}
        later = {"hold_out": None, "files": (), "config": None, "label_column": None, "objects_column": None,
                 "declared_boxes": None}  # fmt: skip
        for name, default in later.items():  # imports of the time before these fields stay the same
            if values[name] == default:
                del values[name]
        return values

    def takes(self, sha256: str) -> bool:
        """Return whether an image belongs to the split of this import, by the hash of its content."""
        if self.hold_out is None:
            return True
        return (int(sha256[:8], 16) < self.hold_out * 0x1_0000_0000) == (self.split == "benchmark")
