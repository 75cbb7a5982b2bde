"""The kinds of sources: how each is planned and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from umgclip.io.places import Place
from umgclip.sources.formats.ade20k import plan_ade20k, read_ade20k
from umgclip.sources.formats.cityscapes import plan_cityscapes, read_cityscapes
from umgclip.sources.formats.clip_benchmark import plan_clip_benchmark, read_clip_benchmark
from umgclip.sources.formats.coco.planning import plan_coco
from umgclip.sources.formats.coco.reading import read_coco
from umgclip.sources.formats.fg_ovd import plan_fg_ovd, read_fg_ovd
from umgclip.sources.formats.fiftyone.planning import plan_fiftyone
from umgclip.sources.formats.fiftyone.reading import read_fiftyone
from umgclip.sources.formats.folder import plan_folder, read_folder
from umgclip.sources.formats.grounded import plan_grounded, read_grounded
from umgclip.sources.formats.huggingface.planning import plan_huggingface
from umgclip.sources.formats.huggingface.reading import read_huggingface
from umgclip.sources.formats.imagenet import plan_imagenet, read_imagenet
from umgclip.sources.formats.karpathy import plan_karpathy, read_karpathy
from umgclip.sources.formats.labelme import plan_labelme, read_labelme
from umgclip.sources.formats.long_captions import plan_long_captions, read_long_captions
from umgclip.sources.formats.mmvp import plan_mmvp, read_mmvp
from umgclip.sources.formats.open_images import plan_open_images, read_open_images
from umgclip.sources.formats.pascal_context import plan_pascal_context, read_pascal_context
from umgclip.sources.formats.semantic import plan_semantic, read_semantic
from umgclip.sources.formats.tars import plan_tars, read_tars
from umgclip.sources.formats.umg41m import plan_umg41m, read_umg41m
from umgclip.sources.formats.voc import plan_voc, read_voc
from umgclip.sources.formats.yolo import plan_yolo, read_yolo
from umgclip.sources.note import SourceImage
from umgclip.sources.plan import ImportPlan
from umgclip.sources.request import Kind, Request


@dataclass(frozen=True)
class SourceKind:
    """Two functions: one fills the plan, the other finds the images of some of its positions.

    `images_a_part` is the number of planned items in a part; None: as many as a shard holds.
    """

    plan: Callable[[Request, ImportPlan, Place, Path], None]
    read: Callable[[Request, ImportPlan, Place, tuple[int, int], int], Iterator[SourceImage]]
    images_a_part: int | None = None


KINDS: dict[Kind, SourceKind] = {
    "folder": SourceKind(plan_folder, read_folder),
    "yolo": SourceKind(plan_yolo, read_yolo),
    "voc": SourceKind(plan_voc, read_voc),
    "labelme": SourceKind(plan_labelme, read_labelme),
    "umg41m": SourceKind(plan_umg41m, read_umg41m),
    "coco": SourceKind(plan_coco, read_coco),
    "webdataset": SourceKind(plan_tars, read_tars, images_a_part=1),
    "finehard": SourceKind(plan_grounded, read_grounded),
    "imagenet": SourceKind(plan_imagenet, read_imagenet),
    "clip_benchmark": SourceKind(plan_clip_benchmark, read_clip_benchmark, images_a_part=1),
    "karpathy": SourceKind(plan_karpathy, read_karpathy),
    "mmvp": SourceKind(plan_mmvp, read_mmvp),
    "fg_ovd": SourceKind(plan_fg_ovd, read_fg_ovd),
    "long_captions": SourceKind(plan_long_captions, read_long_captions),
    "semantic": SourceKind(plan_semantic, read_semantic),
    "ade20k": SourceKind(plan_ade20k, read_ade20k),
    "pascal_context": SourceKind(plan_pascal_context, read_pascal_context),
    "cityscapes": SourceKind(plan_cityscapes, read_cityscapes),
    "open_images": SourceKind(plan_open_images, read_open_images),
    "huggingface": SourceKind(plan_huggingface, read_huggingface),
    "fiftyone": SourceKind(plan_fiftyone, read_fiftyone),
}
